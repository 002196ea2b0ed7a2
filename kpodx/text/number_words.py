"""English number words: "twenty-one", "three hundred and five", "two thirds", "one and a half", "a dozen"."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
UNITS = {word: value for value, word in enumerate(_ONES.split())}
TENS = {
    word: 10 * value
    for value, word in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2
    )
}
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    name + ending: value
    for name, value in {"third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}.items()
    for ending in ("", "s")
} | {"half": 2, "halves": 2}
MAX_WORDS = 24
NUMBER_WORDS = frozenset((*UNITS, *TENS, "hundred", "thousand", "million", "billion", "trillion", "dozen", "half"))


def read_number_words(words: Sequence[str]) -> tuple[Fraction, int] | None:
    """Value of the number that `words` begin with, and how many words it takes; None where they begin with none.

    A dozen is twelve alone ("a dozen" 12, "half a dozen" 6) but a unit after a number ("two dozen eggs" is 2), as
    sets that ask for dozens have it.

    >>> read_number_words(["three", "hundred", "and", "five", "eggs"])
    (Fraction(305, 1), 4)
    >>> read_number_words(["two", "thirds"])
    (Fraction(2, 3), 2)
    """
    words = [word.lower() for word in words[:MAX_WORDS]]
    fixed = _fixed_phrase(words)
    if fixed is not None:
        return fixed
    value, used = _cardinal(words)
    if used == 0:
        return None
    rest = words[used:]
    if rest[:3] == ["and", "a", "half"]:
        return value + Fraction(1, 2), used + 3
    if rest and rest[0] in _PARTS and 0 < value < 20:
        return value / _PARTS[rest[0]], used + 1
    return value, used


def _fixed_phrase(words: Sequence[str]) -> tuple[Fraction, int] | None:
    """Phrases that begin with "half", "a" or "dozen"."""
    phrases = ((("half", "a", "dozen"), 6), (("a", "dozen"), 12), (("dozen",), 12), (("half",), Fraction(1, 2)))
    for phrase, value in phrases:
        if tuple(words[: len(phrase)]) == phrase:
            return Fraction(value), len(phrase)
    if tuple(words[:2]) == ("a", "half"):
        return Fraction(1, 2), 2
    return None


def _cardinal(words: Sequence[str]) -> tuple[Fraction, int]:
    """Value and length of the whole number that `words` begin with; length 0 where there is none."""
    start = 1 if len(words) > 1 and words[0] in ("a", "an") and words[1] in SCALES else 0
    total, group, used, last_scale = 0, 1 if start else -1, 0, 10**18
    at = start
    while at < len(words):
        word = words[at]
        if word == "and":
            follows = at + 1 < len(words) and (words[at + 1] in UNITS or words[at + 1] in TENS)
            if not (follows and used and (group % 100 == 0 or group < 0)):
                break
            at += 1
            continue
        if word == "hundred" and 0 < group < 100:
            group *= 100
        elif word in SCALES and word != "hundred" and group > 0 and SCALES[word] < last_scale:
            last_scale = SCALES[word]
            total, group = total + group * last_scale, -1
        elif (value := _below_hundred(word, group)) is not None:
            group = max(group, 0) + value
        else:
            break
        at += 1
        used = at
    return Fraction(total + max(group, 0)), used


def _below_hundred(word: str, group: int) -> int | None:
    """What `word` adds to the group read so far (-1 for none yet), or None where it cannot follow it."""
    opens = group < 0 or (group > 0 and group % 100 == 0)
    if word in TENS:
        return TENS[word] if opens else None
    if word not in UNITS:
        return None
    follows_tens = group >= 20 and group % 10 == 0 and 0 < UNITS[word] < 10
    return UNITS[word] if opens or follows_tens else None
