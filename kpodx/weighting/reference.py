"""A plainly trained copy of the student, which rivals of mask learning compare with."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kpodx.modeling.examples import ModelFamily, build_example, collate, to_device
from kpodx.modeling.likelihood import autocast, token_nll
from kpodx.modeling.loading import Model
from kpodx.modeling.tokenization import TokenizedRationale
from kpodx.runtime import Progress, derive_seed


def halves(question_ids: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Return the rows of two halves of the questions; all rationales of a question are in one half."""
    order = sorted(set(question_ids), key=lambda name: derive_seed("halves", seed, name))
    first = set(order[: len(order) // 2])
    rows = range(len(question_ids))
    return [row for row in rows if question_ids[row] in first], [row for row in rows if question_ids[row] not in first]


def train_plainly(
    model: Model,
    family: ModelFamily,
    items: Sequence[TokenizedRationale],
    *,
    updates: int,
    batch_size: int,
    learning_rate: float,
    dtype: torch.dtype,
    seed: int,
    progress: Progress,
) -> None:
    """Train a model on whole rationales with equation 1, every token alike.

    Args:
        model: changed in place, on its device.
        family: its layout.
        items: what it learns from; every update draws at random from them.
        updates: number of updates.
        batch_size: rationales per update.
        learning_rate: AdamW rate, falling linearly to 0.
        dtype: number format of the matrix products.
        seed: of the draws and of dropout.
        progress: where progress is shown.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(derive_seed("dropout", seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    model.train()
    for update in progress.track(range(updates), total=updates, description="Reference student"):
        rows = torch.randint(len(items), (batch_size,), generator=generator).tolist()
        batch = to_device(
            collate([build_example(items[i], None, 0, family, row=i) for i in rows], family), model.device
        )
        with autocast(model.device, dtype):
            nll = token_nll(model, batch, encoder_decoder=family.encoder_decoder)
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - update / updates)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(nll.sum() / (batch["target_weight"] > 0).sum())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
