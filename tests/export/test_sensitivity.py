"""Which matrices stay higher: those whose rounding moves the student most, and no more than their share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_tiny_t5

pytest.importorskip("onnx", reason="onnx is not installed")

from kpodx.artifacts import read_json
from kpodx.cli.export import generated_questions
from kpodx.export.onnx_package import modules_of, quantizable_nodes
from kpodx.export.reference import ask_student
from kpodx.export.sensitivity import sensitive_modules
from kpodx.export.t5_graph import t5_decoder, t5_encoder
from kpodx.export.weights import load_weights
from kpodx.runtime import SilentProgress


def test_the_matrix_that_cannot_bear_it_stays(tmp_path: Path) -> None:
    folder = make_tiny_t5(tmp_path / "t5", layers=2, seed=3, width=64, tie_word_embeddings=False)
    reference = ask_student(folder, generated_questions(3), 12, SilentProgress())
    fragile = "decoder.block.1.layer.2.DenseReluDense.wo"
    matrix = reference.model.get_submodule(fragile).weight
    with torch.no_grad():
        # One huge weight in each block: all others round to nothing.
        matrix[:, ::32] *= 40
    reference = ask_student_again(reference, folder)
    before = {name: tensor.clone() for name, tensor in reference.model.state_dict().items()}
    config, weights = read_json(folder / "config.json"), load_weights(folder)
    names = [
        name
        for graph in (t5_encoder(config, weights), t5_decoder(config, weights))
        for name in quantizable_nodes(graph, config["vocab_size"])
    ]
    chosen = sensitive_modules(reference, {name: modules_of(name) for name in names}, share=0.25)
    assert fragile in chosen
    modules = {module for name in chosen for module in modules_of(name)}
    kept = sum(reference.model.get_submodule(module).weight.numel() for module in modules)
    every = {module for name in names for module in modules_of(name)}
    assert kept <= 0.25 * sum(reference.model.get_submodule(module).weight.numel() for module in every)
    assert len(every) == 2 * 7 + 2 * 11 + 2
    assert all(torch.equal(before[name], tensor) for name, tensor in reference.model.state_dict().items())
    assert sensitive_modules(reference, {"a": [fragile]}, share=0.0) == {}


def ask_student_again(reference: Any, folder: Path) -> Any:
    """The same model in memory, its changed weights saved and read again."""
    reference.model.save_pretrained(folder)
    return ask_student(folder, list(reference.questions), 12, SilentProgress())
