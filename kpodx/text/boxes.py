r"""Taking the value out of LaTeX's \boxed{}, so that its sentence stays whole."""

from __future__ import annotations

import re

_BOX = r"\\(?:boxed|fbox|framebox)"
_BRACE = re.compile(rf"(?P<box>{_BOX}\s{{0,3}}\{{)|\\[{{}}\\]|(?P<open>\{{)|(?P<close>\}})")
_BARE_DIGIT = re.compile(rf"{_BOX}\s{{0,3}}(?=\d)")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s?\{([^{}]{0,200})\}")
_HAS_BOX = re.compile(rf"{_BOX}(?![a-zA-Z])")


def has_box(text: str) -> bool:
    r"""Return whether `text` holds a \boxed{} or \fbox{}."""
    return "\\" in text and _HAS_BOX.search(text) is not None


def unbox(text: str) -> str:
    r"""Return `text` with each closed \boxed{…} and \fbox{…} replaced by what it holds.

    \text{…} inside a box becomes plain text outside a formula, where nothing would set it.

    >>> unbox(r"Therefore, Olivia collected \boxed{20 \text{ pounds}}.")
    'Therefore, Olivia collected 20 pounds.'
    """
    if not has_box(text):
        return text
    pieces: list[str] = []
    at = 0
    for start, opened, closed, stop in _outer_boxes(text):
        pieces.append(text[at:start])
        pieces.append(_content(text[opened:closed], is_formula=_is_in_formula(text, start)))
        at = stop
    pieces.append(text[at:])
    return _BARE_DIGIT.sub("", "".join(pieces))


def _outer_boxes(text: str) -> list[tuple[int, int, int, int]]:
    """Return (start, start of the content, stop of the content, stop) of each closed box that is inside no other."""
    boxes: list[tuple[int, int, int, int]] = []
    opened: list[re.Match[str]] = []
    for brace in _BRACE.finditer(text):
        if brace["box"] or brace["open"]:
            opened.append(brace)
        elif brace["close"] and opened:
            opening = opened.pop()
            if opening["box"]:
                while boxes and boxes[-1][0] > opening.start():
                    boxes.pop()
                boxes.append((opening.start(), opening.end(), brace.start(), brace.end()))
    return boxes


def _content(content: str, *, is_formula: bool) -> str:
    """Return what a box holds, with the boxes in it opened too."""
    content = re.sub(rf"{_BOX}\s{{0,3}}(?=\{{)", "", content)
    if is_formula:
        return content
    return re.sub(r" {2,}", " ", _TEXT_COMMAND.sub(r"\1", content)).strip()


def _is_in_formula(text: str, place: int) -> bool:
    r"""Return whether `place` is between $…$, \(…\) or \[…\], judged by what precedes it in its paragraph."""
    before = text[max(text.rfind("\n\n", 0, place), place - 2000, 0) : place]
    opened = max(before.rfind("\\("), before.rfind("\\["), before.rfind("\\begin{"))
    closed = max(before.rfind("\\)"), before.rfind("\\]"), before.rfind("\\end{"))
    # Money has an odd dollar too; a dollar directly before the box is a formula's in any case.
    return opened > closed or (before.rstrip()[-1:] == "$") or len(re.findall(r"\$(?![\d.])", before)) % 2 == 1
