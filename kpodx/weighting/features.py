"""What the token-weight module reads of a rationale: the frozen student's input embeddings, or its states after a low layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from kpodx.errors import ConfigError
from kpodx.modeling.examples import ModelFamily, prompt_with_steps
from kpodx.modeling.likelihood import autocast
from kpodx.modeling.loading import Model
from kpodx.weighting.predictor import PredictorBatch, PredictorItem


@runtime_checkable
class Features(Protocol):
    """Vectors of every token of a batch of rationales, which no gradient reaches."""

    @property
    def width(self) -> int:
        """Numbers per token."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the vectors are."""
        ...

    def __call__(self, batch: PredictorBatch) -> Tensor:
        """Return the vectors, float32 [B, m, width]; those of padding mean nothing."""
        ...


class EmbeddingFeatures:
    """Emb(r) of equation 2: a token id has the same vector wherever it stands.

    Args:
        embedding: the student's frozen input embeddings, float [V, width], on their device.
    """

    def __init__(self, embedding: Tensor) -> None:
        self.embedding = embedding

    @property
    def width(self) -> int:
        """Return the width of the student's embeddings."""
        return int(self.embedding.shape[1])

    @property
    def device(self) -> torch.device:
        """Return where the embeddings are."""
        return self.embedding.device

    def __call__(self, batch: PredictorBatch) -> Tensor:
        """Look every token up."""
        return self.embedding[batch.student_ids].float()


class LayerFeatures:
    """The frozen student's hidden states of the rationale after one of its low layers: they depend on place and context.

    An encoder-decoder's encoder reads question and rationale, so that a token also sees what follows it. A decoder-only
    student reads the same, and a token sees only what precedes it. States are computed per batch and never kept: those
    of all rationales of a large set would not fit into memory.

    Args:
        model: the student; all layers above the one that is read are dropped from it.
        family: its layout.
        layer: how many layers a state has passed, from 1.
        device: where to compute.
        dtype: number format of the matrix products.

    Raises:
        ConfigError: the student has fewer layers.
    """

    def __init__(self, model: Model, family: ModelFamily, layer: int, device: torch.device, dtype: torch.dtype) -> None:
        self.stack: nn.Module = model.get_encoder() if family.encoder_decoder else model.base_model
        keep_low_layers(self.stack, layer)
        self.stack.requires_grad_(False).eval().to(device)
        self.family, self.layer, self.dtype = family, layer, dtype
        self._width, self._device = int(model.config.hidden_size), device

    @property
    def width(self) -> int:
        """Return the width of the student's states."""
        return self._width

    @property
    def device(self) -> torch.device:
        """Return where the states are computed."""
        return self._device

    @torch.no_grad()
    def __call__(self, batch: PredictorBatch) -> Tensor:
        """Read question and rationale, and return the states of the rationale's tokens."""
        ids, attended, first = _layout(batch.items, self.family)
        extra = {} if self.family.encoder_decoder else {"use_cache": False}
        with autocast(self.device, self.dtype):
            states: Tensor = self.stack(
                input_ids=ids.to(self.device),
                attention_mask=attended.to(self.device),
                output_hidden_states=True,
                **extra,
            ).hidden_states[self.layer]

        places = first[:, None] + torch.arange(batch.student_ids.shape[1])
        # Places behind a shorter rationale are padding there; any state will do.
        places = places.clamp(max=ids.shape[1] - 1).to(self.device)
        return states.float().gather(1, places[..., None].expand(-1, -1, states.shape[-1]))


def keep_low_layers(stack: nn.Module, layer: int) -> None:
    """Drop what a stack need not compute for its states after `layer` layers; raise ConfigError if it has fewer.

    One layer more stays if there is one: the state after the very last layer has also passed the final normalization.
    """
    layers = next(part for part in stack.modules() if isinstance(part, nn.ModuleList))
    if layer > len(layers):
        known = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
        raise ConfigError(
            f"weighting.feature_layer is {layer}, but the student has {known} to read states from.",
            hint=f"Set weighting.feature_layer to {len(layers)} at most, or weighting.features to embeddings.",
        )
    del layers[layer + 1 :]


def _layout(items: Sequence[PredictorItem], family: ModelFamily) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids and attention mask [B, S] of question and rationale, padded on the right, and where each rationale begins."""
    rows = [prompt_with_steps(item.student_prompt_ids, item.student_ids, family) for item in items]
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *([family.pad_id] * (width - len(row)))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    # A decoder-only tokenizer may pad with its end mark, so that the mask comes from the lengths.
    attended = (torch.arange(width) < lengths[:, None]).long()
    first = torch.tensor([len(item.student_prompt_ids) + (family.bos_id is not None) for item in items])
    return ids, attended, first
