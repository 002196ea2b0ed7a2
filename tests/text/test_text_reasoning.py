"""Taking announcements of the answer out of a completion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kpodx.text.completeness import why_torn
from kpodx.text.completions import clean_completion
from kpodx.text.reasoning import split_completion, take_apart


@pytest.mark.parametrize(
    ("text", "rationale", "sentence"),
    [
        ("2 + 3 = 5. The answer is 5.", "2 + 3 = 5.", "The answer is 5."),
        ("It fits. So the answer is (c) wooded area.", "It fits.", "So the answer is (c) wooded area."),
        ("2 + 3 = 5. Therefore, the answer is $5.50.", "2 + 3 = 5.", "Therefore, the answer is $5.50."),
        ("48/2 = 24\n#### 24", "48/2 = 24", "#### 24"),
        ("3 + 5 = 8, so the answer is 8.", "3 + 5 = 8.", "3 + 5 = 8, so the answer is 8."),
        ("We add.\n\n**Answer:** 18", "We add.", "**Answer:** 18"),
        ("We add.\nAnswer:\n18 apples", "We add.", "Answer:\n18 apples"),
        ("We get $\\boxed{5}$.", "We get $5$.", ""),
        ("The answer is 5. Because 2 + 3 = 5.", "Because 2 + 3 = 5.", "The answer is 5."),
        ("The answer is 4. No, the answer is 5.", "", "No, the answer is 5."),
        ("The answer must be a place. It is a zoo.", "The answer must be a place. It is a zoo.", ""),
        ("2 + 3 = 5.", "2 + 3 = 5.", ""),
        ("The answer is 5.", "", "The answer is 5."),
        ("", "", ""),
    ],
)
def test_split_completion(text: str, rationale: str, sentence: str) -> None:
    assert split_completion(text) == (rationale, sentence)


@pytest.mark.parametrize(
    ("name", "share"),
    [("gsm8k_test.gpt3.5class", 0.98), ("svamp_train.palm540b", 0.97), ("commonsenseqa_train.palm540b", 0.99)],
)
def test_real_completions_come_apart(shared_data: Path, name: str, share: float) -> None:
    """Nearly all announce their answer, none keeps an invented question, and hardly any ends torn."""
    lines = (shared_data / "teacher_records" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    announced = torn = 0
    for line in lines:
        cleaned = clean_completion(json.loads(line)["completion"])
        assert "\nQ:" not in cleaned
        parts = take_apart(cleaned)
        announced += parts.num_announcements > 0
        torn += bool(parts.reasoning) and why_torn(parts.reasoning) is not None
        assert take_apart(parts.reasoning).num_announcements == 0, "a second reading finds nothing more"
    assert announced >= share * len(lines)
    assert torn <= 0.005 * len(lines)
