"""Which completions become rationales, and why the others do not."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kpodx.rationales.config import AcceptKind, FilterKind
from kpodx.rationales.requests import FailureReason
from kpodx.rationales.selection import commonest_answer, most_diverse
from kpodx.schema import Question, Rationale, Split
from kpodx.text.announcement_forms import is_bare_value
from kpodx.text.answers import AnswerReading, AnswerSource, answers_equal, read_answer, read_reply
from kpodx.text.completeness import TornReason, why_torn
from kpodx.text.completions import clean_completion, remove_calculator_marks
from kpodx.text.keypoints import gold_keypoints
from kpodx.text.reasoning import take_apart
from kpodx.text.steps import count_steps

Reason = (
    FailureReason
    | Literal[
        "no_thought",
        "no_question",
        "not_train",
        "broken_text",
        "empty",
        "unreadable_answer",
        "wrong_answer",
        "unannounced_answer",
        "disagreement",
        "torn",
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
_BROKEN = re.compile("[\ud800-\udfff\ufffd]")


@dataclass(frozen=True)
class Origin:
    """Where a completion came from.

    Attributes:
        request: key of the teacher's request, empty for texts that lay there already.
        sample: number of the sample.
        created: when, ISO 8601 in UTC; empty where nobody knows.
        server: which server wrote it, or which file it was in.
        line: line of that file, from 1; 0 if it was in none.
        adapted: which parameters the server wanted otherwise than they were asked for, empty for none.
        thought_characters: how long the teacher's thought was.
        dropped_characters: how much of what it wrote was left out by `rationales.thoughts`.
    """

    request: str = ""
    sample: int = 0
    created: str = ""
    server: str = ""
    line: int = 0
    adapted: str = ""
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
        reply: what the teacher answered when it was asked for the answer alone, None if it was not.
    """

    question: Question | None
    completion: str
    label: str = ""
    is_trusted: bool = False
    failure: FailureReason | Literal["no_thought"] | None = None
    origin: Origin = Origin()
    thought: str = ""
    is_thought_alone: bool = False
    reply: str | None = None


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
        max_steps: most steps of the reasoning, None for any number.
        max_tokens: most tokens of the reasoning, as `count_tokens` counts them; None for any number.
        count_tokens: called only if there is such a limit.
        accept: "announced" if an answer counts only behind an announcement.
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
    accept: AcceptKind = "any"


@dataclass
class Sifted:
    """What came of a list of completions.

    Attributes:
        rationales: what is kept.
        origins, num_steps, num_announcements: of each kept rationale, where it came from, its steps, and how many
            announcements of the answer were removed from it.
        rejections: the others.
        num_answers, num_correct: how many completions of train questions were read, and how many gave the right answer.
        sources: how many answers were read, by how the completion gives them.
        right_sources: how many of those are right.
    """

    rationales: list[Rationale] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    num_steps: list[int] = field(default_factory=list)
    num_announcements: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    num_answers: int = 0
    num_correct: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    right_sources: Counter[str] = field(default_factory=Counter)

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
        source: how the completion gives its answer, None if it gives none.
    """

    text: str
    answer: str | None
    is_correct: bool
    num_announcements: int
    torn: TornReason | None
    source: AnswerSource | None = None

    def is_accepted(self, accept: AcceptKind) -> bool:
        """Return whether the answer counts; one that the completion does not give itself always does."""
        return accept == "any" or self.source in ("announced", None)


def read_candidate(candidate: Candidate, question: Question) -> Reading:
    """Clean a completion and take it apart.

    Reasoning that is trusted and gives no answer sentence has the reference as its answer.
    """
    cleaned = remove_calculator_marks(clean_completion(candidate.completion, question.question))
    text, announcement, num_announcements = take_apart(cleaned)
    torn = why_torn(text)
    if candidate.is_trusted and not announcement:
        return Reading(text, question.answer, True, num_announcements, torn)
    found = _own_answer(cleaned, candidate.reply, question)
    is_correct = answers_equal(found.answer, question.answer, question.answer_kind)
    return Reading(text, found.answer, is_correct, num_announcements, torn, found.source)


def _own_answer(completion: str, reply: str | None, question: Question) -> AnswerReading:
    """Return the answer of a completion; if the teacher was asked for it alone, that of the reply and no other."""
    if reply is not None:
        return read_reply(reply, question.answer_kind, question.choices, question.question)
    return read_answer(completion, question.answer_kind, question.choices, question.question)


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
    agreed = _agreed_answers(given, readings, limits) if limits.filter == "agreement" else None
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
        if reading is not None and reading.source is not None:
            outcome.sources[reading.source] += 1
            outcome.right_sources[reading.source] += reading.is_correct
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


def _all_text(candidate: Candidate) -> str:
    """Return all that the teacher wrote."""
    return "".join((candidate.completion, candidate.thought, candidate.reply or ""))


def _broken_place(candidate: Candidate) -> str:
    """Return where a text that is not valid Unicode is, and its first broken character."""
    found = _BROKEN.search(_all_text(candidate))
    if found is None:
        return ""
    origin = candidate.origin
    where = f"{origin.server}, line {origin.line}: " if origin.line else ""
    what = "stands for a lost one" if found[0] == "\ufffd" else f"is the lone surrogate U+{ord(found[0]):04X}"
    return f"{where}character {found.start() + 1} {what}"


def is_broken(text: str) -> bool:
    """Return whether `text` holds half of a character ("\\ud83d"), or the sign that stands for a lost one (U+FFFD).

    >>> is_broken("18 apples"), is_broken("18 \\ud83d")
    (False, True)
    """
    return _BROKEN.search(text) is not None


def _writable(text: str) -> str:
    """Return `text` with what is not valid Unicode escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _read(candidate: Candidate) -> Reading | None:
    """The reading of a train question's completion, None of anything else."""
    question = candidate.question
    if question is None or question.split is not Split.TRAIN or candidate.failure or is_broken(_all_text(candidate)):
        return None
    return with_thought(read_candidate(candidate, question), candidate)


