"""Log-probabilities of target tokens under a student."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from kpodx.modeling.examples import IGNORED
from kpodx.modeling.loading import Model


def nll_from_logits(
    logits: Float[Tensor, "batch length vocabulary"], labels: Int[Tensor, "batch length"], *, causal: bool
) -> Float[Tensor, "batch length"]:
    """Negative log-likelihood of each label, 0 where the label is -100, in nats, float32.

    A decoder-only model's logits at position j - 1 predict the label at j, so they are shifted by one; an encoder-decoder's decoder
    input is already shifted, so its logits at j predict the label at j. Position 0 of a decoder-only sequence has no prediction.
    """
    if causal:
        tail = nll_from_logits(logits[:, :-1], labels[:, 1:], causal=False)
        return functional.pad(tail, (1, 0))
    if not torch.is_grad_enabled():
        # Row by row, so that there is never a second copy of all logits: they are the largest tensor by far.
        return torch.stack([_row_nll(*row) for row in zip(logits, labels, strict=True)])
    return _row_nll(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)).view(labels.shape)


def _row_nll(logits: Float[Tensor, "length vocabulary"], labels: Int[Tensor, " length"]) -> Float[Tensor, " length"]:
    return functional.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="none")


def token_nll(model: Model, batch: dict[str, Any], *, encoder_decoder: bool) -> Tensor:
    """Run the model on a collated batch and return the NLL of each label, float32 [B, L] (equation 1, per token)."""
    return nll_from_logits(_logits(model, batch, encoder_decoder), batch["labels"], causal=not encoder_decoder)


def token_scores(model: Model, batch: dict[str, Any], *, encoder_decoder: bool) -> Tensor:
    """Run the model on a collated batch and return the NLL of each label and whether it is the likeliest token, float32 [2, B, L]."""
    logits, labels = _logits(model, batch, encoder_decoder), batch["labels"]
    nll = nll_from_logits(logits, labels, causal=not encoder_decoder)
    return torch.stack([nll, hits_from_logits(logits, labels, causal=not encoder_decoder).to(nll.dtype)])


def hits_from_logits(
    logits: Float[Tensor, "batch length vocabulary"], labels: Int[Tensor, "batch length"], *, causal: bool
) -> Bool[Tensor, "batch length"]:
    """Return whether each label is the token of the highest logit; False without a label. See `nll_from_logits` for the shift."""
    if causal:
        tail = hits_from_logits(logits[:, :-1], labels[:, 1:], causal=False)
        return functional.pad(tail, (1, 0))
    hits: Tensor = logits.argmax(dim=-1) == labels
    return hits


def _logits(model: Model, batch: dict[str, Any], encoder_decoder: bool) -> Tensor:
    names = ["input_ids", "attention_mask", *(["decoder_input_ids"] if encoder_decoder else [])]
    logits: Tensor = model(**{name: batch[name] for name in names}, use_cache=False).logits
    return logits


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Mixed precision on `device`: matrix products in `dtype`; nothing changes for float32."""
    return torch.autocast(device.type, dtype=dtype if dtype != torch.float32 else None, enabled=dtype != torch.float32)
