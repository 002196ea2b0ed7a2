"""Cleaning completions and finding the sentence that gives the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.text.completions import (
    clean_completion,
    find_answer_markers,
    remove_calculator_marks,
    split_and_count,
    split_completion,
)
from kpodx.text.steps import count_steps


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("\nA: It is 5.\n\nQ: There are 15 trees.\nA: 15", "It is 5."),
        ("It is 5.\nQ: More?", "It is 5."),
        ("It is 5.\nQuestion: More?", "It is 5."),
        ("It is 5.\n\n**Question 2:** More?", "It is 5."),
        ("It is 5.\n### Problem: More?", "It is 5."),
        ("It is 5.\n\nQ", "It is 5."),
        ("It is 5.</s> junk", "It is 5."),
        ("It is 5.<|im_end|>", "It is 5."),
        ("Q: Only a question", ""),
        ("A:", ""),
        ("**A:** It is 5.", "It is 5."),
        ("Answer: Tom has 3. So 4 remain.", "Tom has 3. So 4 remain."),
        ("Answer: 18", "Answer: 18"),
        ("A question: is it 5?\nQuite so.", "A question: is it 5?\nQuite so."),
        ("", ""),
    ],
)
def test_clean_completion(raw: str, cleaned: str) -> None:
    assert clean_completion(raw) == cleaned


@pytest.mark.parametrize(
    ("text", "rationale", "sentence"),
    [
        ("2 + 3 = 5. The answer is 5.", "2 + 3 = 5.", "The answer is 5."),
        ("It fits. So the answer is (c) wooded area.", "It fits.", "So the answer is (c) wooded area."),
        ("2 + 3 = 5. Therefore, the answer is $5.50.", "2 + 3 = 5.", "Therefore, the answer is $5.50."),
        ("48/2 = 24\n#### 24", "48/2 = 24", "#### 24"),
        ("3 + 5 = 8, so the answer is 8.", "3 + 5 = 8", "so the answer is 8."),
        ("We add.\n\n**Answer:** 18", "We add.", "**Answer:** 18"),
        ("We add.\nAnswer:\n18 apples", "We add.", "Answer:\n18 apples"),
        ("We get $\\boxed{5}$.", "We get", "\\boxed{5}$."),
        ("The answer is 5. Because 2 + 3 = 5.", "Because 2 + 3 = 5.", "The answer is 5."),
        ("The answer is 4. No, the answer is 5.", "The answer is 4.", "No, the answer is 5."),
        ("The answer must be a place. It is a zoo.", "The answer must be a place. It is a zoo.", ""),
        ("2 + 3 = 5.", "2 + 3 = 5.", ""),
        ("The answer is 5.", "", "The answer is 5."),
        ("", "", ""),
    ],
)
def test_split_completion(text: str, rationale: str, sentence: str) -> None:
    assert split_completion(text) == (rationale, sentence)
    assert split_and_count(text)[2] == count_steps(rationale)


def test_calculator_marks() -> None:
    assert remove_calculator_marks("a <<48/2=24>>24 b <<1+1=2>>2") == "a 24 b 2"
    assert remove_calculator_marks("1 << 2 and 3 >> 1\n<<4") == "1 << 2 and 3 >> 1\n<<4"


@settings(deadline=None, max_examples=200)
@given(
    st.text("ab .\n#$\\{}:,15*", max_size=80),
    st.sampled_from(["", "The answer is 5.", "\n#### 5", " so the answer is 5"]),
)
def test_nothing_is_invented(text: str, ending: str) -> None:
    whole = text + ending
    rationale, sentence = split_completion(whole)
    assert sentence in whole
    assert all(part in whole for part in rationale.split("\n"))
    assert bool(sentence) == bool(find_answer_markers(whole))
    assert clean_completion(whole) in whole
    assert split_and_count(whole)[2] == count_steps(rationale), "counted in passing, and counted anew"


@pytest.mark.parametrize(
    ("name", "share"),
    [("gsm8k_test.gpt3.5class", 0.98), ("svamp_train.palm540b", 0.97), ("commonsenseqa_train.palm540b", 0.99)],
)
def test_real_completions_come_apart(shared_data: Path, name: str, share: float) -> None:
    """Nearly all have an answer sentence, none keeps an invented question, and the reasoning keeps no final sentence."""
    lines = (shared_data / "teacher_records" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    with_sentence = 0
    for line in lines:
        cleaned = clean_completion(json.loads(line)["completion"])
        assert "\nQ:" not in cleaned
        rationale, sentence = split_completion(cleaned)
        assert split_and_count(cleaned)[2] == count_steps(rationale)
        with_sentence += bool(sentence)
        assert not rationale.endswith(sentence) or not sentence
    assert with_sentence >= share * len(lines)
