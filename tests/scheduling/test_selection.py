"""The vectorised selection against its definition, by hand, by property and by brute force."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.scheduling.selection import (
    density_order,
    diversity_gain,
    first_fit,
    select_greedy_max,
    selection_value,
)

NaiveGreedy = Callable[[list[float], list[int], float, float], tuple[list[int], float]]


def load_naive_greedy() -> NaiveGreedy:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "naive_greedy.py"
    spec = importlib.util.spec_from_file_location("naive_greedy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.naive_greedy  # type: ignore[no-any-return]


naive_greedy = load_naive_greedy()

# Few distinct costs make ties common; 0 and very different sizes are the edge cases.
some_cost = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.floats(0.0, 10.0), st.sampled_from([1e-12, 1e6]))
item = st.tuples(some_cost, st.integers(0, 3))
beta = st.sampled_from([1e-6, 0.5, 12.0, 1e9])


def arrays(items: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([cost for cost, _ in items], dtype=np.float64), np.array([k for _, k in items], dtype=np.int64)


def test_value_by_hand() -> None:
    # 1 + 2 + 4 nats; two picks in cluster 0 and one in cluster 2: 12 (√2 + 1)
    value = selection_value(np.array([1.0, 2.0, 4.0]), np.array([0, 0, 2]), 12.0)
    assert value == pytest.approx(7 + 12 * (2**0.5 + 1))
    assert selection_value(np.zeros(0), np.zeros(0, dtype=np.int64), 12.0) == 0.0


def test_diversity_gain_by_hand() -> None:
    assert diversity_gain(np.array([0, 1, 8])) == pytest.approx([1.0, 2**0.5 - 1, 3 - 8**0.5])


def test_diversity_gain_falls_over_millions_of_picks() -> None:
    assert np.all(np.diff(diversity_gain(np.arange(3_000_000))) < 0)


def test_density_order_by_hand() -> None:
    # cluster 0: costs 1, 2 -> 1/1 = 1, (√2-1)/2 = .207; cluster 1: costs 1.5, 4 -> .667, .104
    order = density_order(np.array([2.0, 1.0, 4.0, 1.5]), np.array([0, 0, 1, 1]), 1.0)
    assert order.tolist() == [1, 3, 0, 2]


def test_diversity_prefers_a_dearer_item_of_a_fresh_cluster() -> None:
    costs, clusters = np.array([1.0, 1.1, 1.2, 1.5]), np.array([0, 0, 0, 1])
    assert density_order(costs, clusters, 1.0).tolist() == [0, 3, 1, 2]


def test_zero_costs_come_first_without_warnings() -> None:
    order = density_order(np.array([1.0, 0.0, 0.0]), np.array([0, 1, 0]), 1e300)
    assert order.tolist() == [2, 1, 0]


def test_first_fit_skips_what_does_not_fit() -> None:
    order = np.array([3, 0, 1, 2])
    assert first_fit(order, np.array([5.0, 2.0, 1.0, 3.0]), 6.0).tolist() == [3, 1, 2]
    assert first_fit(order, np.array([5.0, 2.0, 1.0, 3.0]), 0.5).tolist() == []
    assert first_fit(np.zeros(0, dtype=np.int64), np.zeros(0), 1.0).tolist() == []


@given(st.lists(some_cost, max_size=30), st.floats(0.0, 40.0), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=200)
def test_first_fit_is_one_by_one(costs: list[float], budget: float, random: object) -> None:
    order = list(range(len(costs)))
    random.shuffle(order)  # type: ignore[attr-defined]
    taken, spent = [], 0.0
    for i in order:
        if spent + costs[i] <= budget:
            taken.append(i)
            spent += costs[i]
    assert first_fit(np.array(order, dtype=np.int64), np.array(costs, dtype=np.float64), budget).tolist() == taken


@given(st.lists(item, max_size=25), st.floats(0.0, 60.0), beta)
@settings(deadline=None, max_examples=300)
def test_greedy_equals_the_naive_greedy_pick_by_pick(
    items: list[tuple[float, int]], budget: float, diversity_coef: float
) -> None:
    costs, clusters = arrays(items)
    expected, best_value = naive_greedy(costs.tolist(), clusters.tolist(), budget, diversity_coef)
    picks = first_fit(density_order(costs, clusters, diversity_coef), costs, budget)
    assert picks.tolist() == expected
    best = select_greedy_max(costs, clusters, budget, diversity_coef)
    assert selection_value(costs[best], clusters[best], diversity_coef) == pytest.approx(best_value, rel=1e-9)


@given(st.lists(item, max_size=25), st.floats(0.0, 60.0), beta)
@settings(deadline=None, max_examples=200)
def test_selection_keeps_the_budget_and_picks_once(
    items: list[tuple[float, int]], budget: float, diversity_coef: float
) -> None:
    costs, clusters = arrays(items)
    picks = select_greedy_max(costs, clusters, budget, diversity_coef)
    assert len(set(picks.tolist())) == len(picks)
    assert costs[picks].sum() <= budget * (1 + 1e-12)


@given(st.lists(item, min_size=1, max_size=9), st.floats(0.1, 30.0), st.sampled_from([0.01, 1.0, 12.0]))
@settings(deadline=None, max_examples=100)
def test_selection_reaches_half_of_the_optimum(
    items: list[tuple[float, int]], budget: float, diversity_coef: float
) -> None:
    costs, clusters = arrays(items)
    subsets = (list(s) for r in range(len(items) + 1) for s in itertools.combinations(range(len(items)), r))
    optimum = max(selection_value(costs[s], clusters[s], diversity_coef) for s in subsets if costs[s].sum() <= budget)
    picks = select_greedy_max(costs, clusters, budget, diversity_coef)
    assert selection_value(costs[picks], clusters[picks], diversity_coef) >= 0.5 * optimum - 1e-9


def test_completion_beats_the_plain_greedy_where_one_large_item_is_worth_more() -> None:
    # the greedy takes 1 nat and then cannot afford 100; the completed empty prefix takes 100 alone
    costs, clusters = np.array([1.0, 100.0]), np.array([0, 0])
    assert first_fit(density_order(costs, clusters, 0.1), costs, 100.0).tolist() == [0]
    assert select_greedy_max(costs, clusters, 100.0, 0.1).tolist() == [1]


def test_larger_than_a_toy_it_still_equals_the_naive_greedy() -> None:
    rng = np.random.default_rng(0)
    costs, clusters = rng.gamma(1.0, 1.0, 400), rng.integers(0, 5, 400)
    expected, best_value = naive_greedy(costs.tolist(), clusters.tolist(), 100.0, 3.0)
    assert first_fit(density_order(costs, clusters, 3.0), costs, 100.0).tolist() == expected
    best = select_greedy_max(costs, clusters, 100.0, 3.0)
    assert selection_value(costs[best], clusters[best], 3.0) == pytest.approx(best_value, rel=1e-12)
