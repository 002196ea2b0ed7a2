"""The mask: keep logits, straight-through samples, and masked embeddings."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


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


def spread_prefixes(
    num_tokens: Int[Tensor, " batch"], num_prefixes: int, shift: Float[Tensor, " batch"]
) -> Int[Tensor, "batch prefixes"]:
    """Prefix lengths, one from each of M equal parts of the rationale, in 1..R, rising (reading 3).

    Prefix k of rationale i has length ceil((k + 1 - shift_i) · R_i / M) for k = 0..M-1, so over uniform shifts each length is equally
    likely, and shift 0 gives the evenly spread prefixes that end with the whole rationale.

    Args:
        num_tokens: R, tokens of each rationale, at least 1.
        num_prefixes: M.
        shift: in [0, 1).
    """
    part = torch.arange(1, num_prefixes + 1, dtype=torch.float64)
    length = torch.ceil((part[None, :] - shift[:, None].double()) * num_tokens[:, None] / num_prefixes)
    return length.long().clamp(min=1).minimum(num_tokens[:, None])
