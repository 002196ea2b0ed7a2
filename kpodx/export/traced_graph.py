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
    """Let a head that equals the embedding, turned, read the embedding itself."""
    weights = {item.name: item for item in model.graph.initializer}
    lookups = [
        node
        for node in model.graph.node
        if node.op_type == "Gather" and len(getattr(weights.get(node.input[0]), "dims", ())) == 2
    ]
    heads = [node for node in model.graph.node if "logits" in node.output and node.op_type == "MatMul"]
    for head in heads:
        if head.input[1] not in weights:
            continue
        matrix = numpy_helper.to_array(weights[head.input[1]])
        for lookup in lookups:
            embedding = numpy_helper.to_array(weights[lookup.input[0]])
            if embedding.shape == matrix.shape[::-1] and np.array_equal(embedding.T, matrix):
                tied = helper.make_node(
                    "FusedMatMul",
                    [head.input[0], lookup.input[0]],
                    ["logits"],
                    name=head.name,
                    domain=CONTRIB,
                    transB=1,
                )
                model.graph.initializer.remove(weights[head.input[1]])
                head.CopyFrom(tied)
                return
