"""How an embedded story ends: what is asked, which may take one sum more."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from kpodx.dataset.stories import Draft, UnfitError
from kpodx.dataset.story_events import Noun, Quantity, size, start_value
from kpodx.dataset.story_words import with_unit


def ask_amount(draft: Draft, noun: Noun) -> str:
    """Return the question that asks what is there at the end."""
    rng, subject = draft.rng, draft.person.inside
    do, pronoun = ("do" if draft.person.takes_base else "does"), draft.person.pronoun
    who = subject if rng.random() < 0.6 else pronoun
    if noun.unit == "km":
        return f"How many km did {who} go in all?"
    if noun.unit == "$":
        return f"How much money {do} {who} have {rng.choice(('now', 'left', 'in the end'))}?"
    what = f"many kg of {noun.plural}" if noun.unit == "kg" else f"many {noun.plural}"
    lost = bool(draft.steps) and draft.steps[-1].operator == "-"
    forms = [f"How {what} {do} {who} have now?", f"How {what} {do} {who} have?"]
    if lost:
        forms += [f"How {what} {do} {who} have left?", f"How {what} are left?", f"How {what} {do} {who} still have?"]
    if lost and noun.is_counted:
        forms += ["How many are left?", f"How many {do} {who} have left?", "How many remain?"]
    return rng.choice(forms)


def _end_together(draft: Draft, value: Quantity, noun: Noun) -> str:
    other, amount = draft.other(), start_value(draft, noun)
    draft.tell("{f} {their_have} {n}", is_whole=True, timeless=True, f=other, n=_some(draft, amount, noun))
    draft.add("+", value, amount, "both are added", noun.unit)
    what = "much money" if noun.unit == "$" else f"many {_asked(noun)}"
    return draft.rng.choice(
        (
            f"How {what} do they have together?",
            f"How {what} do they have in all?",
            f"How {what} do they have altogether?",
        )
    )


def _end_difference(draft: Draft, value: Quantity, noun: Noun) -> str:
    other = draft.other()
    amount = start_value(draft, noun)
    if amount >= size(value):
        raise UnfitError
    draft.tell("{f} {their_have} {n}", is_whole=True, timeless=True, f=other, n=_some(draft, amount, noun))
    draft.add("-", value, amount, "the difference is asked", noun.unit)
    do = "do" if draft.person.takes_base else "does"
    what = "much more money" if noun.unit == "$" else f"many more {_asked(noun)}"
    return f"How {what} {do} {draft.person.inside} have than {other}?"


def _end_goal(draft: Draft, value: Quantity, noun: Noun) -> str:
    goal = draft.between(int(size(value)) + 2, int(size(value)) + 30)
    verb = draft.rng.choice(("need", "want"))
    draft.tell(f"{{{verb}}} {{n}} in all", n=_some(draft, goal, noun))
    draft.add("-", goal, value, "we look for what is still missing", noun.unit)
    do = "do" if draft.person.takes_base else "does"
    what = "much more money" if noun.unit == "$" else f"many more {_asked(noun)}"
    return f"How {what} {do} {draft.person.pronoun} need?"


def _end_share(draft: Draft, value: Quantity, noun: Noun) -> str:
    parts = draft.between(2, 8)
    who, where = draft.rng.choice(
        (
            ("friends", ""),
            ("children", ""),
            ("students", ""),
            ("boxes", "in"),
            ("bags", "in"),
            ("plates", "on"),
            ("shelves", "on"),
        )
    )
    verb = draft.rng.choice(("put", "place", "pack")) if where else draft.rng.choice(("share", "split", "divide"))
    into = {"in": "into", "on": "on"}.get(where, "among")
    draft.tell(f"{{{verb}}} {noun.them} equally {into} {{n}} {who}", n=draft.amount(parts, ""))
    draft.add("/", value, parts, "we make {right} equal parts", noun.unit)
    one = {"children": "child", "boxes": "box", "shelves": "shelf"}.get(who, who.removesuffix("s"))
    if noun.unit == "$":
        return f"How much money does each {one} get?" if not where else f"How much money is {where} each {one}?"
    return (
        f"How many {_asked(noun)} are {where} each {one}?" if where else f"How many {_asked(noun)} does each {one} get?"
    )


def _end_groups(draft: Draft, value: Quantity, noun: Noun) -> str:
    each, box = draft.between(2, 10), draft.rng.choice(("bags", "boxes", "jars", "baskets", "trays"))
    one = {"boxes": "box"}.get(box, box.removesuffix("s"))
    draft.tell(f"{{put}} {{n}} in each {one}", n=draft.amount(each, noun.unit))
    draft.add("/", value, each, "each one holds {right}", "")
    do = "do" if draft.person.takes_base else "does"
    return f"How many {box} {do} {draft.person.pronoun} {draft.rng.choice(('need', 'fill', 'use'))}?"


def _end_sale(draft: Draft, value: Quantity, noun: Noun) -> str:
    if not noun.is_counted:
        raise UnfitError
    largest = 10 if draft.level.largest <= 100 else 5
    price = Decimal("0.5") if draft.level.verbose and draft.rng.random() < 0.2 else draft.between(2, largest)
    draft.tell(
        draft.rng.choice(("{sell} them all for {p} each", "{sell} each of them for {p}")), p=with_unit(price, "$")
    )
    draft.add("*", value, price, "each one brings {right$}", "$")
    do = "do" if draft.person.takes_base else "does"
    return f"How much money {do} {draft.person.pronoun} {draft.rng.choice(('get', 'make', 'earn'))}?"


ENDINGS: tuple[Callable[[Draft, Quantity, Noun], str], ...] = (
    _end_together, _end_difference, _end_goal, _end_share, _end_groups, _end_sale,
)  # fmt: skip


def _some(draft: Draft, value: Decimal, noun: Noun) -> str:
    amount = draft.amount(value, noun.unit)
    if noun.unit == "kg":
        return f"{amount} of {noun.plural}"
    return amount if noun.unit or draft.rng.random() < 0.4 else f"{amount} {noun.plural}"


def _asked(noun: Noun) -> str:
    return f"kg of {noun.plural}" if noun.unit == "kg" else noun.plural
