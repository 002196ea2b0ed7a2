"""A copy of an int8 package whose decoder keeps 2 bits of each weight, and an intact manifest: what `kpodx evaluate` must call lost.

python benchmarks/ruined_package.py runs/quickstart/export/onnx build/ruined
kpodx evaluate build/ruined --run runs/quickstart --model int8      # lost, exit code 3
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from kpodx.artifacts import hash_path, read_json, write_json

DECODER = "onnx/decoder_model_merged_int8.onnx"
STEP = 85
"""Of int8 values: -127, -42, 43 and 127 are what is left."""


def main() -> None:
    """Copy and ruin."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    shutil.copytree(arguments.package, arguments.output)
    path = arguments.output / DECODER
    model = onnx.load(path)
    for item in model.graph.initializer:
        if item.data_type == onnx.TensorProto.INT8:
            values = numpy_helper.to_array(item).astype(np.float32)
            rounded = np.rint((values + 127) / STEP) * STEP - 127
            item.raw_data = np.clip(rounded, -127, 127).astype(np.int8).tobytes()
    onnx.save(model, path)
    manifest = read_json(arguments.output / "package.json")
    manifest["files"][DECODER] = {"size": path.stat().st_size, "sha256": hash_path(path)}
    write_json(arguments.output / "package.json", manifest)


if __name__ == "__main__":
    main()
