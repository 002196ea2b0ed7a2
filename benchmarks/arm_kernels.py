"""How do processors multiply blocks of 4 and 8 bits? ONNX Runtime's result beside three ways to compute it, here and on Arm.

    python benchmarks/arm_kernels.py

prints the largest difference of one MatMulNBits from each way, as a share of the largest number; about 1e-6 or less means that the
processor computes that way. The operator is the one in q8 and q4 packages, with accuracy_level 4: its inputs may be rounded to int8.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
ROWS, COLUMNS, INPUTS, BLOCK = 5, 384, 96, 32
NAMES = ("inputs as they are", "int8 by blocks", "int8 by rows, scales cut to bfloat16")


def main() -> None:
    """Every processor measures in a process of its own."""
    from arm_machine import CPUS, Arm, run

    from kpodx.cli import terminal

    arm = Arm(Path(__file__).resolve().parents[1] / "build" / "arm", None, 1, terminal.say)
    pythons = {"here": sys.executable} | {cpu.name: str(arm.python(cpu, "onnx")) for cpu in CPUS.values()}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for bits in (8, 4):
            write_operator(Path(folder), bits)
        for name, python in pythons.items():
            for bits, found in json.loads(run([python, __file__, folder])).items():
                rows.append((name, bits, *(f"{value:.1e}" for value in found)))
    terminal.print_table("Largest relative difference", ("processor", "bits", *NAMES), rows)


def write_operator(folder: Path, bits: int) -> None:
    """One product as a graph, with its numbers beside it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(bits)
    numbers = {
        "weights": rng.integers(0, 256, (COLUMNS, INPUTS // BLOCK, BLOCK * bits // 8)).astype(np.uint8),
        "scales": rng.uniform(0.001, 0.011, COLUMNS * INPUTS // BLOCK).astype(np.float32),
    }
    sizes = {"K": INPUTS, "N": COLUMNS, "bits": bits, "block_size": BLOCK, "accuracy_level": 4}
    node = helper.make_node("MatMulNBits", ["x", *numbers], ["y"], domain="com.microsoft", **sizes)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, size])
        for name, size in (("x", INPUTS), ("y", COLUMNS))
    ]
    kept = [numpy_helper.from_array(values, name) for name, values in numbers.items()]
    graph = helper.make_graph([node], "product", ends[:1], ends[1:], kept)
    versions = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=10), folder / f"{bits}.onnx")
    np.savez(folder / f"{bits}.npz", x=rng.standard_normal((ROWS, INPUTS)).astype(np.float32), **numbers)


def measure(folder: Path) -> dict[int, list[float]]:
    """Differences from each way, by bits. Needs numpy and onnxruntime alone: this runs on Arm, too."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    found = {}
    for bits in (8, 4):
        with np.load(folder / f"{bits}.npz") as numbers:
            x, weights, scales = numbers["x"], numbers["weights"].astype(np.int64), numbers["scales"]
        (result,) = onnxruntime.InferenceSession(str(folder / f"{bits}.onnx"), options).run(None, {"x": x})
        if bits == 4:
            weights = np.stack([weights & 15, weights >> 4], -1).reshape(COLUMNS, -1, BLOCK)
        steps, cut = weights - 2 ** (bits - 1), (scales.view(np.uint32) & 0xFFFF0000).view(np.float32)
        exact, rough = (
            (steps * kept.reshape(COLUMNS, -1, 1).astype(float)).reshape(COLUMNS, -1) for kept in (scales, cut)
        )
        ways = [x.astype(float) @ exact.T, by_blocks(x) @ exact.T, by_rows(x) @ rough.T]
        found[bits] = [float(np.abs(result - way).max() / np.abs(ways[0]).max()) for way in ways]
    return found


def by_blocks(x: Array) -> Array:
    """Inputs rounded to int8, each block by its largest number."""
    blocks = x.reshape(len(x), -1, BLOCK)
    step = np.abs(blocks).max(-1, keepdims=True) / np.float32(127)
    return (np.rint(blocks / step) * step.astype(float)).reshape(x.shape)


def by_rows(x: Array) -> Array:
    """Inputs rounded to int8, each row from its smallest to its largest number."""
    low, high = np.minimum(x.min(1, keepdims=True), 0), np.maximum(x.max(1, keepdims=True), 0)
    step = (high - low) / np.float32(255)
    zero = np.rint(-128 - low / step)
    return (np.clip(np.rint(x / step) + zero, -128, 127) - zero) * step.astype(float)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]))))
    else:
        main()
