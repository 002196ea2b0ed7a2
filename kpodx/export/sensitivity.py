"""Which matrices suffer most from 4 bits: each is quantised alone, and the student's distributions are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from kpodx.export.onnx_quantization import dequantize_blocks, quantize_blocks
from kpodx.export.reference import Reference

SHARE = 0.25
"""At most this share of the weights keeps 8 bits."""


def sensitive_modules(
    reference: Reference, modules: Mapping[str, Sequence[str]], share: float = SHARE
) -> dict[str, float]:
    """The groups of matrices that do the most harm per weight when they have 4 bits, as many as fit into a share of all weights.

    Args:
        reference: the student and its distributions.
        modules: by the name of a group, the modules of the model whose weights it holds; a weight may be in several groups.
        share: of all weights, which may stay higher.

    Returns:
        Divergence in nats a token, by name, of the groups that are to stay higher, the worst first.
    """
    groups: dict[tuple[int, ...], list[str]] = {}
    weights: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for name, paths in modules.items():
        tensors = [reference.model.get_submodule(path).weight for path in paths]
        # A tied head and its embedding stand or fall together.
        key = tuple(tensor.data_ptr() for tensor in tensors)
        groups.setdefault(key, []).append(name)
        weights[key] = tensors
    sizes = {key: sum(tensor.numel() for tensor in tensors) for key, tensors in weights.items()}
    harm = {key: _harm(reference, tensors) for key, tensors in weights.items()}
    room = share * sum(sizes.values())
    chosen: dict[str, float] = {}
    for key in sorted(harm, key=lambda key: (-harm[key] / sizes[key], groups[key])):
        if sizes[key] <= room:
            chosen |= dict.fromkeys(groups[key], harm[key])
            room -= sizes[key]
    return chosen


@torch.no_grad()
def _harm(reference: Reference, weights: Sequence[torch.Tensor]) -> float:
    before = [weight.detach().clone() for weight in weights]
    try:
        for weight in weights:
            # Blocks lie along the inner dimension, which GPT-2's matrices have first; that hardly changes their harm.
            matrix = weight.detach().numpy().astype(np.float32)
            values, scales = quantize_blocks(matrix, 4)
            weight.copy_(torch.from_numpy(dequantize_blocks(values, scales, matrix.shape[1])))
        return reference.divergence()
    finally:
        for weight, kept in zip(weights, before, strict=True):
            weight.copy_(kept)
