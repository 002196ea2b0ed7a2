"""Cutting a rationale into reasoning steps (KPOD section 3.2: steps end at a period).

A period alone is not enough on real rationales: it also stands in decimals, abbreviations, list numbers and initials,
and many teachers put a step on each line instead. Steps tile the text: joined, they are the text again.
"""

from __future__ import annotations

import functools
import re

from kpodx.schema import StepSpan

# Never ends a step, whatever follows.
_OPEN_ABBREVIATIONS = re.compile(
    r"mr|mrs|ms|dr|prof|st|mt|sgt|capt|gen|rev|hon|vs|e\.g|i\.e|approx|cf|fig|eq|u\.s|u\.k|u\.n|ph\.d"
)
# Ends a step only before a capital letter: "7 a.m. and" goes on, "7 a.m. She" does not.
_UNIT_ABBREVIATIONS = re.compile(
    r"a\.m|p\.m|oz|lb|lbs|ft|yd|yds|hr|hrs|min|mins|sec|secs|mph|etc|jr|sr|inc|ltd|co|corp|dept|est|avg|tsp"
    r"|tbsp|pt|qt|gal"
)
# "No. 5" is a number, "No. That is wrong." is an answer.
_BEFORE_DIGIT = re.compile(r"no|nos|pp|p|vol|ch")
# Before these a single capital is a label ("option B. Then"), not an initial ("J. Smith").
_LABELS = re.compile(
    r"plan|option|answer|is|choice|type|vitamin|grade|group|class|team|point|section|part|and|or|case|box|a|an"
    r"|the|in|of"
)

# A candidate: stops, closing quotes or brackets, spaces; or a line's end. Possessive: nothing is scanned twice.
_STOP = re.compile(r"[.!?…\n]")
_END = re.compile(r"(?P<stops>[.!?…]++)(?P<close>[\"'”’»)\]}*_]*+)(?P<space>\s*+)|\n\s*+")
_WORD_BEFORE = re.compile(r"[\w.]{1,12}\Z")
_LIST_NUMBER = re.compile(r"\s*(?:[*_#]{0,4}\s?)?(?:step\s)?\d{1,2}\.\s*\Z", re.IGNORECASE)
_CONTINUES = frozenset("=+*/×÷,;:%)")


def split_steps(text: str) -> list[StepSpan]:
    """Half-open character ranges of the steps of `text`, in order; concatenated they are `text`, and none is empty.

    A step ends at ".", "!", "?" or a line's end, together with closing quotes and the whitespace that follows. A piece
    without any letter or digit joins the step before it (the first joins the one after). The empty text has no steps.

    >>> text = "He pays $3.50. Mr. Lee pays 2."
    >>> [text[span.start : span.stop] for span in split_steps(text)]
    ['He pays $3.50. ', 'Mr. Lee pays 2.']
    """
    return [StepSpan(start, stop) for start, stop in step_bounds(text)]


def count_steps(text: str) -> int:
    """How many steps `split_steps` finds."""
    return len(step_bounds(text))


# One text is split several times in a row, by all who read it.
@functools.lru_cache(maxsize=64)
def step_bounds(text: str) -> tuple[tuple[int, int], ...]:
    """(start, stop) of each step, as `split_steps` has them."""
    bounds: list[tuple[int, int]] = []
    start = seen = 0
    for stop in [*_step_ends(text), len(text)]:
        # Only what is new is looked at: all before `seen` holds no letter or digit.
        has_content = any(map(str.isalnum, text[seen:stop]))
        seen = stop
        if not has_content and bounds:
            bounds[-1] = (bounds[-1][0], stop)
            start = stop
        elif has_content or (stop == len(text) and stop > start):
            bounds.append((start, stop))
            start = stop
    return tuple(bounds)


def step_texts(text: str) -> list[str]:
    """The steps of `text` themselves; joined they are `text`."""
    return [text[span.start : span.stop] for span in split_steps(text)]


def _step_ends(text: str) -> list[int]:
    """Where a step ends and more text follows."""
    ends = []
    start = looked_at = 0
    for found in _STOP.finditer(text):
        place = found.start()
        if place < looked_at:
            continue
        if _is_plain_end(text, start, place):
            start = looked_at = place + 2
            ends.append(start)
            continue
        match = _END.match(text, place)
        assert match is not None
        looked_at = match.end()
        if looked_at < len(text) and _ends_step(text, start, match):
            start = looked_at
            ends.append(start)
    return ends


def _is_plain_end(text: str, start: int, place: int) -> bool:
    """Whether a period and one space follow an ordinary lower-case word at `place`: most candidates do, and are told fast."""
    if text[place : place + 2] != ". " or place + 2 >= len(text):
        return False
    following = text[place + 2]
    if following in _CONTINUES or following.isspace():
        return False
    word = text[max(start, text.rfind(" ", start, place) + 1) : place]
    return word.isalpha() and word.islower() and len(word) <= 12 and _abbreviation(word) is None


def _ends_step(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether the candidate ends the step that began at `start`."""
    stops = match["stops"]
    number_end = match.start() + len(stops or "")
    if number_end - start <= 16 and _LIST_NUMBER.match(text, start, number_end):
        return False
    if stops is None:
        # The line of a list number alone ("1.\n") was its own candidate with the space inside.
        return True
    if not match["space"]:
        return False
    if "\n" in match["space"]:
        return True
    following = text[match.end()]
    if following in _CONTINUES or (match["close"] and following.islower()):
        return False
    if stops == "…" or (len(stops) > 1 and set(stops) <= {".", "…"}):
        return not following.islower()
    return stops != "." or bool(match["close"]) or not _is_abbreviation(text, start, match.start(), following)


def _is_abbreviation(text: str, start: int, period: int, following: str) -> bool:
    """Whether the period at `period` closes an abbreviation or an initial, and `following` goes on with the step."""
    found = _WORD_BEFORE.search(text, max(start, period - 12), period)
    if found is None:
        return False
    kind = _abbreviation(found[0].lower())
    if kind is None:
        return _is_initial(text, start, found, following)
    return kind == "open" or (not following.isupper() if kind == "unit" else following.isdigit())


@functools.lru_cache(maxsize=4096)
def _abbreviation(word: str) -> str | None:
    """Which kind of abbreviation a lower-case word is before its period, None for none."""
    kinds = {"open": _OPEN_ABBREVIATIONS, "unit": _UNIT_ABBREVIATIONS, "before a digit": _BEFORE_DIGIT}
    return next((kind for kind, pattern in kinds.items() if pattern.fullmatch(word)), None)


def _is_initial(text: str, start: int, word: re.Match[str], following: str) -> bool:
    """Whether `word` is the initial of a name, as in "J. Smith" and "J. K. Rowling", with a capital after it."""
    if not (following.isupper() and re.fullmatch(r"(?:[A-Z]\.)*[A-HJ-Z]", word[0])):
        return False
    before = text[max(start, word.start() - 16) : word.start()].split()
    return not before or not _LABELS.fullmatch(before[-1].lower().strip(",:"))
