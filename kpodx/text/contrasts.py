"""Numbers of a sentence that are beside its answer: "$45 instead of $50", "after 5 years, she has $7"."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from kpodx.text.asked_units import AskedUnit, quantities_in_unit
from kpodx.text.clauses import has_sure_verb
from kpodx.text.cues import load_cues
from kpodx.text.numbers import Quantity

_WINDOW = 60
"""Characters before a number that are read for the words that say what it is."""
_CHANGE = re.compile(
    r"\b(?:down|up|f[ae]lls?|fallen|drop(?:s|ped)?|r[io]ses?|risen|gr[eo]ws?|go(?:es)?|went|gone|chang\w{1,3}|increas\w{1,3}|decreas\w{1,3}"
    r"|reduc\w{1,3}|lower\w{0,3}|rais\w{1,3}|cut|shrinks?|shrank|climb\w{0,3}|jump\w{0,3}|sinkt|steigt|fällt|baja|sube)\b",
    re.IGNORECASE,
)
_FROM = re.compile(r"\b(?:from|von|de)\s[$€£¥₹]?\Z", re.IGNORECASE)
_TO = re.compile(r"(?:\s[^\W\d]{1,15}){0,2}\s{1,2}(?:to|auf|a)\s[$€£¥₹]?", re.IGNORECASE)
_DIFFERENCE = re.compile(
    r"\s?%?(?:\s[^\W\d]{1,15}){0,2}?\s(?:more|less|fewer|weniger|mehr|más|menos|(?!rather|other)\w{2,12}er)(?:\s[^\W\d]{1,15}){0,4}\s(?:than|als|que)"
    r"(?:\s(?:the|his|her|their|its|original|usual)){0,2}\s{1,2}[$€£¥₹]?",
    re.IGNORECASE,
)
_SAME_PHRASE = re.compile(
    r"(?:\s[^\W\d]{1,15}){0,2},?\s(?:or|to|and|oder|und|bis|o|y)\b|[^,]{0,40},\s(?:or|i\.e\.|that is|which|meaning)\b",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"\W{0,4}(?:(?:all|both)(?: of)?(?: the| his| her| their)?|the|these|those|his|her|their)\s\Z", re.IGNORECASE
)
"""What precedes the number of a subject: "(All 4) friends pay ($60)"."""
_LATER = re.compile(r"\s[^\W\d]{1,15}\s(?:later|from now)\b", re.IGNORECASE)
_LEAST_CLAUSE = 3
"""Words from a number in an opening phrase to the next one, at least, if neither a comma nor a verb is between them."""


def without_contrasts(sentence: str, quantities: Sequence[Quantity]) -> Sequence[Quantity]:
    """Return the numbers of a plain sentence that are not named beside its answer only; all of them if none is left.

    >>> from kpodx.text.numbers import find_quantities
    >>> text = "She pays $45 instead of $50."
    >>> [int(quantity.value) for quantity in without_contrasts(text, find_quantities(text))]
    [45]
    """
    if len(quantities) < 2:
        return quantities
    following = [*quantities[1:], None]
    kept = [
        quantity
        for quantity, after in zip(quantities, following, strict=True)
        if not (_is_contrast(sentence, quantity, after) or _is_difference(sentence, quantity, after))
    ]
    return kept or quantities


def _is_contrast(sentence: str, quantity: Quantity, after: Quantity | None) -> bool:
    """Return whether the words before a number say that it is another one than that of the sentence."""
    before = sentence[max(0, quantity.start - _WINDOW) : quantity.start]
    if load_cues().contrast.search(before):
        return True
    is_range = after is not None and _TO.fullmatch(sentence[quantity.stop : after.start]) is not None
    return is_range and _FROM.search(before) is not None and _CHANGE.search(before) is not None


def _is_difference(sentence: str, quantity: Quantity, after: Quantity | None) -> bool:
    """Return whether a number only says how far two others are apart: "5 less than 50"."""
    if after is None or quantity.is_equation:
        return False
    return _DIFFERENCE.fullmatch(sentence, quantity.stop, after.start) is not None


def without_opening_phrase(sentence: str, quantities: Sequence[Quantity], unit: AskedUnit | None) -> Sequence[Quantity]:
    """Return the numbers of a plain sentence without those of a phrase that opens it: "after 5 years, she has $7".

    A number in the asked unit stays if no later one has that unit.
    """
    first = quantities[0]
    if len(quantities) < 2:
        return quantities
    between = sentence[first.stop : quantities[1].start]
    if load_cues().preposition.match(sentence[: first.start]):
        rest = _after_phrase(sentence, quantities)
    elif _LATER.match(between) or (_SUBJECT.match(sentence[: first.start]) and _ends_in_verb(between)):
        rest = quantities[1:]
    else:
        return quantities
    if (
        unit is not None
        and quantities_in_unit(sentence, [first], unit)
        and not quantities_in_unit(sentence, rest, unit)
    ):
        return quantities
    return rest or quantities


def _after_phrase(sentence: str, quantities: Sequence[Quantity]) -> Sequence[Quantity]:
    """Return the numbers behind the phrase that holds the first one."""
    for index, (before, after) in enumerate(itertools.pairwise(quantities), start=1):
        between = sentence[before.stop : after.start]
        if _SAME_PHRASE.match(between):
            return quantities
        if "," in between or _is_clause(between):
            return quantities[index:]
    return quantities


def _is_clause(between: str) -> bool:
    """Return whether the words between two numbers hold a verb: "(3) weeks she saves ($45)"."""
    return len(re.findall(r"\w+", between)) >= _LEAST_CLAUSE or _ends_in_verb(between)


def _ends_in_verb(between: str) -> bool:
    words = re.findall(r"\w+", between)
    return len(words) > 1 and (has_sure_verb(words[-1]) or load_cues().finite.fullmatch(words[-1]) is not None)
