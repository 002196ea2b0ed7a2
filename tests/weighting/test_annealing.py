"""Figures that move while the mask is learnt, by hand and by their properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpodx.weighting.annealing import Ramp


def test_five_updates_by_hand() -> None:
    assert [Ramp(1.0, 0.2).at(number, 5) for number in range(5)] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_it_may_rise() -> None:
    assert [Ramp(0.25, 0.75).at(number, 3) for number in range(3)] == [0.25, 0.5, 0.75]


def test_without_an_end_it_stays() -> None:
    assert [Ramp(0.4).at(number, 3) for number in range(3)] == [0.4] * 3


def test_a_single_update_has_the_start_and_later_ones_have_the_end() -> None:
    assert Ramp(1.0, 0.2).at(0, 1) == 1.0
    assert Ramp(1.0, 0.2).at(9, 3) == 0.2


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.integers(2, 1000), st.data())
def test_it_begins_and_ends_exactly_and_stays_between(
    start: float, final: float, count: int, data: st.DataObject
) -> None:
    ramp = Ramp(start, final)
    assert (ramp.at(0, count), ramp.at(count - 1, count)) == (start, final)
    first, second = sorted(data.draw(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))))
    low, high = sorted((start, final))
    assert low - 1e-9 <= ramp.at(first, count) <= high + 1e-9
    moved = ramp.at(second, count) - ramp.at(first, count)
    assert moved * (final - start) >= -1e-9
