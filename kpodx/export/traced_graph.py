"""A decoder-only student as an ONNX graph, by tracing: the only module that imports optimum."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from kpodx.errors import MissingDependencyError, ModelError
from kpodx.export.onnx_graph import CONTRIB

TASK = "text-generation-with-past"


def traced_decoder(student: Path) -> onnx.ModelProto:
    """`input_ids`, `attention_mask` (and `position_ids`) and the cache to `logits` and the cache, as optimum names them.

    A head that is the embedding once more reads the embedding.

    Raises:
        MissingDependencyError: optimum-onnx is not installed.
        ModelError: optimum cannot export the architecture.
    """
    try:
        with _quiet():
            from optimum.exporters.onnx import main_export
    except ImportError as error:
        raise MissingDependencyError(
            "ONNX export of a decoder-only student needs optimum-onnx, which wants transformers 4.",
            hint="pip install 'kpodx[onnx]' 'transformers<4.58'",
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        try:
            with _quiet():
                main_export(
                    str(student),
                    output=folder,
                    task=TASK,
                    library_name="transformers",
                    framework="pt",
                    do_validation=False,
                )
        except (ValueError, KeyError, RuntimeError, NotImplementedError) as error:
            raise ModelError(f"optimum cannot export {student} to ONNX: {str(error)[:300]}") from error
        model = onnx.load(Path(folder) / "model.onnx")
    _tie(model)
    if not any(item.domain == CONTRIB for item in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Tracing warns of every shape that it fixes, on stderr and stdout, and of nothing that a user could change."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _tie(model: onnx.ModelProto) -> None:
    """Let a head that is the embedding once more, as a turned copy or by a Transpose, read the embedding itself."""
    weights = {item.name: item for item in model.graph.initializer}
    turned = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Transpose"}
    lookups = [node.input[0] for node in model.graph.node if node.op_type == "Gather" and node.input[0] in weights]
    head = next((node for node in model.graph.node if "logits" in node.output and node.op_type == "MatMul"), None)
    if head is None:
        return
    name = head.input[1]
    tied = turned.get(name) if turned.get(name) in lookups else None
    if name in weights:
        matrix = numpy_helper.to_array(weights[name])
        for lookup in lookups:
            if list(weights[lookup].dims) == list(matrix.shape[::-1]):
                embedding = numpy_helper.to_array(weights[lookup])
                tied = lookup if np.array_equal(embedding.T, matrix) else tied
    if tied is None:
        return
    inputs = [head.input[0], tied]
    head.CopyFrom(helper.make_node("FusedMatMul", inputs, ["logits"], name=head.name, domain=CONTRIB, transB=1))
    used = {value for node in model.graph.node for value in node.input}
    for node in [node for node in model.graph.node if node.op_type == "Transpose" and node.output[0] == name]:
        model.graph.node.remove(node)
    if name in weights and name not in used:
        model.graph.initializer.remove(weights[name])
