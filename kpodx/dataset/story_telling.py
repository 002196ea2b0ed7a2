"""Turn the clauses of an embedded story into sentences, and put the question after or before them."""

from __future__ import annotations

from kpodx.dataset.stories import Clause, Draft, Story, UnfitError, capitalize, join_words
from kpodx.dataset.story_words import OBJECTS, draw_thing

_LATER = (
    "Then ",
    "Later ",
    "After that, ",
    "The next day, ",
    "In the evening, ",
    "After lunch, ",
    "Later that day, ",
    "At school, ",
)


def finish(draft: Draft, ask: str) -> Story:
    """Put the clauses into sentences, at times behind the question, and a fact that does not matter among them."""
    asides: tuple[str, ...] = ()
    if draft.rng.random() < draft.level.aside_rate:
        asides = (_aside(draft),)
    if not asides and not draft.past and len(draft.clauses) <= 3 and draft.rng.random() < 0.15:
        return Story(_in_one_question(draft, ask), tuple(draft.steps))
    sentences = _sentences(draft)
    for fact in asides:
        sentences.insert(draft.rng.randrange(1, len(sentences) + 1), f"{capitalize(fact)}.")
    return Story(" ".join([*sentences, capitalize(ask)]), tuple(draft.steps), asides)


def _sentences(draft: Draft) -> list[str]:
    """One sentence per clause, or per run of the same person's clauses."""
    groups: list[list[Clause]] = []
    for clause in draft.clauses:
        joins = groups and not clause.is_whole and not groups[-1][-1].is_whole and len(groups[-1]) < 3
        if joins and draft.rng.random() < 0.35:
            groups[-1].append(clause)
        else:
            groups.append([clause])
    sentences, named = [], False
    for number, group in enumerate(groups):
        can_be_later = number > 0 and not group[0].timeless
        opener = draft.rng.choice(_LATER) if can_be_later and draft.rng.random() < 0.25 else ""
        if group[0].is_whole:
            text = group[0].text
        else:
            text = f"{_who(draft, named)} {_predicates(draft, group)}"
            named = True
        sentences.append(f"{capitalize(opener + text)}.")
    return sentences


def _who(draft: Draft, named: bool) -> str:
    if named and draft.rng.random() < 0.6:
        return draft.person.pronoun
    return draft.person.inside


def _predicates(draft: Draft, group: list[Clause]) -> str:
    return join_words(
        [clause.text for clause in group],
        draft.rng.choice(("and", "and then", "then")) if len(group) == 2 else "and then",
    )


def _in_one_question(draft: Draft, ask: str) -> str:
    """Ask before or behind the facts: "How many does she have if she …?" or "If she …, how many …?"."""
    if any(clause.is_whole for clause in draft.clauses):
        raise UnfitError
    facts = join_words([clause.text for clause in draft.clauses])
    name = draft.person.inside
    question = ask.removesuffix("?")
    if draft.rng.random() < 0.5:
        return f"{question} if {name} {facts}?"
    return f"If {name} {facts}, {question[:1].lower()}{question[1:]}?"


def _aside(draft: Draft) -> str:
    number = draft.between(2, 60)
    other = draft.other_name()
    return draft.rng.choice(
        (
            f"{other} is {number} years old",
            f"the shop is {number} years old",
            f"{other} has {number} {draw_thing(draft.rng, OBJECTS, 0.0)}",
            f"it is day {number} of the year",
            f"the bus takes {number} minutes",
            f"the box weighs {number} kg",
        )
    )
