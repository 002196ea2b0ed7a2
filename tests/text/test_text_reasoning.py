"""Taking announcements of the answer out of a completion."""

from __future__ import annotations

import json
import time
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
    "text",
    [
        "The answer must be something with cages.",
        "The answer should be a place where people see animals.",
        "The answer can be found by adding 3 and 5.",
        "The answer is found by adding 3 and 5.",
        "The answer is not (A).",
        "The answer is correct.",
        "We need to find the answer: first add 9 and 2 to get 11.",
        "To get the answer, we add 9 and 2.",
        "Let the answer be x.",
        "Option A is too small.",
        "Option (A) is wrong.",
        "Option A is correct only if it rains.",
        "James earned 24 correct answers * 2 points/answer = 48 points.",
        "The first problem's answer was 600, and the next answer was 600*2 = 1200.",
        "Person B walks 3 miles.",
        "A dog is the best friend of a man.",
        "What is the answer to this?",
        "Her answer is wrong because she forgot to add 5.",
        "#### Step 1: Add 3 and 5.\nThe sum is 3 + 5 = 8.",
        "Plan B. Then she waits.",
        "The total cost is \\(18\\) dollars.",
        "```python\n# The answer is 18\nanswer = 9 * 2\n```",
        "The choices are sea and zoo.",
        "(a) sea\n(b) zoo\nA zoo has cages.",
        "This is the best option for Tom, since it costs $3 less.",
        "All of the answer choices (B, C, D, E) are correct places to keep grapes.",
        "The choices B, C are correct words for it, yet A is longer.",
        "Both (A) and (B) are likely, and (C) and (D) are suitable places too.",
    ],
)
def test_reasoning_about_the_answer_stays(text: str) -> None:
    assert take_apart(text) == (text, "", 0)
    assert take_apart(f"{text}\n\nThe answer is 18.") == (text, "The answer is 18.", 1)


ANNOUNCEMENTS = [
    "The answer is (E).",
    "Answer D",
    "ANS: D",
    "Choice B.",
    "Correct answer - A",
    "So (B) is the answer.",
    "Hence option C is correct.",
    "Therefore, among A through E, the answer is E.",
    "B is the right choice.",
    "(B) zoo is the most likely.",
    "I would go with B.",
    "Therefore, (C).",
    "So it has to be D.",
    "This makes B the correct answer.",
    "Answer: 18",
    "Final answer: $18",
    "18 is the final answer.",
    "The answer, rounded to cents, is $18.25.",
    "The answer is 18 dollars.",
    "#### 18",
    "The final result is 18.",
    "The answer is yes.",
    "**Final Answer:** No",
    "Answer: Paris",
    "The answer is Paris.",
    "$\\text{Answer: } 18$",
    "The final answer is $\\boxed{18}$. I hope it is correct.",
    "\\[ \\boxed{\\frac{1}{2}} \\]",
    "### Final Answer\n\n**18**",
    "**Step 4:** State the answer.\n\nAnswer: 18",
    "<answer>18</answer>",
]
OWN_LINE = ("#", "<", "*", "$", "\\", "A", "C")
"""What opens the forms that have a line of their own."""


@pytest.mark.parametrize(
    ("gap", "announcement"),
    [(" ", form) for form in ANNOUNCEMENTS if not form.startswith(OWN_LINE)]
    + [(gap, form) for gap in ("\n", "\n\n") for form in ANNOUNCEMENTS],
)
def test_announcements_go_whole(gap: str, announcement: str) -> None:
    parts = take_apart(f"A zoo has cages.{gap}{announcement}")
    assert parts.reasoning == "A zoo has cages."
    assert parts.num_announcements >= 1


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


@pytest.mark.parametrize(
    "unit", ["The answer is 5. ", "So B is ", "$", "$$", "\\[ ", "\\boxed{", "1. ", "```\n", "that ", ", "]
)
def test_time_is_linear_in_the_length(unit: str) -> None:
    """Ten times the text takes at most thirty times as long."""
    seconds = []
    for length in (4_000, 40_000):
        text = unit * (length // len(unit))
        begun = time.process_time()
        why_torn(take_apart(clean_completion(text)).reasoning)
        seconds.append(time.process_time() - begun)
    assert seconds[1] < 30 * max(seconds[0], 0.005)


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        (
            "**Given:**\n- Speed = 60 km/h\n\n**Solution:**\n- Distance = speed × time\n- 60 × 2.5 = 150\n\n**Answer:** 150 km",
            "**Given:**\n- Speed = 60 km/h\n\n**Solution:**\n- Distance = speed × time\n- 60 × 2.5 = 150",
        ),
        (
            "### Problem\nWe want the eggs left.\n\n### Solution\n12 × 3 = 36\n36 − 4 = 32\n\n### Answer\n32",
            "### Problem\nWe want the eggs left.\n\n### Solution\n12 × 3 = 36\n36 − 4 = 32",
        ),
        (
            "Find it.\n\n**Solution:**\nCats are mammals.\n\n**Answer:** Yes",
            "Find it.\n\n**Solution:**\nCats are mammals.",
        ),
        ("3 × 4 = 12.\n\n**Final solution:**\n12", "3 × 4 = 12."),
    ],
)
def test_a_solution_heading_is_above_reasoning_and_not_above_the_answer(text: str, reasoning: str) -> None:
    assert take_apart(text).reasoning == reasoning


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("So we have 36 eggs, and because 4 broke, the answer is 32.", "So we have 36 eggs."),
        ("We have 36 eggs, and when we subtract 4, the answer is 32.", "We have 36 eggs."),
        ("3 × 12 = 36. Total: $$3 \\times 12 = 36, \\text{ so the answer is } \\boxed{36}.$$", "3 × 12 = 36."),
    ],
)
def test_what_is_kept_of_a_cut_sentence_is_whole(text: str, reasoning: str) -> None:
    assert take_apart(text).reasoning == reasoning
