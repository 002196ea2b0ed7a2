r"""Where no step may be cut: display formulas, code blocks, and brackets or code within a line.

A display formula is `\[ … \]`, `$$ … $$` or `\begin{align} … \end{align}`; a code block lies between fences of backticks
or tildes. One that the text leaves open reaches to the next blank line, an open code block to the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_OPENING = re.compile(
    r"\\[\\$]|(?P<formula>\\\[)|(?P<dollars>\$\$)|\\begin\{(?P<name>[a-zA-Z]{1,20}\*?)\}"
    r"|(?P<inline>\$(?![\s$])[^$\n]{0,200}?\\[a-zA-Z][^$\n]{0,200}+(?<!\s)\$(?!\d))"
    r"|(?<!`)(?P<code>(?P<ticks>`{1,3}+)[^`\n]{1,200}+(?P=ticks)(?!`))"
    r"|(?<![`~])(?P<fence>(?P<mark>[`~])(?P=mark){2,}+)(?=(?P<info>[^`~\n]{0,60}+)\n)"
)
_FORMULA_MARK = re.compile(r"\\\\|(?P<side>\\[\[\]])")
_CLOSING_FENCE = re.compile(r"\n[ \t>]{0,40}+(?P<fence>(?P<mark>[`~])(?P=mark){2,}+)[ \t]*+(?=\n|\Z)")
_CLOSING_ENVIRONMENT = re.compile(r"\\end\{(?P<name>[a-zA-Z]{1,20}\*?)\}")
_LONGEST_FENCE = 16
_BLANK_LINE = re.compile(r"\n[ \t]*+\n")
_LINE_END = re.compile(r"[ \t]*+\n")
_PROSE_ENVIRONMENTS = frozenset(
    ("document", "itemize", "enumerate", "description", "quote", "center", "solution", "proof", "abstract")
)
_BRACKET = re.compile(r"[()（）\n]")
_STOP = re.compile("[.!?…。！？｡।]")
LONGEST_BRACKET = 300
"""Characters from a bracket to its partner, at most, for what is between them to stay whole."""


class Span(NamedTuple):
    """The half-open range [start, stop) of characters that stay together; `opening` is its first mark ("\\[", "(", "`")."""

    start: int
    stop: int
    opening: str

    @property
    def is_block(self) -> bool:
        """Whether it is a display formula or a code block, not a bracket or code within a line."""
        return self.opening not in "(（`$"


def whole_spans(text: str) -> list[Span]:
    r"""All ranges of `text` that stay in one step, in order and apart from each other.

    >>> text = "So \\[ x = 3. \\] (Or 4. Or 5.)"
    >>> [text[span.start : span.stop] for span in whole_spans(text)]
    ['\\[ x = 3. \\]', '(Or 4. Or 5.)']
    """
    # Every block begins with one of these: most texts are not searched.
    has_formula = "\\" in text and ("$" in text or "\\[" in text or "\\begin{" in text)
    may_hold_blocks = has_formula or "$$" in text or "`" in text or "~~~" in text
    blocks = list(_Blocks(text).spans()) if may_hold_blocks else []
    brackets = _brackets(text) if _may_hold_brackets(text) else []
    return _merged(blocks, brackets) if blocks and brackets else blocks or brackets


def _merged(blocks: list[Span], brackets: list[Span]) -> list[Span]:
    """Both in one order; a bracket that touches the inside of a block belongs to it."""
    merged: list[Span] = []
    for span in sorted(blocks + brackets):
        last = merged[-1] if merged else None
        if last is None or span.start >= last.stop:
            merged.append(span)
        elif span.stop > last.stop or (span.is_block and not last.is_block):
            opening = last.opening if last.is_block or not span.is_block else span.opening
            merged[-1] = Span(last.start, max(last.stop, span.stop), opening)
    return merged


def _may_hold_brackets(text: str) -> bool:
    """Whether a stop is between the first opening bracket and the last closing one."""
    opening = text.find("(")
    return (
        "（" in text or "）" in text or (opening >= 0 and _STOP.search(text, opening, text.rfind(")") + 1) is not None)
    )


def _brackets(text: str) -> list[Span]:
    """The outermost pairs of round brackets within a line that are at most `LONGEST_BRACKET` characters apart."""
    pairs: list[Span] = []
    opened: list[int] = []
    for match in _BRACKET.finditer(text):
        sign = match[0]
        if sign == "\n":
            opened.clear()
        elif sign in "(（":
            opened.append(match.start())
        elif opened:
            start = opened.pop()
            # Without a stop inside there is nothing to protect: "(a)" is by far the commonest bracket.
            if match.end() - start <= LONGEST_BRACKET and _STOP.search(text, start, match.end()):
                while pairs and pairs[-1].start > start:
                    pairs.pop()
                pairs.append(Span(start, match.end(), text[start]))
    return pairs


class _Blocks:
    """The display formulas and the code of `text`; each search is bounded by the next block or done once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.last_ends: dict[str, int] | None = None
        self.unclosed_fences: dict[str, int] = {}

    def spans(self) -> Iterator[Span]:
        """All of them, in order."""
        opening = _OPENING.search(self.text)
        while opening is not None:
            stop = self._stop(opening)
            if stop is not None:
                is_inline = opening["code"] or opening["inline"]
                yield Span(opening.start(), stop, opening[0][0] if is_inline else opening[0])
            opening = _OPENING.search(self.text, opening.end() if stop is None else stop)

    def _stop(self, opening: re.Match[str]) -> int | None:
        """Where the block behind an opening ends; None if it opens none."""
        if opening["formula"]:
            return self._formula_stop(opening.end())
        if opening["dollars"]:
            return self._dollars_stop(opening.end())
        if opening["code"] or opening["inline"]:
            return opening.end()
        if opening["fence"]:
            return self._fence_stop(opening)
        name = opening["name"]
        is_prose = name is None or name.rstrip("*") in _PROSE_ENVIRONMENTS
        return None if is_prose else self._environment_stop(opening.end(), name)

    def _open_stop(self, start: int, limit: int) -> int:
        """Where a formula without an end is taken to end: at a blank line, as in TeX, or at `limit`."""
        blank = _BLANK_LINE.search(self.text, start, limit)
        return blank.start() if blank else limit

    def _formula_stop(self, start: int) -> int:
        r"""The end of `\[ … \]`; another `\[` before it shows that the first was left open."""
        for mark in _FORMULA_MARK.finditer(self.text, start):
            if mark["side"] == "\\]":
                return mark.end()
            if mark["side"] == "\\[":
                return self._open_stop(start, mark.start())
        return self._open_stop(start, len(self.text))

    def _dollars_stop(self, start: int) -> int | None:
        """The end of `$$ … $$`; None for prices ("costs $$"), which no other pair follows before a blank line."""
        closing = self.text.find("$$", start)
        if closing < 0:
            return None
        is_alone = _LINE_END.match(self.text, start) is not None
        is_whole = is_alone or _BLANK_LINE.search(self.text, start, closing) is None
        return closing + len("$$") if is_whole else None

    def _environment_stop(self, start: int, name: str) -> int:
        r"""The end of `\begin{name} … \end{name}`, others of the same name inside it included."""
        begin, end = f"\\begin{{{name}}}", f"\\end{{{name}}}"
        last, at, missing = self._last_end(name), start, 1
        while missing and last >= at:
            closing = self.text.find(end, at)
            missing += self.text.count(begin, at, closing) - 1
            at = closing + len(end)
        return at if at > start else self._open_stop(start, len(self.text))

    def _last_end(self, name: str) -> int:
        r"""Where the last `\end{name}` begins, -1 without any."""
        if self.last_ends is None:
            self.last_ends = {match["name"]: match.start() for match in _CLOSING_ENVIRONMENT.finditer(self.text)}
        return self.last_ends.get(name, -1)

    def _fence_stop(self, opening: re.Match[str]) -> int | None:
        """The end of a code block; one left open reaches to the text's end if its fence names a language."""
        mark, length = opening["mark"], min(len(opening["fence"]), _LONGEST_FENCE)
        # What no fence of some length closes, no longer one closes either, from there on.
        if length < self.unclosed_fences.get(mark, length + 1):
            for closing in _CLOSING_FENCE.finditer(self.text, opening.end()):
                if closing["mark"] == mark and len(closing["fence"]) >= length:
                    return closing.end()
            self.unclosed_fences[mark] = length
        return len(self.text) if mark == "`" and opening["info"].strip() else None
