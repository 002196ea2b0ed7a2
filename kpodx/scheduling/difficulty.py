"""The difficulty of a reasoning step (equation 8)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def normalised_weights(token_weight: Float[np.ndarray, " tokens"]) -> Float[np.ndarray, " tokens"]:
    """ŵ = softmax of w over the tokens of *one step*; sums to 1.

    As w lies in (0, 1), the largest ŵ of a step is less than e times its smallest.
    """
    shifted = np.exp(token_weight - token_weight.max())
    result: np.ndarray = shifted / shifted.sum()
    return result


def step_difficulties(
    token_nll: Float[np.ndarray, " tokens"],
    token_weight: Float[np.ndarray, " tokens"] | None,
    step_stops: Int[np.ndarray, " steps"],
) -> Float[np.ndarray, " steps"]:
    """d_k = - Σ_{j in step k} ŵ_j log P(r_j | r_<j, x; θs), equation 8: the weighted mean NLL of each step, in nats.

    Args:
        token_nll: -log P of each rationale token under the student before distillation, [R].
        token_weight: w_j in (0, 1), [R]; None weighs all alike.
        step_stops: token index after each step, rising, the last one R, [K].

    Returns:
        d_k ≥ 0, float64 [K].
    """
    starts = np.concatenate([[0], step_stops[:-1]])
    weight = np.zeros(len(token_nll)) if token_weight is None else token_weight.astype(np.float64)
    return np.array(
        [
            float(normalised_weights(weight[start:stop]) @ token_nll[start:stop].astype(np.float64))
            for start, stop in zip(starts, step_stops, strict=True)
        ]
    )


def step_lengths(step_stops: Int[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
    """Return each step's number of tokens, float64 [K]: the difficulty of a curriculum by length.

    Args:
        step_stops: token index after each step, rising, [K].

    >>> step_lengths(np.array([3, 7, 8])).tolist()
    [3.0, 4.0, 1.0]
    """
    return np.diff(step_stops, prepend=0).astype(np.float64)
