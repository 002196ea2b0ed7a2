"""Equation 8: by hand, its bound, and what leaves it unchanged."""

from __future__ import annotations

from math import e, exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.scheduling.difficulty import normalised_weights, step_difficulties

NLL = np.array([1.0, 3.0, 2.0, 0.5], dtype=np.float32)
WEIGHT = np.array([0.9, 0.1, 0.5, 0.5], dtype=np.float32)
WEIGHTS = st.lists(st.floats(0.015625, 0.984375, width=32), min_size=1, max_size=20)


def test_step_difficulty_by_hand() -> None:
    first = (exp(0.9) * 1 + exp(0.1) * 3) / (exp(0.9) + exp(0.1))
    found = step_difficulties(NLL, WEIGHT, np.array([2, 4]))
    assert found.tolist() == pytest.approx([first, 1.25], rel=1e-6)
    assert first == pytest.approx(1.62005, abs=1e-5)
    assert found.dtype == np.float64


def test_without_weights_it_is_the_mean_of_the_step() -> None:
    assert step_difficulties(NLL, None, np.array([1, 4])).tolist() == pytest.approx([1.0, 5.5 / 3])


@given(WEIGHTS)
@settings(deadline=None, max_examples=50)
def test_weights_of_a_step_sum_to_one_and_differ_by_less_than_e(weight: list[float]) -> None:
    found = normalised_weights(np.array(weight))
    assert found.sum() == pytest.approx(1)
    assert found.max() / found.min() < e
    assert (np.argsort(weight, kind="stable") == np.argsort(found, kind="stable")).all() or len(set(weight)) < len(
        weight
    )


@given(WEIGHTS, st.floats(-0.5, 0.5), st.integers(0, 100))
@settings(deadline=None, max_examples=50)
def test_a_shift_of_all_weights_and_the_order_of_tokens_change_nothing(
    weight: list[float], shift: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    w, nll, order = np.array(weight), rng.gamma(2.0, 1.0, len(weight)), rng.permutation(len(weight))
    stop = np.array([len(w)])
    expected = step_difficulties(nll, w, stop)
    assert step_difficulties(nll, w + shift, stop) == pytest.approx(expected)
    assert step_difficulties(nll[order], w[order], stop) == pytest.approx(expected)
    assert nll.min() - 1e-9 <= expected[0] <= nll.max() + 1e-9


def test_a_step_is_weighed_apart_from_the_others() -> None:
    one = step_difficulties(NLL, WEIGHT, np.array([2, 4]))
    other = step_difficulties(NLL, np.array([0.9, 0.1, 0.01, 0.99], dtype=np.float32), np.array([2, 4]))
    assert one[0] == other[0]
    assert one[1] > other[1]


def test_a_loss_that_is_not_finite_stays_so() -> None:
    nll = np.array([1.0, np.nan, 2.0, np.inf])
    assert np.isfinite(step_difficulties(nll, WEIGHT, np.array([1, 2, 3, 4]))).tolist() == [True, False, True, False]
