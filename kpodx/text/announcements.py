"""Where a text announces its answer: "the answer is", "Answer:", "####", "\\boxed{", and the same in other languages.

The cues of the languages are in `cues.toml`. Every search takes time linear in the length of the text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from kpodx.text.cues import FULL_WIDTH, Announcements, load_cues

# "####" is a heading, too: it announces an answer at the end of the text, or if its line holds nothing but a value.
_SIGNS = re.compile(
    r"(?<!#)####(?!#)[ \t*]{0,4}(?=[^\n]{0,80}\s{0,9}\Z|[-−$€£(]{0,3}(?:\d[\d,./]{0,20}%?|[A-Z]|yes|no|true|false)[)*.]{0,3}"
    r"(?:[ ][^\W\d]{1,15})?[.*]{0,3}[ ]{0,3}\n)|(?P<box>\\(?:boxed|fbox)[ ]{0,2}\{)",
    re.IGNORECASE,
)
_SIGN_HINTS = ("####", "\\boxed", "\\fbox")
_CHECKED = re.compile(
    r"\b(?:let(?:['’]s| me| us)|to)\s(?:\w{1,12}\s)?(?:verify|check|confirm|see|ensure|double-check|make sure)\s"
    r"(?:that\s|whether\s|if\s)?\Z",
    re.IGNORECASE,
)
_LONGEST_LEAD = 160
"""At least as many characters as an announcement can have before its hint."""
_BREAKS = (".", "\n")
"""Characters that no strong announcement has before its hint; `cues.toml` promises so."""


@dataclass(frozen=True)
class AnswerMarker:
    """Where a text says that its answer follows.

    Attributes:
        start: where the clause begins.
        stop: where the answer may begin.
        boxed: whether it is LaTeX's \\boxed{.
        language: whose cue it is, empty for the signs that every language uses.
    """

    start: int
    stop: int
    boxed: bool = False
    language: str = ""


def find_answer_markers(text: str) -> list[AnswerMarker]:
    """Return every explicit announcement of an answer, in order.

    Forms that also occur in the middle of reasoning ("Option B is right") count only if there is no other announcement.

    >>> [(marker.start, marker.stop) for marker in find_answer_markers("5 apples. So the answer is 5.")]
    [(10, 27)]
    >>> find_answer_markers("答案是：18")
    [AnswerMarker(start=0, stop=4, boxed=False, language='chinese')]
    """
    return list(_markers(text))


# Several readers search the same text in a row.
@functools.lru_cache(maxsize=64)
def _markers(text: str) -> tuple[AnswerMarker, ...]:
    text = text if text.isascii() else text.translate(FULL_WIDTH)
    lower = text.lower()
    languages = load_cues().languages.values()
    found = list(_sign_markers(text, lower))
    for entry in languages:
        found += strong_markers(text, lower, entry)
    if not found:
        for entry in languages:
            found += _weak_markers(text, lower, entry)
    return tuple(_without_overlaps(found))


def _sign_markers(text: str, lower: str) -> Iterator[AnswerMarker]:
    """Yield the announcements by signs, which no language owns."""
    if any(hint in lower for hint in _SIGN_HINTS):
        for match in _SIGNS.finditer(text):
            yield AnswerMarker(match.start(), match.end(), match["box"] is not None)


def strong_markers(text: str, lower: str, cues: Announcements) -> Iterator[AnswerMarker]:
    """Yield the strong announcements of one language; `lower` is `text` in lower case."""
    hint = _first_hint(lower, cues.hints)
    if hint is not None:
        start = max(hint - _LONGEST_LEAD, *(lower.rfind(mark, 0, hint) + 1 for mark in _BREAKS))
        yield from _search(text, lower, cues.strong, start, cues.language)


def _weak_markers(text: str, lower: str, cues: Announcements) -> Iterator[AnswerMarker]:
    """Yield the weak announcements of one language."""
    hint = _first_hint(lower, cues.weak_hints)
    if hint is not None and cues.weak is not None:
        yield from _search(text, lower, cues.weak, hint - _LONGEST_LEAD, cues.language)


def _first_hint(lower: str, hints: tuple[str, ...]) -> int | None:
    """Return where the first of `hints` is, None if the text holds none of them."""
    # A text begins with a new line, for hints that do.
    lines = "\n" + lower
    places = [place for hint in hints if (place := lines.find(hint)) >= 0]
    return max(0, min(places) - 1) if places else None


def _search(text: str, lower: str, pattern: re.Pattern[str], start: int, language: str) -> Iterator[AnswerMarker]:
    """Yield what `pattern` finds in `text` from `start`, a place in `lower`, on."""
    # Lower case keeps the place of every character unless it makes the text longer.
    for match in pattern.finditer(text, max(0, start) if len(lower) == len(text) else 0):
        yield AnswerMarker(match.start(), match.end(), language=language)


def _without_overlaps(markers: list[AnswerMarker]) -> Iterator[AnswerMarker]:
    """Yield the markers in order, without those that begin inside an earlier one."""
    stop = -1
    for marker in sorted(markers, key=lambda marker: (marker.start, -marker.stop)):
        # A marker without length, which only points at an option, repeats the one that ends there.
        if marker.start > stop or (marker.start == stop and marker.stop > stop):
            yield marker
            stop = marker.stop


def is_checked(before: str) -> bool:
    """Return whether the words before an announcement only say that it will be checked: "Let me verify that (the answer is …)".

    >>> is_checked("Let me verify that "), is_checked("We conclude that ")
    (True, False)
    """
    return _CHECKED.search(before[-60:]) is not None
