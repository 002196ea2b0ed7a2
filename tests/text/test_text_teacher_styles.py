"""Golden table: completions in the styles of present teachers, the rationale and the answer that each becomes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from kpodx.rationales.filtering import Candidate, Limits, sift
from kpodx.schema import AnswerKind, Question, Split
from kpodx.text.completeness import why_torn
from kpodx.text.completions import clean_completion
from kpodx.text.reasoning import take_apart

EGGS = "Janet's ducks lay 16 eggs. She uses 7. How much does she make at $2 per egg?"
CAGES = "Where do animals live in cages?"
STYLES: list[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("teacher_styles.toml").read_text(encoding="utf-8")
)["style"]


def test_the_table_is_long_enough() -> None:
    assert len(STYLES) >= 70
    assert len({style["name"] for style in STYLES}) == len(STYLES)


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style["name"])
def test_style(style: dict[str, Any]) -> None:
    """The rationale is the expected one, the answer is right, and a second reading removes nothing more."""
    parts = take_apart(clean_completion(style["completion"]))
    assert parts.reasoning == style["rationale"]
    assert parts.num_announcements == style["announcements"]
    assert why_torn(parts.reasoning) is None
    assert take_apart(parts.reasoning) == (parts.reasoning, "", 0)
    kind = AnswerKind(style["kind"])
    choices = ("sea", "zoo") if kind is AnswerKind.CHOICE else ()
    question = Question("q1", Split.TRAIN, CAGES if choices else EGGS, style["answer"], kind, choices)
    outcome = sift([Candidate(question, style["completion"])], Limits(), "teacher")
    assert [rationale.text for rationale in outcome.rationales] == [style["rationale"]], outcome.rejections
