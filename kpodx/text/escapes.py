"""Texts that arrive as JSON wrote them: each backslash doubled."""

from __future__ import annotations

import re

_DOUBLED = re.compile(r"(?<!\\)\\\\(?=[()\[\]]|[a-zA-Z]{2,20}|[{}$%#&,;!])")
_DOUBLED_MARK = re.compile(r"(?<!\\)\\\\(?P<mark>[()\[\]])(?!-?\d[\d.]{0,6}(?:pt|em|ex|mm|cm)\])")
# A doubled mark at a line's end would be a new line in a formula of a text that doubles nothing.
_SINGLE = re.compile(r"(?<!\\)\\(?:[(\[)\]]|(?!n(?![a-z])|t(?![a-z])|n\Z)[a-zA-Z])")
_MARK_PAIRS = (("(", ")"), ("[", "]"))


def single_backslashes(text: str) -> str:
    r"""Return `text` with one backslash for each pair of them, if it is a text that doubles them.

    A text with any single backslash before a letter or a bracket is LaTeX as it should be; there "\\" ends a line. Only marks
    of formulas that come in pairs, "\\(" with "\\)", are made single there, too.

    >>> print(single_backslashes("So \\\\(x = \\\\frac{1}{2}\\\\)."))
    So \(x = \frac{1}{2}\).
    """
    if "\\\\" not in text:
        return text
    if _SINGLE.search(text) is None:
        return _DOUBLED.sub(r"\\", text)
    marks = {found["mark"] for found in _DOUBLED_MARK.finditer(text)}
    paired = {mark for pair in _MARK_PAIRS if marks.issuperset(pair) for mark in pair}
    return _DOUBLED_MARK.sub(lambda found: "\\" + found["mark"] if found["mark"] in paired else found[0], text)
