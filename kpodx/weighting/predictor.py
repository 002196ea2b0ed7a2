"""The answer predictor: how likely is a target, given the question and a masked prefix of the rationale?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kpodx.modeling.examples import IGNORED, ModelFamily, shift_right
from kpodx.modeling.likelihood import nll_from_logits
from kpodx.modeling.loading import Model
from kpodx.modeling.tokenization import overlap_matrix
from kpodx.weighting.masking import mask_embeddings

Row = tuple[int, int]
"""One thing to predict: a rationale's number in the batch, and the number of one of its targets, both from 0."""


@dataclass(frozen=True)
class PredictorItem:
    """One rationale as the predictor reads it.

    `prompt_ids` and `rationale_ids` [n] are in the predictor's vocabulary. Target k is to predict `targets[k]`, in that vocabulary
    too, from the first `stops[k]` of the rationale's tokens; the stops rise, and the last one is n.
    `student_ids` [m] is the same rationale in the student's vocabulary; `spans` [n] and `student_spans` [m] are the characters of
    each token, by which a mask is carried over. `leaders` [m] names the first token of each student token's unit.
    `student_prompt_ids` is the question in the student's vocabulary.
    """

    prompt_ids: tuple[int, ...]
    rationale_ids: tuple[int, ...]
    stops: Sequence[int]
    targets: tuple[tuple[int, ...], ...]
    student_ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    student_spans: tuple[tuple[int, int], ...]
    leaders: tuple[int, ...]
    student_prompt_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class PredictorBatch:
    """Items padded together: ids and leaders int64, masks bool, overlap float32 [B, n, m]."""

    items: tuple[PredictorItem, ...]
    student_ids: Tensor
    student_valid: Tensor
    leaders: Tensor
    overlap: Tensor

    def owners(self, rows: Sequence[Row]) -> Tensor:
        """The rationale of each row, int64 [rows]."""
        return torch.tensor([i for i, _ in rows], dtype=torch.long, device=self.student_ids.device)

    def visible(self, rows: Sequence[Row]) -> Tensor:
        """Which of the student's tokens the prefix of each row shows, wholly or in part, bool [rows, m]."""
        stops = torch.tensor([self.items[i].stops[k] for i, k in rows], device=self.overlap.device)
        inside = torch.arange(self.overlap.shape[1], device=self.overlap.device) < stops[:, None]
        seen = torch.bmm(inside[:, None].float(), self.overlap[self.owners(rows)])
        return seen.squeeze(1) > 0


def build_batch(items: Sequence[PredictorItem], device: torch.device) -> PredictorBatch:
    """Pad items to the longest."""
    width = max(len(item.student_ids) for item in items)
    length = max(len(item.rationale_ids) for item in items)
    ids = np.zeros((len(items), width), dtype=np.int64)
    valid = np.zeros((len(items), width), dtype=bool)
    leaders = np.tile(np.arange(width), (len(items), 1))
    overlap = np.zeros((len(items), length, width), dtype=np.float32)
    for number, item in enumerate(items):
        own = len(item.student_ids)
        ids[number, :own] = item.student_ids
        valid[number, :own] = True
        leaders[number, :own] = item.leaders
        overlap[number, : len(item.rationale_ids), :own] = overlap_matrix(item.spans, item.student_spans)
    return PredictorBatch(
        items=tuple(items),
        student_ids=torch.from_numpy(ids).to(device),
        student_valid=torch.from_numpy(valid).to(device),
        leaders=torch.from_numpy(leaders).to(device),
        overlap=torch.from_numpy(overlap).to(device),
    )


class AnswerPredictor(nn.Module):
    """P(y_j | y_<j, r[m]_<k, x; θw) of equation 5, with a learnt embedding that stands for a masked token.

    Args:
        model: an encoder-decoder or decoder-only language model; all its parameters can be trained.
        family: its layout.
    """

    def __init__(self, model: Model, family: ModelFamily) -> None:
        super().__init__()
        self.model = model
        self.family = family
        table = model.get_input_embeddings().weight.detach()
        self.mask_embedding = nn.Parameter(table.float().mean(dim=0))

    def forward(self, batch: PredictorBatch, keep: Tensor, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        """Return the NLL of every row's target, and whether every token of it would be said greedily.

        Args:
            batch: B rationales.
            keep: mask over the *student's* tokens, float [B, m]; the question and the target are never masked.
            rows: what to predict.

        Returns:
            nll float32 [rows] in nats, summed over the target's tokens; correct bool [rows].
        """
        own_keep = torch.bmm(batch.overlap, keep[..., None]).squeeze(-1)
        ids, source, labels = self._layout(batch, rows)
        # Column n of the padded mask is a constant 1: prompt, target and padding positions point there.
        always = own_keep.new_ones(len(batch.items), 1)
        row_keep = torch.cat([own_keep, always], dim=1)[batch.owners(rows)].gather(1, source)
        table = self.model.get_input_embeddings()
        embedding = mask_embeddings(
            table(ids.clamp(min=0)), self.mask_embedding.to(table.weight.dtype), row_keep.to(table.weight.dtype)
        )
        return self._score(embedding, ids, labels)

    def _layout(self, batch: PredictorBatch, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids, the rationale position each comes from (n if none), and labels of each row."""
        none = batch.overlap.shape[1]
        family = self.family
        read, source, labels = [], [], []
        for i, number in rows:
            item = batch.items[i]
            k = item.stops[number]
            start = () if family.bos_id is None else (family.bos_id,)
            end = (family.eos_id,) if family.encoder_decoder else ()
            target = (*item.targets[number], family.eos_id)
            ids = (*start, *item.prompt_ids, *item.rationale_ids[:k], *end)
            where = [none] * (len(start) + len(item.prompt_ids)) + list(range(k)) + [none] * len(end)
            if family.encoder_decoder:
                labels.append(target)
            else:
                labels.append((IGNORED,) * len(ids) + target)
                ids, where = ids + target, where + [none] * len(target)
            read.append(ids)
            source.append(where)
        device = batch.student_ids.device
        return (
            _pad_to(read, -1).to(device),
            _pad_to(source, none).to(device),
            _pad_to(labels, IGNORED).to(device),
        )

    def _score(self, embedding: Tensor, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        causal = not self.family.encoder_decoder
        extra = {}
        if not causal:
            assert self.family.decoder_start_id is not None
            extra["decoder_input_ids"] = shift_right(labels, self.family.decoder_start_id, self.family.pad_id)
        logits = self.model(inputs_embeds=embedding, attention_mask=(ids >= 0).long(), use_cache=False, **extra).logits
        nll = nll_from_logits(logits, labels, causal=causal).sum(dim=1)
        said = logits.argmax(dim=-1)
        if causal:
            said, labels = said[:, :-1], labels[:, 1:]
        return nll, ((said == labels) | (labels == IGNORED)).all(dim=1)


def _pad_to(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *([value] * (width - len(row)))] for row in rows])
