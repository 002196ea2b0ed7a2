"""What a package is made of; apart, so that reading one loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpodx import outside
from kpodx.config import shipped
from kpodx.errors import RunError
from kpodx.storage import storing
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


SHARED = ("command_line.py", "machine.py", "outside_json.py", "shown_text.py")
"""Modules that every runner imports."""


def runner_files(form: object) -> dict[str, Path]:
    """Return our own copy of each program file that a package of a format holds, by its name there."""
    runner = shipped_runner(form)
    return {"run.py": runner, **{name: runner.parent.parent / name for name in SHARED}}


def shipped_runner(form: object) -> Path:
    """Our own copy of the program that runs a format; RunError where there is none."""
    if not isinstance(form, str) or form not in RUNNERS:
        kind = str(form)[:40]
        raise RunError(f"The package is of an unknown kind: {kind!r}, expected one of {', '.join(RUNNERS)}.")
    return shipped("export") / "runners" / RUNNERS[form] / "run.py"


def newest_package(runs: Path) -> Path:
    """The package below `runs` that was written last; RunError where there is none."""
    found = sorted(runs.glob(f"*/export/*/{PACKAGE}"), key=lambda path: (path.stat().st_mtime, str(path)))
    if not found:
        raise RunError(f"There is no package below {runs}.", hint="Make one: kpodx export")
    return found[-1].parent


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a package's manifest says; the package may come from anyone.

    Raises:
        RunError: the folder has no manifest, or one that is not JSON, not an object, or beyond the limits of the reader.
    """
    path = folder / PACKAGE
    with storing(path):
        if not path.is_file():
            raise RunError(f"{folder} is no package: it has no {PACKAGE}.", hint="Make one: kpodx export")
        try:
            found = outside.read_json(path)
        except ValueError as error:
            raise RunError(f"{path} is no manifest of a package: {error}.", hint="Make the package again.") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} is no manifest of a package: it is not an object.", hint="Make the package again.")
    return found


def models_of(folder: Path) -> dict[str, str]:
    """Quantisation by name of the models that a package's manifest names; RunError where the folder is no package that has them."""
    manifest = read_manifest(folder)
    again = "Make the package again: kpodx export"
    try:
        models = {str(model["name"]): str(model["quantization"]) for model in manifest["models"]}
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder / PACKAGE} names no models.", hint=again) from error
    if not models:
        raise RunError(f"{folder / PACKAGE} names no models.", hint=again)
    for name in models:
        # Links stay allowed: in the hub's cache every file is one.
        if not outside.is_inside(name):
            raise RunError(f"{folder / PACKAGE} names a model outside the package: {name[:100]!r}.", hint=again)
        if not (folder / name).is_file():
            raise RunError(f"{folder / PACKAGE} names a model that is not there: {name[:100]!r}.", hint=again)
    return models


@dataclass(frozen=True)
class Written:
    """A model that was written: its main file, the bytes of all its files, and what was chosen on the way."""

    path: Path
    size: int
    chosen: dict[str, Any] = field(default_factory=dict)
