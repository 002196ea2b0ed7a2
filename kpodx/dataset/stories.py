"""What an embedded story is made of: its sums, its sentences, and how hard both may be."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from kpodx.dataset.story_words import FRIENDS, NUMBER_WORDS, Person, conjugate, draw_name, with_unit

_CENT = Decimal("0.01")
_OPERATIONS: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


class UnfitError(Exception):
    """The drawn amounts do not fit each other; draw another story."""


def apply(operator: str, left: Decimal, right: Decimal) -> Decimal:
    """Return `left operator right`, rounded to cents."""
    return _OPERATIONS[operator](left, right).quantize(_CENT)


@dataclass(frozen=True)
class Step:
    """One sum of a story: `left operator right = result`, and why it is done.

    `reason` is a clause that may hold "{left}" and "{right}"; `unit` is what the result counts.
    `left_from` and `right_from` are the steps whose results the operands are, None if the question gives them.
    """

    operator: str
    left: Decimal
    right: Decimal
    result: Decimal
    reason: str
    unit: str
    left_from: int | None = None
    right_from: int | None = None


@dataclass(frozen=True)
class Story:
    """A question with its sums in order; `asides` are the facts in it that no sum needs."""

    question: str
    steps: tuple[Step, ...]
    asides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Level:
    """How hard stories are.

    `kinds` are the quantities they are about. No value is above `largest`, no amount that comes or goes above `largest_amount`.
    `aside_rate` is the share of stories with a fact that does not matter; `verbose` rationales name who and what, and restate it.
    `number_word_rate` is the share of small numbers that are spelled, `invented_rate` that of names and things outside the lists.
    """

    kinds: tuple[str, ...]
    largest: int
    largest_amount: int
    aside_rate: float
    verbose: bool
    number_word_rate: float = 0.06
    invented_rate: float = 0.06


LEVELS = {
    "basic": Level(("things",), 100, 30, 0.0, False),
    "full": Level(("things", "things", "money", "goods", "distance"), 9999, 9999, 0.5, True),
}
"""basic: whole things up to 100. full: also money, weights and distances, decimals, thousands, percentages, prices, and facts that do
not matter, in rationales with more words."""


@dataclass(frozen=True)
class Clause:
    """A predicate of the story's person ("buys 5 more"), or a whole clause of its own if `is_whole`.

    A `timeless` clause says how things are, so no "later" can stand before it.
    """

    text: str
    is_whole: bool = False
    timeless: bool = False


@dataclass
class Draft:
    """A story while it is drawn: its person, its tense, its sums so far, and the clauses that tell them."""

    rng: random.Random
    level: Level
    person: Person
    past: bool
    steps: list[Step] = field(default_factory=list)
    clauses: list[Clause] = field(default_factory=list)

    def add(
        self,
        operator: str,
        left: Decimal | Step,
        right: Decimal | Step,
        reason: str,
        unit: str,
    ) -> Step:
        """Append a sum; an operand is a given number or an earlier step. Raise UnfitError if its result cannot stand in a story."""
        first, second = _value(left), _value(right)
        result = apply(operator, first, second)
        step = Step(operator, first, second, result, reason, unit, self._place(left), self._place(right))
        exact = _OPERATIONS[operator](step.left, step.right)
        if exact != step.result or not 0 < step.result <= self.level.largest:
            raise UnfitError
        if unit not in ("$", "kg", "km") and step.result % 1:
            raise UnfitError
        self.steps.append(step)
        return step

    def _place(self, value: Decimal | Step) -> int | None:
        return next(i for i, step in enumerate(self.steps) if step is value) if isinstance(value, Step) else None

    def say(self, template: str, **values: str) -> str:
        """Fill a template: verbs in braces agree with the person, "{their_…}" with one other person, "{all_…}" with several things."""
        return template.format_map(_Filler(self, values))

    def tell(self, template: str, *, is_whole: bool = False, timeless: bool = False, **values: str) -> None:
        """Append a clause."""
        self.clauses.append(Clause(self.say(template, **values), is_whole, timeless))

    def other(self) -> str:
        """Return another person as a story names one: "her brother", "a friend" or a name."""
        if self.rng.random() < 0.4:
            return self.other_name()
        return self.rng.choice(FRIENDS).format(owner=self.person.owner)

    def other_name(self) -> str:
        """Return a name other than the person's."""
        while True:
            name = draw_name(self.rng, self.level.invented_rate).name
            if name != self.person.name:
                return name

    def amount(self, value: Decimal, unit: str) -> str:
        """Return a quantity as the question gives it, small whole ones at times in words."""
        spelled = unit != "$" and value % 1 == 0 and value <= 20 and self.rng.random() < self.level.number_word_rate
        if spelled:
            return f"{NUMBER_WORDS[int(value)]} {unit}".strip()
        return with_unit(value, unit).strip()

    def between(self, low: int, high: int) -> Decimal:
        """Return a random whole number from low to high; raise UnfitError if low is above high."""
        if high < low:
            raise UnfitError
        return Decimal(self.rng.randint(low, high))


def _value(value: Decimal | Step) -> Decimal:
    return value.result if isinstance(value, Step) else value


class _Filler(dict[str, str]):
    """The words of a template: the values given, and verbs in the form that their subject and the tense ask for."""

    def __init__(self, draft: Draft, values: dict[str, str]) -> None:
        person = draft.person
        fixed = {"o": person.object, "owner": person.owner}
        super().__init__({**fixed, **values})
        self.draft = draft

    def __missing__(self, key: str) -> str:
        subject, _, verb = key.rpartition("_")
        takes_base = {"": self.draft.person.takes_base, "their": False, "all": True}[subject]
        return conjugate(verb, past=self.draft.past, takes_base=takes_base)


def capitalize(text: str) -> str:
    """Return the text with a capital letter at its start and the rest as it is."""
    return text[:1].upper() + text[1:]


def join_words(parts: Sequence[str], last: str = "and") -> str:
    """Return "a", "a and b", or "a, b, and c"."""
    if len(parts) <= 2:
        return f" {last} ".join(parts)
    return ", ".join([*parts[:-1], f"{last} {parts[-1]}"])
