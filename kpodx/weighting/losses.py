"""The losses of mask learning (equations 5 to 7), and a gradient of the first that needs no soft mask.

The paper writes sums over the prefixes and the tokens of one rationale. Both are divided by the number of its tokens here, which leaves the
minimum where it is, keeps α = 0.5 what it is in the paper, and lets long and short rationales weigh the same.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def mean_per_rationale(
    value: Float[Tensor, " rows"], owner: Int[Tensor, " rows"], num_rationales: int
) -> Float[Tensor, " batch"]:
    """Average the rows of each rationale; a rationale without rows gets 0.

    Args:
        value: of each row.
        owner: which rationale each row belongs to.
        num_rationales: B.
    """
    total = value.new_zeros(num_rationales).index_add(0, owner, value)
    count = value.new_zeros(num_rationales).index_add(0, owner, torch.ones_like(value))
    return total / count.clamp(min=1)


def answer_prediction_loss(
    target_nll: Float[Tensor, " rows"], owner: Int[Tensor, " rows"], num_rationales: int
) -> Float[Tensor, ""]:
    """L_p = - Σ_k Σ_j log P(y_j | y_<j, r[m]_<k, x; θw) / R, equation 5, estimated from sampled prefixes.

    The sum over all R prefixes is estimated by R/M times the sum over the M sampled ones (reading 3); divided by R that is their mean.
    y is what the chosen target asks for behind prefix k; in the paper it is the answer behind each of them.

    Args:
        target_nll: Σ_j -log P(y_j | …) of each sampled prefix, in nats.
        owner: which rationale each prefix belongs to.
        num_rationales: B.
    """
    return mean_per_rationale(target_nll, owner, num_rationales).mean()


def leave_one_out_loss(
    first_nll: Float[Tensor, " rows"],
    second_nll: Float[Tensor, " rows"],
    first_log_prob: Float[Tensor, " rows"],
    second_log_prob: Float[Tensor, " rows"],
) -> Float[Tensor, " rows"]:
    """(L(m1) - L(m2))/2 · (log P(m1) - log P(m2)): its gradient estimates that of E[L(m)] without bias.

    REINFORCE with a leave-one-out baseline over two masks that are drawn alike. Each mask is judged by the other, so a
    constant in L cancels. The losses carry no gradient here; only the log-probabilities do. Williams, Machine Learning 8 (1992);
    Kool, van Hoof and Welling, "Buy 4 REINFORCE samples, get a baseline for free!" (2019).

    Args:
        first_nll: L(m1), in nats.
        second_nll: L(m2).
        first_log_prob: log P(m1) over the tokens that L(m1) can see.
        second_log_prob: log P(m2) over the same tokens.
    """
    return (first_nll - second_nll).detach() / 2 * (first_log_prob - second_log_prob)


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
