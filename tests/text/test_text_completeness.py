"""Whether a text ends torn: each kind of tear, and the unfinished-looking ends that are whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.text.completeness import why_torn
from kpodx.text.completions import remove_calculator_marks

WHOLE = [
    "8 + 5 = 13",
    "She has 13 apples.",
    "She has 13 apples",
    "Total: 13 apples",
    "So he sneezed 120/3=40 times",
    "The store is $.25 more expensive per can",
    "The latest he can come is 6-4 = 2:00 am",
    "The area is 8 x 12 = 96 sq in",
    "It costs 5$",
    "It costs $5",
    "He earns 80 dollars - 16 dollars = 64 dollars (after tax)",
    "people go to a zoo to see animals",
    "**She has 13 apples.**",
    "*She has 13 apples*",
    "The result is $2x + 3 = 13$.",
    "We get:\n\\[ 8 + 5 = 13 \\]",
    "We get:\n$$ 8 + 5 = 13 $$",
    "$$\n\\begin{aligned} x &= 8 + 5 \\\\[2pt] &= 13 \\end{aligned}\n$$",
    "We run:\n```python\nprint(8 + 5)\n```",
    "| day | apples |\n|---|---|\n| 1 | 13 |",
    "- 8 in the morning\n- 5 in the evening",
    "1. Add them.\n2. There are 13 apples left over in the end",
    "a) Add 8 and 5.",
    'She said: "It is 13."',
    "The interval is [0, 5).",
    "It is 2 ** 3 = 8.",
    "He has 5 (five) eggs :)",
    "He took vitamin A.",
    "所以一共有13个。",
    "Is it a bear?",
    "It goes on and on...",
    "She has 13 apples.\n\n---",
]
TORN = [
    ("Therefore, Olivia collected", "sentence"),
    ("12 + 8 = 20. Therefore, Olivia collected", "sentence"),
    ("12 + 8 = 20.\nTherefore, among A through E", "sentence"),
    ("It has cages. So", "sentence"),
    ("The total is:", "sentence"),
    ("He has 12 peaches,", "sentence"),
    ("So 12 + 8 =", "sentence"),
    ("We add 12 +", "sentence"),
    ("She sells the", "sentence"),
    ("She sells the rest and", "sentence"),
    ("The answer is", "sentence"),
    ("12 + 8 = 20.\n\n### Final", "sentence"),
    ("12 + 8 = 20.\n\nStep 5:", "sentence"),
    ("12 + 8 = 20.\n\n**Step 5:**", "sentence"),
    ("12 + 8 = 20. The final", "sentence"),
    ("She eats 3. She bakes muffins for her", "sentence"),
    ("12 + 8 = 20. Therefore, the.", "sentence"),
    ("She has (12 + 8", "bracket"),
    ("She has f(x) = [12", "bracket"),
    ("\\frac{12}{8", "bracket"),
    ("12 + 8 = 20.\n\n\\[", "formula"),
    ("We get \\( 12 + 8", "formula"),
    ("We get $$ 12 + 8", "formula"),
    ("We get $x + 8", "formula"),
    ("We get $", "formula"),
    ("\\begin{align} 12 + 8", "formula"),
    ("So \\boxed{20", "bracket"),
    ("12 + 8 = 20.\n\n**", "emphasis"),
    ("12 + 8 = 20. **The total", "emphasis"),
    ("We run:\n```python\nprint(8)", "code"),
    ("We call `print(8)", "code"),
    ("~~~\nprint(8)", "code"),
]


@pytest.mark.parametrize("text", WHOLE)
def test_whole(text: str) -> None:
    assert why_torn(text) is None


@pytest.mark.parametrize(("text", "reason"), TORN)
def test_torn(text: str, reason: str) -> None:
    assert why_torn(text) == reason


def test_human_solutions_are_whole(shared_data: Path) -> None:
    """Of GSM8K's 7,473 human solutions, at most ten count as torn; most of those end in a comma."""
    lines = (shared_data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    solutions = [remove_calculator_marks(json.loads(line)["answer"].rpartition("\n####")[0]) for line in lines]
    torn = [solution for solution in solutions if why_torn(solution)]
    assert len(torn) <= 10, torn


@settings(deadline=None, max_examples=300)
@given(st.text("ab .,\n#$\\\\{}[]()`*:=15|", max_size=200))
def test_any_text_can_be_judged(text: str) -> None:
    assert why_torn(text) in (None, "code", "formula", "emphasis", "bracket", "sentence")


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(WHOLE),
    st.sampled_from(["(", "[", "**", "\\[", "\\(", "$", "the", "is", "=", "and", "So", "```\nx"]),
)
def test_whatever_is_opened_behind_a_whole_text_tears_it(text: str, opened: str) -> None:
    assert why_torn(f"{text}\n\n{opened}") is not None
