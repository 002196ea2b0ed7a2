"""Which completions become rationales, and why the others do not."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kpodx.rationales.config import FilterKind
from kpodx.rationales.requests import FailureReason
from kpodx.rationales.selection import commonest_answer, most_diverse
from kpodx.schema import Question, Rationale, Split
from kpodx.text.answers import answers_equal, extract_answer
from kpodx.text.completions import clean_completion, remove_calculator_marks, split_and_count
from kpodx.text.steps import count_steps

Reason = (
    FailureReason
    | Literal[
        "no_thought",
        "no_question",
        "not_train",
        "empty",
        "unreadable_answer",
        "wrong_answer",
        "disagreement",
        "foreign_digits",
        "too_short",
        "too_long",
        "too_many_steps",
        "too_many_tokens",
        "duplicate",
        "over_limit",
    ]
)
EXCERPT_CHARACTERS = 200


@dataclass(frozen=True)
class Origin:
    """Where a completion came from.

    Attributes:
        request: key of the teacher's request, empty for texts that lay there already.
        sample: number of the sample.
        created: when, ISO 8601 in UTC; empty where nobody knows.
        server: which server wrote it, or which file it lay in.
        thought_characters: how long the teacher's thought was.
        dropped_characters: how much of what it wrote was left out by `rationales.thoughts`.
    """

    request: str = ""
    sample: int = 0
    created: str = ""
    server: str = ""
    thought_characters: int = 0
    dropped_characters: int = 0


@dataclass(frozen=True)
class Candidate:
    """One completion and the question it answers.

    Attributes:
        question: None where no question was found.
        completion: the text.
        label: names unknown questions.
        is_trusted: marks human reasoning: without an answer sentence of its own it is taken as right.
        failure: why the teacher gave no text, None where it did.
        origin: where it came from.
        thought: the thought that goes into the rationale, before the completion; empty if none does.
        is_thought_alone: whether the rationale is the thought alone; the answer is read from the completion all the same.
    """

    question: Question | None
    completion: str
    label: str = ""
    is_trusted: bool = False
    failure: FailureReason | Literal["no_thought"] | None = None
    origin: Origin = Origin()
    thought: str = ""
    is_thought_alone: bool = False


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
        filter: "correct": the completion's own answer is the reference; "agreement": it is the one that most samples of the
            question give; "none": any.
        max_per_question: most rationales of one question, None for all.
        min_characters, max_characters: length of the reasoning.
        min_agreement: least share of a question's samples for the commonest answer.
        diverse: whether those that differ most are kept where there are too many, instead of the first.
        ascii_digits: whether digits of other scripts are refused.
        max_steps: most steps of the reasoning, None for any number.
        max_tokens: most tokens of the reasoning, as `count_tokens` counts them; None for any number.
        count_tokens: called only if there is such a limit.
    """

    filter: FilterKind = "correct"
    max_per_question: int | None = None
    min_characters: int = 1
    max_characters: int | None = None
    min_agreement: float = 0.5
    diverse: bool = False
    ascii_digits: bool = False
    max_steps: int | None = None
    max_tokens: int | None = None
    count_tokens: Callable[[str], int] = len


@dataclass
class Sifted:
    """Kept rationales with their origins and steps, rejections, and how many answers of train questions were read and right."""

    rationales: list[Rationale] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    num_steps: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    num_answers: int = 0
    num_correct: int = 0

    def reasons(self) -> dict[str, int]:
        """How many were rejected for each reason, the most frequent first."""
        return dict(Counter(rejection.reason for rejection in self.rejections).most_common())


@dataclass(frozen=True)
class Reading:
    """A completion taken apart: its reasoning, its own answer (None if unreadable), whether that is right, and its steps."""

    text: str
    answer: str | None
    is_correct: bool
    num_steps: int


def read_candidate(candidate: Candidate, question: Question) -> Reading:
    """Clean a completion and take it apart.

    Reasoning that is trusted and gives no answer sentence has the reference as its answer.
    """
    cleaned = remove_calculator_marks(clean_completion(candidate.completion))
    text, sentence, num_steps = split_and_count(cleaned)
    if candidate.is_trusted and not sentence:
        return Reading(text, question.answer, True, num_steps)
    answer = extract_answer(cleaned, question.answer_kind, question.choices)
    return Reading(text, answer, answers_equal(answer, question.answer, question.answer_kind), num_steps)


def sift(candidates: Iterable[Candidate], limits: Limits, teacher: str) -> Sifted:
    """Turn completions into rationales, in order; every other one is rejected with exactly one reason.

    A rationale's answer is the question's own. Without the filter for correct answers wrong rationales stay, as the paper
    literally has it, and carry the answer that they argue for where it can be read.

    Args:
        candidates: completions in the order they are to be preferred in.
        limits: what is kept.
        teacher: the name kept with each rationale.
    """
    given = list(candidates)
    readings = [_read(candidate) for candidate in given]
    agreed = _agreed_answers(given, readings, limits.min_agreement) if limits.filter == "agreement" else None
    seen = set[tuple[str, str]]()
    reasons = [
        _reason(candidate, reading, limits, agreed, seen) for candidate, reading in zip(given, readings, strict=True)
    ]
    for row in _surplus(given, readings, reasons, limits):
        reasons[row] = "over_limit"
    outcome = Sifted()
    for candidate, reading, reason in zip(given, readings, reasons, strict=True):
        outcome.num_answers += reading is not None
        outcome.num_correct += reading is not None and reading.is_correct
        if reason is None:
            assert candidate.question is not None
            assert reading is not None
            outcome.rationales.append(_rationale(candidate.question, reading, limits, teacher))
            outcome.origins.append(candidate.origin)
            outcome.num_steps.append(reading.num_steps)
        else:
            label = candidate.label if candidate.question is None else candidate.question.id
            answer = reading.answer if reading else None
            outcome.rejections.append(Rejection(label, reason, _excerpt(candidate), answer))
    return outcome


