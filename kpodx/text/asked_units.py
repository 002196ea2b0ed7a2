"""The unit that a question asks for ("How many sacks …"), and the quantities of a sentence that have it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kpodx.text.cues import load_cues
from kpodx.text.lexemes import CURRENCIES
from kpodx.text.numbers import Quantity

_HOW_MANY = re.compile(r"\bhow many\b(?P<rest>[^?.!]{0,80})", re.IGNORECASE)
_NUMBER_OF = re.compile(r"\bnumber of\b(?P<rest>[^?.!]{0,80})[?.!]?\s{0,9}\Z", re.IGNORECASE)
_IN_UNIT = re.compile(
    r"\bin (?P<unit>dollars|cents|seconds|minutes|hours|days|weeks|months|years|inches|feet|yards|miles|meters|centimeters"
    r"|kilometers|grams|kilograms|pounds|ounces|liters|gallons|degrees|percent)\b",
    re.IGNORECASE,
)
_MONEY = re.compile(
    r"\bhow much (?:money|profit|change|cash)\b|\bhow much\b[^?.!]{0,80}\b(?:cost|pay|paid|spend|spent|earn|owe|charge|make|save)"
    r"|\bwhat\b[^?.!]{0,60}\b(?:price|cost|profit|salary|revenue|income|bill)\b",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"\bwhat\b[^?.!,]{0,30} percent(?:age)?\b|\bhow many percent\b", re.IGNORECASE)


@dataclass(frozen=True)
class AskedUnit:
    """What a question asks for: the stem of its noun, or money."""

    stem: str
    is_money: bool = False


@functools.lru_cache(maxsize=256)
def find_asked_unit(question: str) -> AskedUnit | None:
    """Return the unit that `question` asks for, None if it does not say.

    >>> find_asked_unit("They pick 17 sacks a day. How many sacks of oranges will they have after 55 days?")
    AskedUnit(stem='sack', is_money=False)
    >>> find_asked_unit("How many glasses and plates does Jeff have?") is None
    True
    """
    if _PERCENT.search(question):
        return AskedUnit("percent")
    asked = [*_NUMBER_OF.finditer(question), *_HOW_MANY.finditer(question)]
    named = [match["unit"] for match in _IN_UNIT.finditer(question)]
    noun = _head_noun(asked[-1]["rest"]) if asked else "".join(named[-1:])
    if noun:
        stem = _stem(noun)
        return AskedUnit(stem, is_money=stem in ("dollar", "cent", "euro"))
    return AskedUnit("dollar", is_money=True) if not asked and _MONEY.search(question) else None


def _head_noun(rest: str) -> str:
    """Return the noun in what follows "how many": the first plural, else the last word before the verb; "" for two nouns."""
    known = load_cues().unit_words
    words = re.findall(r"[^\W\d_]+", rest)[:8]
    noun = ""
    for index, word in enumerate(words):
        if word.lower() in known.modifiers and not noun:
            continue
        if word.lower() in known.stops or (word[0].isupper() and noun):
            return "" if word.lower() in ("and", "or") else noun
        noun = word.lower()
        if noun in known.plurals or (noun.endswith("s") and not noun.endswith("ss")):
            return "" if words[index + 1 : index + 2] in (["and"], ["or"]) else noun
    return noun


def _stem(word: str) -> str:
    """Return a plural's singular, near enough to compare two words."""
    word = word.lower()
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(?:ch|sh|x|ss|z|o)es\Z", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def quantities_in_unit(plain: str, quantities: Sequence[Quantity], unit: AskedUnit) -> list[Quantity]:
    """Return the quantities of the plain text `plain` that have the asked unit."""
    return [quantity for quantity in quantities if _has_unit(plain, quantity, unit)]


def _has_unit(plain: str, quantity: Quantity, unit: AskedUnit) -> bool:
    written = plain[max(0, quantity.start - 1) : quantity.stop + 2]
    stems = _stems_after(plain, quantity)
    if unit.is_money:
        inside = map(_stem, re.findall(r"[^\W\d_]+", written))
        return any(sign in written for sign in CURRENCIES) or not load_cues().unit_words.money.isdisjoint(
            [*inside, *stems]
        )
    if unit.stem == "percent":
        return "%" in written or "percent" in stems
    return unit.stem in stems


def _stems_after(plain: str, quantity: Quantity) -> list[str]:
    """Return the stems of the words directly after a quantity, three at most, up to a pause or a figure."""
    following = re.split(r"[\d,;:()=.]", plain[quantity.stop : quantity.stop + 60], maxsplit=1)[0]
    return [_stem(word) for word in re.findall(r"[^\W\d_]+", following)[:3]]


def is_other_measure(plain: str, quantity: Quantity, unit: AskedUnit) -> bool:
    """Return whether a quantity is a measure, such as "55 days", and the asked unit is nothing of its kind."""
    own = _stems_after(plain, quantity)[:1]
    return any(own[0] in family and unit.stem not in family for family in load_cues().unit_words.measures if own)


def make_one_measure(plain: str, quantities: Iterable[Quantity]) -> bool:
    """Return whether the units belong together, as those of "4 hours and 30 minutes" do: then no single number is given."""
    units = [_stems_after(plain, quantity)[:1] for quantity in quantities]
    if len({tuple(unit) for unit in units}) < len(units):
        return False
    return any(all(not family.isdisjoint(unit) for unit in units) for family in load_cues().unit_words.measures)
