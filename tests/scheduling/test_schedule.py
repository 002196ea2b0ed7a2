"""Schedules by hand, their invariants for every strategy, and the edges."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.scheduling.budget import target_difficulty
from kpodx.scheduling.schedule import (
    Pace,
    Plan,
    SelectionRule,
    StepTable,
    next_steps_sum,
    solve_schedule,
    step_lengths,
)
from kpodx.scheduling.strategy import Strategy

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def table(
    steps: list[list[float]], tokens: list[list[int]] | None = None, clusters: list[int] | None = None
) -> StepTable:
    tokens = tokens or [[1] * len(own) for own in steps]
    return StepTable(
        np.concatenate([[0], np.cumsum([len(own) for own in steps])]).astype(np.int64),
        np.array([d for own in steps for d in own], dtype=np.float64),
        np.array([n for own in tokens for n in own], dtype=np.int64),
        np.array(clusters or [0] * len(steps), dtype=np.int64),
    )


def solve(steps: StepTable, strategy: Strategy = "kpod", beta: float = 12.0, seed: int = 0, **options: float) -> Plan:
    rule = SelectionRule(strategy, beta, np.random.default_rng(seed))
    return solve_schedule(steps, rule, Pace(**{"full_stage": 4, **options}))  # type: ignore[arg-type]


def test_a_schedule_by_hand() -> None:
    # B = 10, C0 = 3, T = 2: D/B = .3, .3 + .7 (1/2)^1.5 = .5475, 1.
    # Stage 0, budget 3: last steps cost 2 (a) and 1 (b): both. Nothing more fits: next steps cost 2 and 5.
    # Stage 1, budget 5.475 - 3 = 2.475: a's first step (2) fits, b's (5) does not. Stage 2: b's first step.
    plan = solve(table([[2.0, 2.0], [5.0, 1.0]]), full_stage=2)
    assert plan.input_steps.tolist() == [[1, 0, 0], [1, 1, 0]]
    assert plan.planned == pytest.approx([0.3, 0.3 + 0.7 * 0.5**1.5, 1.0])
    assert plan.done == pytest.approx([0.3, 0.5, 1.0])
    assert plan.num_selected.tolist() == [2, 1, 1]
    assert plan.share_released().tolist() == [0.0, 0.5, 1.0]


def test_unspent_budget_carries_over() -> None:
    # B = 8, C0 = 0, linear, T = 4: D = 0, 2, 4, 6, 8. A step of 3 waits for stage 2, its twin of 5 for stage 4.
    plan = solve(table([[3.0], [5.0]]), initial_fraction=0.0, growth_exponent=0.0)
    assert plan.input_steps.tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]]
    assert plan.done.tolist() == [0, 0, 3 / 8, 3 / 8, 1]


def test_stage_0_repeats_until_nothing_fits() -> None:
    # one selection releases one step; the budget 4 of 5 lasts for all four of the cheap steps
    plan = solve(table([[1.0, 1.0, 1.0, 1.0, 1.0]]), initial_fraction=0.8)
    assert plan.input_steps[0].tolist() == [1, 1, 1, 1, 0]
    assert plan.num_selected.tolist() == [4, 0, 0, 0, 1]


def test_one_selection_a_stage_leaves_column_t_above_zero() -> None:
    plan = solve(table([[1.0] * 6]), initial_fraction=0.0, full_stage=1)
    assert plan.input_steps[0].tolist() == [6, 5]
    assert plan.done.tolist() == [0.0, 1 / 6]


def test_steps_per_increase_takes_what_is_there() -> None:
    plan = solve(table([[1.0] * 5]), initial_fraction=0.0, growth_exponent=0.0, full_stage=2, steps_per_increase=4)
    assert plan.input_steps[0].tolist() == [5, 5, 1]
    plan = solve(table([[1.0] * 5]), initial_fraction=1.0, full_stage=1, steps_per_increase=4)
    assert plan.input_steps[0].tolist() == [0, 0]


def test_diversity_spreads_a_stage_over_clusters() -> None:
    steps = table([[1.0], [1.1], [1.2], [1.3]], clusters=[0, 0, 1, 1])
    options = {"initial_fraction": 0.6, "full_stage": 1}
    # budget 2.76: one step of each cluster, and instead of the cheaper 1.2 the 1.3, which uses more of the budget
    assert solve(steps, beta=100.0, **options).input_steps[:, 0].tolist() == [0, 1, 1, 0]
    assert solve(steps, "reverse", **options).input_steps[:, 0].tolist() == [1, 1, 0, 0]


def test_length_and_reverse_by_hand() -> None:
    steps = table([[1.0], [2.0], [3.0]], tokens=[[9], [5], [7]])
    options = {"initial_fraction": 0.5, "full_stage": 1}
    assert solve(steps, "length", **options).input_steps[:, 0].tolist() == [0, 0, 1]  # 5 tokens fit, 7 do not, 9 do
    assert solve(steps, "reverse", **options).input_steps[:, 0].tolist() == [1, 1, 0]
    assert solve(steps, "none", **options).input_steps.tolist() == [[0, 0]] * 3


def test_random_orders_differ_by_seed_and_beta_0_is_random() -> None:
    steps = table([[1.0]] * 40)
    for strategy, beta in (("random", 12.0), ("kpod", 0.0)):
        first = solve(steps, strategy, beta, seed=1).input_steps  # type: ignore[arg-type]
        assert np.array_equal(first, solve(steps, strategy, beta, seed=1).input_steps)  # type: ignore[arg-type]
        assert not np.array_equal(first, solve(steps, strategy, beta, seed=2).input_steps)  # type: ignore[arg-type]
    assert np.array_equal(solve(steps, seed=1).input_steps, solve(steps, seed=2).input_steps)


def test_length_breaks_ties_by_chance() -> None:
    steps = table([[1.0]] * 40)
    assert solve(steps, "length", seed=1).input_steps[:, 0].tolist() != sorted(
        solve(steps, "length", seed=1).input_steps[:, 0].tolist()
    )


some_steps = st.lists(st.lists(st.one_of(st.just(0.0), st.floats(0.01, 5.0)), max_size=5), min_size=1, max_size=12)


@given(
    some_steps,
    st.sampled_from(STRATEGIES),
    st.sampled_from([0.0, 0.1, 12.0, 1e12]),
    st.integers(1, 6),
    st.floats(0, 1),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=300)
def test_invariants(
    steps: list[list[float]], strategy: Strategy, beta: float, full_stage: int, initial_fraction: float, delta: int
) -> None:
    clusters = [i % 3 for i in range(len(steps))]
    own = table(steps, clusters=clusters)
    options = {"full_stage": full_stage, "initial_fraction": initial_fraction, "steps_per_increase": delta}
    plan = solve(own, strategy, beta, **options)
    num_steps = np.diff(own.offsets)
    assert plan.input_steps.shape == (len(steps), full_stage + 1)
    assert np.all(plan.input_steps >= 0)
    assert np.all(plan.input_steps <= num_steps[:, None])
    assert np.all(np.diff(plan.input_steps.astype(int), axis=1) <= 0)
    assert np.all(np.diff(plan.input_steps.astype(int), axis=1) >= -delta)
    assert np.all(plan.done <= plan.planned + 1e-12)
    total = own.difficulty.sum()
    for stage in range(full_stage + 1):
        left = target_difficulty(own.difficulty, own.offsets, plan.input_steps[:, stage]).sum()
        assert plan.done[stage] == pytest.approx(left / total if total else 1.0)
    again = solve(own, strategy, beta, **options)
    assert np.array_equal(plan.input_steps, again.input_steps)


@given(some_steps, st.sampled_from(["kpod", "random", "length", "reverse"]))
@settings(deadline=None, max_examples=100)
def test_nothing_that_fits_is_left_at_stage_0(steps: list[list[float]], strategy: Strategy) -> None:
    own = table(steps)
    plan = solve(own, strategy)
    unspent = (plan.planned[0] - plan.done[0]) * own.difficulty.sum()
    rows = np.flatnonzero(plan.input_steps[:, 0])
    current = plan.input_steps[:, 0].astype(np.int64)
    costs = next_steps_sum(own.difficulty, own.offsets, current, rows, 1)
    assert np.all(costs > unspent - 1e-12)


@given(st.lists(st.floats(0.001, 5.0), min_size=1, max_size=40), st.integers(1, 8))
@settings(deadline=None, max_examples=100)
def test_single_steps_are_all_released_at_the_full_stage(costs: list[float], full_stage: int) -> None:
    """Sums of the same numbers in two orders differ in their last digits; nobody may stay behind for that."""
    plan = solve(table([[cost] for cost in costs]), full_stage=full_stage)
    assert not plan.input_steps[:, -1].any()
    assert plan.done[-1] == pytest.approx(1.0)


def test_zero_difficulties_are_released_at_once() -> None:
    plan = solve(table([[0.0, 0.0], [0.0]]))
    assert not plan.input_steps.any()
    assert plan.done.tolist() == plan.planned.tolist() == [1.0] * 5


def test_one_rationale_of_one_step_and_a_budget_smaller_than_it() -> None:
    plan = solve(table([[2.5]]), full_stage=1)
    assert plan.input_steps.tolist() == [[1, 0]]
    assert plan.done.tolist() == [0.0, 1.0]
    assert plan.num_selected.tolist() == [0, 1]


def test_a_rationale_without_steps_is_left_alone() -> None:
    plan = solve(table([[], [1.0], []]))
    assert plan.input_steps[0].tolist() == plan.input_steps[2].tolist() == [0] * 5
    assert plan.input_steps[1].tolist() == [1, 1, 1, 1, 0]


def test_a_full_initial_budget_releases_everything_at_stage_0() -> None:
    plan = solve(table([[1.0, 2.0, 3.0], [0.1]]), initial_fraction=1.0)
    assert not plan.input_steps.any()


def test_step_lengths_by_hand() -> None:
    offsets = np.array([0, 2, 2, 3])
    assert step_lengths(np.array([3, 7, 5]), offsets).tolist() == [3, 4, 5]


@pytest.mark.parametrize(("delta", "expected"), [(1, [4.0, 8.0]), (2, [6.0, 8.0]), (9, [7.0, 8.0])])
def test_next_steps_sum_by_hand(delta: int, expected: list[float]) -> None:
    values, offsets = np.array([1.0, 2.0, 4.0, 8.0]), np.array([0, 3, 4])
    sums = next_steps_sum(values, offsets, np.array([3, 1]), np.array([0, 1]), delta)
    assert sums.tolist() == expected


def test_the_default_ladder_is_held_on_many_rationales() -> None:
    rng = np.random.default_rng(0)
    steps = [rng.gamma(2.0, 0.5, rng.integers(2, 7)).tolist() for _ in range(2000)]
    plan = solve(table(steps, clusters=rng.integers(0, 5, 2000).tolist()), full_stage=10)
    expected = [0.300, 0.322, 0.363, 0.415, 0.477, 0.547, 0.625, 0.710, 0.801, 0.898]
    assert plan.done[:-1] == pytest.approx(expected, abs=1e-3)
    # at T each rationale gains at most one step: those with two or more left are released whole after T
    behind = plan.input_steps[:, -2] >= 2
    assert np.array_equal(plan.input_steps[:, -1] > 0, behind)
    assert 0.9 < plan.done[-1] < 1.0
