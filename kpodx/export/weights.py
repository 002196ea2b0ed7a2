"""A student's parameters as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kpodx.artifacts import read_json
from kpodx.errors import ModelError

LAYERS = ("num_layers", "num_decoder_layers", "num_hidden_layers", "n_layer")


def check_layers(student: Path) -> None:
    """ModelError where the settings claim more layers than there are parameters: transformers would build them all first."""
    from safetensors import SafetensorError, safe_open

    config = read_json(student / "config.json")
    claimed = max([value for name in LAYERS if isinstance(value := config.get(name), int)], default=0)
    held = 0
    try:
        for path in student.glob("*.safetensors"):
            with safe_open(path, "numpy") as file:
                held += len(file.keys())
    except SafetensorError as error:
        raise ModelError(f"{path} is no safetensors file: {error}", hint="It is cut off or damaged.") from error
    if held and claimed > held:
        raise ModelError(
            f"{student / 'config.json'} claims {claimed:,} layers, but the model has {held:,} parameter tensors in all.",
            hint="The settings belong to another model, or are damaged.",
        )


def load_weights(student: Path) -> dict[str, npt.NDArray[np.float32]]:
    """All parameters in float32 by their names in transformers, from one safetensors file or several.

    Raises:
        ModelError: there are none.
    """
    import torch
    from safetensors.torch import load_file

    found: dict[str, npt.NDArray[np.float32]] = {}
    for path in sorted(student.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            found[name] = tensor.to(torch.float32).numpy()
    if not found:
        raise ModelError(f"{student} holds no safetensors.")
    return found


def shared_embedding(weights: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """A T5's embedding [vocabulary, d_model], under whichever name it was saved; ModelError where there is none."""
    for name in ("shared.weight", "encoder.embed_tokens.weight"):
        if name in weights:
            return weights[name]
    raise ModelError("The student has no shared embedding.")