def _read(candidate: Candidate) -> Reading | None:
    """The reading of a train question's completion, None of anything else."""
    question = candidate.question
    if question is None or question.split is not Split.TRAIN or candidate.failure:
        return None
    return with_thought(read_candidate(candidate, question), candidate)


def with_thought(reading: Reading, candidate: Candidate) -> Reading:
    """Return the reading with the candidate's thought before its reasoning, or in place of it.

    A thought is not cut: a line in it that looks like a new question is the model's own.
    """
    if not candidate.thought:
        return reading
    thought, _, num_steps = split_and_count(remove_calculator_marks(candidate.thought))
    if candidate.is_thought_alone or not reading.text:
        return replace(reading, text=thought, num_steps=num_steps)
    text = f"{thought}\n{reading.text}".strip()
    return replace(reading, text=text, num_steps=count_steps(text))


def _agreed_answers(
    candidates: Sequence[Candidate], readings: Sequence[Reading | None], min_agreement: float
) -> dict[str, str]:
    """The commonest answer of each question whose samples agree enough, failures counted as samples without an answer."""
    samples: dict[str, tuple[Question, list[str | None]]] = {}
    for candidate, reading in zip(candidates, readings, strict=True):
        if candidate.question is not None and candidate.question.split is Split.TRAIN:
            _, answers = samples.setdefault(candidate.question.id, (candidate.question, []))
            answers.append(reading.answer if reading else None)
    agreed = {}
    for question, answers in samples.values():
        answer, share = commonest_answer(answers, question.answer_kind)
        if answer is not None and share >= min_agreement:
            agreed[question.id] = answer
    return agreed


def _reason(
    candidate: Candidate,
    reading: Reading | None,
    limits: Limits,
    agreed: Mapping[str, str] | None,
    seen: set[tuple[str, str]],
) -> Reason | None:
    """Why a completion is rejected, or None; the first reason that holds. `seen` grows by what is not rejected."""
    question = candidate.question
    if question is None:
        return "no_question"
    if question.split is not Split.TRAIN:
        return "not_train"
    if reading is None:
        return candidate.failure
    reason = _reason_of_text(reading, limits)
    if reason is None and agreed is not None:
        common = agreed.get(question.id)
        is_common = common is not None and answers_equal(reading.answer, common, question.answer_kind)
        reason = None if is_common else "disagreement"
    if reason is None and (question.id, reading.text) in seen:
        reason = "duplicate"
    if reason is None:
        seen.add((question.id, reading.text))
    return reason


def _reason_of_text(reading: Reading, limits: Limits) -> Reason | None:
    length = len(reading.text)
    if length == 0:
        return "empty"
    if limits.filter != "none" and reading.answer is None and not reading.is_correct:
        return "unreadable_answer"
    if limits.filter == "correct" and not reading.is_correct:
        return "wrong_answer"
    if limits.ascii_digits and any(c.isdecimal() and not c.isascii() for c in reading.text):
        return "foreign_digits"
    if length < limits.min_characters:
        return "too_short"
    if limits.max_characters is not None and length > limits.max_characters:
        return "too_long"
    if limits.max_steps is not None and reading.num_steps > limits.max_steps:
        return "too_many_steps"
    # Counted last: it is the slowest.
    is_long = limits.max_tokens is not None and limits.count_tokens(reading.text) > limits.max_tokens
    return "too_many_tokens" if is_long else None


def _surplus(
    candidates: Sequence[Candidate],
    readings: Sequence[Reading | None],
    reasons: Sequence[Reason | None],
    limits: Limits,
) -> Iterator[int]:
    """Rows that are too many for their question."""
    if limits.max_per_question is None:
        return
    rows: dict[str, list[int]] = {}
    for row, (candidate, reason) in enumerate(zip(candidates, reasons, strict=True)):
        if reason is None and candidate.question is not None:
            rows.setdefault(candidate.question.id, []).append(row)
    for mine in rows.values():
        kept = set(range(limits.max_per_question))
        if limits.diverse:
            kept = set(
                most_diverse([reading.text for row in mine if (reading := readings[row])], limits.max_per_question)
            )
        yield from (row for place, row in enumerate(mine) if place not in kept)


def _rationale(question: Question, reading: Reading, limits: Limits, teacher: str) -> Rationale:
    """The record that is kept; its id depends on the question and the reasoning alone, not on what else was kept."""
    digest = hashlib.sha256(reading.text.encode()).hexdigest()[:10]
    own = question.answer if limits.filter == "correct" or reading.answer is None else reading.answer
    answer = question.answer if reading.is_correct else own
    return Rationale(f"{question.id}/{digest}", question.id, reading.text, answer, teacher)


def _excerpt(candidate: Candidate) -> str:
    return candidate.completion[:EXCERPT_CHARACTERS]


def questions_without(questions: Sequence[Question], rationales: Sequence[Rationale]) -> int:
    """How many train questions have no kept rationale."""
    served = {rationale.question_id for rationale in rationales}
    return sum(question.split is Split.TRAIN and question.id not in served for question in questions)
