"""Sentences as a reader of answers needs them: a displayed formula belongs to the sentence that introduces it."""

from __future__ import annotations

import re

from kpodx.text.steps import step_texts

_FULL_STOP = re.compile(r"(?<=[。！？])(?=[^。！？”’」』）)])")
_DISPLAY = re.compile(r"(?P<open>\\\[|\\begin\{)|(?P<close>\\\]|\\end\{)|\$\$")
_EXPLAINS = re.compile(r"\s{0,8}where\b", re.IGNORECASE)


def split_sentences(text: str) -> list[str]:
    """Return the sentences of `text`; joined they are `text`.

    They are the reasoning steps, except that steps also end at 。！？ and that a formula on lines of its own, and a "where …"
    after it, stay with their sentence.

    >>> split_sentences("So it is:\\n$$\\n3 + 4 = 7\\n$$\\nDone.")
    ['So it is:\\n$$\\n3 + 4 = 7\\n$$\\n', 'Done.']
    """
    sentences: list[list[str]] = []
    is_open = False
    for step in step_texts(text):
        for piece in _FULL_STOP.split(step):
            continues = is_open or _EXPLAINS.match(piece) is not None
            if sentences and continues:
                sentences[-1].append(piece)
            else:
                sentences.append([piece])
            is_open = _is_open_after(piece, is_open)
    return ["".join(pieces) for pieces in sentences]


def _is_open_after(piece: str, is_open: bool) -> bool:
    """Return whether a displayed formula is open behind `piece`, given whether one was open before it."""
    for sign in _DISPLAY.finditer(piece):
        is_open = not is_open if sign[0] == "$$" else sign["open"] is not None
    return is_open
