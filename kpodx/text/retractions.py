"""Answers that their own writer takes back: "Oops, I made a mistake", "Hmm, let me recheck: … Actually it is 72"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kpodx.schema import AnswerKind
from kpodx.text.choices import last_choice
from kpodx.text.cues import load_cues
from kpodx.text.number_answers import concluding_number, count_words
from kpodx.text.numbers import format_number
from kpodx.text.sentences import split_sentences
from kpodx.text.yes_no import concluding_yes_or_no

_ASIDE = re.compile(
    r"[.!?…\n]\s{0,3}(?:No,?\s)?Wait[,.!]|\b[Nn]o,? wait\b|\bbut (?:that|this)(?:'s| is|’s) (?:wrong|incorrect|not right)\b|,\sno,\s\d"
    r"|(?:\.\.|…)\s?no,\s"
)
_SHORTEST_LOOK = 2
"""Words behind a second look; with fewer the text ends there, and its answer is open."""
_LONGEST_LOOK = 2000
"""Characters behind a second look that are read."""


def takes_back(following: str, answer: str | None, kind: AnswerKind, choices: Sequence[str]) -> bool:
    """Return whether the text `following` an announced answer takes that answer back.

    "Wait", "Oops" or "I made a mistake" do. A second look ("Let me recompute this") does if it comes to another answer,
    or to none because the text ends there.

    >>> takes_back(". Hmm, let me recheck: 48 + 24 = 72.", "70", AnswerKind.NUMBER, ())
    True
    >>> takes_back(". Let me recheck: 48 + 24 = 72.", "72", AnswerKind.NUMBER, ())
    False
    """
    cues = load_cues()
    if _ASIDE.search(following) or cues.retraction.search(following):
        return True
    look = cues.second_look.search(following)
    if look is None:
        return False
    rest = following[look.end() : look.end() + _LONGEST_LOOK]
    if cues.confirmation.search(rest):
        return False
    if count_words(rest) <= _SHORTEST_LOOK and not any(map(str.isdigit, rest)):
        return True
    found = _concluded(rest, kind, choices)
    return found is not None and found != answer


def _concluded(rest: str, kind: AnswerKind, choices: Sequence[str]) -> str | None:
    """Return the answer that a second look comes to, None if it gives none."""
    if kind is AnswerKind.NUMBER:
        value = concluding_number(split_sentences(rest)).value
        return None if value is None else format_number(value)
    if kind is AnswerKind.CHOICE:
        return last_choice(rest, choices)
    if kind is AnswerKind.YES_NO:
        return concluding_yes_or_no(rest)[0]
    # A text or a formula cannot be told from the words around it: another one has to be assumed.
    return ""
