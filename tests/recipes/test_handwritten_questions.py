"""The questions written by hand: every sum is right, and the counts are what the documents say."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from kpodx.artifacts import read_jsonl

QUESTIONS = Path(__file__).resolve().parents[2] / "recipes" / "questions"
SUM = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)\.")
OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


@pytest.mark.parametrize("path", sorted(QUESTIONS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_sum_is_right_and_leads_to_the_answer(path: Path) -> None:
    records = read_jsonl(path)

    for record in records:
        sums = SUM.findall(record["rationale"])
        for left, operator, right, result in sums:
            assert OPERATIONS[operator](Fraction(left), Fraction(right)) == Fraction(result), record
        assert sums[-1][3] == record["answer"], record
        assert len(sums) == record["num_steps"], record

    assert Counter(record["num_steps"] for record in records) == {1: 40, 2: 30, 3: 20, 4: 10}
    assert len({record["id"] for record in records}) == len({record["question"] for record in records}) == 100


def test_no_question_is_in_two_sets() -> None:
    questions = [record["question"] for path in QUESTIONS.glob("*.jsonl") for record in read_jsonl(path)]
    assert len(questions) == len(set(questions))
