"""The embedded question set: generated multi-step word problems with verbose rationales.

**Synthetic.** A problem is a short story about one quantity that changes once a step. Every split draws from the same stories,
but a question belongs to the split that the hash of its text says, so that no test question can ever be in train.
Rationales are wordy on purpose (random filler words), and a share of them holds a wrong sum that is carried to the end, as a
teacher's mistakes would be: what filters, weights and schedules are for can be seen on this set without any download.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from kpodx.errors import DataError
from kpodx.runtime import derive_seed
from kpodx.schema import AnswerKind, Question, Split

NAMES = ("Tom", "Anna", "Ben", "Mia", "Sam", "Lucy", "Omar", "Nina", "Leo", "Zoe")
ITEMS = ("apples", "books", "eggs", "pens", "shells", "cards", "stamps", "coins", "cups", "plums")
GOODS = ("rice", "flour", "sand", "corn")
FILLERS = ("Well", "Okay", "Now", "Next", "Alright", "Then", "So", "Indeed", "First of all", "Let us see")
LINKS = ("so that makes", "which gives", "and that gives us", "so now it is", "and we get")
WRONG_RATE = 0.06
MOST_TRIES = 200_000
"""Stories drawn in a row without a new question before the set is taken to be exhausted (a few seconds)."""

_BUCKETS = {Split.TRAIN: range(0, 80), Split.VALIDATION: range(80, 90), Split.TEST: range(90, 100)}


@dataclass(frozen=True)
class Change:
    """One step of a story: the sentence that tells it, the sum `left operator right = result` and what it is about."""

    sentence: str
    reason: str
    operator: str
    operand: Decimal
    result: Decimal
    unit: str


@dataclass(frozen=True)
class Setting:
    """What a story is about: how it starts, how its quantity is asked for, and which changes can happen."""

    start: Callable[[random.Random, str, str], tuple[str, Decimal]]
    ask: str
    things: tuple[str, ...]
    changes: tuple[Callable[[random.Random, str, str, Decimal], Change | None], ...]


def format_number(value: Decimal) -> str:
    """A number as the stories write it: thousands commas, no trailing zeros.

    >>> format_number(Decimal("1200")), format_number(Decimal("2.50"))
    ('1,200', '2.5')
    """
    text = f"{value:,.2f}"
    return text.rstrip("0").rstrip(".")


def with_unit(value: Decimal, unit: str) -> str:
    """A quantity as the stories write it: "$2.50" for money, "12 apples" and "3.5 kg" for the rest."""
    if unit == "$":
        return f"${value:,.2f}" if value % 1 else f"${value:,.0f}"
    return f"{format_number(value)} {unit}"


def split_of(question: str) -> Split:
    """The split that a question text belongs to, by its hash: 80 % train, 10 % validation, 10 % test."""
    bucket = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big") % 100
    return next(split for split, buckets in _BUCKETS.items() if bucket in buckets)


def _pick(rng: random.Random, low: int, high: int, step: int = 1) -> Decimal:
    return Decimal(rng.randrange(low, high + 1, step))


def _amount(rng: random.Random, unit: str, value: Decimal) -> Decimal:
    """An amount to add or take away that suits the unit and the size of `value`."""
    if value >= 1000:
        return _pick(rng, 100, 500, 100)
    if unit == "kg" or (unit == "$" and rng.random() < 0.2):
        return _pick(rng, 1, 19) / 2
    return _pick(rng, 2, 20)


def _add(rng: random.Random, name: str, thing: str, value: Decimal, unit: str, verbs: tuple[str, ...]) -> Change:
    amount = _amount(rng, unit, value)
    quantity = with_unit(amount, unit)
    return Change(
        f"{name} {rng.choice(verbs).format(quantity, thing)}.",
        f"{name} gets more",
        "+",
        amount,
        value + amount,
        unit,
    )


def _take(
    rng: random.Random, name: str, thing: str, value: Decimal, unit: str, verbs: tuple[str, ...]
) -> Change | None:
    amount = _amount(rng, unit, value)
    if amount >= value:
        return None
    quantity = with_unit(amount, unit)
    return Change(
        f"{name} {rng.choice(verbs).format(quantity, thing)}.",
        f"{name} has less then",
        "-",
        amount,
        value - amount,
        unit,
    )


def _times(rng: random.Random, name: str, value: Decimal, unit: str) -> Change | None:
    factor = _pick(rng, 2, 3)
    if 120 < value < 1000 or value > 3000:
        return None
    word = {2: "twice", 3: "three times"}[int(factor)]
    tells = f"{name} then goes {word} as far in all." if unit == "km" else f"After a week {name} has {word} as much."
    return Change(tells, f"it is {word} as much", "*", factor, value * factor, unit)


def _share(rng: random.Random, name: str, value: Decimal, unit: str) -> Change | None:
    parts = _pick(rng, 2, 4)
    if value % parts or value < 2 * parts:
        return None
    return Change(
        f"{name} makes {parts} equal parts and keeps one part.",
        "one part is kept",
        "/",
        parts,
        value / parts,
        unit,
    )


def _percent_off(rng: random.Random, name: str, value: Decimal, unit: str) -> Change | None:
    percent = rng.choice((Decimal(10), Decimal(25), Decimal(50)))
    kept = 100 - percent
    if value * kept % 100 or value < 4:
        return None
    return Change(f"{name} then loses {percent}% of it.", f"{kept}% is kept", "*", kept / 100, value * kept / 100, unit)


def _sell(rng: random.Random, name: str, thing: str, value: Decimal) -> Change | None:
    price = rng.choice((Decimal("0.5"), *map(Decimal, range(2, 6))))
    if 100 < value < 1000 or value > 3000 or (price < 1 and value % 2):
        return None
    return Change(
        f"{name} sells all {thing} for {with_unit(price, '$')} each.",
        "all of them are sold",
        "*",
        price,
        value * price,
        "$",
    )


def _start_items(rng: random.Random, name: str, thing: str) -> tuple[str, Decimal]:
    value = _pick(rng, 1000, 3000, 500) if rng.random() < 0.1 else _pick(rng, 4, 50)
    return f"{name} has {with_unit(value, thing)}.", value


def _start_money(rng: random.Random, name: str, _thing: str) -> tuple[str, Decimal]:
    value = _pick(rng, 1000, 3000, 500) if rng.random() < 0.1 else _pick(rng, 10, 80) / rng.choice((1, 1, 1, 2))
    return f"{name} has {with_unit(value, '$')} in the bank.", value


def _start_goods(rng: random.Random, name: str, thing: str) -> tuple[str, Decimal]:
    value = _pick(rng, 4, 60) / 2
    return f"{name} has {with_unit(value, 'kg')} of {thing}.", value


def _start_distance(rng: random.Random, name: str, thing: str) -> tuple[str, Decimal]:
    value = _pick(rng, 3, 50)
    return f"{name} went {with_unit(value, 'km')} by {thing}.", value


SETTINGS: tuple[Setting, ...] = (
    Setting(
        _start_items,
        "How many {thing} does {name} have now?",
        ITEMS,
        (
            lambda r, n, t, v: _add(r, n, t, v, t, ("buys {0} more", "finds {0} in a box", "gets {0} from a friend")),
            lambda r, n, t, v: _take(
                r, n, t, v, t, ("gives {0} to a friend", "loses {0} on the way", "throws away {0}")
            ),
            lambda r, n, t, v: _times(r, n, v, t),
            lambda r, n, t, v: _share(r, n, v, t),
            lambda r, n, t, v: _percent_off(r, n, v, t) if v % 1 == 0 else None,
        ),
    ),
    Setting(
        _start_money,
        "How much money does {name} have now?",
        ("bank",),
        (
            lambda r, n, t, v: _add(r, n, t, v, "$", ("earns {0} at work", "gets {0} as a gift", "saves {0} more")),
            lambda r, n, t, v: _take(
                r, n, t, v, "$", ("spends {0} on food", "pays {0} for a shirt", "gives {0} to a friend")
            ),
            lambda r, n, _, v: _times(r, n, v, "$"),
            lambda r, n, _, v: _percent_off(r, n, v, "$"),
        ),
    ),
    Setting(
        _start_goods,
        "How many kg of {thing} does {name} have now?",
        GOODS,
        (
            lambda r, n, t, v: _add(r, n, t, v, "kg", ("buys {0} more", "gets {0} from the farm")),
            lambda r, n, t, v: _take(r, n, t, v, "kg", ("sells {0}", "uses {0}", "throws away {0}")),
            lambda r, n, _, v: _times(r, n, v, "kg"),
            lambda r, n, _, v: _share(r, n, v, "kg"),
        ),
    ),
    Setting(
        _start_distance,
        "How many km did {name} go in all?",
        ("bike", "bus", "train", "car"),
        (
            lambda r, n, t, v: _add(
                r, n, t, v, "km", ("goes {0} more on foot", "goes {0} more after lunch", "drives {0} more")
            ),
            lambda r, n, _, v: _times(r, n, v, "km"),
        ),
    ),
)


@dataclass(frozen=True)
class Level:
    """How hard the stories are: their settings, the largest quantity and operand, and the share with a sentence that does not matter."""

    settings: tuple[Setting, ...]
    largest: int
    largest_operand: int
    distractor_rate: float


def _start_few(rng: random.Random, name: str, thing: str) -> tuple[str, Decimal]:
    value = _pick(rng, 4, 30)
    return f"{name} has {with_unit(value, thing)}.", value


LEVELS = {
    "basic": Level((Setting(_start_few, SETTINGS[0].ask, ITEMS, SETTINGS[0].changes[:3]),), 60, 9, 0.0),
    "full": Level(SETTINGS, 9999, 9999, 0.35),
}
"""basic: at most 9 whole things added or taken away, doubled or tripled, never more than 60. full: also money, weights and distances,
decimals, thousands, shares, percentages, prices and sentences that do not matter."""


def _distractor(rng: random.Random, name: str) -> str:
    other = rng.choice([n for n in NAMES if n != name])
    number = format_number(_pick(rng, 2, 60))
    return rng.choice(
        (
            f"{other} is {number} years old.",
            f"The shop is {number} years old.",
            f"{other} has {number} {rng.choice(ITEMS)}.",
            f"It is day {number} of the year.",
            f"The bus takes {number} minutes.",
        )
    )


def draw_story(rng: random.Random, num_steps: int, level: Level) -> tuple[str, Decimal, list[Change]] | None:
    """A question text, its first quantity and its changes; None where the drawn changes do not fit each other."""
    setting = rng.choice(level.settings)
    name, thing = rng.choice(NAMES), rng.choice(setting.things)
    opening, value = setting.start(rng, name, thing)
    sentences, changes, start = [opening], [], value
    ask = setting.ask.format(name=name, thing=thing)
    for number in range(num_steps):
        sells = setting is SETTINGS[0] and number == num_steps - 1 and rng.random() < 0.4
        change = _sell(rng, name, thing, value) if sells else rng.choice(setting.changes)(rng, name, thing, value)
        if (
            change is None
            or change.result <= 0
            or change.result > level.largest
            or change.operand > level.largest_operand
            or (change.result * 100) % 1
        ):
            return None
        if change.unit not in ("$", "kg") and change.result % 1:
            return None
        if sells:
            ask = f"How much money does {name} get?"
        sentences.append(change.sentence)
        changes.append(change)
        value = change.result
    if rng.random() < level.distractor_rate:
        sentences.insert(rng.randrange(1, len(sentences) + 1), _distractor(rng, name))
    return " ".join([*sentences, ask]), start, changes


def _rationale(rng: random.Random, start: Decimal, changes: list[Change], wrong: bool) -> str:
    """A wordy rationale, one sentence a step, and its answer sentence; a wrong one errs in one step and carries it on."""
    faulty = rng.randrange(len(changes)) if wrong else -1
    value, error, sentences = start, Decimal(0), []
    for number, change in enumerate(changes):
        result = _apply(value, change)
        if number == faulty:
            error = rng.choice((Decimal(1), Decimal(2), Decimal(10)))
            result += error
        operand = format_number(change.operand)
        sum_text = f"{format_number(value)} {change.operator} {operand} = {format_number(result)}"
        sentences.append(f"{rng.choice(FILLERS)}, {change.reason}, {rng.choice(LINKS)} {sum_text}.")
        value = result
    return " ".join([*sentences, f"The answer is {format_number(value)}."])


def _apply(value: Decimal, change: Change) -> Decimal:
    operations: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
    }
    return operations[change.operator](value, change.operand).quantize(Decimal("0.01"))


def generate_questions(
    split: Split,
    count: int,
    *,
    seed: int,
    min_steps: int = 2,
    max_steps: int = 5,
    level: str = "full",
    wrong_rate: float = WRONG_RATE,
) -> list[Question]:
    """Generate `count` distinct questions of one split; the same arguments give the same questions.

    Args:
        split: which split; the hash of a question's text decides where it belongs, so splits never share one.
        count: number of questions.
        seed: seed of the stories.
        min_steps: least number of reasoning steps.
        max_steps: largest number of reasoning steps.
        level: a key of `LEVELS`.
        wrong_rate: share of rationales that err on purpose, in [0, 1].

    Raises:
        DataError: where there are not that many distinct questions.

    Returns:
        Questions whose `gold_rationales` hold one rationale each, ending with "The answer is X."; X is wrong where the rationale is.
    """
    rng = random.Random(derive_seed("embedded", split.value, seed))
    questions: dict[str, Question] = {}
    tries = 0
    while len(questions) < count:
        tries += 1
        if tries > MOST_TRIES:
            raise DataError(
                f"The stories have fewer than {count:,} distinct {split.value} questions of {min_steps} to {max_steps} steps; "
                f"{len(questions):,} were found.",
                hint="Ask for fewer questions, raise dataset.embedded.max_steps, or use level full.",
            )
        story = draw_story(rng, rng.randint(min_steps, max_steps), LEVELS[level])
        if story is None:
            continue
        text, start, changes = story
        if text in questions or split_of(text) is not split:
            continue
        questions[text] = Question(
            id=f"embedded-{split.value}-{len(questions):06d}",
            split=split,
            question=text,
            answer=format_number(changes[-1].result).replace(",", ""),
            answer_kind=AnswerKind.NUMBER,
            gold_rationales=(_rationale(rng, start, changes, wrong=rng.random() < wrong_rate),),
            num_steps=len(changes),
        )
        tries = 0
    return list(questions.values())
