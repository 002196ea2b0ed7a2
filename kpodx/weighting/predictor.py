"""The answer predictor: how likely is the answer, given the question and a masked prefix of the rationale?"""

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


@dataclass(frozen=True)
class PredictorItem:
    """One rationale as the predictor reads it.

    `prompt_ids`, `rationale_ids` [n] and `answer_ids` are in the predictor's vocabulary; `student_ids` [m] is the same rationale in the
    student's; `spans` [n] and `student_spans` [m] are the characters of each, by which a mask is carried over.
    """

    prompt_ids: tuple[int, ...]
    rationale_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    student_ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    student_spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PredictorBatch:
    """Items padded together: ids int64, masks bool, overlap float32 [B, n, m], lengths int64 [B]."""

    items: tuple[PredictorItem, ...]
    student_ids: Tensor
    student_valid: Tensor
    overlap: Tensor
    lengths: Tensor


def build_batch(items: Sequence[PredictorItem], device: torch.device) -> PredictorBatch:
    """Pad items to the longest."""
    width = max(len(item.student_ids) for item in items)
    rows = max(len(item.rationale_ids) for item in items)
    ids = np.zeros((len(items), width), dtype=np.int64)
    valid = np.zeros((len(items), width), dtype=bool)
    overlap = np.zeros((len(items), rows, width), dtype=np.float32)
    for number, item in enumerate(items):
        ids[number, : len(item.student_ids)] = item.student_ids
        valid[number, : len(item.student_ids)] = True
        overlap[number, : len(item.rationale_ids), : len(item.student_ids)] = overlap_matrix(
            item.spans, item.student_spans
        )
    return PredictorBatch(
        items=tuple(items),
        student_ids=torch.from_numpy(ids).to(device),
        student_valid=torch.from_numpy(valid).to(device),
        overlap=torch.from_numpy(overlap).to(device),
        lengths=torch.tensor([len(item.rationale_ids) for item in items]),
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

    def forward(self, batch: PredictorBatch, keep: Tensor, prefixes: Tensor) -> tuple[Tensor, Tensor]:
        """Answer NLL of every prefix, and whether every token of the answer would be said greedily.

        Args:
            batch: B rationales.
            keep: mask over the *student's* tokens, float [B, m]; the question and the answer are never masked.
            prefixes: prefix lengths in the predictor's tokens, int64 [B, M]; 0 shows nothing of the rationale.

        Returns:
            nll float32 [B, M] in nats, summed over the answer's tokens; correct bool [B, M].
        """
        own_keep = torch.bmm(batch.overlap, keep[..., None]).squeeze(-1)
        rows = [(i, int(k)) for i in range(len(batch.items)) for k in prefixes[i]]
        ids, source, labels = self._layout(batch, rows)
        # Column n of the padded mask is a constant 1: prompt, answer and padding positions point there.
        always = own_keep.new_ones(len(batch.items), 1)
        owners = torch.tensor([i for i, _ in rows], device=keep.device)
        row_keep = torch.cat([own_keep, always], dim=1)[owners].gather(1, source)
        table = self.model.get_input_embeddings()
        embedding = mask_embeddings(
            table(ids.clamp(min=0)), self.mask_embedding.to(table.weight.dtype), row_keep.to(table.weight.dtype)
        )
        nll, correct = self._score(embedding, ids, labels)
        return nll.view(prefixes.shape), correct.view(prefixes.shape)

    def _layout(self, batch: PredictorBatch, rows: list[tuple[int, int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, the rationale position each comes from (n where none), and labels of each (rationale, prefix) row."""
        none = batch.overlap.shape[1]
        family = self.family
        read, source, labels = [], [], []
        for i, k in rows:
            item = batch.items[i]
            start = () if family.bos_id is None else (family.bos_id,)
            end = (family.eos_id,) if family.encoder_decoder else ()
            answer = (*item.answer_ids, family.eos_id)
            ids = (*start, *item.prompt_ids, *item.rationale_ids[:k], *end)
            where = [none] * (len(start) + len(item.prompt_ids)) + list(range(k)) + [none] * len(end)
            if family.encoder_decoder:
                labels.append(answer)
            else:
                labels.append((IGNORED,) * len(ids) + answer)
                ids, where = ids + answer, where + [none] * len(answer)
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
