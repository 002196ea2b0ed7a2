"""Log-probabilities of whole rationales under a student."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kpodx.modeling.examples import ModelFamily, build_example, collate, to_device
from kpodx.modeling.likelihood import autocast, token_nll, token_scores
from kpodx.modeling.loading import Model
from kpodx.modeling.tokenization import TokenizedRationale


def rationale_nll(
    model: Model, family: ModelFamily, items: Sequence[TokenizedRationale], *, batch_size: int, dtype: torch.dtype
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """-log P(r_j | r_<j, x) of every rationale token, nothing of the rationale given.

    Args:
        model: the student in evaluation mode.
        family: its layout.
        items: rationales.
        batch_size: rationales at a time; those of similar length go together.
        dtype: number format of the matrix products.

    Yields:
        (index into `items`, float32 [R]) in no particular order.
    """
    yield from _of_rationale_tokens(model, family, items, token_nll, batch_size=batch_size, dtype=dtype)


def rationale_scores(
    model: Model, family: ModelFamily, items: Sequence[TokenizedRationale], *, batch_size: int, dtype: torch.dtype
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield what `rationale_nll` yields, and below it whether each token is the student's likeliest: float32 [2, R]."""
    yield from _of_rationale_tokens(model, family, items, token_scores, batch_size=batch_size, dtype=dtype)


def _of_rationale_tokens(
    model: Model,
    family: ModelFamily,
    items: Sequence[TokenizedRationale],
    score: Callable[..., Tensor],
    *,
    batch_size: int,
    dtype: torch.dtype,
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield each row with what `score` finds for its rationale tokens; `score` returns [..., B, L] for a collated batch."""
    order = sorted(range(len(items)), key=lambda i: (len(items[i].rationale_ids), len(items[i].prompt_ids)))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = to_device(
            collate([build_example(items[i], None, 0, family, row=i) for i in rows], family), model.device
        )
        # Around the forward pass alone: a decorator would hold for the caller too while a generator waits.
        with torch.inference_mode(), autocast(model.device, dtype):
            found = score(model, batch, encoder_decoder=family.encoder_decoder).float().cpu().numpy()
        for place, row in enumerate(rows):
            skip = 0 if family.encoder_decoder else len(items[row].prompt_ids) + (family.bos_id is not None)
            yield row, found[..., place, skip : skip + len(items[row].rationale_ids)]
