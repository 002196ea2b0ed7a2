"""Which columns of each matrix matter: the mean square of what they are multiplied with, along rationales of the student's own task.

llama.cpp's quantisers weigh rounding errors by it ("importance matrix"); the hooks see what its own tool sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from kpodx.modeling.loading import Model

Importance = dict[str, npt.NDArray[np.float32]]
"""Mean squares [columns] by the tensor's name in the GGUF file."""


@torch.inference_mode()
def importance(model: Model, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Importance:
    """Importance of the columns of each matrix of a student.

    Args:
        model: a Llama, Qwen2, GPT-2 or T5.
        pairs: token ids of a prompt as the student reads it, and of what it should say.
    """
    from gguf import MODEL_ARCH, get_tensor_name_map

    config = model.config
    with watched_inputs(model) as sums:
        # One by one: padding would count as input.
        for prompt, target in pairs:
            if config.is_encoder_decoder:
                start = [config.decoder_start_token_id, *target]
                model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([start]))
            else:
                model(input_ids=torch.tensor([[*prompt, *target]]))
    layers = max(int(getattr(config, "num_decoder_layers", 0) or 0), int(config.num_hidden_layers))
    names = get_tensor_name_map(getattr(MODEL_ARCH, str(config.model_type).upper()), layers)
    found = {}
    for name, (total, count) in sums.items():
        values = (total / count).float().numpy()
        # Columns that nothing ever came through keep a little weight, or a block of them would have none at all.
        found[str(names.get_name(name, try_suffixes=(".weight",)))] = values + np.float32(
            max(values.mean() * 1e-3, 1e-12)
        )
    return found


@contextmanager
def watched_inputs(model: nn.Module) -> Iterator[dict[str, tuple[torch.Tensor, int]]]:
    """While it lasts, sums of squared inputs [columns], and how many there were, of every matrix by the name of its weight."""
    sums: dict[str, tuple[torch.Tensor, int]] = {}

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            columns = inputs[0].detach().flatten(0, -2).double()
            total, count = sums.get(name, (torch.zeros(columns.shape[1], dtype=torch.float64), 0))
            sums[name] = (total + columns.square().sum(0), count + len(columns))

        return hook

    matrices = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)}
    hooks = [module.register_forward_pre_hook(watch(f"{name}.weight")) for name, module in matrices.items()]
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()
