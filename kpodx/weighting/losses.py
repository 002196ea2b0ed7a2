"""The three losses of mask learning (equations 5 to 7).

The paper writes sums over the prefixes and the tokens of one rationale. Both are divided by the number of its tokens here, which leaves the
minimum where it is, keeps α = 0.5 what it is in the paper, and lets long and short rationales weigh the same.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def answer_prediction_loss(answer_nll: Float[Tensor, "batch prefixes"]) -> Float[Tensor, ""]:
    """L_p = - Σ_k Σ_j log P(y_j | y_<j, r[m]_<k, x; θw) / R, equation 5, estimated from M sampled prefixes.

    The sum over all R prefixes is estimated by R/M times the sum over the sampled ones (reading 3); divided by R that is their mean.

    Args:
        answer_nll: Σ_j -log P(y_j | …) of each sampled prefix, in nats.
    """
    return answer_nll.mean()


def mask_ratio_loss(keep: Float[Tensor, "batch length"], valid: Bool[Tensor, "batch length"]) -> Float[Tensor, ""]:
    """L_m = Σ_j m_j / R, equation 6: the paper's "mask ratio loss", which counts the *kept* tokens.

    Args:
        keep: 1 for kept, 0 for masked.
        valid: False on padding.
    """
    share = (keep * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1)
    return share.mean()


def mask_learning_loss(
    answer_prediction: Float[Tensor, ""], mask_ratio: Float[Tensor, ""], mask_ratio_coef: float
) -> Float[Tensor, ""]:
    """L_k = L_p + α · L_m, equation 7."""
    return answer_prediction + mask_ratio_coef * mask_ratio


def keep_share_penalty(
    keep_prob: Float[Tensor, "batch length"], valid: Bool[Tensor, "batch length"], target: float
) -> Float[Tensor, ""]:
    """(mean w_j - target)²: pulls the kept share of a batch to the target and leaves to L_p *which* tokens are kept.

    Our addition. With a fixed α alone the mask is bistable: it masks everything or keeps everything, and either end has no gradient left.

    Args:
        keep_prob: w_j in (0, 1).
        valid: False on padding.
        target: kept share in (0, 1).
    """
    share = (keep_prob * valid).sum() / valid.sum()
    return (share - target) ** 2
