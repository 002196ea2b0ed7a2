"""The distillation loss (equations 14 and 15)."""

from __future__ import annotations

from jaxtyping import Float, Num
from torch import Tensor


def distillation_loss(
    token_nll: Float[Tensor, "batch length"],
    target_weight: Float[Tensor, "batch length"],
    num_target_tokens: Num[Tensor, ""] | int,
) -> Float[Tensor, ""]:
    """L_o(t) = - Σ_i Σ_{j from the first target step} w_j log P(r_j | r_<j, x; θs), plus the unweighted answer term (equation 15).

    `target_weight` holds w_j on rationale targets (the raw sigmoid, or what `distillation.weight_use` makes of it), 1 on answer
    targets and 0 elsewhere. The sum is divided by the number of target tokens of the whole accumulation window (reading 10) and
    never by Σw, which would undo what the weights say.

    Args:
        token_nll: -log P of each label, 0 where there is none.
        target_weight: weight of each label.
        num_target_tokens: labels that are targets, over all batches and devices of one update.
    """
    return (target_weight * token_nll).sum() / num_target_tokens
