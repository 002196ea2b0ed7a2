"""Which number of a text is its answer: behind an announcement, or in the last sentence with figures."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from kpodx.text.asked_units import AskedUnit, is_other_measure, make_one_measure, quantities_in_unit
from kpodx.text.contrasts import without_contrasts, without_opening_phrase
from kpodx.text.cues import CJK, load_cues
from kpodx.text.lexemes import plain_text
from kpodx.text.number_words import NUMBER_WORDS
from kpodx.text.numbers import Quantity, find_quantities
from kpodx.text.sentences import split_sentences

LONGEST_SENTENCE = 4000
"""Characters, counted from its end, that are read of a sentence."""

_LONGEST_DIRECT = 5  # Words before a number that still belong to the announcement.
_RESTATED = re.compile(r",\s{0,3}or\b")
# The same amount in another unit: "60 minutes or 1 hour", "0.6 (60%)".
_IN_OTHER_WORDS = re.compile(
    r"[\s,]{0,3}(?:[^\W\d]{1,20}[\s,]{1,3}){0,2}(?:or|i\.e\.|which is|that is|\()[\s,$]{0,3}", re.IGNORECASE
)
# Between two numbers that are both given: "2 or 3", "5 to 6", "86 glasses and 42 plates", "3, 4", "x = 3 and y = 4".
_ALTERNATIVE = re.compile(
    r"\s{0,3}(?:(?:[^\W\d]{1,20}\s{1,3})?(?:to|through)|(?:[^\W\d]{1,20}[\s,]{1,3}){0,5}(?:or|and|&|und|oder|y|o))\s{1,3}"
    r"(?:(?:the|about|only|another|also|either|[a-z] ?=) ?){0,2}[$€£¥₹(]?\Z"
    r"|\s{0,3}[,;]\s{0,3}(?:[a-z] ?= ?)?[$€£¥₹(]?\Z|\s{0,3}[^\W\d]{0,8}?\s{0,3}(?:或者?|和|到|至|与|及)\s{0,3}\Z",
    re.IGNORECASE,
)
# "Tom has 3 apples and Ann has 4": in reasoning the last clause concludes, behind an announcement both are given.
_OTHER_OWNER = re.compile(
    r"(?:\s{1,3}[^\W\d]{1,20}){0,2}[\s,;]{1,4}(?:and )?[A-Z]\w{1,15}:?\s(?:(?:has|had|have|gets|got) )?"
)
_BRACKET = re.compile(r"\([^()]{1,200}\)")
_UNIT_ALONE = re.compile(r"\s{0,4}[^\W\d]{1,20},?\s{1,4}")
_FINISHED = re.compile(r"\w[^\n]{0,8}[.!?。！？][\"'”’»)\]}*_$]{0,6}\s*\Z")
_MAY_HOLD_NUMBER = re.compile(r"[\d½⅓⅔¼¾]|\b(?:" + "|".join(sorted(NUMBER_WORDS)) + ")", re.IGNORECASE)
_LIST_NUMBER = re.compile(r"\s{0,8}[*_#>-]{0,6}\s?(?:step\s)?\d{1,2}[.):]\**\s{1,4}(?=\D)", re.IGNORECASE)


@dataclass(frozen=True)
class NumberReading:
    """What a text says about its number.

    Attributes:
        value: the number, None if it cannot be read.
        is_found: whether the text gives a number at all, readable or not.
        is_clear: whether the sentence leaves no doubt which of its numbers is meant.
        is_plain: whether that is so in any language: it is the result of a written sum, or has the unit that is asked for.
    """

    value: Fraction | None
    is_found: bool = True
    is_clear: bool = False
    is_plain: bool = False


_NOTHING = NumberReading(None, is_found=False)


def number_after_marker(segment: str, unit: AskedUnit | None = None) -> NumberReading:
    """Return the number that a sentence behind an announcement gives.

    A text that says that there is no answer before it says any number gives none. So does one whose first sentence ends
    without a number: a later sentence is no part of the announcement.

    Args:
        segment: what follows the announcement.
        unit: what the question asks for; it decides between two numbers.
    """
    plain = plain_text(segment).strip()
    refusal = load_cues().refusal.search(plain)
    start = 0
    for index, sentence in enumerate(split_sentences(plain)):
        quantities = find_quantities(sentence, after_marker=index == 0)
        if refusal and refusal.start() < start + (quantities[0].start if quantities else len(sentence)):
            return NumberReading(None)
        if quantities:
            return NumberReading(_stated_number(sentence, quantities, unit))
        if _FINISHED.search(sentence):
            return _NOTHING
        start += len(sentence)
    return _NOTHING


def _stated_number(sentence: str, quantities: Sequence[Quantity], unit: AskedUnit | None) -> Fraction | None:
    """Return the number of a sentence behind an announcement; None if it gives two ("2 or 3", "5 to 6", "3 and 4").

    It is the first, unless it is restated (", or 8 in all"), belongs to a phrase before the answer ("after 5 years, he has 7"),
    or is part of a clause of its own ("that after this Tom has 5").
    """
    quantities = without_opening_phrase(sentence, without_contrasts(sentence, quantities), unit)
    first = _without_time(sentence, quantities, unit)
    if count_words(sentence[: first.start]) > _LONGEST_DIRECT:
        return _conclude(sentence, quantities, unit, is_last=False).value
    for before, after in itertools.pairwise(quantities):
        if _RESTATED.search(sentence[before.stop : after.start]):
            return after.value
    if len(quantities) > 1 and first is quantities[0]:
        second = quantities[1]
        has_owner = _OTHER_OWNER.fullmatch(sentence[first.stop : second.start]) is not None
        if _are_alternatives(sentence, first, second) or (has_owner and first.value != second.value):
            return _only_in_unit(sentence, (first, second), unit)
    return first.value


def _without_time(sentence: str, quantities: Sequence[Quantity], unit: AskedUnit | None) -> Quantity:
    """Return the first number, or the only one in the asked unit behind a measure of another kind ("in 55 days, 153 sacks")."""
    first = quantities[0]
    if unit is None or not is_other_measure(sentence, first, unit):
        return first
    fitting = quantities_in_unit(sentence, quantities, unit)
    return fitting[0] if len(fitting) == 1 else first


def count_words(text: str) -> int:
    """Return how many words `text` has; two characters of a script without spaces count as a word."""
    joined = re.findall(f"[{CJK}]", text)
    return len(re.findall(r"\w+", text)) + len(joined) // 2


def _are_alternatives(sentence: str, one: Quantity, other: Quantity) -> bool:
    """Return whether a sentence gives two different numbers side by side."""
    between = sentence[one.stop : other.start]
    is_joined = _ALTERNATIVE.fullmatch(between) is not None
    is_measure = _UNIT_ALONE.fullmatch(between) is not None and make_one_measure(sentence, (one, other))
    return one.value != other.value and (is_joined or is_measure)


def _only_in_unit(sentence: str, pair: Sequence[Quantity], unit: AskedUnit | None) -> Fraction | None:
    """Return the only one of two numbers that has the asked unit, None if there is no such one."""
    if unit is None:
        return None
    is_restated = _IN_OTHER_WORDS.fullmatch(sentence[pair[0].stop : pair[1].start]) is not None
    if not is_restated and make_one_measure(sentence, pair):
        return None
    fitting = quantities_in_unit(sentence, pair, unit)
    return fitting[0].value if len(fitting) == 1 else None


def concluding_number(sentences: Sequence[str], unit: AskedUnit | None = None) -> NumberReading:
    """Return the number of the last sentence with figures, else of the last one with number words.

    Args:
        sentences: a text without an announcement.
        unit: what the question asks for; it decides between the numbers of the sentence.
    """
    in_words = _NOTHING
    for index, sentence in enumerate(reversed(sentences)):
        tail = sentence[-LONGEST_SENTENCE:]
        if not _MAY_HOLD_NUMBER.search(tail):
            continue
        plain = plain_text(_LIST_NUMBER.sub("", tail, count=1))
        quantities = find_quantities(plain)
        if not quantities:
            continue
        is_last = index == 0 or load_cues().conclusion.match(sentence) is not None
        reading = _conclude(plain, _outside_brackets(plain, quantities), unit, is_last=is_last)
        if not all(quantity.from_words for quantity in quantities):
            return reading
        in_words = in_words if in_words.is_found else reading
    return in_words


def _outside_brackets(plain: str, quantities: Sequence[Quantity]) -> Sequence[Quantity]:
    """Return the numbers outside of brackets, which explain others ("$18 ($2 per egg)"); all if there are no others."""
    brackets = [match.span() for match in _BRACKET.finditer(plain)]
    starts = [start for start, _ in brackets]
    outside = []
    for quantity in quantities:
        before = bisect.bisect_right(starts, quantity.start)
        if before == 0 or quantity.stop > brackets[before - 1][1]:
            outside.append(quantity)
    return outside or quantities


def _conclude(plain: str, quantities: Sequence[Quantity], unit: AskedUnit | None, *, is_last: bool) -> NumberReading:
    """Return the number that a sentence ends up with; two numbers side by side are none."""
    quantities = without_contrasts(plain, quantities)
    chosen = _chosen(plain, quantities, unit)
    for pair in itertools.pairwise(quantities):
        # A figure before a sum is what goes into it ("gets 4 more, and 3 + 4 = 7"), not a second result.
        is_input = pair[1] == chosen and chosen.is_equation and not pair[0].is_equation
        if chosen in pair and not is_input and _are_alternatives(plain, *pair):
            return NumberReading(_only_in_unit(plain, pair, unit), is_clear=is_last)
    is_unique = chosen.is_equation or all(quantity.value == chosen.value for quantity in quantities)
    is_asked = unit is not None and quantities_in_unit(plain, quantities, unit) == [chosen]
    is_clear = is_last and (is_unique or is_asked)
    return NumberReading(chosen.value, is_clear=is_clear, is_plain=is_asked or chosen.is_equation)


def _chosen(plain: str, quantities: Sequence[Quantity], unit: AskedUnit | None) -> Quantity:
    """Return the result of the last sum, else the last number in the asked unit, else the last figure or number word."""
    equations = [quantity for quantity in quantities if quantity.is_equation]
    if equations:
        return equations[-1]
    fitting = quantities_in_unit(plain, quantities, unit) if unit else []
    figures = [quantity for quantity in quantities if not quantity.from_words]
    return (fitting or figures or quantities)[-1]
