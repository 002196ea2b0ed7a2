"""Learnability: what is hard now and becomes easy by training is worth learning.

Rho-1 (Lin et al., arXiv 2404.07965) scores a token by its excess loss, the student's minus a trained reference's, and RHO-LOSS
(Mindermann et al., arXiv 2206.07137) scores examples so. Filler is hard for both, as nothing tells which filler comes; what is known
already is easy for both. The reference must not have seen what it scores, so there are two, each trained on one half.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float32]


def learnability_weight(
    untrained_nll: Values, reference_nll: Values, *, half: float, low: float, high: float
) -> Values:
    """Return w = low + (high - low) · o/(o + half) · (e/o)^4, with the excess loss e = max(o - r, 0), float32 [n].

    The first factor is how hard the token is now, the second which share of that training takes away.

    Args:
        untrained_nll: o ≥ 0, the token's loss under the untrained student, in nats.
        reference_nll: r ≥ 0, its loss under a trained one.
        half: loss at which the first factor is one half, in nats.
        low: weight of what no training changes.
        high: weight of what is hard and becomes certain.
    """
    excess = np.maximum(untrained_nll - reference_nll, 0)
    share = np.divide(excess, untrained_nll, out=np.zeros_like(excess), where=untrained_nll > 0)
    return (low + (high - low) * untrained_nll / (untrained_nll + half) * share**4).astype(np.float32)
