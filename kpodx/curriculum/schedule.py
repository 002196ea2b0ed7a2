"""All stages of the schedule, solved before training begins (equation 11 and section 7 of the method's readings).

Arrays are flat with offsets and every operation covers all rationales at once: a million rationales take seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int16, Int64, Integer, Num

from kpodx.curriculum.budget import difficulty_budget, target_difficulty
from kpodx.curriculum.config import Strategy
from kpodx.curriculum.selection import first_fit, select_greedy_max


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
class Plan:
    """A solved schedule.

    Attributes:
        input_steps: c_i(t), the leading steps given as input; int16 [num_rationales, T + 1].
        planned: D(t)/B, float64 [T + 1]; 1 where B = 0.
        done: Σh(t)/B, float64 [T + 1]; 1 where B = 0.
        num_selected: rationales that grew at each stage, |S(t)|, int64 [T + 1]; at stage 0 summed over its selections.
    """

    input_steps: Int16[np.ndarray, "num_rationales num_stages"]
    planned: Float64[np.ndarray, " num_stages"]
    done: Float64[np.ndarray, " num_stages"]
    num_selected: Int64[np.ndarray, " num_stages"]

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
    *,
    full_stage: int,
    initial_fraction: float = 0.3,
    growth_exponent: float = 0.5,
    steps_per_increase: int = 1,
) -> Plan:
    """c_i(t) for t = 0 … T (equation 11).

    It starts from c_i = n_i (only the answer is learnt) and repeats the selection with budget C0 until nothing fits:
    that is stage 0. Each later stage makes one selection with ΔD(t) = D(t) - Σh(t-1), so unspent budget carries over.
    As a stage releases at most Δs steps of a rationale, column T need not be all 0; the student learns whole
    rationales, c_i = 0, at every stage *after* T, whatever column T says. Strategy none gives nothing at any stage.

    Args:
        steps: the steps of all rationales, with difficulties.
        rule: how the rationales of one selection are chosen.
        full_stage: T ≥ 1.
        initial_fraction: C0 / B in [0, 1].
        growth_exponent: p ≥ 0.
        steps_per_increase: Δs ≥ 1.
    """
    num_stages = full_stage + 1
    total = float(steps.difficulty.sum())
    input_steps = np.zeros((len(steps.offsets) - 1, num_stages), dtype=np.int16)
    done, num_selected = np.ones(num_stages), np.zeros(num_stages, dtype=np.int64)
    if rule.strategy == "none":
        return Plan(input_steps, np.ones(num_stages), done, num_selected)
    planned = np.array(
        [
            difficulty_budget(
                stage,
                total_difficulty=1.0,
                initial_budget=initial_fraction,
                growth_exponent=growth_exponent,
                full_stage=full_stage,
            )
            for stage in range(num_stages)
        ]
    )
    current, learnt = np.diff(steps.offsets), 0.0
    for stage in range(num_stages):
        # A budget of B holds all that is left. Comparing sums would say no where they differ in their last digits.
        limit = planned[stage] * total if planned[stage] < 1.0 else np.inf
        while True:
            rows = select_rows(steps, rule, current, max(0.0, float(limit - learnt)), steps_per_increase)
            current[rows] = np.maximum(current[rows] - steps_per_increase, 0)
            learnt = float(target_difficulty(steps.difficulty, steps.offsets, current).sum())
            num_selected[stage] += len(rows)
            if stage > 0 or not rows.size:
                break
        input_steps[:, stage] = current
        done[stage] = learnt / total if total > 0.0 else 1.0
    return Plan(input_steps, planned if total > 0.0 else np.ones(num_stages), done, num_selected)


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
