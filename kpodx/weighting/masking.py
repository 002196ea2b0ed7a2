"""The mask: keep logits, samples and their probability, masked embeddings, and which targets an update draws."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def bound_logit(logit: Float[Tensor, "*shape"], bound: float) -> Float[Tensor, "*shape"]:
    """bound · tanh(logit / bound): the same near 0, never beyond ±bound, so that a sigmoid of it keeps a gradient."""
    return bound * torch.tanh(logit / bound)


def logistic_noise(uniform: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The difference of two Gumbel variables, log u - log(1 - u), from u uniform in (0, 1)."""
    clipped = uniform.clamp(1e-6, 1 - 1e-6)
    return clipped.log() - (-clipped).log1p()


def sample_keep(
    logit: Float[Tensor, "*shape"], noise: Float[Tensor, "*shape"], temperature: float
) -> Float[Tensor, "*shape"]:
    """m_j = GumbelSoftmax(w_j), equation 4, as a straight-through binary concrete sample (reading 4).

    Forward: 1 (kept) where logit + noise > 0, else 0. Backward: the gradient of sigmoid((logit + noise) / τ), so that L_p reaches w.
    P(m_j = 1) = σ(logit_j) = w_j at any temperature. Maddison et al. 2017; Jang et al. 2017; Bengio et al. 2013.

    Args:
        logit: log-odds of keeping each token.
        noise: logistic noise of the same shape.
        temperature: τ > 0 of the backward pass.
    """
    soft = torch.sigmoid((logit + noise) / temperature)
    hard = (logit + noise > 0).to(soft.dtype)
    # In this order the difference is exactly 0 forward; hard + soft first would round kept tokens to 1 ± 6e-8.
    return hard + (soft - soft.detach())


def mask_embeddings(
    embedding: Float[Tensor, "batch length width"],
    mask_embedding: Float[Tensor, " width"],
    keep: Float[Tensor, "batch length"],
) -> Float[Tensor, "batch length width"]:
    """z_j = m_j · emb_j + (1 - m_j) · emb_mask, on the predictor's *raw* input embeddings (reading 4).

    Masking after an attention layer would leak masked content into its neighbours.
    """
    return keep[..., None] * embedding + (1 - keep[..., None]) * mask_embedding


def keep_log_prob(
    logit: Float[Tensor, "*shape length"], keep: Float[Tensor, "*shape length"], counted: Bool[Tensor, "*shape length"]
) -> Float[Tensor, "*shape"]:
    """log P(m) = Σ_j m_j log w_j + (1 - m_j) log(1 - w_j), with w_j = σ(logit_j), over the counted tokens.

    Args:
        logit: log-odds of keeping each token.
        keep: a sampled mask, each entry 0 or 1.
        counted: tokens whose draw belongs to the sum.
    """
    log_prob = keep * functional.logsigmoid(logit) + (1 - keep) * functional.logsigmoid(-logit)
    return (log_prob * counted).sum(dim=-1)


def spread_targets(
    num_targets: Int[Tensor, " batch"], num_drawn: int, shift: Float[Tensor, " batch"]
) -> Int[Tensor, "batch drawn"]:
    """Return numbers of targets, one from each of M equal parts of a rationale's targets, in 1..R, rising (reading 3).

    Number k of rationale i is ceil((k + 1 - shift_i) · R_i / M) for k = 0..M-1. Over uniform shifts each target is equally
    likely, and shift 0 gives evenly spread targets that end with the last one. Numbers repeat if R_i < M.

    Args:
        num_targets: R, targets of each rationale, at least 1; for equation 5, one per token prefix.
        num_drawn: M.
        shift: in [0, 1).
    """
    part = torch.arange(1, num_drawn + 1, dtype=torch.float64)
    number = torch.ceil((part[None, :] - shift[:, None].double()) * num_targets[:, None] / num_drawn)
    return number.long().clamp(min=1).minimum(num_targets[:, None])
