"""A bundle: what a device needs to answer questions with a package, and to say what that cost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpodx.artifacts import hash_json, hash_path, write_json, write_jsonl, write_text
from kpodx.config import shipped
from kpodx.errors import DataError, UsageError
from kpodx.export.manifest import PACKAGE

BUNDLE, QUESTIONS, RESULTS = "bundle.json", "questions.jsonl", "results.jsonl"
PROGRAM = "bundle.py"
NEEDS = {"onnx": "onnxruntime tokenizers numpy", "gguf": "llama-cpp-python"}

Asked = Mapping[str, Any]
"""A question as a runner is given it: `id` and `question`."""


@dataclass(frozen=True)
class Device:
    """What a package may use.

    Attributes:
        threads: CPU threads.
        memory_mib: most resident memory, in MiB; None sets no limit.
        context_tokens: most tokens of prompt and answer; None takes the model's own.
        batch_size: questions at a time where only answers count; times are always taken one by one.
        max_new_tokens: longest answer.
    """

    threads: int
    memory_mib: int | None = None
    context_tokens: int | None = None
    batch_size: int = 1
    max_new_tokens: int = 256


def device_of(
    manifest: Mapping[str, Any],
    *,
    max_new_tokens: int,
    threads: int | None = None,
    memory_mib: int | None = None,
    batch_size: int = 1,
) -> Device:
    """What a package's profile allows, where nothing else is said; half of this machine's cores where it has no profile."""
    profile = manifest.get("profile") or {}
    return Device(
        threads=threads or profile.get("threads") or max(1, (os.cpu_count() or 2) // 2),
        memory_mib=memory_mib or profile.get("memory_mib"),
        context_tokens=profile.get("context_tokens"),
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
    )


def choose_models(manifest: Mapping[str, Any], wanted: Sequence[str]) -> list[dict[str, Any]]:
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


def model_files(manifest: Mapping[str, Any], model: str) -> dict[str, dict[str, Any]]:
    """Size and sha256 of the files that a model is made of: a GGUF file, or the graphs of one quantisation with their weights."""
    path = Path(model)
    encoder = path.name.replace("decoder_model_merged", "encoder_model")
    names = {path.name, encoder, f"{path.name}_data", f"{encoder}_data"} if path.suffix == ".onnx" else {path.name}
    wanted = {path.with_name(name).as_posix() for name in names}
    return {name: entry for name, entry in sorted(manifest["files"].items()) if name in wanted}


def describe_bundle(
    package: Path,
    manifest: Mapping[str, Any],
    questions: Sequence[Asked],
    device: Device,
    *,
    name: str,
    cost_questions: int,
    models: Sequence[str] = (),
    occasion: str = "",
) -> dict[str, Any]:
    """What bundle.json says. The keys of a model's answers and costs change with all that could change them.

    Args:
        package: folder of the package.
        manifest: its manifest.
        questions: what is asked.
        device: threads, memory and the like.
        name: of the question set.
        cost_questions: how many answers' times count.
        models: names or quantisations; all by default.
        occasion: something new where times of an earlier occasion must not count.
    """
    asked = [dict(question) for question in questions]
    described = []
    for model in choose_models(manifest, models):
        files = {name: entry["sha256"] for name, entry in model_files(manifest, model["name"]).items()}
        answers = [files, asked, device.context_tokens, device.max_new_tokens, device.batch_size]
        cost = [files, asked[: cost_questions + 2], device.context_tokens, device.max_new_tokens]
        described.append(
            {
                "name": model["name"],
                "quantization": model["quantization"],
                "files": files,
                "answers_key": hash_json(answers)[:12],
                "cost_key": hash_json([cost, device.threads, device.memory_mib, occasion])[:12],
            }
        )
    return {
        "format": 1,
        "package": hash_path(package / PACKAGE),
        "questions": {"name": name, "n": len(asked), "sha256": hash_json(asked)},
        "threads": device.threads,
        "memory_mib": device.memory_mib,
        "context_tokens": device.context_tokens,
        "max_new_tokens": device.max_new_tokens,
        "batch_size": device.batch_size,
        "cost_questions": cost_questions,
        "occasion": occasion,
        "models": described,
    }


def write_questions(folder: Path, bundle: Mapping[str, Any], questions: Sequence[Asked]) -> dict[str, Any]:
    """Write questions.jsonl and bundle.json; returns what the latter says."""
    write_jsonl(folder / QUESTIONS, questions)
    document = {**bundle, "questions": {**bundle["questions"], "file_sha256": hash_path(folder / QUESTIONS)}}
    write_json(folder / BUNDLE, document)
    return document


def write_bundle(folder: Path, package: Path, kind: str, bundle: Mapping[str, Any], questions: Sequence[Asked]) -> None:
    """Copy a package with its questions into a folder that a device can be given; it appears whole or not at all.

    Args:
        folder: must not exist yet.
        package: folder of the package.
        kind: onnx or gguf.
        bundle: from `describe_bundle`.
        questions: the same that were described.

    Raises:
        UsageError: the folder exists.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists already.", hint="Name another folder with --bundle, or remove it.")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(package, partial)
        programs = shipped("export") / "runners"
        # Newer ones than the package's own may know more.
        for program in (PROGRAM, "command_line.py", f"{'onnxruntime' if kind == 'onnx' else 'llama_cpp'}/run.py"):
            shutil.copyfile(programs / program, partial / Path(program).name)
        write_questions(partial, bundle, questions)
        instruction = f"pip install {NEEDS[kind]} && python run.py"
        write_text(
            partial / "INSTRUCTIONS.txt",
            f"{instruction}\n\nin this folder, and bring {RESULTS} back: kpodx evaluate --import {RESULTS}\n",
        )
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
