"""The importance of columns, by hand, and what llama.cpp's quantiser makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import make_tiny_llama, make_tiny_t5
from torch import nn

gguf = pytest.importorskip("gguf", reason="gguf is not installed")
pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

from kpodx.export.gguf_file import write_gguf  # noqa: E402
from kpodx.export.importance import importance, watched_inputs  # noqa: E402
from kpodx.export.quantization import quantize  # noqa: E402
from kpodx.modeling.loading import load_with_tokenizer  # noqa: E402


def test_squares_are_summed_by_column() -> None:
    model = nn.Sequential(nn.Linear(2, 1))
    with watched_inputs(model) as sums:
        model(torch.tensor([[[1.0, -2.0], [3.0, 0.0]]]))
        model(torch.tensor([[0.0, 1.0]]))
    total, count = sums["0.weight"]
    assert (total.tolist(), count) == ([10.0, 5.0], 3)
    model(torch.tensor([[5.0, 5.0]]))
    assert sums["0.weight"][1] == 3


@pytest.mark.parametrize("family", ["t5", "llama"])
def test_every_matrix_is_weighed_and_rounded_otherwise(tmp_path: Path, family: str) -> None:
    make = make_tiny_t5 if family == "t5" else make_tiny_llama
    folder = make(tmp_path / "student", layers=2, seed=3, width=64)
    model, _ = load_with_tokenizer(str(folder))
    weighed = importance(model, [((5, 6, 7, 1), (8, 9)), ((10, 11, 1), (12,))])
    write_gguf(folder, tmp_path / "f32.gguf")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "f32.gguf").tensors}
    products = {name for name, tensor in tensors.items() if len(tensor.shape) == 2 and "_b." not in name}
    products -= {"token_embd.weight", "enc.blk.0.attn_rel_b.weight", "dec.blk.0.attn_rel_b.weight"}
    # A tied Llama has no head of its own.
    assert {name.removesuffix(".weight") for name in products} == {name.removesuffix(".weight") for name in weighed} - (
        {"output"} if family == "llama" else set()
    )
    names = {name if name.endswith(".weight") else f"{name}.weight": values for name, values in weighed.items()}
    assert all(len(names[name]) == tensors[name].shape[0] and (names[name] > 0).all() for name in products)
    quantize(tmp_path / "f32.gguf", tmp_path / "plain.gguf", "Q4_0")
    skewed = {name: np.where(np.arange(len(values)) % 2, values * 1e4, values) for name, values in weighed.items()}
    quantize(tmp_path / "f32.gguf", tmp_path / "weighed.gguf", "Q4_0", skewed)
    plain, other = (
        {tensor.name: tensor.data.tobytes() for tensor in gguf.GGUFReader(tmp_path / name).tensors}
        for name in ("plain.gguf", "weighed.gguf")
    )
    assert {name for name in plain if plain[name] != other[name]} >= products - {"output.weight"}
