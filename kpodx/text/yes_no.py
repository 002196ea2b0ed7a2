"""Reading yes or no: behind an announcement, or at the beginning or the end of a text."""

from __future__ import annotations

import re

from kpodx.text.cues import load_cues

_BEFORE = re.compile(r"[(\[（]\s?\Z")
_BEHIND = re.compile(r"\s?[)\]）]")
_REPEATED = re.compile(r"\?|\s?[:：]|\s(?:is|lautet|es)\b")
_PAUSES = frozenset(".,!;:)\"'*\n。，")


def read_yes_or_no(sentence: str) -> tuple[bool, str | None]:
    """Return whether a sentence behind an announcement says yes or no at all, and which of them."""
    sentence = _without_question(sentence)
    found = load_cues().yes_or_no.search(sentence)
    if found is None or load_cues().yes_and_no.search(sentence):
        return found is not None, None
    refusal = load_cues().refusal.search(sentence)
    if refusal and refusal.start() < found.start():
        return True, None
    return True, _yes_or_no(found)


def _without_question(text: str) -> str:
    """Return `text` without a "(yes or no)" or a "yes or no:", which repeat the question; elsewhere both are left open."""
    pieces: list[str] = []
    start = 0
    for pair in load_cues().yes_and_no.finditer(text):
        is_asked = _BEFORE.search(text, max(0, pair.start() - 2), pair.start()) and _BEHIND.match(text, pair.end())
        if is_asked or _REPEATED.match(text, pair.end()):
            pieces += [text[start : pair.start()].rstrip("([（ ")]
            start = pair.end()
    return " ".join([*pieces, text[start:].lstrip(")]） ") if pieces else text])


def _yes_or_no(match: re.Match[str]) -> str:
    return "yes" if (match["yes"] is not None) != (match["negated"] is not None) else "no"


def concluding_yes_or_no(text: str) -> tuple[str | None, bool]:
    """Return the last yes or no of a text, and whether it opens the text or closes it."""
    text = _without_question(text).strip()
    # "no" is often a determiner ("there is no way"): it answers only at the start or before a pause.
    stated = [
        match
        for match in load_cues().yes_or_no.finditer(text)
        if match.start() == 0 or match["after"] in _PAUSES or not match["after"]
    ]
    if not stated:
        return None, False
    last = stated[-1]
    return _yes_or_no(last), last.start() == 0 or not re.search(r"\w", text[last.end() :])
