"""Sentences at the end of a completion that only talk to the reader of a chat: "Let me know if you have any questions!" """

from __future__ import annotations

import re

from kpodx.text.cues import FULL_WIDTH, load_cues

_WINDOW = 600
"""Characters at the end of a text that are searched for its last sentence."""
_SENTENCE = re.compile(r"[^\n.!?。！？]{1,600}+[.!?。！？]{0,5}+[^\w\n.!?。！？¡¿(\[$\\]{0,20}+")
_MOST_CLOSERS = 5


def without_closers(text: str) -> str:
    """Return `text` without the closing sentences for the reader of a chat at its end, in any language with cues.

    >>> without_closers("2 + 3 = 5. I hope this helps! Let me know if you have any questions. 😊")
    '2 + 3 = 5.'
    """
    text = text.rstrip()
    for _ in range(_MOST_CLOSERS):
        start = _last_sentence(text)
        # A sentence with a sum is reasoning, however it opens.
        if start is None or "=" in text[start:] or load_cues().closer.match(text[start:].translate(FULL_WIDTH)) is None:
            return text
        text = text[:start].rstrip()
    return text


def _last_sentence(text: str) -> int | None:
    """Return where the last sentence with a letter begins, None if it is longer than the window."""
    begin = max(0, len(text) - _WINDOW)
    last = None
    for sentence in _SENTENCE.finditer(text, begin):
        if any(map(str.isalpha, sentence[0])) and (sentence.start() > begin or begin == 0):
            last = sentence.start()
    return last
