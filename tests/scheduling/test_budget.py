"""The difficulty budget and the target difficulty, by hand and by property."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.scheduling.budget import difficulty_budget, growth_rate, target_difficulty


def test_the_ladder_of_the_default_settings() -> None:
    ladder = [
        difficulty_budget(t, total_difficulty=1.0, initial_budget=0.3, growth_exponent=0.5, full_stage=10)
        for t in range(11)
    ]
    expected = [0.300, 0.322, 0.363, 0.415, 0.477, 0.547, 0.625, 0.710, 0.801, 0.898, 1.0]
    assert ladder == pytest.approx(expected, abs=5e-4)


@given(st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 4), st.integers(1, 200))
@settings(deadline=None, max_examples=150)
def test_budget_is_equation_10_and_never_falls(total: float, fraction: float, exponent: float, full: int) -> None:
    initial = fraction * total
    rate = growth_rate(total, initial, exponent, full)
    previous = 0.0
    for stage in range(full + 1):
        budget = difficulty_budget(
            stage, total_difficulty=total, initial_budget=initial, growth_exponent=exponent, full_stage=full
        )
        literal = rate * float(stage) ** (exponent + 1) / (exponent + 1) + initial
        assert budget == pytest.approx(literal, rel=1e-9, abs=1e-9)
        assert previous * (1 - 1e-12) <= budget
        previous = budget
    assert previous == total


def test_after_the_full_stage_the_budget_is_the_total() -> None:
    assert difficulty_budget(7, total_difficulty=5.0, initial_budget=1.0, growth_exponent=0.5, full_stage=3) == 5.0


def test_a_curve_that_bends_the_other_way_from_linear() -> None:
    middle = [
        difficulty_budget(1, total_difficulty=1.0, initial_budget=0.0, growth_exponent=p, full_stage=2)
        for p in (0.0, 1.0)
    ]
    assert middle == [0.5, 0.25]


def test_target_difficulty_by_hand() -> None:
    difficulty = np.array([1.0, 2.0, 4.0, 8.0])
    offsets = np.array([0, 3, 3, 4])  # three steps, none, one
    assert target_difficulty(difficulty, offsets, np.array([0, 0, 0])).tolist() == [7.0, 0.0, 8.0]
    assert target_difficulty(difficulty, offsets, np.array([2, 0, 1])).tolist() == [4.0, 0.0, 0.0]


@given(st.lists(st.lists(st.floats(0, 100), max_size=6), min_size=1, max_size=8), st.data())
@settings(deadline=None, max_examples=100)
def test_target_difficulty_is_a_sum_of_tails(steps: list[list[float]], data: st.DataObject) -> None:
    given_steps = [data.draw(st.integers(0, len(own))) for own in steps]
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in steps])]).astype(np.int64)
    flat = np.array([d for own in steps for d in own], dtype=np.float64)
    expected = [sum(own[c:]) for own, c in zip(steps, given_steps, strict=True)]
    assert target_difficulty(flat, offsets, np.array(given_steps)) == pytest.approx(expected)
