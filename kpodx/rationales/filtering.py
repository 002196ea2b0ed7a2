"""Which completions become rationales, and why the others do not."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kpodx.rationales.config import FilterKind
from kpodx.rationales.requests import FailureReason
from kpodx.rationales.selection import commonest_answer, most_diverse
from kpodx.schema import Question, Rationale, Split
from kpodx.text.answers import answers_equal, extract_answer
from kpodx.text.completeness import TornReason, why_torn
from kpodx.text.completions import clean_completion, remove_calculator_marks
from kpodx.text.reasoning import take_apart
from kpodx.text.steps import count_steps

Reason = (
    FailureReason
    | Literal[
        "no_question",
        "not_train",
        "broken_text",
        "empty",
        "unreadable_answer",
        "wrong_answer",
        "disagreement",
        "torn",
        "foreign_digits",
        "too_short",
        "too_long",
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
        server: which server wrote it, or which file it was in.
        line: line of that file, from 1; 0 if it was in none.
    """

    request: str = ""
    sample: int = 0
    created: str = ""
    server: str = ""
    line: int = 0


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
    """

    question: Question | None
    completion: str
    label: str = ""
    is_trusted: bool = False
    failure: FailureReason | None = None
    origin: Origin = Origin()


@dataclass(frozen=True)
class Rejection:
    """A completion that was not kept.

    Attributes:
        question_id: the question it answers, or what the record calls it.
        reason: why it was rejected.
        excerpt: its first 200 characters.
        answer: the answer read from it, None if none can be read.
        detail: where it is in its file if its text is broken, what it ends inside of if it is torn; else empty.
    """

    question_id: str
    reason: Reason
    excerpt: str
    answer: str | None
    detail: str = ""


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
    """

    filter: FilterKind = "correct"
    max_per_question: int | None = None
    min_characters: int = 1
    max_characters: int | None = None
    min_agreement: float = 0.5
    diverse: bool = False
    ascii_digits: bool = False


@dataclass
class Sifted:
    """What came of a list of completions.

    Attributes:
        rationales: what is kept.
        origins, num_steps, num_announcements: of each kept rationale, where it came from, its steps, and how many
            announcements of the answer were removed from it.
        rejections: the others.
        num_answers, num_correct: how many completions of train questions were read, and how many gave the right answer.
    """

    rationales: list[Rationale] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    num_steps: list[int] = field(default_factory=list)
    num_announcements: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    num_answers: int = 0
    num_correct: int = 0

    def reasons(self) -> dict[str, int]:
        """How many were rejected for each reason, the most frequent first."""
        return dict(Counter(rejection.reason for rejection in self.rejections).most_common())

    def torn(self) -> dict[str, int]:
        """Return how many rejected texts end inside of what, the most frequent first."""
        return dict(Counter(one.detail for one in self.rejections if one.reason == "torn").most_common())


@dataclass(frozen=True)
class Reading:
    """A completion taken apart.

    Attributes:
        text: its reasoning, without any announcement of the answer.
        answer: its own answer, None if it cannot be read.
        is_correct: whether that is the reference.
        num_announcements: how many announcements were removed.
        torn: what the reasoning ends inside of, None if it ends whole.
    """

    text: str
    answer: str | None
    is_correct: bool
    num_announcements: int
    torn: TornReason | None


def read_candidate(candidate: Candidate, question: Question) -> Reading:
    """Clean a completion and take it apart.

    Reasoning that is trusted and gives no answer sentence has the reference as its answer.
    """
    cleaned = remove_calculator_marks(clean_completion(candidate.completion, question.question))
    text, announcement, num_announcements = take_apart(cleaned)
    torn = why_torn(text)
    if candidate.is_trusted and not announcement:
        return Reading(text, question.answer, True, num_announcements, torn)
    answer = extract_answer(cleaned, question.answer_kind, question.choices)
    is_correct = answers_equal(answer, question.answer, question.answer_kind)
    return Reading(text, answer, is_correct, num_announcements, torn)


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
            outcome.num_steps.append(count_steps(reading.text))
            outcome.num_announcements.append(reading.num_announcements)
        else:
            outcome.rejections.append(_rejection(candidate, reading, reason))
    return outcome


def _rejection(candidate: Candidate, reading: Reading | None, reason: Reason) -> Rejection:
    """Return the record of a completion that is not kept."""
    label = candidate.label if candidate.question is None else candidate.question.id
    answer = reading.answer if reading else None
    detail = ""
    if reason == "torn" and reading is not None:
        detail = str(reading.torn)
    elif reason == "broken_text":
        detail = _broken_place(candidate)
    return Rejection(_writable(label), reason, _excerpt(candidate), answer, detail)


def _broken_place(candidate: Candidate) -> str:
    """Return where a text that is not valid Unicode is, and its first broken character."""
    try:
        candidate.completion.encode()
    except UnicodeEncodeError as error:
        origin = candidate.origin
        where = f"{origin.server}, line {origin.line}: " if origin.line else ""
        return (
            f"{where}character {error.start + 1} is the lone surrogate U+{ord(candidate.completion[error.start]):04X}"
        )
    return ""


def is_broken(text: str) -> bool:
    """Return whether `text` cannot be written as UTF-8, because it holds half of a character ("\\ud83d").

    >>> is_broken("18 apples"), is_broken("18 \\ud83d")
    (False, True)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _writable(text: str) -> str:
    """Return `text` with what is not valid Unicode escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _read(candidate: Candidate) -> Reading | None:
    """The reading of a train question's completion, None of anything else."""
    question = candidate.question
    if question is None or question.split is not Split.TRAIN or candidate.failure or is_broken(candidate.completion):
        return None
    return read_candidate(candidate, question)


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
        return candidate.failure or "broken_text"
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
    if reading.torn:
        return "torn"
    if limits.ascii_digits and any(c.isdecimal() and not c.isascii() for c in reading.text):
        return "foreign_digits"
    if length < limits.min_characters:
        return "too_short"
    return "too_long" if limits.max_characters is not None and length > limits.max_characters else None


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
    return _writable(candidate.completion[:EXCERPT_CHARACTERS])


def questions_without(questions: Sequence[Question], rationales: Sequence[Rationale]) -> int:
    """How many train questions have no kept rationale."""
    served = {rationale.question_id for rationale in rationales}
    return sum(question.split is Split.TRAIN and question.id not in served for question in questions)
