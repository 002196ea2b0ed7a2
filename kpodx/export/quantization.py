"""Fewer bits for the weights of a GGUF file, through llama.cpp's own quantiser, in a process of its own: its asserts end the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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

_PROGRAM = """
import ctypes, sys, llama_cpp
quiet = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype = int(sys.argv[3])
parameters.nthread = 1
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(parameters)))
"""


def quantize(source: Path, target: Path, quantization: str) -> None:
    """Write `source` (f32) once more with fewer bits; matrices that a type does not fit get the next larger one.

    Raises:
        KpodxError: llama.cpp could not do it.
    """
    file_type = QUANTIZATIONS[quantization]
    assert file_type is not None, quantization
    command = [sys.executable, "-c", _PROGRAM, str(source), str(target), str(file_type)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not target.is_file():
        target.unlink(missing_ok=True)
        words = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise KpodxError(
            f"llama.cpp could not quantise {source.name} to {quantization}: {words[0]}", hint="Take another --quant."
        )
