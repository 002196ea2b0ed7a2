"""Fewer bits for the weights of ONNX graphs: dynamic int8 and blockwise 4 or 8 bits, matrix by matrix.

The embedding is quantised by rows or blocks as the matrices are, which ONNX Runtime's own tool does not do, so that a tied
head and the lookup read the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from kpodx.export.onnx_graph import CONTRIB, Array, graphs

BLOCK = 32
"""Weights that share a scale, along the inner dimension."""
STRETCHES = {4: (1.0, 0.95, 0.9, 0.85, 0.8, 1.05), 8: (1.0,)}
"""Scales that are tried for each block, by bits, as shares of the one that keeps its farthest value: with few steps, cutting that value
a little rounds the others better."""
KINDS = ("f32", "int8", "q8", "q4")
PRODUCTS = ("MatMul", "FusedMatMul", "Gemm")


def quantize_rows(matrix: Array) -> tuple[Array, Array]:
    """Symmetric int8 by rows: (values int8 [rows, columns], scales float32 [rows]).

    >>> values, scales = quantize_rows(np.array([[1.0, -2.0]], np.float32))
    >>> values.tolist(), [round(float(x), 5) for x in scales]
    ([[64, -127]], [0.01575])
    """
    scales = np.maximum(np.abs(matrix).max(axis=1), np.finfo(np.float32).tiny).astype(np.float32) / np.float32(127)
    return np.clip(np.rint(matrix / scales[:, None]), -127, 127).astype(np.int8), scales


def quantize_blocks(matrix: Array, bits: int) -> tuple[Array, Array]:
    """Symmetric 4 or 8 bits by blocks of `BLOCK` along rows, as MatMulNBits stores them.

    Of a few scales each block takes the one with the least squared error.

    Args:
        matrix: [rows, columns]; the last block is filled up with zeros.
        bits: 4 or 8.

    Returns:
        Packed uint8 [rows, blocks, BLOCK · bits / 8], low bits first, around the middle 2^(bits-1), and scales [rows, blocks].
    """
    rows, columns = matrix.shape
    blocks = -(-columns // BLOCK)
    padded = np.zeros((rows, blocks * BLOCK), np.float32)
    padded[:, :columns] = matrix
    padded = padded.reshape(rows, blocks, BLOCK)
    middle = 1 << (bits - 1)
    # The value farthest from zero becomes -middle, which has one more step than the other side.
    extreme = np.take_along_axis(padded, np.abs(padded).argmax(axis=2)[..., None], axis=2)[..., 0]
    scales = np.zeros((rows, blocks), np.float32)
    values: Array = np.full(padded.shape, middle, np.uint8)
    least = np.full((rows, blocks), np.inf, np.float32)
    for stretch in STRETCHES[bits]:
        tried = extreme / np.float32(-middle) * np.float32(stretch)
        divisor = np.where(tried == 0, np.float32(1), tried)[..., None]
        steps = np.clip(np.rint(padded / divisor) + middle, 0, 2 * middle - 1)
        error = np.square((steps - middle) * tried[..., None] - padded).sum(axis=2)
        better = error < least
        least, scales = np.where(better, error, least), np.where(better, tried, scales)
        values = np.where(better[..., None], steps.astype(np.uint8), values)
    if bits == 4:
        values = values[..., 0::2] | (values[..., 1::2] << 4)
    return values, scales.astype(np.float32)


def dequantize_blocks(values: Array, scales: Array, columns: int) -> Array:
    """The matrix [rows, columns] that blocks stand for.

    Args:
        values: packed, as `quantize_blocks` gives them.
        scales: [rows, blocks].
        columns: of the matrix; what fills up the last block is left out.
    """
    rows, blocks, width = values.shape
    bits = 8 * width // BLOCK
    if bits == 4:
        values = np.stack([values & 15, values >> 4], axis=-1).reshape(rows, blocks, BLOCK)
    matrix = (values.astype(np.float32) - (1 << (bits - 1))) * scales[..., None]
    return matrix.reshape(rows, -1)[:, :columns]


def quantize_graph(model: onnx.ModelProto, kinds: Mapping[str, str], accuracy_level: int = 4) -> onnx.ModelProto:
    """Replace products with constant matrices, and lookups in an embedding, by quantised ones; the model is changed.

    Args:
        model: float32, its weights inside.
        kinds: by name of a node (a product of `PRODUCTS`, whose FusedMatMul turns its weight and whose Gemm adds a bias, or a
            Gather), one of `KINDS`; others stay.
        accuracy_level: of products of 4 bits: 4 rounds their inputs to int8, too, and is the fast one; 0 leaves them float32. Those
            of 8 bits always have 4: for the other, ONNX Runtime 1.31 has no kernel that anyone would wait for (25 times slower).
    """
    weights = {item.name: item for item in model.graph.initializer}
    work = _Quantizer(weights, accuracy_level)
    for graph in graphs(model):
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            nodes += work.replace(node, kinds.get(node.name, "f32"))
        del graph.node[:]
        graph.node.extend(nodes)
    used = {name for graph in graphs(model) for node in graph.node for name in node.input}
    kept = [item for item in [*model.graph.initializer, *work.made.values()] if item.name in used]
    kept = [onnx.TensorProto.FromString(item.SerializeToString()) for item in kept]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


class _Quantizer:
    def __init__(self, weights: Mapping[str, onnx.TensorProto], accuracy_level: int) -> None:
        self.weights, self.accuracy_level = weights, accuracy_level
        self.made: dict[str, onnx.TensorProto] = {}

    def _keep(self, name: str, values: Array) -> str:
        if name not in self.made:
            self.made[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _rows(self, name: str, matrix: Array) -> tuple[str, str]:
        names = f"{name}.int8", f"{name}.int8_scales"
        if names[0] not in self.made:
            for key, values in zip(names, quantize_rows(matrix), strict=True):
                self._keep(key, values)
        return names

    def _blocks(self, name: str, matrix: Array, bits: int) -> tuple[str, str]:
        names = f"{name}.q{bits}", f"{name}.q{bits}_scales"
        if names[0] not in self.made:
            for key, values in zip(names, quantize_blocks(matrix, bits), strict=True):
                self._keep(key, values)
        return names

    def replace(self, node: onnx.NodeProto, kind: str) -> list[onnx.NodeProto]:
        if kind == "f32":
            return [node]
        if node.op_type == "Gather":
            name = node.input[0]
            return self._lookup(node, name, numpy_helper.to_array(self.weights[name]), kind)
        name, attributes = node.input[1], {item.name: item for item in node.attribute}
        matrix = numpy_helper.to_array(self.weights[name])
        # [out, in], as an embedding lies; a MatMul's weight lies the other way round.
        is_turned = "transB" in attributes and attributes["transB"].i == 1
        rows = matrix if is_turned else matrix.T
        if node.op_type != "Gemm":
            return self._product(node, name, rows, kind, is_turned=is_turned)
        product = onnx.NodeProto.FromString(node.SerializeToString())
        product.output[0], product.name = f"{node.output[0]}.product", f"{node.name}.product"
        bias = helper.make_node("Add", [product.output[0], node.input[2]], [node.output[0]], name=node.name)
        return [*self._product(product, name, rows, kind, is_turned=is_turned), bias]

    def _lookup(self, node: onnx.NodeProto, name: str, matrix: Array, kind: str) -> list[onnx.NodeProto]:
        ids, output = node.input[1], node.output[0]
        if kind == "int8":
            values, scales = self._rows(name, matrix)
            one = self._keep("minus_one", np.array([-1], np.int64))
            return [
                helper.make_node("Gather", [values, ids], [f"{output}.int8"], name=f"{node.name}.values"),
                helper.make_node(
                    "Cast", [f"{output}.int8"], [f"{output}.cast"], name=f"{node.name}.cast", to=onnx.TensorProto.FLOAT
                ),
                helper.make_node("Gather", [scales, ids], [f"{output}.scale"], name=f"{node.name}.scales"),
                helper.make_node(
                    "Unsqueeze", [f"{output}.scale", one], [f"{output}.scale_up"], name=f"{node.name}.scale_up"
                ),
                helper.make_node("Mul", [f"{output}.cast", f"{output}.scale_up"], [output], name=node.name),
            ]
        return self._lookup_blocks(node, name, matrix, 8 if kind == "q8" else 4)

    def _lookup_blocks(self, node: onnx.NodeProto, name: str, matrix: Array, bits: int) -> list[onnx.NodeProto]:
        """In plain arithmetic on the rows that are looked up: browsers' ONNX Runtime has no GatherBlockQuantized."""
        values, scales = self._blocks(name, matrix, bits)
        ids, output = node.input[1], node.output[0]
        blocks, nodes = -(-matrix.shape[1] // BLOCK), []

        def add(operator: str, inputs: list[str], what: str, **attributes: Any) -> str:
            made = helper.make_node(operator, inputs, [f"{output}.{what}"], name=f"{node.name}.{what}", **attributes)
            nodes.append(made)
            return str(made.output[0])

        def whole(*numbers: int) -> str:
            return self._keep("numbers_" + "_".join(map(str, numbers)), np.array(numbers, np.int64))

        packed = add("Cast", [add("Gather", [values, ids], "packed")], "steps", to=onnx.TensorProto.INT32)
        if bits == 4:
            sixteen = self._keep("sixteen", np.array(16, np.int32))
            high = add("Div", [packed, sixteen], "high")
            low = add("Sub", [packed, add("Mul", [high, sixteen], "high_part")], "low")
            halves = [
                add("Unsqueeze", [half, whole(-1)], f"{word}_up") for half, word in ((low, "low"), (high, "high"))
            ]
            packed = add("Reshape", [add("Concat", halves, "pairs", axis=-1), whole(0, 0, blocks, BLOCK)], "unpacked")
        middle = self._keep(f"middle_{bits}", np.array(1 << (bits - 1), np.float32))
        steps = add("Sub", [add("Cast", [packed], "floats", to=onnx.TensorProto.FLOAT), middle], "around_zero")
        scale = add("Unsqueeze", [add("Gather", [scales, ids], "scale"), whole(-1)], "scale_up")
        flat = add("Reshape", [add("Mul", [steps, scale], "blocks"), whole(0, 0, blocks * BLOCK)], "filled")
        bounds = [whole(0), whole(matrix.shape[1]), whole(-1)]
        return [*nodes, helper.make_node("Slice", [flat, *bounds], [output], name=node.name)]

    def _product(
        self, node: onnx.NodeProto, name: str, rows: Array, kind: str, *, is_turned: bool
    ) -> list[onnx.NodeProto]:
        values, output = node.input[0], node.output[0]
        if kind == "int8":
            quantized, scales = self._rows(name, rows)
            if is_turned:
                turned = f"{quantized}.turned"
                turn = [helper.make_node("Transpose", [quantized], [turned], name=f"{node.name}.turn", perm=[1, 0])]
            else:
                turned, turn = self._keep(f"{name}.int8_columns", numpy_helper.to_array(self.made[quantized]).T), []
            return [
                *turn,
                helper.make_node(
                    "DynamicQuantizeMatMul", [values, turned, scales], [output], name=node.name, domain=CONTRIB
                ),
            ]
        bits = 8 if kind == "q8" else 4
        quantized, scales = self._blocks(name, rows, bits)
        attributes: dict[str, Any] = {"K": rows.shape[1], "N": rows.shape[0], "bits": bits, "block_size": BLOCK}
        return [
            helper.make_node(
                "MatMulNBits",
                [values, quantized, scales],
                [output],
                name=node.name,
                domain=CONTRIB,
                accuracy_level=self.accuracy_level if bits == 4 else 4,
                **attributes,
            )
        ]
