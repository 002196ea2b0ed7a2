"""Axes of the charts: round ticks, and where a value stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

TICKS = 5


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        label: what it shows, with its unit.
        low: value at its beginning.
        high: value at its end, greater than `low`.
        ticks: values that are marked.
        show: how a tick is written.
        log: whether equal factors are equal distances.
    """

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    show: Callable[[float], str] = "{:g}".format
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value stands, 0 at the beginning and 1 at the end; values outside stand at the nearer end."""
        low, high, at = (math.log(max(x, 1e-300)) if self.log else x for x in (self.low, self.high, value))
        return min(1.0, max(0.0, (at - low) / (high - low)))


def nice_step(width: float, ticks: int = TICKS) -> float:
    """The round distance (1, 2, 2.5 or 5 times a power of ten) that gives about so many ticks on a width.

    >>> nice_step(0.93), nice_step(2360), nice_step(10)
    (0.2, 500.0, 2.0)
    """
    rough = width / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * 0.999)
    return round(step * power, 12)


def linear_axis(
    label: str, values: Iterable[float], show: Callable[[float], str] = "{:g}".format, *, zero: bool = True
) -> Axis:
    """An axis with round ends around the values, from zero on if `zero`."""
    found = [*values, *([0.0] if zero else [])]
    low, high = min(found), max(found)
    if high == low:
        low, high = (low, low + 1.0) if zero else (low - 0.5, low + 0.5)
    step = nice_step(high - low)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(step * number, 12) for number in range(first, last + 1))
    return Axis(label, ticks[0], ticks[-1], ticks, show)


def log_axis(label: str, values: Iterable[float]) -> Axis:
    """A logarithmic axis that ends at 1, 2 or 5 times powers of ten around the values; those of zero stand at its beginning."""
    found = [value for value in values if value > 0] or [1.0]
    low, high = min(found) / 1.15, max(found) * 1.15
    ladder = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        for factor in (1.0, 2.0, 5.0)
    ]
    inside = [rung for rung in ladder if low < rung < high]
    ends = max(rung for rung in ladder if rung <= low), min(rung for rung in ladder if rung >= high)
    ticks = tuple(round(rung, 12) for rung in (ends[0], *inside, ends[1]))
    decades = tuple(tick for tick in ticks if f"{tick:e}".startswith("1.0"))
    return Axis(label, ticks[0], ticks[-1], decades if len(ticks) > TICKS + 2 else ticks, log=True)


def share_axis(label: str) -> Axis:
    """An axis of percentages, from 0 to 100."""
    return Axis(label, 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), show=lambda value: f"{100 * value:g} %")
