"""Which completions become rationales: one case for each reason, order, limits, and both kinds of filter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.dataset.embedded import generate_questions
from kpodx.rationales.filtering import Candidate, Limits, Origin, questions_without, sift
from kpodx.schema import AnswerKind, Question, Split

TRAIN = Question("q1", Split.TRAIN, "How many?", "18")
TEST = Question("t1", Split.TEST, "How few?", "18")
CHOICE = Question("c1", Split.TRAIN, "Where?", "B", AnswerKind.CHOICE, ("sea", "zoo"))


def reasons(*candidates: Candidate, limits: Limits | None = None) -> list[str]:
    return [rejection.reason for rejection in sift(candidates, limits or Limits(), "x").rejections]


def test_a_right_completion_is_kept_without_its_answer_sentence() -> None:
    outcome = sift([Candidate(TRAIN, "\nA: 9 * 2 = <<9*2=18>>18.\nThe answer is $18.\n\nQ: More?")], Limits(), "gpt")
    (rationale,) = outcome.rationales
    assert (rationale.text, rationale.answer, rationale.question_id, rationale.teacher) == (
        "9 * 2 = 18.",
        "18",
        "q1",
        "gpt",
    )
    assert (outcome.num_answers, outcome.num_correct, outcome.rejections) == (1, 1, [])


def test_choices_are_checked_by_letter() -> None:
    outcome = sift([Candidate(CHOICE, "It has bars. So the answer is (b) zoo.")], Limits(), "x")
    assert [rationale.answer for rationale in outcome.rationales] == ["B"]


def test_every_reason() -> None:
    right = "9 * 2 = 18. The answer is 18."
    assert reasons(Candidate(None, right, "lost")) == ["no_question"]
    assert reasons(Candidate(TEST, right)) == ["not_train"]
    assert reasons(Candidate(TRAIN, "  \n")) == ["empty"]
    assert reasons(Candidate(TRAIN, "Q: What?")) == ["empty"]
    assert reasons(Candidate(TRAIN, "The answer is 18.")) == ["empty"]
    assert reasons(Candidate(TRAIN, "We cannot say.")) == ["unreadable_answer"]
    assert reasons(Candidate(TRAIN, "9 * 3 = 27. The answer is 27.")) == ["wrong_answer"]
    assert reasons(Candidate(TRAIN, right), limits=Limits(min_characters=12)) == ["too_short"]
    assert reasons(Candidate(TRAIN, right), limits=Limits(max_characters=10)) == ["too_long"]
    assert reasons(Candidate(TRAIN, right), limits=Limits(min_characters=11, max_characters=11)) == []
    assert reasons(Candidate(TRAIN, right), Candidate(TRAIN, "A: " + right)) == ["duplicate"]
    other = Candidate(TRAIN, "6 * 3 = 18. The answer is 18.")
    assert reasons(Candidate(TRAIN, right), other, limits=Limits(max_per_question=1)) == ["over_limit"]


def test_a_torn_text_is_rejected_and_counted_by_its_kind() -> None:
    ends = ["Therefore, Olivia collected", "She has (9 * 2", "**So she has 18 eggs.", "```python\n9 * 2"]
    candidates = [Candidate(TRAIN, f"The answer is 18.\n\n9 * 2 = 18. {end}") for end in ends[:3]]
    candidates.append(Candidate(TRAIN, f"The answer is 18.\n\n9 * 2 = 18.\n{ends[3]}"))
    for filter_kind in ("correct", "none"):
        outcome = sift(candidates, Limits(filter_kind), "x")
        assert outcome.reasons() == {"torn": 4}
        assert outcome.torn() == {"sentence": 1, "bracket": 1, "emphasis": 1, "code": 1}


def test_announcements_are_counted_in_what_is_kept() -> None:
    outcome = sift(
        [
            Candidate(CHOICE, "The answer is (B). It has bars. So the answer is (b) zoo."),
            Candidate(TRAIN, "She makes 9 * 2 = \\boxed{18} dollars."),
            Candidate(TRAIN, "9 * 3 = 27. The answer is 27."),
        ],
        Limits(),
        "x",
    )
    assert [rationale.text for rationale in outcome.rationales] == ["It has bars.", "She makes 9 * 2 = 18 dollars."]
    assert outcome.num_announcements == [2, 0]


def test_broken_text_is_rejected_with_its_place() -> None:
    broken = "9 * 2 = 18 \ud83d. The answer is 18."
    outcome = sift(
        [
            Candidate(TRAIN, broken, origin=Origin(server="records.jsonl", line=7)),
            Candidate(TRAIN, broken),
            Candidate(None, broken, "lost \udc00"),
        ],
        Limits(),
        "x",
    )
    assert [rejection.reason for rejection in outcome.rejections] == ["broken_text", "broken_text", "no_question"]
    place = "character 12 is the lone surrogate U+D83D"
    assert [rejection.detail for rejection in outcome.rejections] == [f"records.jsonl, line 7: {place}", place, ""]
    for rejection in outcome.rejections:
        assert (rejection.excerpt + rejection.question_id).encode()
    assert outcome.num_answers == 0


def test_a_rejection_tells_what_was_read() -> None:
    (rejection,) = sift([Candidate(TRAIN, "x" * 300 + " is 27. The answer is 27.")], Limits(), "x").rejections
    assert (rejection.question_id, rejection.answer, rejection.excerpt) == ("q1", "27", "x" * 200)


def test_trusted_reasoning_without_answer_is_right_but_with_a_wrong_one_is_not() -> None:
    outcome = sift(
        [
            Candidate(TRAIN, "9 * 2 = 20, roughly.", is_trusted=True),
            Candidate(TRAIN, "9 * 2 = 20. The answer is 20.", is_trusted=True),
        ],
        Limits(),
        "gold",
    )
    assert [rationale.text for rationale in outcome.rationales] == ["9 * 2 = 20, roughly."]
    assert [rejection.reason for rejection in outcome.rejections] == ["wrong_answer"]


def test_without_the_filter_a_wrong_rationale_argues_for_its_own_answer() -> None:
    limits = Limits("none")
    outcome = sift(
        [
            Candidate(TRAIN, "9 * 3 = 27. The answer is 27."),
            Candidate(TRAIN, "We cannot say. The answer is unknown."),
            Candidate(TRAIN, "9 * 2 = 18. The answer is 18.00."),
        ],
        limits,
        "x",
    )
    assert [rationale.answer for rationale in outcome.rationales] == ["27", "18", "18"]
    assert (outcome.num_answers, outcome.num_correct) == (3, 1)


def test_ids_do_not_depend_on_what_else_is_kept() -> None:
    first, second = (Candidate(TRAIN, f"{a} + {18 - a} = 18. The answer is 18.") for a in (3, 4))
    alone = sift([second], Limits(), "x").rationales
    both = sift([first, second], Limits(), "x").rationales
    assert both[1] == alone[0]
    assert both[0].id != both[1].id


def test_questions_without() -> None:
    kept = sift([Candidate(TRAIN, "9 * 2 = 18. The answer is 18.")], Limits(), "x").rationales
    assert questions_without([TRAIN, TEST, CHOICE], kept) == 1


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from([TRAIN, TEST, CHOICE, None]), st.text("12 .x\n", max_size=12), st.integers(17, 19))
    ),
    st.booleans(),
    st.integers(1, 3),
)
def test_every_completion_is_kept_or_rejected_once(
    rows: list[tuple[Question | None, str, int]], only_correct: bool, limit: int
) -> None:
    candidates = [Candidate(question, f"{text} The answer is {answer}.") for question, text, answer in rows]
    outcome = sift(candidates, Limits("correct" if only_correct else "none", limit), "x")
    assert len(outcome.rationales) + len(outcome.rejections) == len(candidates)
    assert len({rationale.id for rationale in outcome.rationales}) == len(outcome.rationales)
    assert all(rationale.question_id in ("q1", "c1") and rationale.text for rationale in outcome.rationales)
    for question in ("q1", "c1"):
        assert sum(rationale.question_id == question for rationale in outcome.rationales) <= limit
    if only_correct:
        assert all(rationale.answer in ("18", "B") for rationale in outcome.rationales)


@pytest.mark.parametrize("text", ["18", "$18", "18 eggs.", "**18**", "\\boxed{18}"])
def test_a_bare_answer_is_not_a_rationale(text: str) -> None:
    assert sift([Candidate(TRAIN, text)], Limits(), "x").reasons() == {"empty": 1}


@pytest.mark.parametrize("text", ["9 * 2 = 18", "x = 18", "There are 18 eggs."])
def test_a_short_sum_or_sentence_is_one(text: str) -> None:
    assert len(sift([Candidate(TRAIN, text)], Limits("none"), "x").rationales) == 1


@pytest.mark.parametrize("level", ["basic", "full"])
def test_every_kept_embedded_rationale_carries_its_keypoints(level: str) -> None:
    questions = generate_questions(Split.TRAIN, 400, seed=0, min_steps=1, max_steps=6, level=level)
    outcome = sift([Candidate(question, question.gold_rationales[0]) for question in questions], Limits(), "embedded")
    assert len(outcome.rationales) > 300
    for rationale in outcome.rationales:
        assert rationale.keypoints
        marked = [rationale.text[start:stop] for start, stop in rationale.keypoints]
        assert marked[-1] == rationale.answer or marked[-1].replace(",", "") == rationale.answer
        assert all(any(map(str.isdigit, piece)) or piece in "+-*/=" for piece in marked)


def test_a_text_that_heads_no_gold_rationale_has_no_marks() -> None:
    question = replace(TRAIN, gold_rationales=("9 * 2 = 18. The answer is 18.",), gold_keypoints=(((0, 1), (8, 10)),))
    for text, marks in (("9 * 2 = 18. The answer is 18.", ((0, 1), (8, 10))), ("2 * 9 = 18. The answer is 18.", None)):
        [rationale] = sift([Candidate(question, text)], Limits(), "x").rationales
        assert rationale.keypoints == marks
