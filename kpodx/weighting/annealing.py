"""Figures of mask learning that change while the mask is learnt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """A figure that moves in a straight line from `start` to `final`; None keeps it at `start`."""

    start: float
    final: float | None = None

    def at(self, number: int, count: int) -> float:
        """Return start + (final - start) · number / (count - 1), so that the last of `count` updates has `final` itself.

        A single update has `start`; updates beyond `count` have `final`.

        Args:
            number: update, from 0.
            count: updates from `start` to `final`.

        >>> [Ramp(1.0, 0.5).at(number, 3) for number in range(3)]
        [1.0, 0.75, 0.5]
        """
        if self.final is None or number == 0:
            return self.start
        share = min(1.0, number / max(1, count - 1))
        # Not start + share · (final - start), which misses `final` by a rounding error.
        return (1 - share) * self.start + share * self.final
