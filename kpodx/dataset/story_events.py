"""What happens in an embedded story: how it begins, and how its quantity changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from kpodx.dataset.stories import Clause, Draft, Step, UnfitError
from kpodx.dataset.story_words import CONTAINERS, FOOD, GOODS, OBJECTS, PLACES, draw_thing

Quantity = Decimal | Step

TIMES = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}


@dataclass(frozen=True)
class Noun:
    """What a story counts: `unit` is "$", "kg", "km" or empty, `plural` what is asked for ("apples", "rice")."""

    unit: str
    plural: str
    edible: bool = False

    @property
    def is_counted(self) -> bool:
        """Whether there are many or few of it, not much or little."""
        return not self.unit

    @property
    def less(self) -> str:
        """The comparative that goes with it."""
        return "fewer" if self.is_counted else "less"

    @property
    def many(self) -> str:
        """The word that asks for its amount."""
        return "many" if self.is_counted else "much"

    @property
    def them(self) -> str:
        """The pronoun that stands for it."""
        return "them" if self.is_counted else "it"


def start_value(draft: Draft, noun: Noun) -> Decimal:
    rng, largest = draft.rng, draft.level.largest
    if noun.unit == "$" and largest > 100:
        if rng.random() < 0.1:
            return Decimal(rng.randrange(1000, 3001, 500))
        return draft.between(10, 80) / rng.choice((1, 1, 1, 2))
    if noun.unit == "kg":
        return draft.between(4, 60) / 2
    if noun.is_counted and largest > 100 and rng.random() < 0.1:
        return Decimal(rng.randrange(1000, 3001, 500))
    return draft.between(2, min(50, largest // 2))


def change_value(draft: Draft, value: Decimal, noun: Noun) -> Decimal:
    """An amount that comes or goes and suits the quantity that is there."""
    rng = draft.rng
    if value >= 1000:
        return Decimal(rng.randrange(100, 501, 100))
    if noun.unit == "kg" or (noun.unit == "$" and rng.random() < 0.2):
        return draft.between(1, 19) / 2
    return draft.between(2, min(20, draft.level.largest_amount))


def draw_noun(draft: Draft) -> Noun:
    rng = draft.rng
    kind = rng.choice(draft.level.kinds)
    if kind == "money":
        return Noun("$", "money")
    if kind == "goods":
        return Noun("kg", rng.choice(GOODS), True)
    if kind == "distance":
        return Noun("km", "distance")
    edible = rng.random() < 0.35
    return Noun("", draw_thing(rng, FOOD if edible else OBJECTS, draft.level.invented_rate), edible)


def begin(draft: Draft, noun: Noun, spare: int) -> Quantity:
    """Tell what is there at first; `spare` is the number of sums that a beginning may use, at most one is."""
    if noun.unit == "km":
        return _begin_distance(draft)
    if spare and noun.is_counted and draft.rng.random() < 0.5:
        return draft.rng.choice((_begin_groups, _begin_two_parts, _begin_rate))(draft, noun)
    value = start_value(draft, noun)
    amount = draft.amount(value, noun.unit)
    if noun.unit == "$":
        draft.tell(
            "{have} {n}"
            + draft.rng.choice(("", " in the bank", " in {owner} wallet")).format(owner=draft.person.owner),
            n=amount,
        )
    elif noun.unit == "kg":
        draft.tell("{have} {n} of {t}", n=amount, t=noun.plural)
    else:
        verb = draft.rng.choice(("have", "have", "have", "buy", "collect", "find", "make", "get", "pick"))
        tail = draft.rng.choice(("", "", "", f" {draft.rng.choice(PLACES)}"))
        draft.tell(f"{{{verb}}} {{n}} {{t}}{tail}", n=amount, t=noun.plural)
    return value


def _begin_distance(draft: Draft) -> Decimal:
    value = draft.between(3, 50)
    verb, way = draft.rng.choice(
        (("walk", ""), ("ride", " by bus"), ("drive", " by car"), ("run", ""), ("go", " by train"))
    )
    draft.tell(f"{{{verb}}} {{n}}{way}", n=draft.amount(value, "km"))
    return value


def _begin_groups(draft: Draft, noun: Noun) -> Step:
    count, each = draft.between(2, 9), draft.between(2, 10)
    box = draft.rng.choice(CONTAINERS)
    verb = draft.rng.choice(("have", "buy", "get", "find"))
    template = draft.rng.choice(
        ("{c} {box} of {k} {t}", "{c} {box} with {k} {t} in each", "{c} {box} of {t} with {k} {t} in each one")
    )
    draft.tell(f"{{{verb}}} {template}", c=draft.amount(count, ""), k=draft.amount(each, ""), box=box, t=noun.plural)
    return draft.add("*", count, each, f"there are {{left}} {box} of {{right}}", noun.unit)


def _begin_two_parts(draft: Draft, noun: Noun) -> Step:
    first, second = start_value(draft, noun), draft.between(2, 20)
    parts = draft.rng.choice(
        (
            "{a} {t} at home and {b} at school",
            "{a} red {t} and {b} blue {t}",
            "{a} big {t} and {b} small ones",
            "{a} {t} in one box and {b} in another",
            "{a} {t} on Monday and {b} on Tuesday",
        )
    )
    verb = "collect" if "Monday" in parts else "have"
    draft.tell(
        f"{{{verb}}} {parts}", a=draft.amount(first, ""), b=draft.amount(second, ""), t=noun.plural.split(" ")[-1]
    )
    return draft.add("+", first, second, "both parts are put together", noun.unit)


def _begin_rate(draft: Draft, noun: Noun) -> Step:
    each, count = draft.between(2, 10), draft.between(2, 9)
    verb = draft.rng.choice(("make", "collect", "buy", "find", "pick", "get"))
    template = draft.rng.choice(
        (
            "{k} {t} a day for {c} days",
            "{k} {t} every day for {c} days",
            "{k} {t} each week for {c} weeks",
            "{k} {t} an hour for {c} hours",
        )
    )
    draft.tell(f"{{{verb}}} {template}", c=draft.amount(count, ""), k=draft.amount(each, ""), t=noun.plural)
    return draft.add("*", each, count, "there are {left} each time, {right} times", noun.unit)


_GAINS = {
    "": (
        "{buy} {n} more", "{find} {n} more", "{get} {n} more from {f}", "{win} {n} more", "{pick} {n} more", "{collect} {n} more",
        "{make} {n} more", "{receive} {n} from {f}", "{borrow} {n} from {f}", "{add} {n} more",
        "!{f} {their_give} {o} {n} more", "!{f} {their_bring} {o} {n}", "!{f} {their_hand} {o} {n} more", "!{f} {their_give} {o} {n}",
    ),
    "$": ("{earn} {n} at work", "{get} {n} as a gift", "{save} {n} more", "{find} {n}", "!{f} {their_give} {o} {n}"),
    "kg": ("{buy} {n} more", "{get} {n} more from {f}", "!{f} {their_bring} {o} {n} more"),
    "km": ("{walk} {n} more", "{go} {n} more after lunch", "{drive} {n} more", "{run} another {n}"),
}  # fmt: skip
_LOSSES = {
    "": (
        "{give} {n} to {f}", "{give} {n} of them away", "{give} away {n}", "{lose} {n}", "{lose} {n} of them", "{sell} {n}", "{use} {n}",
        "{throw} away {n}", "{break} {n}", "{donate} {n}", "{drop} {n}", "{trade} away {n}", "{return} {n}", "{lend} {n} to {f}",
        "{hand} {n} to {f}", "{sell} {n} of them", "{send} {n} to {f}", "{use} {n} of them",
        "!{f} {their_take} {n} of them", "!{f} {their_borrow} {n}", "!{n} of them {all_be} lost", "!{n} of them {all_break}",
        "!{f} {their_lose} {n} of them",
    ),
    "$": ("{spend} {n} on food", "{pay} {n} for a shirt", "{give} {n} to {f}", "{lose} {n}", "{spend} {n}", "{pay} {f} {n}"),
    "kg": ("{sell} {n}", "{use} {n}", "{throw} away {n}", "{give} {n} to {f}", "{use} {n} of it"),
    "km": (),
}  # fmt: skip
_EATEN = ("{eat} {n}", "{eat} {n} of them", "!{f} {their_eat} {n} of them", "{cook} {n}")
_HALVES = (
    "{give} half of {them} to {f}",
    "{sell} half of {them}",
    "{lose} half of {them}",
    "{use} half of {them}",
    "{give} away half of {them}",
)
MORE_REASONS = ("{right} more come in", "there are {right} more", "{right} are added", "we add {right}")
LESS_REASONS = ("{right} go away", "there are {right} {less}", "{right} are taken away", "we take away {right}")


def _told_by(draft: Draft, plain: tuple[str, ...], verbose: str) -> str:
    """The reason of a sum: short at the basic level, with who and what at the full one."""
    return verbose if draft.level.verbose else draft.rng.choice(plain)


def _operand(noun: Noun) -> str:
    """The place of the right operand in a template of a reason, which is filled twice."""
    return {"$": "{{right$}}", "": "{{right}}"}.get(noun.unit, f"{{{{right}}}} {noun.unit}")


def _tell_event(draft: Draft, template: str, **values: str) -> None:
    """Append a clause; a template with "!" at its start is a whole one, whose subject is another person."""
    text = draft.say(template.removeprefix("!"), **values)
    draft.clauses.append(Clause(text, is_whole=template.startswith("!")))


def gain(draft: Draft, value: Quantity, noun: Noun) -> Step:
    amount = change_value(draft, size(value), noun)
    _tell_event(draft, draft.rng.choice(_GAINS[noun.unit]), n=draft.amount(amount, noun.unit), f=draft.other())
    verbose = draft.say(f"{draft.person.inside} {{get}} {_operand(noun)} more {noun.plural}")
    return draft.add("+", value, amount, _told_by(draft, MORE_REASONS, verbose), noun.unit)


def lose(draft: Draft, value: Quantity, noun: Noun) -> Step:
    amount = change_value(draft, size(value), noun)
    templates = _LOSSES[noun.unit] + (_EATEN if noun.edible and noun.is_counted else ())
    if not templates or amount >= size(value):
        raise UnfitError
    _tell_event(draft, draft.rng.choice(templates), n=draft.amount(amount, noun.unit), f=draft.other())
    verbose = draft.say(f"{draft.person.inside} {{have}} {_operand(noun)} {noun.less} {noun.plural}")
    plain = tuple(reason.replace("{less}", noun.less) for reason in LESS_REASONS)
    return draft.add("-", value, amount, _told_by(draft, plain, verbose), noun.unit)


def multiply(draft: Draft, value: Quantity, noun: Noun) -> Step:
    factor = draft.between(2, 3)
    times = TIMES[int(factor)]
    if noun.unit == "km":
        draft.tell(f"then {{go}} {times} as far in all")
    elif factor == 2 and noun.is_counted and draft.rng.random() < 0.4:
        draft.tell("{double} {owner} {t}", t=noun.plural)
    else:
        draft.tell(f"After a week {draft.person.inside} {{have}} {times} as {noun.many}", is_whole=True, timeless=True)
    return draft.add("*", value, factor, f"that is {times} as much", noun.unit)


def _halve(draft: Draft, value: Quantity, noun: Noun) -> Step:
    if noun.unit == "km":
        raise UnfitError
    _tell_event(draft, draft.rng.choice(_HALVES), them=noun.them, f=draft.other())
    return draft.add("/", value, Decimal(2), "only half is left", noun.unit)


def _keep_a_share(draft: Draft, value: Quantity, noun: Noun) -> Step:
    if noun.unit == "km":
        raise UnfitError
    parts = draft.between(2, 4)
    draft.tell("{split} {them} into {n} equal parts and {keep} one part", them=noun.them, n=draft.amount(parts, ""))
    return draft.add("/", value, parts, "one of {right} equal parts is kept", noun.unit)


def _lose_percent(draft: Draft, value: Quantity, noun: Noun) -> Step:
    if not draft.level.verbose or noun.unit == "km":
        raise UnfitError
    kept = Decimal(draft.rng.choice((50, 75, 90)))
    draft.tell(f"{{lose}} {100 - kept}% of {noun.them}")
    return draft.add("*", value, kept / 100, f"{kept}% is kept", noun.unit)


EVENTS: tuple[tuple[Callable[[Draft, Quantity, Noun], Step], int], ...] = (
    (gain, 6), (lose, 7), (multiply, 2), (_halve, 2), (_keep_a_share, 1), (_lose_percent, 1),
)  # fmt: skip


def size(value: Quantity) -> Decimal:
    return value.result if isinstance(value, Step) else value
