"""Writing ONNX graphs: nodes by name, weights once, everything unreachable left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

CONTRIB = "com.microsoft"
"""Domain of ONNX Runtime's own operators; every build of it has them."""
OPSET = 18
IR_VERSION = 9

Array = npt.NDArray[Any]


class GraphBuilder:
    """Collects nodes and weights; every method that adds a node returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}

    def weight(self, name: str, values: Array) -> str:
        """Keep a constant under a name; the same name twice means the same constant."""
        self.weights.setdefault(name, values)
        return name

    def integers(self, *values: int) -> str:
        """A vector of int64."""
        return self.weight("integers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def node(self, operator: str, inputs: Sequence[str], name: str, *, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, which bears the node's name."""
        return self.node_with(operator, inputs, [name], name, domain=domain, **attributes)[0]

    def node_with(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        name: str,
        *,
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        """Add a node with several outputs; an empty name leaves one out."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, domain=domain, **attributes))
        return list(outputs)

    def model(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The finished model."""
        initializers = [
            numpy_helper.from_array(np.ascontiguousarray(values), key) for key, values in self.weights.items()
        ]
        graph = helper.make_graph(self.nodes, name, inputs, outputs, initializers)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
            ir_version=IR_VERSION,
            producer_name="kpodx",
        )


def floats(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    """A float32 input or output."""
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def integers(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    """An int64 input."""
    return helper.make_tensor_value_info(name, onnx.TensorProto.INT64, shape)


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph, then those in the branches of its nodes."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
