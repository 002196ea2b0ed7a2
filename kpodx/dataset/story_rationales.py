"""The rationales of the embedded stories: one sentence per sum, and which characters of it are keypoints."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from decimal import Decimal

from kpodx.dataset.stories import Level, Step, Story, apply
from kpodx.dataset.story_words import format_number, with_unit
from kpodx.schema import Span

_ALONE = ("So", "First", "Here", "Now")
_FIRST = ("First", "To start", "First of all", "To begin")
_MIDDLE = ("Then", "Next", "After that", "Now", "Later")
_LAST = ("So", "Finally", "Then", "In the end", "Last")
_LINKS = ("so", "which gives", "and that makes", "so that is", "which makes")
_VERBOSE_TAILS = (
    "",
    "",
    " as we can see",
    " at this point",
    " once that is done",
    " if we look closely",
    " by the end of it",
)
_ASIDES = (
    "leaving aside that {fact}, {reason}",
    "and it does not matter that {fact}, {reason}",
    "although {fact}, which changes nothing, {reason}",
)


def write_rationale(rng: random.Random, story: Story, level: Level, *, is_wrong: bool) -> tuple[str, tuple[Span, ...]]:
    """Return a rationale and its keypoints: the numbers and operators that the answer depends on, by their characters.

    It has one sentence per sum and ends with "The answer is X." A wrong one errs in one sum and carries the error on.
    """
    writer = _Writer()
    results = _wrong_results(rng, story) if is_wrong else [step.result for step in story.steps]
    aside_at = rng.randrange(len(story.steps)) if story.asides else -1

    for number, (step, result) in enumerate(zip(story.steps, results, strict=True)):
        left, right = _operands(step, results)
        opener = rng.choice(_openers(number, len(story.steps)))
        reason = step.reason + (rng.choice(_VERBOSE_TAILS) if level.verbose else "")
        if number == aside_at:
            reason = rng.choice(_ASIDES).format(fact=story.asides[0], reason=reason)
        writer.plain(f"{opener}, ")
        writer.reason(reason, left, right)
        links = [link for link in _LINKS if opener != "So" or not link.startswith("so")]
        writer.plain(f", {rng.choice(links)} ")
        writer.sum(left, step.operator, right, result)
        writer.plain(". ")

    writer.plain("The answer is ")
    writer.key(format_number(results[-1]))
    writer.plain(".")
    return writer.text, tuple(writer.spans)


def _wrong_results(rng: random.Random, story: Story) -> list[Decimal]:
    """Return the results with an error in one sum, carried on; in the last one if it would leave nothing to count on the way."""
    error = rng.choice((Decimal(1), Decimal(2), Decimal(10)))
    last = len(story.steps) - 1
    for faulty in (rng.randrange(last + 1), last):
        results: list[Decimal] = []
        for number, step in enumerate(story.steps):
            left, right = _operands(step, results)
            results.append(apply(step.operator, left, right) + (error if number == faulty else 0))
        if min(results) > 0:
            return results
    raise AssertionError("an error in the last sum leaves all results above zero")


def _operands(step: Step, results: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    left = step.left if step.left_from is None else results[step.left_from]
    right = step.right if step.right_from is None else results[step.right_from]
    return left, right


def _openers(number: int, count: int) -> tuple[str, ...]:
    if count == 1:
        return _ALONE
    if number == 0:
        return _FIRST
    return _LAST if number == count - 1 else _MIDDLE


class _Writer:
    """A text that grows, and the spans of its keypoints."""

    def __init__(self) -> None:
        self.text = ""
        self.spans: list[Span] = []

    def plain(self, text: str) -> None:
        self.text += text

    def key(self, text: str) -> None:
        self.spans.append((len(self.text), len(self.text) + len(text)))
        self.text += text

    def reason(self, template: str, left: Decimal, right: Decimal) -> None:
        """Append a clause; only the operands that it names are keypoints, not the numbers of its asides.

        "{right}" stands for a plain number, "{right$}" for an amount of money.
        """
        for piece in re.split(r"(\{(?:left|right)\$?\})", template):
            if not piece.startswith("{"):
                self.plain(piece)
                continue
            value = left if "left" in piece else right
            if "$" in piece:
                self.plain("$")
            self.key(with_unit(value, "$").removeprefix("$") if "$" in piece else format_number(value))

    def sum(self, left: Decimal, operator: str, right: Decimal, result: Decimal) -> None:
        for place, part in enumerate((format_number(left), operator, format_number(right), "=", format_number(result))):
            if place:
                self.plain(" ")
            self.key(part)
