"""Agreement among samples, and the most diverse rationales."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpodx.rationales.filtering import Candidate, Limits, sift
from kpodx.rationales.selection import commonest_answer, most_diverse
from kpodx.schema import AnswerKind, Question, Split

QUESTION = Question("q1", Split.TRAIN, "How many?", "18")


def candidates(*texts: str) -> list[Candidate]:
    return [Candidate(QUESTION, text) for text in texts]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["5", "6", "5"], ("5", 2 / 3)),
        (["5", "5.0", "6"], ("5", 2 / 3)),
        (["6", "5"], ("6", 0.5)),
        ([None, "5"], ("5", 0.5)),
        ([None, None], (None, 0.0)),
        ([], (None, 0.0)),
    ],
)
def test_the_commonest_answer(answers: list[str | None], expected: tuple[str | None, float]) -> None:
    answer, share = commonest_answer(answers, AnswerKind.NUMBER)
    assert (answer, share) == (expected[0], pytest.approx(expected[1]))


def test_agreement_needs_no_reference() -> None:
    texts = ["It is 7. The answer is 7.", "So 7 it is. The answer is 7.", "It is 18. The answer is 18."]
    outcome = sift(candidates(*texts), Limits("agreement"), "x")
    assert [(r.text, r.answer) for r in outcome.rationales] == [("It is 7.", "7"), ("So 7 it is.", "7")]
    assert [rejection.reason for rejection in outcome.rejections] == ["disagreement"]
    assert outcome.num_correct == 1


def test_too_little_agreement_keeps_nothing_and_failures_count_as_samples() -> None:
    texts = ["It is 7. The answer is 7.", "It is 8. The answer is 8."]
    assert sift(candidates(*texts), Limits("agreement", min_agreement=0.6), "x").rationales == []
    with_failure = [
        *candidates(texts[0]),
        Candidate(QUESTION, "", failure="length"),
        Candidate(QUESTION, "", failure="length"),
    ]
    outcome = sift(with_failure, Limits("agreement"), "x")
    assert outcome.reasons() == {"length": 2, "disagreement": 1}


def test_digits_of_other_scripts() -> None:
    text = "It is ١٨, which is 18. The answer is 18."
    assert sift(candidates(text), Limits(), "x").rationales
    assert sift(candidates(text), Limits(ascii_digits=True), "x").reasons() == {"foreign_digits": 1}


def test_the_most_diverse_are_kept() -> None:
    texts = [f"{words} The answer is 18." for words in ("a b c d.", "a b c e.", "u v w x.")]
    kept = sift(candidates(*texts), Limits("correct", 2, diverse=True), "x")
    assert [r.text for r in kept.rationales] == ["a b c d.", "u v w x."]
    assert kept.reasons() == {"over_limit": 1}
    assert [r.text for r in sift(candidates(*texts), Limits("correct", 2), "x").rationales] == ["a b c d.", "a b c e."]


@given(st.lists(st.text("ab c", max_size=12), max_size=9), st.integers(0, 9))
def test_a_choice_is_a_subset_of_that_size(texts: list[str], count: int) -> None:
    chosen = most_diverse(texts, count) if count else []
    assert len(chosen) == min(count, len(texts)) == len(set(chosen))
    assert chosen == sorted(chosen)


def test_the_greedy_choice_is_within_a_factor_of_two_of_the_best() -> None:
    texts = ["a b c", "a b d", "e f", "e g h", "a e", "i j k l"]

    def least(rows: tuple[int, ...]) -> float:
        words = [set(texts[row].split()) for row in rows]
        return min(1 - len(x & y) / len(x | y) for x, y in itertools.combinations(words, 2))

    best = max(map(least, itertools.combinations(range(6), 3)))
    assert least(tuple(most_diverse(texts, 3))) >= best / 2
