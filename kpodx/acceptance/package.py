"""A package as it was exported: its manifest, which may come from anybody, and its files against their hashes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from kpodx.artifacts import hash_path
from kpodx.errors import DataError, RunError
from kpodx.export.manifest import PACKAGE, QUANTIZATIONS, read_manifest
from kpodx.outside import clean_line, is_inside

WORD = re.compile(r"[A-Za-z0-9_.-]{1,40}")
BUDGETS = ("memory_mib", "size_mib", "first_token_ms", "tokens_per_second")
LIMITS = ("threads", "context_tokens", "memory_mib")
MOST = {**dict.fromkeys((*BUDGETS, *LIMITS), 10**9), "threads": 1024}
"""Largest value of each entry of a profile; a machine gives no more threads than it has cores in any case."""
MOST_NAME = 200
"""Characters of a package's name."""


def load_package(folder: Path) -> dict[str, Any]:
    """A package's manifest, its files compared with their hashes.

    Raises:
        RunError: the folder is no package.
        DataError: a file is missing, or not the one that was exported.
    """
    manifest = read_manifest(folder)
    try:
        _check_manifest(manifest)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunError(
            f"{folder / PACKAGE} is no manifest of a package: {type(error).__name__} {clean_line(error, 200)}",
            hint="Make the package again.",
        ) from error
    for name, entry in manifest["files"].items():
        if not is_inside(name):
            raise DataError(f"{folder / PACKAGE} names a file outside the package: {name[:100]!r}")
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing, which {PACKAGE} names.", hint="Copy or export the package again.")
        if hash_path(path) != entry["sha256"]:
            raise DataError(
                f"{path} is not the file that was exported: its sha256 differs from {PACKAGE}'s.",
                hint="Copy or export the package again.",
            )
    return manifest


def _check_manifest(manifest: dict[str, Any]) -> None:
    """KeyError, TypeError or ValueError where a manifest lacks something, or has it of another kind."""
    if not isinstance(manifest["kind"], str) or manifest["kind"] not in QUANTIZATIONS:
        raise ValueError(f"kind {str(manifest['kind'])[:40]!r}")
    # It becomes a model's id in an address, and is shown.
    if not isinstance(manifest["name"], str) or len(manifest["name"]) > MOST_NAME or not manifest["name"].isprintable():
        raise ValueError(f"name {str(manifest['name'])[:40]!r}")
    for name, entry in manifest["files"].items():
        if not isinstance(entry["sha256"], str) or not isinstance(entry["size"], int) or entry["size"] < 0:
            raise TypeError(f"files: {name[:100]}")
    for model in manifest["models"]:
        # It becomes a part of files' names.
        if not WORD.fullmatch(model["quantization"]) or ".." in model["quantization"]:
            raise ValueError(f"quantization {str(model['quantization'])[:40]!r}")
        if model["name"] not in manifest["files"]:
            raise ValueError(f"no hash of its model {str(model['name'])[:100]!r}")
    if not isinstance(manifest.get("origin") or {}, dict) or not isinstance(manifest.get("profile") or {}, dict):
        raise TypeError("origin and profile are tables")
    _check_profile(manifest.get("profile") or {})


def _check_profile(profile: dict[str, Any]) -> None:
    for name in (*BUDGETS, *LIMITS):
        value = profile.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise ValueError(f"profile: {name} is {value!r}")
        if name in LIMITS and not isinstance(value, int):
            raise TypeError(f"profile: {name} is {value!r}")
        if value > MOST[name]:
            raise ValueError(f"profile: {name} is {value:g}, more than {MOST[name]:g}")


def read_files(manifest: dict[str, Any], model: str) -> dict[str, dict[str, Any]]:
    """Size and sha256 of all that an answer depends on: the model's files, and for ONNX the tokenizer and settings beside them."""
    found = model_files(manifest, model)
    if manifest["kind"] == "onnx":
        settings = ("config.json", "generation_config.json", "tokenizer.json")
        found |= {name: manifest["files"][name] for name in settings if name in manifest["files"]}
    return found


def model_files(manifest: dict[str, Any], model: str) -> dict[str, dict[str, Any]]:
    """Size and sha256 of the files that a model is made of: a GGUF file, or the graphs of one quantisation with their weights."""
    path = PurePosixPath(model)
    encoder = path.name.replace("decoder_model_merged", "encoder_model")
    names = {path.name, encoder, f"{path.name}_data", f"{encoder}_data"} if path.suffix == ".onnx" else {path.name}
    wanted = {path.with_name(name).as_posix() for name in names}
    return {name: entry for name, entry in sorted(manifest["files"].items()) if name in wanted}


def choose_models(manifest: dict[str, Any], wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Entries of a manifest's models, by name or quantisation; all where none is wanted.

    Raises:
        DataError: there is none of that name.
    """
    models = [model for model in manifest["models"] if not wanted or {model["name"], model["quantization"]} & {*wanted}]
    known = {word for model in manifest["models"] for word in (model["name"], model["quantization"])}
    unknown = [name for name in wanted if name not in known]
    if unknown or not models:
        names = ", ".join(str(model["quantization"]) for model in manifest["models"])
        raise DataError(f"The package {manifest['name']} has no model {', '.join(unknown)}; it has {names}.")
    return models