def with_thought(reading: Reading, candidate: Candidate) -> Reading:
    """Return the reading with the candidate's thought before its reasoning, or in place of it.

    A thought is not cut: a line in it that looks like a new question is the model's own.
    """
    if not candidate.thought:
        return reading
    thought, _, num_announcements = take_apart(remove_calculator_marks(candidate.thought))
    if candidate.is_thought_alone or not reading.text:
        return replace(reading, text=thought, num_announcements=num_announcements, torn=why_torn(thought))
    return replace(
        reading,
        text=f"{thought}\n{reading.text}".strip(),
        num_announcements=num_announcements + reading.num_announcements,
        torn=why_torn(thought) or reading.torn,
    )


def _agreed_answers(
    candidates: Sequence[Candidate], readings: Sequence[Reading | None], limits: Limits
) -> dict[str, str]:
    """The commonest answer of each question whose samples agree enough.

    Failures, and answers that do not count, are samples without an answer.
    """
    samples: dict[str, tuple[Question, list[str | None]]] = {}
    for candidate, reading in zip(candidates, readings, strict=True):
        if candidate.question is not None and candidate.question.split is Split.TRAIN:
            _, answers = samples.setdefault(candidate.question.id, (candidate.question, []))
            answers.append(reading.answer if reading and reading.is_accepted(limits.accept) else None)
    agreed = {}
    for question, answers in samples.values():
        answer, share = commonest_answer(answers, question.answer_kind)
        if answer is not None and share >= limits.min_agreement:
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
    # A value alone explains nothing, whether it was announced or not; "3 + 4 = 7" does.
    if length == 0 or ("=" not in reading.text and is_bare_value(reading.text)):
        return "empty"
    if limits.filter != "none" and reading.answer is None and not reading.is_correct:
        return "unreadable_answer"
    if limits.filter == "correct" and not reading.is_correct:
        return "wrong_answer"
    if not reading.is_accepted(limits.accept):
        return "unannounced_answer"
    if reading.torn:
        return "torn"
    if limits.ascii_digits and any(c.isdecimal() and not c.isascii() for c in reading.text):
        return "foreign_digits"
    if length < limits.min_characters:
        return "too_short"
    if limits.max_characters is not None and length > limits.max_characters:
        return "too_long"
    if limits.max_steps is not None and count_steps(reading.text) > limits.max_steps:
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
    keypoints = gold_keypoints(question, reading.text)
    return Rationale(f"{question.id}/{digest}", question.id, reading.text, answer, teacher, keypoints)


def _excerpt(candidate: Candidate) -> str:
    return _writable(candidate.completion[:EXCERPT_CHARACTERS])


def questions_without(questions: Sequence[Question], rationales: Sequence[Rationale]) -> int:
    """How many train questions have no kept rationale."""
    served = {rationale.question_id for rationale in rationales}
    return sum(question.split is Split.TRAIN and question.id not in served for question in questions)
