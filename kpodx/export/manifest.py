"""What a package is made of; apart, so that reading one loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpodx.config import shipped
from kpodx.errors import RunError
from kpodx.text.prompts import CUE

PACKAGE = "package.json"
"""Name of a package's manifest."""

PROMPT = f"Q: {{question}} A: {CUE}"
"""What the runner wraps a question in; kept in the package."""


ONNX_SUFFIXES = {"f32": "", "int8": "_int8", "q8": "_quantized", "q4": "_q4", "mixed": "_mixed"}
"""What follows the names of graphs; transformers.js knows the first four as dtype fp32, int8, q8 and q4."""

QUANTIZATIONS = {
    "gguf": ("f32", "f16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "IQ4_NL"),
    "onnx": tuple(ONNX_SUFFIXES),
}
"""What each format can be quantised to."""

DEFAULTS = {"gguf": ("f16", "Q8_0", "Q4_K_M"), "onnx": ("q8", "q4", "int8")}
"""What is written where nothing is asked for."""


RUNNERS = {"gguf": "llama_cpp", "onnx": "onnxruntime"}
"""Folder of the program that runs each format."""


def shipped_runner(form: object) -> Path:
    """Our own copy of the program that runs a format; RunError where there is none."""
    if form not in RUNNERS:
        raise RunError(f"The package is of an unknown kind: {form!r}, expected one of {', '.join(RUNNERS)}.")
    return shipped("export") / "runners" / RUNNERS[str(form)] / "run.py"


@dataclass(frozen=True)
class Written:
    """A model that was written: its main file, the bytes of all its files, and what was chosen on the way."""

    path: Path
    size: int
    chosen: dict[str, Any] = field(default_factory=dict)
