"""Code blocks and display formulas in a text: what stands inside them is neither a sentence nor an announcement."""

from __future__ import annotations

import functools
import re
from typing import Literal, NamedTuple

_ENVIRONMENTS = (
    r"(?:align|aligned|equation|gather|gathered|multline|split|cases|array|tabular|[bpvBV]?matrix|eqnarray)\*?"
)
_OPENING = re.compile(
    r"^[ \t>]{0,12}(?P<fence>`{3,20}|~{3,20})|(?<!\\)(?P<bracket>\\\[)|(?<!\\)(?P<dollars>\$\$)"
    rf"|\\begin\{{(?P<environment>{_ENVIRONMENTS})\}}",
    re.MULTILINE,
)
_SIGNS = ("```", "~~~", "\\[", "$$", "\\begin{")
"""One of these is in every opening mark."""


class Region(NamedTuple):
    """A code block or display formula at [start, stop); an unclosed one stops with its opening mark."""

    kind: Literal["code", "formula"]
    start: int
    stop: int
    is_closed: bool = True


@functools.lru_cache(maxsize=64)
def find_regions(text: str) -> tuple[Region, ...]:
    """Return the outermost code blocks and display formulas of `text`, in order.

    >>> find_regions("We get:\\n\\\\[ 3 + 5 \\\\]\\nDone.")
    (Region(kind='formula', start=8, stop=19, is_closed=True),)
    """
    # Most texts hold no mark, and a plain search is much faster than the pattern.
    if not any(sign in text for sign in _SIGNS):
        return ()
    regions: list[Region] = []
    # A closing mark that is missing once is missing further on, too: without this, the search would be quadratic.
    missing: set[str] = set()
    at = 0
    while (opening := _OPENING.search(text, at)) is not None:
        region = _region(text, opening, missing)
        at = region.stop
        # "$$60" is money.
        if region.is_closed or not (opening["dollars"] and text[at : at + 1].isdigit()):
            regions.append(region)
    return tuple(regions)


def closed_regions(text: str, kind: str | None = None) -> list[Region]:
    """Return the regions of `text` that are closed, of one kind or of both."""
    return [region for region in find_regions(text) if region.is_closed and kind in (None, region.kind)]


def _region(text: str, opening: re.Match[str], missing: set[str]) -> Region:
    """Return the region that `opening` begins; `missing` collects the closing marks that the rest of the text lacks."""
    closing = _closing_mark(opening)
    stop = -1 if closing in missing else text.find(closing, opening.end())
    kind: Literal["code", "formula"] = "code" if opening["fence"] else "formula"
    if stop < 0:
        missing.add(closing)
        return Region(kind, opening.start(), opening.end(), is_closed=False)
    stop += len(closing)
    if opening["fence"]:
        # A closing fence may be longer than the opening one.
        while text[stop : stop + 1] == opening["fence"][0]:
            stop += 1
    return Region(kind, opening.start(), stop)


def _closing_mark(opening: re.Match[str]) -> str:
    """Return the text that closes what `opening` opens."""
    if opening["fence"]:
        return "\n" + opening["fence"]
    if opening["bracket"]:
        return "\\]"
    return "$$" if opening["dollars"] else f"\\end{{{opening['environment']}}}"
