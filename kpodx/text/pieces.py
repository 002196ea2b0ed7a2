"""Cutting a completion into sentences that keep their formulas and code blocks whole."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kpodx.text.clauses import has_verb
from kpodx.text.regions import Region, closed_regions
from kpodx.text.steps import step_bounds

_FINISHED = re.compile(r"[.!?。！？][\"'”’»)\]}*_$]{0,6}\Z")
_STRUCTURE = re.compile(r"\s*(?:#{1,6}\s|(?:\*\*|__)[^*\n]{1,80}(?:\*\*|__):?\Z|[-*•+]\s|\d{1,2}[.)]\s|`{3}|~{3}|\|)")
"""Opens headings, list items, table rows and fences: a formula below them is no continuation of a sentence."""
_LONGEST_LINE = 500
_LONGEST_GAP = 40
"""Characters of white space between a sentence and its display formula that are looked at."""


def find_pieces(text: str) -> list[tuple[int, int]]:
    """Return the (start, stop) of each sentence of `text`, in order; together they cover it.

    They are the steps of `text`, except that none begins inside a code block or display formula, and that a formula
    stays with the unfinished sentence before it and with the one that continues after it in lower case.

    >>> text = "So we get:\\n\\\\[ 3 + 5 = 8. \\\\]\\nDone."
    >>> [text[start:stop] for start, stop in find_pieces(text)]
    ['So we get:\\n\\\\[ 3 + 5 = 8. \\\\]\\n', 'Done.']
    """
    regions = closed_regions(text)
    starts = {start for start, _ in step_bounds(text)}
    starts |= {place for region in regions if (place := _text_after(text, region)) is not None}
    formulas = [region for region in regions if region.kind == "formula"]
    # The opening mark alone holds no word: step splitting leaves it with the sentence before.
    starts |= {region.start for region in regions}
    kept = [0, *(start for start in _outside(sorted(starts), regions) if start and not _joins(text, start, formulas))]
    return [(start, stop) for start, stop in zip(kept, [*kept[1:], len(text)], strict=True) if stop > start]


def _text_after(text: str, region: Region) -> int | None:
    """Return where a new sentence begins right after `region`, None if none does."""
    stop = region.stop
    while stop < len(text) and stop - region.stop < _LONGEST_GAP and (text[stop].isspace() or text[stop] in ".,"):
        stop += 1
    return stop if stop < len(text) and text[stop].isupper() else None


def _outside(starts: Sequence[int], regions: Sequence[Region]) -> list[int]:
    """Return those of the sorted `starts` that are inside no region."""
    kept = []
    at = 0
    for start in starts:
        while at < len(regions) and regions[at].stop <= start:
            at += 1
        if at == len(regions) or start <= regions[at].start:
            kept.append(start)
    return kept


def _joins(text: str, start: int, formulas: Sequence[Region]) -> bool:
    """Return whether the piece at `start` belongs to the one before it, because of a display formula between them."""
    if text.startswith(("\\[", "$$", "\\begin{"), start):
        return _is_unfinished(text, start)
    if not formulas:
        return False
    before = text[max(0, start - _LONGEST_GAP) : start].rstrip()
    follows_formula = before.endswith(("\\]", "$$")) or re.search(r"\\end\{\w{1,12}\*?\}\Z", before) is not None
    return follows_formula and text[start].islower()


def _is_unfinished(text: str, stop: int) -> bool:
    """Return whether the line before `stop` is a sentence that a formula continues."""
    before = text[max(0, stop - _LONGEST_LINE) : stop].rstrip()
    line = before[before.rfind("\n") + 1 :]
    if line.endswith((":", ",", "=")):
        return True
    return has_verb(line) and not (
        _FINISHED.search(line) or _STRUCTURE.match(line) or line.endswith(("\\]", "$$", "|"))
    )
