"""Words of a chart that keep out of each other's way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LETTER = 6.9
"""Width of a letter in most fonts, at most."""


@dataclass(frozen=True)
class Box:
    """Where words stand: from `left`, `width` wide, on the line `base`."""

    left: float
    base: float
    width: float

    @staticmethod
    def of(left: float, base: float, words: str) -> Box:
        """The box of words."""
        return Box(left, base, len(words) * LETTER)

    def overlaps(self, other: Box) -> bool:
        """Whether the two would be written over each other."""
        beside = self.left + self.width < other.left or other.left + other.width < self.left
        return not beside and abs(self.base - other.base) < 14.0


def first_free(wanted: Sequence[Box], taken: Sequence[Box]) -> Box:
    """The first box that overlaps none that is taken; the last one where all do."""
    return next((box for box in wanted if not any(box.overlaps(other) for other in taken)), wanted[-1])


def spread_labels(wanted: Sequence[float], low: float, high: float, gap: float = 15.0) -> list[float]:
    """Places near the wanted ones that are `gap` apart, in the same order; all within [low, high] where there is room.

    >>> spread_labels([10.0, 12.0, 50.0], 0.0, 100.0)
    [10.0, 25.0, 50.0]
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    places = [0.0] * len(wanted)
    last = low - gap
    for index in order:
        last = places[index] = max(wanted[index], last + gap)
    limit = high
    for index in reversed(order):
        places[index] = min(places[index], limit)
        limit = places[index] - gap
    return places
