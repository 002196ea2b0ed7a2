"""Whether a text ends where its writer wanted to: never inside a sentence, bracket, formula, emphasis or code block."""

from __future__ import annotations

import re
from typing import Literal

from kpodx.text.regions import find_regions

TornReason = Literal["code", "formula", "emphasis", "bracket", "sentence"]
"""What a torn text ends inside of."""

_WINDOW = 4000
"""Characters at the end of a text that are looked at for its last sentence and its brackets."""
_INLINE_CODE = re.compile(r"(?P<ticks>`{1,3})[^`\n]{1,400}(?P=ticks)")
_INLINE_FORMULA = re.compile(
    r"\\\((?:(?!\\\)).){0,1000}\\\)|(?<![\\\w$])\$(?![\s$])[^$\n]{0,400}?(?<![\s\\])\$(?![\d$])", re.DOTALL
)
_OPEN_FORMULA = re.compile(r"(?<!\\)\\\(|(?<![\\\w])\$(?=[a-zA-Z\\{(])|(?<![\\\d\s])\$\s{0,3}\Z|(?<!\d)\s\$\s{0,3}\Z")
_POWER = re.compile(r"(?<=[\w)])\*\*(?=[\w(])|(?<=\s)\*\*(?=\s)")
_OPENS = frozenset("([{")
_SMILEY = re.compile(r"[:;]-?[()\[\]]|(?m:^[ \t]{0,8}(?:\d{1,2}|[A-Za-z])\)\s)")
_FINAL_SMILEY = re.compile(r"\s[:;]-?[()]\s{0,3}\Z")
_RULE = re.compile(r"(?:\s{0,3}[-*_=#]{3,80}\s{0,3})\Z")
_CLOSERS = " \t\n*_`\"'”’»)]}$|"
_ENDS = tuple(".!?…。！？")
_HANGING_SIGN = re.compile(
    r"(?:[,;:=+×÷/<>≈≤≥&(\[{\\^–—]|(?<=\s)[-*]|\\(?:times|cdot|div|approx|leq?|geq?|frac|text|to))\Z"
)
_HANGING_WORD = re.compile(
    r"(?:\A|[\s(*_])(?:the|an|and|or|but|so|of|to|from|than|because|since|therefore|thus|hence|if|that|which|is|are|was|were|be"
    r"|has|have|had|will|would|should|could|must|may|might|by|for|with|at|as|into|per|his|her|their|its|our|your|my"
    r"|we|he|she|they|you|who|when|while|where|plus|minus|equals|gives|costs|collected|(?<!per )a|on|(?<!sq )in|The|So|Therefore|Thus|Hence"
    r"|And|But|Then|Now|Finally|Since|Because|If|We|He|She|They|It|This|A|An|In|Of|To|For|Final|final|Step|among|between|about|each of)\Z"
)
_HANGING_BEFORE_PERIOD = re.compile(r"(?:\s(?:the|an|and|or|our|your|their|its|equals)|[=+×÷])\Z")
_HEADING = re.compile(
    r"[ \t]{0,3}#{1,6}(?:\s|\Z)|[ \t]{0,3}(?:\*\*|__)?(?:step|part|case)\s\d{1,2}\W{0,6}\Z", re.IGNORECASE
)
_LIST_ITEM = re.compile(r"\s{0,12}(?:[-*•+–]|\d{1,2}[.)]|\([a-z\d]{1,2}\)|[a-z][.)])\s", re.IGNORECASE)
_ENDS_IN_VALUE = re.compile(
    r"(?:\d[\d,.]*|[½¼¾⅓⅔²³°%€£¥\d])[)\]}*$\\\"”’]{0,6}(?:[ \-]?[^\s\d=+,;:]{1,24}){0,6}\Z|[=≈][^=]{1,60}\Z"
)
_EARLIER_END = re.compile(r"[.!?][\"'”’)*_]{0,4}\s")


