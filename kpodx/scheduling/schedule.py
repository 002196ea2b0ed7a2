"""All stages of the schedule, solved before training begins (equation 11 and section 7 of the method's readings).

Arrays are flat with offsets and every operation covers all rationales at once: a million rationales take seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int16, Int64, Integer, Num

from kpodx.scheduling.budget import difficulty_budget, target_difficulty
from kpodx.scheduling.selection import first_fit, select_greedy_max
from kpodx.scheduling.strategy import Strategy


@dataclass(frozen=True)
class StepTable:
    """The steps of all rationales, one rationale after the other.

    Attributes:
        offsets: the steps of rationale i are the entries [offsets[i], offsets[i + 1]); num_rationales + 1 entries.
        difficulty: d_k of each step, in nats, finite, ≥ 0.
        num_tokens: the tokens of each step.
        clusters: the cluster of the question of each *rationale*, ≥ 0.
    """

    offsets: Int64[np.ndarray, " bounds"]
    difficulty: Float64[np.ndarray, " num_steps"]
    num_tokens: Int64[np.ndarray, " num_steps"]
    clusters: Int64[np.ndarray, " num_rationales"]


@dataclass(frozen=True)
class Pace:
    """How fast the budget grows, and a rationale's target with it.

    Attributes:
        full_stage: T ≥ 1, the stage whose budget is all of B.
        initial_fraction: C0 / B in [0, 1].
        growth_exponent: p ≥ 0.
        steps_per_increase: Δs ≥ 1, the steps that a selected rationale gains in one selection.
    """

    full_stage: int
    initial_fraction: float = 0.3
    growth_exponent: float = 0.5
    steps_per_increase: int = 1

    def planned_share(self, stage: int) -> float:
        """Return D(t)/B, the budget of a stage as a share of all difficulty (equation 10)."""
        return difficulty_budget(
            stage,
            total_difficulty=1.0,
            initial_budget=self.initial_fraction,
            growth_exponent=self.growth_exponent,
            full_stage=self.full_stage,
        )


@dataclass(frozen=True)
class Plan:
    """A solved schedule, or the rest of one: the stages from `first_stage` to T.

    Attributes:
        input_steps: c_i(t), the leading steps given as input; int16 [num_rationales, stages].
        planned: D(t)/B, float64 [stages]; 1 where B = 0.
        done: Σh(t)/B, float64 [stages]; 1 where B = 0.
        num_selected: rationales that grew at each stage, |S(t)|, int64 [stages]; at stage 0 summed over its selections.
        first_stage: the stage of the first column.
    """

    input_steps: Int16[np.ndarray, "num_rationales num_stages"]
    planned: Float64[np.ndarray, " num_stages"]
    done: Float64[np.ndarray, " num_stages"]
    num_selected: Int64[np.ndarray, " num_stages"]
    first_stage: int = 0

    def share_released(self) -> Float64[np.ndarray, " num_stages"]:
        """The share of rationales that are learnt whole, c_i(t) = 0, at each stage."""
        return np.mean(self.input_steps == 0, axis=0)


@dataclass(frozen=True)
class SelectionRule:
    """How one stage's rationales are chosen; `choose` is called once a selection and draws from `rng`."""

    strategy: Strategy
    diversity_coef: float
    rng: np.random.Generator

    def choose(
        self,
        costs: Float64[np.ndarray, " items"],
        num_tokens: Integer[np.ndarray, " items"],
        clusters: Integer[np.ndarray, " items"],
        budget: float,
    ) -> Integer[np.ndarray, " picks"]:
        """The items taken within `budget`.

        kpod maximises equation 12; with β = 0 all its densities tie and the order is random. The other strategies go
        through the items in their own order and take what fits; equal lengths are in random order.

        Args:
            costs: the difficulty that each item adds, in nats.
            num_tokens: the tokens that each item adds.
            clusters: the cluster of each item's question.
            budget: ΔD, in nats.
        """
        if self.strategy == "kpod" and self.diversity_coef > 0.0:
            return select_greedy_max(costs, clusters, budget, self.diversity_coef)
        order = np.argsort(-costs, kind="stable") if self.strategy == "reverse" else self.rng.permutation(len(costs))
        if self.strategy == "length":
            order = order[np.argsort(num_tokens[order], kind="stable")]
        return first_fit(order, costs, budget)


def next_steps_sum(
    values: Num[np.ndarray, " num_steps"],
    offsets: Integer[np.ndarray, " bounds"],
    input_steps: Integer[np.ndarray, " num_rationales"],
    rows: Integer[np.ndarray, " rows"],
    steps_per_increase: int,
) -> Num[np.ndarray, " rows"]:
    """The sum of `values` over the steps that a rationale of `rows` gains when it is selected: its last Δs given ones.

    A rationale with fewer than Δs given steps gains those it has.

    >>> next_steps_sum(np.array([1., 2., 4., 8.]), np.array([0, 3, 4]), np.array([3, 1]), np.array([0, 1]), 2)
    array([6., 8.])
    """
    remaining = input_steps[rows]
    stop = offsets[rows] + remaining
    total = np.zeros(len(rows), dtype=values.dtype)
    for back in range(1, min(steps_per_increase, int(remaining.max(initial=0))) + 1):
        inside = remaining >= back
        total[inside] += values[stop[inside] - back]
    return total


