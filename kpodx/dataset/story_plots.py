"""The plots of the embedded stories: what happens, and what is asked.

A plot draws a story of exactly the number of sums asked for, or raises `UnfitError`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from kpodx.dataset.stories import Clause, Draft, Step, Story, UnfitError
from kpodx.dataset.story_endings import ENDINGS, ask_amount
from kpodx.dataset.story_events import (
    EVENTS,
    LESS_REASONS,
    MORE_REASONS,
    TIMES,
    Noun,
    Quantity,
    begin,
    change_value,
    draw_noun,
    gain,
    lose,
    multiply,
    size,
)
from kpodx.dataset.story_telling import finish
from kpodx.dataset.story_words import ANIMALS, FOOD, INSIDE, OBJECTS, OUTSIDE, PEOPLE, PLACES, draw_thing, with_unit


def change_plot(draft: Draft, num_steps: int) -> Story:
    """Draw a quantity that changes: it comes, goes, doubles, is halved or shared; asked for at the end, or compared, or shared out."""
    noun = draw_noun(draft)
    with_ending = draft.rng.random() < 0.35 and noun.unit != "km"
    value = begin(draft, noun, num_steps - with_ending)
    # A way that was gone cannot be lost, halved or shared.
    events = [(event, weight) for event, weight in EVENTS if noun.unit != "km" or event in (gain, multiply)]
    while len(draft.steps) < num_steps - with_ending:
        [event] = draft.rng.choices([event for event, _ in events], [weight for _, weight in events])
        value = event(draft, value, noun)
    ask = draft.rng.choice(ENDINGS)(draft, value, noun) if with_ending else ask_amount(draft, noun)
    return finish(draft, ask)


def taking_plot(draft: Draft, num_steps: int) -> Story:
    """Draw a story in which something is taken, in one sentence that names the part before the whole; events may follow."""
    noun = Noun("", draw_thing(draft.rng, OBJECTS + FOOD, draft.level.invented_rate))
    whole = draft.between(5, 50)
    part = draft.between(2, min(int(whole) - 1, 20))
    verb = draft.rng.choice(
        ("give away", "lose", "sell", "use", "break", "hand out", "return", "drop", "donate", "share")
    )
    some, all_of = draft.amount(part, ""), f"{draft.amount(whole, '')} {noun.plural}"
    by_another = num_steps == 1 and draft.rng.random() < 0.4
    if by_another:
        where = draft.rng.choice(PLACES)
        draft.tell(f"{{f}} {{their_take}} {some} of the {all_of} {where}", is_whole=True, f=draft.other())
    else:
        first, _, rest = verb.partition(" ")
        draft.tell(f"{{{first}}} {rest} {some} of {{owner}} {all_of}".replace("  ", " "))
    plain = ("{right} of {left} go away", "there are {right} fewer", "{right} are taken away")
    value = draft.add("-", whole, part, draft.rng.choice(plain), noun.unit)
    while len(draft.steps) < num_steps:
        value = draft.rng.choice((gain, lose))(draft, value, noun)
    if by_another:
        left = (f"How many {noun.plural} are left?", "How many are left?", f"How many {noun.plural} are still there?")
        return finish(draft, draft.rng.choice(left))
    return finish(draft, ask_amount(draft, noun))


def place_plot(draft: Draft, num_steps: int) -> Story:
    """Draw animals, people or things at a place; some come and some go."""
    rng = draft.rng
    things, places, come, leave = rng.choice(
        (
            (ANIMALS, OUTSIDE, ("come", "join them", "arrive"), ("leave", "run away", "go away", "walk off")),
            (PEOPLE, INSIDE, ("come in", "join them", "arrive"), ("leave", "go home", "walk out")),
            (PEOPLE, ("on a bus", "on a train"), ("get on", "join them"), ("get off", "leave")),
            (
                OBJECTS + FOOD,
                PLACES,
                ("be added", "be put there"),
                ("be taken away", "be sold", "be removed", "be lost"),
            ),
        )
    )
    noun = Noun("", draw_thing(rng, things, draft.level.invented_rate, colors=things not in (PEOPLE, ANIMALS)))
    value: Quantity = draft.between(3, 50)
    draft.tell(
        "{there} {all_be} {n} {t} {p}",
        is_whole=True,
        there="there",
        n=draft.amount(size(value), ""),
        t=noun.plural,
        p=rng.choice(places),
    )
    while len(draft.steps) < num_steps:
        amount = change_value(draft, size(value), noun)
        comes = rng.random() < 0.5
        verb, _, rest = rng.choice(come if comes else leave).partition(" ")
        if not comes and amount >= size(value):
            raise UnfitError
        who = rng.choice(("{n} more", "{n} more {t}") if comes else ("{n}", "{n} of them", "{n} {t}"))
        draft.tell(f"{who} {{all_{verb}}} {rest}".rstrip(), is_whole=True, n=draft.amount(amount, ""), t=noun.plural)
        reasons = MORE_REASONS if comes else tuple(r.replace("{less}", "fewer") for r in LESS_REASONS)
        value = draft.add("+" if comes else "-", value, amount, rng.choice(reasons), "")
    lost = draft.steps[-1].operator == "-"
    asks = [
        f"How many {noun.plural} are there now?",
        f"How many {noun.plural} are there?",
        f"How many {noun.plural} are there in all?",
    ]
    asks += [
        f"How many {noun.plural} are left?",
        "How many are left?",
        f"How many {noun.plural} are still there?",
    ] * lost
    return finish(draft, rng.choice(asks))


def compare_plot(draft: Draft, num_steps: int) -> Story:
    """Draw people who have more, fewer, twice or half as many as each other, in any order; ask for one, a sum or a difference."""
    rng = draft.rng
    noun = Noun("", draw_thing(rng, OBJECTS + FOOD, draft.level.invented_rate))
    sums_up = num_steps > 1 and rng.random() < 0.5
    people = [draft.person.inside]
    value: Quantity = draft.between(2, 40)
    values: list[Quantity] = [value]
    draft.tell("{have} {n} {t}", n=draft.amount(size(value), ""), t=noun.plural)

    # The last two, or all of two, are added up or compared, which is one sum of its own.
    for _ in range(num_steps - sums_up):
        other = draft.other_name()
        if other in people:
            raise UnfitError
        value = _relate(draft, other, people[-1], value, noun)
        people.append(other)
        values.append(value)
    if not sums_up:
        ask = f"How many {noun.plural} does {people[-1]} have?"
    elif len(values) > 2 or rng.random() < 0.7:
        draft.add("+", values[-2], values[-1], "both are added", "")
        last = f"{people[-2]} and {people[-1]}"
        together = f"do {last} have" if len(values) > 2 or rng.random() < 0.4 else "do they have"
        ask = f"How many {noun.plural} {together} {rng.choice(('together', 'in all', 'altogether'))}?"
    else:
        high, low = sorted((values[-1], values[-2]), key=size, reverse=True)
        draft.add("-", high, low, "the difference is asked", "")
        more, than = (people[-1], people[-2]) if high is values[-1] else (people[-2], people[-1])
        ask = f"How many more {noun.plural} {_does(more)} {more} have than {_as_compared(than)}?"
    if rng.random() < 0.4:
        rng.shuffle(draft.clauses)
    return finish(draft, ask)


def _relate(draft: Draft, other: str, to: str, value: Quantity, noun: Noun) -> Step:
    """Tell how many another person has by how many the one before has."""
    rng, whom = draft.rng, _as_compared(to)
    kind = rng.choice(("more", "more", "fewer", "fewer", "times", "half"))
    thing = rng.choice((f" {noun.plural}", ""))
    if kind in ("more", "fewer"):
        most = 20 if kind == "more" else min(20, int(size(value)) - 1)
        amount = draft.between(2, most)
        draft.tell(
            f"{other} {{their_have}} {{n}} {kind}{thing} than {whom}",
            is_whole=True,
            timeless=True,
            n=draft.amount(amount, ""),
        )
        reason = rng.choice((f"that is {{right}} {kind}", f"there are {{right}} {kind}"))
        return draft.add("+" if kind == "more" else "-", value, amount, reason, "")
    if kind == "times":
        factor = draft.between(2, 4)
        draft.tell(
            f"{other} {{their_have}} {TIMES[int(factor)]} as many{thing} as {whom}", is_whole=True, timeless=True
        )
        return draft.add("*", value, factor, f"that is {TIMES[int(factor)]} as many", "")
    draft.tell(f"{other} {{their_have}} half as many{thing} as {whom}", is_whole=True, timeless=True)
    return draft.add("/", value, Decimal(2), "that is half as many", "")


def _does(person: str) -> str:
    return "do" if person in ("I", "we") else "does"


def _as_compared(person: str) -> str:
    return {"I": "I do", "we": "we do"}.get(person, person)


def days_plot(draft: Draft, num_steps: int) -> Story:
    """Draw amounts of several days, and ask for their sum."""
    rng = draft.rng
    noun = Noun("", draw_thing(rng, OBJECTS + FOOD, draft.level.invented_rate))
    verb = rng.choice(
        ("collect", "buy", "sell", "make", "find", "pick", "use", "read" if noun.plural == "books" else "get")
    )
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
    total: Quantity = draft.between(2, 30)
    draft.tell(f"{{{verb}}} {{n}} {{t}} on {days[0]}", n=draft.amount(size(total), ""), t=noun.plural)
    last: Quantity = total
    number = 0
    while len(draft.steps) < num_steps:
        number += 1
        day = days[number % len(days)]
        if num_steps - len(draft.steps) > 1 and number == 1 and rng.random() < 0.6:
            times = rng.choice(("twice", "three times", "half"))
            draft.tell(f"{{{verb}}} {times} as many on {day}", timeless=True)
            factor = {"twice": 2, "three times": 3, "half": 2}[times]
            last = draft.add("/" if times == "half" else "*", last, Decimal(factor), f"{day} has {times} as many", "")
            total = draft.add("+", total, last, "both days are added", "")
            continue
        amount = draft.between(2, 30)
        draft.tell(
            rng.choice((f"{{{verb}}} {{n}} on {day}", f"{{{verb}}} {{n}} more on {day}")), n=draft.amount(amount, "")
        )
        total = draft.add(
            "+", total, amount, rng.choice(("{right} more come in", "we add {right}", "the next day has {right}")), ""
        )
    did = draft.person.inside
    return finish(
        draft,
        f"How many {noun.plural} did {rng.choice((did, draft.person.pronoun))} {verb} {rng.choice(('in all', 'altogether', 'in total'))}?",
    )


def price_plot(draft: Draft, num_steps: int) -> Story:
    """Draw things that are bought at a price each; then more is bought, or paid with a note, or added to what was saved."""
    rng = draft.rng
    thing = draw_thing(rng, OBJECTS + FOOD, draft.level.invented_rate)
    count, price = draft.between(2, 9), draft.between(2, 9)
    draft.tell(
        rng.choice(("{buy} {c} {t} for {p} each", "{buy} {c} {t} that cost {p} each", "{buy} {c} {t} at {p} each")),
        c=draft.amount(count, ""),
        t=thing,
        p=with_unit(price, "$"),
    )
    total = draft.add(
        "*", count, price, rng.choice(("each one costs {right$}", "we need the price of all {left}")), "$"
    )
    pays = False
    while len(draft.steps) < num_steps:
        pays = len(draft.steps) == num_steps - 1 and rng.random() < 0.5
        if pays:
            paid = Decimal(rng.choice([v for v in (20, 50, 100, 200, 500) if v > total.result] or [0]))
            draft.tell(rng.choice(("{pay} with {p}", "{have} {p}", "{give} the seller {p}")), p=with_unit(paid, "$"))
            total = draft.add("-", paid, total, "the price is taken from {left$}", "$")
        else:
            amount = draft.between(2, 20)
            draft.tell(
                rng.choice(("{buy} a book for {p}", "also {buy} a hat for {p}", "{spend} {p} on lunch")),
                p=with_unit(amount, "$"),
            )
            total = draft.add("+", total, amount, "{right$} more is spent", "$")
    pronoun = draft.person.pronoun
    now = "do" if draft.person.takes_base else "does"
    do = "did" if draft.past else now
    if pays:
        return finish(
            draft, rng.choice((f"How much change {do} {pronoun} get?", f"How much money {do} {pronoun} have left?"))
        )
    return finish(
        draft,
        rng.choice(
            (
                f"How much did {pronoun} spend?",
                f"How much money {do} {pronoun} spend in all?",
                f"How much {do} {pronoun} pay?",
            )
        ),
    )


def rate_plot(draft: Draft, num_steps: int) -> Story:
    """Draw a thing that holds, needs or brings so many: how many do several of it, or how many of it are needed."""
    if num_steps > 1:
        raise UnfitError
    rng = draft.rng
    one, many, verb, thing = rng.choice(
        (
            ("box", "boxes", "hold", "pens"), ("car", "cars", "carry", "people"), ("cake", "cakes", "need", "eggs"),
            ("table", "tables", "seat", "guests"), ("page", "pages", "show", "photos"), ("ticket", "tickets", "cost", "dollars"),
            ("row", "rows", "have", "chairs"), ("tree", "trees", "give", "apples"), ("spider", "spiders", "have", "legs"),
            ("shirt", "shirts", "need", "buttons"), ("worker", "workers", "make", "toys"), ("hour", "hours", "bring", "points"),
        )
    )  # fmt: skip
    each, count = draft.between(2, 10), draft.between(2, 9)
    one_of = rng.choice(("one", "each", "a"))
    draft.tell(f"{one_of} {one} {{their_{verb}}} {{n}} {thing}", is_whole=True, n=draft.amount(each, ""))
    if rng.random() < 0.5:
        draft.add("*", count, each, rng.choice(("each one has {right}", "we need {left} times {right}")), "")
        return finish(draft, f"How many {thing} do {draft.amount(count, '')} {many} {verb}?")
    draft.add("/", each * count, each, rng.choice(("each one has {right}", "we divide by {right}")), "")
    return finish(draft, f"How many {many} {verb} {draft.amount(each * count, '')} {thing}?")


def rest_plot(draft: Draft, num_steps: int) -> Story:
    """Draw a group in two parts, one of them counted: how many are in the other?"""
    if num_steps > 1:
        raise UnfitError
    rng = draft.rng
    things, places, parts = rng.choice(
        (
            (PEOPLE[:3], INSIDE, ["boys", "girls"]),
            (OBJECTS, PLACES, rng.choice((["red", "blue"], ["new", "old"], ["big", "small"], ["white", "green"]))),
            (ANIMALS, OUTSIDE, rng.choice((["black", "white"], ["young", "old"], ["brown", "white"]))),
        )
    )
    noun, whole = rng.choice(things), draft.between(4, 60)
    part = draft.between(2, int(whole) - 1)
    all_of, some = draft.amount(whole, ""), draft.amount(part, "")
    if rng.random() < 0.5:
        draft.tell(f"there {{all_be}} {all_of} {noun} {rng.choice(places)}", is_whole=True)
        halves = f"{some} of them {{all_be}} {parts[0]} and the rest {{all_be}} {parts[1]}"
        draft.tell(halves, is_whole=True, timeless=True)
    else:
        draft.tell(f"{some} of the {all_of} {noun} {rng.choice(places)} {{all_be}} {parts[0]}", is_whole=True)
        draft.tell(f"the others {{all_be}} {parts[1]}", is_whole=True, timeless=True)
    draft.add("-", whole, part, rng.choice(("{right} of {left} are counted", "we take away {right}")), "")
    return finish(draft, draft.say(f"How many {noun} {{all_be}} {parts[1]}?"))


def age_plot(draft: Draft, num_steps: int) -> Story:
    """Draw two ages and their difference, or how old somebody will be or was."""
    if num_steps > 1:
        raise UnfitError
    rng, person = draft.rng, draft.other_name() if draft.person.takes_base else draft.person.inside
    age, other = draft.between(5, 60), draft.other_name()
    if other == person:
        raise UnfitError
    years = draft.between(2, min(20, int(age) - 1))
    kind = rng.choice(("difference", "later", "ago", "older", "younger"))
    first = f"{person} is {draft.amount(age, '')}{rng.choice((' years old', ''))}"
    if kind == "difference":
        second = f"{other} is {draft.amount(age - years, '')}"
        draft.add("-", age, age - years, "the difference is asked", "")
        facts = [first, second]
        rng.shuffle(facts)
        draft.clauses += [Clause(" and ".join(facts), True, True)]
        return finish(
            draft,
            rng.choice(
                (f"How much older is {person} than {other}?", f"How many years older is {person} than {other}?")
            ),
        )
    number = draft.amount(years, "")
    draft.clauses.append(Clause(first, True, True))
    if kind in ("older", "younger"):
        draft.clauses.append(Clause(f"{other} is {number} years {kind}", True, True))
        ask = f"How old is {other}?"
    else:
        ask = (
            f"How old will {person} be in {number} years?"
            if kind == "later"
            else f"How old was {person} {number} years ago?"
        )
    adds = kind in ("older", "later")
    draft.add("+" if adds else "-", age, years, "we add {right} years" if adds else "we take away {right} years", "")
    return finish(draft, ask)


PLOTS: tuple[tuple[Callable[[Draft, int], Story], int], ...] = (
    (change_plot, 10), (taking_plot, 2), (place_plot, 3), (compare_plot, 4), (days_plot, 2), (price_plot, 2), (rate_plot, 1),
    (age_plot, 1), (rest_plot, 1),
)  # fmt: skip
"""Every plot and how often it is drawn."""
