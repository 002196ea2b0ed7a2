"""Fewer bits for the weights of a GGUF file, through llama.cpp's own quantiser, in a process of its own: its asserts end the process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kpodx.errors import KpodxError

QUANTIZATIONS: dict[str, int | None] = {
    "f32": None,
    "f16": None,
    "Q8_0": 7,
    "Q6_K": 18,
    "Q5_K_M": 17,
    "Q4_K_M": 15,
    "Q4_0": 2,
    "IQ4_NL": 25,
}
"""llama.cpp's file type of each quantisation; None for those that are written, not quantised."""

WEIGHED = ("Q5_K_M", "Q4_K_M", "Q4_0", "IQ4_NL")
"""Those that round with an importance matrix where there is one."""

_PROGRAM = """
import ctypes, sys, llama_cpp, numpy
quiet = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype = int(sys.argv[3])
parameters.nthread = 1
if len(sys.argv) > 4:
    values = {name.encode(): numpy.ascontiguousarray(array, "float32") for name, array in numpy.load(sys.argv[4]).items()}
    floats = ctypes.POINTER(ctypes.c_float)
    # One more, empty: an entry without a name ends the list.
    entries = (llama_cpp.llama_model_imatrix_data * (len(values) + 1))()
    for entry, (name, array) in zip(entries, values.items()):
        entry.name, entry.data, entry.size = name, array.ctypes.data_as(floats), array.size
    parameters.imatrix = entries
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(parameters)))
"""


def quantize(
    source: Path, target: Path, quantization: str, importance: Mapping[str, npt.NDArray[np.float32]] | None = None
) -> None:
    """Write `source` (f32) once more with fewer bits; matrices that a type does not fit get the next larger one.

    Args:
        source: GGUF file in f32.
        target: the file to write.
        quantization: one of `QUANTIZATIONS` that is not written directly.
        importance: mean squared inputs [columns] of matrices, by their names in the file.

    Raises:
        KpodxError: llama.cpp could not do it.
    """
    file_type = QUANTIZATIONS[quantization]
    assert file_type is not None, quantization
    # Without -P, modules of the current directory, which may be a stranger's, would come before those that are installed.
    command = [sys.executable, "-P", "-c", _PROGRAM, str(source), str(target), str(file_type)]
    with tempfile.TemporaryDirectory() as scratch:
        if importance:
            np.savez(Path(scratch) / "importance.npz", **importance)  # type: ignore[arg-type]
            command.append(str(Path(scratch) / "importance.npz"))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not target.is_file():
        target.unlink(missing_ok=True)
        words = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise KpodxError(
            f"llama.cpp could not quantise {source.name} to {quantization}: {words[0]}", hint="Take another --quant."
        )
