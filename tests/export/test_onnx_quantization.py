"""Blocks and rows: by hand, by their error, and as ONNX Runtime reads them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from kpodx.export.onnx_graph import GraphBuilder, floats, integers  # noqa: E402
from kpodx.export.onnx_quantization import (  # noqa: E402
    BLOCK,
    dequantize_blocks,
    quantize_blocks,
    quantize_graph,
    quantize_rows,
)

matrices = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 70)),
    elements=st.floats(-100, 100, width=32, allow_subnormal=False),
)


def test_a_block_by_hand() -> None:
    """The farthest value, 8, becomes -8 steps of -1; 3.4 becomes 3, and the middle is 8."""
    values, scales = quantize_blocks(np.array([[8.0, 3.4, 0.0, -1.0]], np.float32), 4)
    assert scales.tolist() == [[-1.0]]
    # Steps 0, 5, 8 and 9, two to a byte, the first in the low half.
    assert values[0, 0, :2].tolist() == [0x50, 0x98]
    assert dequantize_blocks(values, scales, 4).tolist() == [[8.0, 3.0, 0.0, -1.0]]


@given(matrices, st.sampled_from([4, 8]))
def test_a_weight_moves_by_at_most_two_steps(matrix: np.ndarray, bits: int) -> None:
    values, scales = quantize_blocks(matrix, bits)
    back = dequantize_blocks(values, scales, matrix.shape[1])
    steps = np.repeat(np.abs(scales), BLOCK, axis=1)[:, : matrix.shape[1]]
    # Half a step, but for the farthest, which may be cut, and the side that ends one step earlier.
    assert np.all(np.abs(back - matrix) <= steps * (2.001 if bits == 4 else 1.001))
    assert back[matrix == 0].tolist() == [0.0] * int((matrix == 0).sum())


@given(matrices)
def test_rows_move_by_at_most_half_a_step(matrix: np.ndarray) -> None:
    values, scales = quantize_rows(matrix)
    assert np.all(np.abs(values * scales[:, None] - matrix) <= scales[:, None] * 0.5001)


def run(model: object, **inputs: np.ndarray) -> np.ndarray:
    """The only output of a model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    found = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, inputs)  # type: ignore[attr-defined]
    return np.asarray(found[0])


@pytest.mark.parametrize("kind", ["int8", "q8", "q4"])
@pytest.mark.parametrize("width", [64, 40])
def test_onnx_runtime_reads_the_bytes_as_they_are_meant(kind: str, width: int) -> None:
    """A lookup, a product, a head that is the lookup's matrix, and a product with a bias."""
    rng = np.random.default_rng(0)
    table, matrix = (rng.normal(size=shape).astype(np.float32) for shape in ((50, width), (width, 24)))
    bias = rng.normal(size=24).astype(np.float32)
    ids = np.array([[3, 49, 0]], np.int64)

    def build() -> tuple[object, object, object]:
        lookup, head, gemm = GraphBuilder(), GraphBuilder(), GraphBuilder()
        lookup.node("Gather", [lookup.weight("table", table), "ids"], "y")
        head.node("FusedMatMul", ["x", head.weight("table", table)], "y", domain="com.microsoft", transB=1)
        gemm.node("Gemm", ["x", gemm.weight("matrix", matrix), gemm.weight("bias", bias)], "y")
        y = floats("y", *["a", "b"])
        return (
            lookup.model("lookup", [integers("ids", 1, 3)], [floats("y", 1, 3, width)]),
            head.model("head", [floats("x", 5, width)], [y]),
            gemm.model("gemm", [floats("x", 5, width)], [y]),
        )

    def meant(rows: np.ndarray) -> np.ndarray:
        if kind == "int8":
            values, scales = quantize_rows(rows)
            return values * scales[:, None]
        return dequantize_blocks(*quantize_blocks(rows, 8 if kind == "q8" else 4), rows.shape[1])

    lookup, head, gemm = (quantize_graph(model, {"y": kind}, accuracy_level=0) for model in build())  # type: ignore[arg-type]
    x = rng.normal(size=(5, width)).astype(np.float32)
    np.testing.assert_allclose(run(lookup, ids=ids), meant(table)[ids], atol=1e-5)
    # Those of 8 bits round their input, too.
    near = {"atol": 1e-4} if kind == "q4" else {"atol": 0.2}
    np.testing.assert_allclose(run(head, x=x), x @ meant(table).T, **near)  # type: ignore[arg-type]
    np.testing.assert_allclose(run(gemm, x=x), x @ meant(matrix.T).T + bias, **near)  # type: ignore[arg-type]


def test_the_best_of_a_few_scales_is_taken() -> None:
    """Never worse than keeping the farthest value, and better by a tenth on normal weights."""
    matrix = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    values, scales = quantize_blocks(matrix, 4)
    chosen = np.square(dequantize_blocks(values, scales, 256) - matrix).reshape(64, 8, 32).sum(axis=2)
    blocks = matrix.reshape(64, 8, 32)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[..., None], axis=2)
    plain = np.square(np.clip(np.rint(blocks / (extreme / -8)), -8, 7) * (extreme / -8) - blocks).sum(axis=2)
    assert np.all(chosen <= plain * 1.0001)
    assert chosen.sum() < 0.92 * plain.sum()