def step_lengths(
    step_stop: Integer[np.ndarray, " num_steps"], offsets: Integer[np.ndarray, " bounds"]
) -> Integer[np.ndarray, " num_steps"]:
    """The tokens of every step, from where each ends in its rationale; the first step begins at token 0.

    >>> step_lengths(np.array([3, 7, 5]), np.array([0, 2, 3]))
    array([3, 4, 5])
    """
    lengths = np.diff(step_stop, prepend=0)
    first = offsets[:-1][np.diff(offsets) > 0]
    lengths[first] = step_stop[first]
    return lengths


def solve_schedule(
    steps: StepTable,
    rule: SelectionRule,
    pace: Pace,
    *,
    first_stage: int = 0,
    input_steps: Integer[np.ndarray, " num_rationales"] | None = None,
) -> Plan:
    """Return c_i(t) for the stages from `first_stage` to T (equation 11).

    A whole schedule starts from c_i = n_i (only the answer is learnt) and repeats the selection with budget C0 until
    nothing fits: that is stage 0. Each later stage makes one selection with ΔD(t) = D(t) - Σh(t-1), so unspent budget
    carries over. The rest of a schedule starts from what its last stage gave, and B, D(t) and h are of `steps`.
    As a stage releases at most Δs steps of a rationale, column T need not be all 0; the student learns whole
    rationales, c_i = 0, at every stage *after* T, whatever column T says. Strategy none gives nothing at any stage.

    Args:
        steps: the steps of all rationales, with difficulties.
        rule: how the rationales of one selection are chosen.
        pace: how fast the budget grows.
        first_stage: 0 ≤ first_stage ≤ T.
        input_steps: c_i at the stage before, which later stages only lower; None is all steps, n_i.
    """
    assert 0 <= first_stage <= pace.full_stage, f"stage {first_stage} of {pace.full_stage}"
    stages = range(first_stage, pace.full_stage + 1)
    total = float(steps.difficulty.sum())
    given = np.zeros((len(steps.offsets) - 1, len(stages)), dtype=np.int16)
    done, num_selected = np.ones(len(stages)), np.zeros(len(stages), dtype=np.int64)
    if rule.strategy == "none":
        return Plan(given, np.ones(len(stages)), done, num_selected, first_stage)

    planned = np.array([pace.planned_share(stage) for stage in stages])
    current = np.diff(steps.offsets) if input_steps is None else input_steps.astype(np.int64)
    for column, stage in enumerate(stages):
        # A budget of B holds all that is left. Comparing sums would say no where they differ in their last digits.
        limit = planned[column] * total if planned[column] < 1.0 else np.inf
        current, num_selected[column] = release_steps(steps, rule, current, limit, pace, repeated=stage == 0)
        given[:, column] = current
        done[column] = total_target_difficulty(steps, current) / total if total > 0.0 else 1.0

    return Plan(given, planned if total > 0.0 else np.ones(len(stages)), done, num_selected, first_stage)


def release_steps(
    steps: StepTable,
    rule: SelectionRule,
    input_steps: Int64[np.ndarray, " num_rationales"],
    limit: float,
    pace: Pace,
    *,
    repeated: bool,
) -> tuple[Int64[np.ndarray, " num_rationales"], int]:
    """Return c_i after the selection of one stage, and how many rationales grew in it.

    Args:
        steps: the steps of all rationales.
        rule: how the rationales of one selection are chosen.
        input_steps: c_i before.
        limit: D(t), in nats; what is asked for already counts against it.
        pace: holds Δs.
        repeated: whether the selection is repeated until nothing fits.
    """
    current, num_selected = input_steps.copy(), 0
    while True:
        budget = max(0.0, float(limit - total_target_difficulty(steps, current)))
        rows = select_rows(steps, rule, current, budget, pace.steps_per_increase)
        current[rows] = np.maximum(current[rows] - pace.steps_per_increase, 0)
        num_selected += len(rows)
        if not repeated or not rows.size:
            return current, num_selected


def total_target_difficulty(steps: StepTable, input_steps: Int64[np.ndarray, " num_rationales"]) -> float:
    """Return Σ_i h_i, what is left to learn of all rationales, in nats (equation 9)."""
    return float(target_difficulty(steps.difficulty, steps.offsets, input_steps).sum())


def select_rows(
    steps: StepTable,
    rule: SelectionRule,
    input_steps: Int64[np.ndarray, " num_rationales"],
    budget: float,
    steps_per_increase: int,
) -> Int64[np.ndarray, " rows"]:
    """The rationales of one selection S(t).

    Args:
        steps: the steps of all rationales.
        rule: how rationales are chosen among those that still have given steps and fit the budget alone.
        input_steps: c_i before the selection.
        budget: ΔD, in nats.
        steps_per_increase: Δs ≥ 1.
    """
    rows = np.flatnonzero(input_steps)
    costs = next_steps_sum(steps.difficulty, steps.offsets, input_steps, rows, steps_per_increase)
    rows, costs = rows[costs <= budget], costs[costs <= budget]
    num_tokens = next_steps_sum(steps.num_tokens, steps.offsets, input_steps, rows, steps_per_increase)
    return rows[rule.choose(costs, num_tokens, steps.clusters[rows], budget)]


def describe_stages(plan: Plan) -> list[dict[str, int | float]]:
    """Return one record per stage: planned D/B, done Σh/B, rationales selected, share released whole, mean given steps."""
    columns = zip(
        plan.planned.tolist(),
        plan.done.tolist(),
        plan.num_selected.tolist(),
        plan.share_released().tolist(),
        plan.input_steps.mean(axis=0).tolist(),
        strict=True,
    )
    names = ("planned", "done", "selected", "share_released", "mean_input_steps")
    return [
        {"stage": stage, **dict(zip(names, values, strict=True))}
        for stage, values in enumerate(columns, start=plan.first_stage)
    ]
