"""Held, lost or undecided: a non-inferiority test on paired answers, and which questions flipped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from kpodx.schema import Prediction
from kpodx.statistics import exact_mcnemar, paired_bootstrap, tango_interval
from kpodx.text.steps import split_steps

Word = Literal["held", "lost", "undecided"]
BOOTSTRAP_SEED = 0
MOST_QUESTIONS = 10_000_000


@dataclass(frozen=True)
class Verdict:
    """A package's accuracy against its student's.

    Attributes:
        word: held (the loss is smaller than the margin), lost (it is larger) or undecided.
        questions: how many both answered.
        difference: accuracy(package) - accuracy(student).
        low: lower end of the score interval of the difference (Tango 1998), whose coverage leaves 1 - confidence below it.
        high: upper end, likewise.
        bootstrap: percentile interval of the difference, two-sided, by resampling questions.
        margin: what may be lost.
        gained: questions that only the package answered rightly.
        lost: questions that only the student answered rightly.
        p_value: exact McNemar, two-sided.
        more_questions: about so many more would decide, if answers go on as they did; None where it is decided.
    """

    word: Word
    questions: int
    difference: float
    low: float
    high: float
    bootstrap: tuple[float, float]
    margin: float
    gained: int
    lost: int
    p_value: float
    more_questions: int | None


def judge_package(student: Sequence[bool], package: Sequence[bool], *, margin: float, confidence: float) -> Verdict:
    """Test whether a package is not worse than its student by more than a margin.

    `held` rejects "worse by the margin or more" in a one-sided test at level 1 - confidence; `lost` rejects "worse by no more
    than the margin", likewise. Everything between is undecided.

    Args:
        student: whether it was right, by question.
        package: the same of the package, in the same order; not empty.
        margin: accuracy that may be lost, in (0, 1).
        confidence: of the one-sided tests, in (½, 1).
    """
    pairs = list(zip(student, package, strict=True))
    gained = sum(ours and not theirs for theirs, ours in pairs)
    lost = sum(theirs and not ours for theirs, ours in pairs)
    low, high = tango_interval(gained, lost, len(pairs), 2.0 * confidence - 1.0)
    word: Word = "held" if low > -margin else "lost" if high < -margin else "undecided"
    return Verdict(
        word,
        len(pairs),
        (gained - lost) / len(pairs),
        low,
        high,
        paired_bootstrap(package, student, BOOTSTRAP_SEED, confidence=confidence),
        margin,
        gained,
        lost,
        exact_mcnemar(gained, lost),
        _more_questions(gained, lost, len(pairs), margin, confidence) if word == "undecided" else None,
    )


def _more_questions(gained: int, lost: int, total: int, margin: float, confidence: float) -> int | None:
    """Questions that are missing for a verdict at these rates; None where the difference is the margin itself."""
    level = 2.0 * confidence - 1.0

    def decides(count: int) -> bool:
        scale = count / total
        low, high = tango_interval(round(gained * scale), round(lost * scale), count, level)
        return low > -margin or high < -margin

    count = total
    while not decides(count):
        count *= 2
        if count > MOST_QUESTIONS:
            return None
    enough, few = count, count // 2
    while enough - few > max(1, enough // 100):
        middle = (enough + few) // 2
        enough, few = (middle, few) if decides(middle) else (enough, middle)
    return enough - total


def least_questions(margin: float, confidence: float) -> int:
    """Fewest questions that can show `held`, without a single flip: z² (1 - margin) / margin.

    >>> least_questions(0.02, 0.95)
    133
    """
    z = NormalDist().inv_cdf(confidence)
    return math.floor(z * z * (1.0 - margin) / margin) + 1


@dataclass(frozen=True)
class Flip:
    """A question that only one of two answered rightly.

    Attributes:
        question_id: which.
        by: who was right, student or package.
        step: number, from 0, of the first step whose text differs from the student's.
        expected: that step of the student's.
        got: and of the package's; empty where it ended.
    """

    question_id: str
    by: Literal["student", "package"]
    step: int
    expected: str
    got: str


def flips(student: Sequence[Prediction], package: Sequence[Prediction]) -> Iterator[Flip]:
    """Every question that flipped, and where the two ways of reasoning parted."""
    for theirs, ours in zip(student, package, strict=True):
        if theirs.correct == ours.correct:
            continue
        before, after = _steps(theirs.output), _steps(ours.output)
        same = next(
            (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
        )
        expected = before[same] if same < len(before) else ""
        got = after[same] if same < len(after) else ""
        yield Flip(theirs.question_id, "student" if theirs.correct else "package", same, expected, got)


def _steps(text: str) -> list[str]:
    return [text[span.start : span.stop].strip() for span in split_steps(text)]