def why_torn(text: str) -> TornReason | None:
    """Return what `text` ends inside of, or None if it ends where a sentence, line or formula does.

    Lines without a period are whole if they end in a value, are list items or table rows, or if nothing before them
    ends in a period either.

    >>> why_torn("8 + 5 = 13"), why_torn("Therefore, Olivia collected"), why_torn("She has (3 + 5")
    (None, 'sentence', 'bracket')
    """
    prose = _without_regions(text)
    if prose is None:
        return "code"
    if _ends_in_formula(prose):
        return "formula"
    last = _without_formulas(prose[-_WINDOW:]).rstrip()
    if _ends_in_emphasis(last):
        return "emphasis"
    if _ends_in_bracket(last):
        return "bracket"
    return "sentence" if _ends_in_sentence(text, last) else None


def _without_regions(text: str) -> str | None:
    """Return `text` with closed code and display formulas replaced by a figure; None if a code block is open."""
    pieces: list[str] = []
    at = 0
    for region in find_regions(text):
        if region.is_closed:
            pieces += [text[at : region.start], " 0 "]
            at = region.stop
        elif region.kind == "code":
            return None
    prose = "".join((*pieces, text[at:]))
    if "`" not in prose:
        return prose
    prose = _INLINE_CODE.sub(" 0 ", prose)
    last = prose[prose.rfind("\n") + 1 :]
    return None if last.count("`") % 2 else prose


def _ends_in_formula(prose: str) -> bool:
    r"""Return whether a \[, $$, \begin{} or, in the last paragraph, a \( or $ is open."""
    if any(not region.is_closed for region in find_regions(prose)):
        return True
    last = prose[max(prose.rfind("\n\n"), len(prose) - _WINDOW, 0) :]
    return _may_hold_formula(last) and _OPEN_FORMULA.search(_without_formulas(last)) is not None


def _may_hold_formula(text: str) -> bool:
    r"""Return whether `text` holds a $ or \(, without which no formula within a line begins."""
    return "$" in text or "\\(" in text


def _without_formulas(text: str) -> str:
    """Return `text` with each formula within a line replaced by a figure."""
    return _INLINE_FORMULA.sub(" 0 ", text) if _may_hold_formula(text) else text


def _ends_in_emphasis(last: str) -> bool:
    """Return whether ** is open in the last paragraph."""
    paragraph = last[last.rfind("\n\n") + 1 :]
    return "**" in paragraph and _POWER.sub(" ", paragraph).count("**") % 2 == 1


def _ends_in_bracket(last: str) -> bool:
    """Return whether a bracket is open in the last line."""
    line = last[last.rfind("\n") + 1 :]
    if _OPENS.isdisjoint(line):
        return False
    line = _SMILEY.sub(" ", line)
    opened: list[str] = []
    for character in line.replace("\\{", "{").replace("\\}", "}"):
        if character in _OPENS:
            opened.append(character)
        elif opened and character in ")]}":
            # Intervals such as [0, 5) close one kind of bracket with another.
            opened.pop()
    return bool(opened)


def _ends_in_sentence(text: str, last: str) -> bool:
    """Return whether the last line stops in the middle of a sentence, or announces what never comes."""
    while "\n" in last and _RULE.search(last[last.rfind("\n") + 1 :]):
        last = last[: last.rfind("\n")].rstrip()
    line = _FINAL_SMILEY.sub("", last[last.rfind("\n") + 1 :])
    if not line.strip(_CLOSERS):
        return not last.strip(_CLOSERS) and bool(text.strip()) and not any(map(str.isalnum, text))
    if _HEADING.match(line):
        return True
    bare = line.rstrip(_CLOSERS)
    if bare.endswith(_ENDS):
        return _HANGING_BEFORE_PERIOD.search(bare.rstrip("".join(_ENDS)).rstrip(_CLOSERS)) is not None
    if _HANGING_SIGN.search(bare) or _HANGING_WORD.search(bare):
        return True
    return not _is_whole_line(last, line, bare)


def _is_whole_line(last: str, line: str, bare: str) -> bool:
    """Return whether a line that ends without a period is whole all the same."""
    if _ENDS_IN_VALUE.search(bare[-200:]) or _LIST_ITEM.match(line) or line.rstrip().endswith("|"):
        return True
    if _EARLIER_END.search(line):
        return False
    before = last[: last.rfind("\n") + 1]
    ended = [bool(row.rstrip(_CLOSERS).endswith(_ENDS)) for row in before.splitlines() if row.strip(_CLOSERS)]
    return not ended or ended.count(True) * 2 < len(ended)
