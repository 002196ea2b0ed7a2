"""Which completions become rationales, and why the others do not."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kpodx.schema import Question, Rationale, Split
from kpodx.text.answers import answers_equal, extract_answer
from kpodx.text.completions import clean_completion, remove_calculator_marks, split_completion

Reason = Literal[
    "no_question",
    "not_train",
    "empty",
    "unreadable_answer",
    "wrong_answer",
    "too_short",
    "too_long",
    "duplicate",
    "over_limit",
]
EXCERPT_CHARACTERS = 200


@dataclass(frozen=True)
class Candidate:
    """One completion and the question it answers (None where no question was found); `label` names unknown questions.

    `is_trusted` marks human reasoning: without an answer sentence of its own it is taken as right.
    """

    question: Question | None
    completion: str
    label: str = ""
    is_trusted: bool = False


@dataclass(frozen=True)
class Rejection:
    """A completion that was not kept: why, its first 200 characters, and the answer read from it."""

    question_id: str
    reason: Reason
    excerpt: str
    answer: str | None


@dataclass(frozen=True)
class Limits:
    """What is kept.

    Attributes:
        only_correct: whether the completion's own answer must be the reference.
        max_per_question: most rationales of one question, None for all.
        min_characters, max_characters: length of the reasoning.
    """

    only_correct: bool = True
    max_per_question: int | None = None
    min_characters: int = 1
    max_characters: int | None = None


@dataclass
class Sifted:
    """The outcome: kept rationales, rejections, and how many answers of train questions were read and were right."""

    rationales: list[Rationale] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    num_answers: int = 0
    num_correct: int = 0

    def reasons(self) -> dict[str, int]:
        """How many were rejected for each reason, the most frequent first."""
        return dict(Counter(rejection.reason for rejection in self.rejections).most_common())


@dataclass(frozen=True)
class Reading:
    """A completion taken apart: its reasoning, its own answer (None if unreadable), and whether that is the reference."""

    text: str
    answer: str | None
    is_correct: bool


def read_candidate(candidate: Candidate, question: Question) -> Reading:
    """Clean a completion and take it apart.

    Reasoning that is trusted and gives no answer sentence has the reference as its answer.
    """
    cleaned = remove_calculator_marks(clean_completion(candidate.completion))
    text, sentence = split_completion(cleaned)
    if candidate.is_trusted and not sentence:
        return Reading(text, question.answer, True)
    answer = extract_answer(cleaned, question.answer_kind, question.choices)
    return Reading(text, answer, answers_equal(answer, question.answer, question.answer_kind))


def sift(candidates: Iterable[Candidate], limits: Limits, teacher: str) -> Sifted:
    """Turn completions into rationales, in order; every other one is rejected with exactly one reason.

    A rationale's answer is the question's own. Without the filter for correct answers wrong rationales stay, as the paper
    literally has it, and carry the answer that they argue for where it can be read.

    Args:
        candidates: completions in the order they are to be preferred in.
        limits: what is kept.
        teacher: the name kept with each rationale.
    """
    outcome, seen, kept = Sifted(), set[tuple[str, str]](), Counter[str]()
    for candidate in candidates:
        question = candidate.question
        if question is None or question.split is not Split.TRAIN:
            label = candidate.label if question is None else question.id
            reason: Reason = "no_question" if question is None else "not_train"
            outcome.rejections.append(Rejection(label, reason, _excerpt(candidate), None))
            continue
        reading = read_candidate(candidate, question)
        outcome.num_answers += 1
        outcome.num_correct += reading.is_correct
        rejected = _reason(reading, limits, (question.id, reading.text) in seen, kept[question.id])
        if rejected is not None:
            outcome.rejections.append(Rejection(question.id, rejected, _excerpt(candidate), reading.answer))
            continue
        seen.add((question.id, reading.text))
        kept[question.id] += 1
        outcome.rationales.append(_rationale(question, reading, limits, teacher))
    return outcome


def _reason(reading: Reading, limits: Limits, is_duplicate: bool, num_kept: int) -> Reason | None:
    """Why a completion is rejected, or None; the first reason that holds."""
    length = len(reading.text)
    if length == 0:
        return "empty"
    if limits.only_correct and not reading.is_correct:
        return "unreadable_answer" if reading.answer is None else "wrong_answer"
    if length < limits.min_characters:
        return "too_short"
    if limits.max_characters is not None and length > limits.max_characters:
        return "too_long"
    if is_duplicate:
        return "duplicate"
    return "over_limit" if limits.max_per_question is not None and num_kept >= limits.max_per_question else None


def _rationale(question: Question, reading: Reading, limits: Limits, teacher: str) -> Rationale:
    """The record that is kept; its id depends on the question and the reasoning alone, not on what else was kept."""
    digest = hashlib.sha256(reading.text.encode()).hexdigest()[:10]
    own = question.answer if limits.only_correct or reading.answer is None else reading.answer
    answer = question.answer if reading.is_correct else own
    return Rationale(f"{question.id}/{digest}", question.id, reading.text, answer, teacher)


def _excerpt(candidate: Candidate) -> str:
    return candidate.completion[:EXCERPT_CHARACTERS]


def questions_without(questions: Sequence[Question], rationales: Sequence[Rationale]) -> int:
    """How many train questions have no kept rationale."""
    served = {rationale.question_id for rationale in rationales}
    return sum(question.split is Split.TRAIN and question.id not in served for question in questions)
