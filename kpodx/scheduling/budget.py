"""How much difficulty the student may be asked for at each stage (equations 9 and 10)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Integer


def growth_rate(total_difficulty: float, initial_budget: float, growth_exponent: float, full_stage: int) -> float:
    """The rate u = (B - C0)(p + 1) / T^(p+1) at which the budget grows (equation 10).

    Args:
        total_difficulty: B = Σ_i Σ_j d_j, in nats, ≥ 0.
        initial_budget: C0, in nats, in [0, B].
        growth_exponent: p ≥ 0.
        full_stage: T ≥ 1, the stage at which the budget is B.

    Returns:
        u, in nats per stage^(p+1).

    >>> growth_rate(8.0, 2.0, 1.0, 2)
    3.0
    """
    return (total_difficulty - initial_budget) * (growth_exponent + 1.0) / float(full_stage) ** (growth_exponent + 1.0)


def difficulty_budget(
    stage: int, *, total_difficulty: float, initial_budget: float, growth_exponent: float, full_stage: int
) -> float:
    """The budget D(t) = u t^(p+1) / (p+1) + C0 (equation 10), with u of `growth_rate`; D(t) = B from t = T on.

    u cancels into D(t) = C0 + (B - C0)(t/T)^(p+1), which is exactly B at T and cannot overflow.

    Args:
        stage: t ≥ 0.
        total_difficulty: B, in nats, ≥ 0.
        initial_budget: C0, in nats, in [0, B].
        growth_exponent: p ≥ 0.
        full_stage: T ≥ 1.

    Returns:
        D(t), in nats.

    >>> [round(difficulty_budget(t, total_difficulty=1.0, initial_budget=0.3, growth_exponent=0.5, full_stage=10), 3)
    ...  for t in (0, 1, 5, 10)]
    [0.3, 0.322, 0.547, 1.0]
    """
    assert stage >= 0, f"stage {stage}"
    assert full_stage >= 1, f"full_stage {full_stage}"
    assert 0.0 <= initial_budget <= total_difficulty, f"initial_budget {initial_budget} of {total_difficulty}"
    if stage >= full_stage:
        return total_difficulty
    return initial_budget + (total_difficulty - initial_budget) * (stage / full_stage) ** (growth_exponent + 1.0)


def target_difficulty(
    difficulty: Float64[np.ndarray, " num_steps"],
    offsets: Integer[np.ndarray, " bounds"],
    input_steps: Integer[np.ndarray, " num_rationales"],
) -> Float64[np.ndarray, " num_rationales"]:
    """What is left to learn of each rationale, h_i = Σ_{j > c_i} d_j (equation 9), for all rationales at once.

    Args:
        difficulty: d, the steps of all rationales one after the other, in nats, ≥ 0.
        offsets: the steps of rationale i are `difficulty[offsets[i]:offsets[i + 1]]`; num_rationales + 1 entries.
        input_steps: c_i, the leading steps given as input, 0 ≤ c_i ≤ n_i.

    Returns:
        h_i, in nats, ≥ 0.

    >>> target_difficulty(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 3]), np.array([1, 0]))
    array([2., 4.])
    """
    num_steps = np.diff(offsets)
    first_target = np.repeat(offsets[:-1] + input_steps, num_steps)
    rows = np.repeat(np.arange(len(num_steps)), num_steps)
    learnt = np.where(np.arange(len(difficulty)) >= first_target, difficulty, 0.0)
    return np.bincount(rows, weights=learnt, minlength=len(num_steps)).astype(np.float64)  # int64 without any step
