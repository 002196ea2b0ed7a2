"""A bundle: what a device needs to answer questions with a package, and to say what that cost."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpodx.acceptance.package import choose_models, read_files
from kpodx.artifacts import atomic_folder, hash_json, hash_path, write_json, write_jsonl, write_text
from kpodx.config import shipped
from kpodx.export.manifest import PACKAGE, runner_files

BUNDLE, QUESTIONS, RESULTS = "bundle.json", "questions.jsonl", "results.jsonl"
PROGRAM, FILES = "bundle.py", "bundle_files.py"
WARM_UP = 2
"""Answers that come before those whose times count; the program has the same."""
NEEDS = {"onnx": "onnxruntime tokenizers numpy", "gguf": "llama-cpp-python"}

Asked = Mapping[str, Any]
"""A question as a runner is given it: `id` and `question`."""


@dataclass(frozen=True)
class Device:
    """What a package may use.

    Attributes:
        threads: CPU threads; None takes half of the cores of the machine that answers.
        memory_mib: most resident memory, in MiB; None sets no limit.
        context_tokens: most tokens of prompt and answer; None takes the model's own.
        batch_size: questions at a time where only answers count; times are always taken one by one.
        max_new_tokens: longest answer.
    """

    threads: int | None
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
    """What a package's profile allows, where nothing else is said."""
    profile = manifest.get("profile") or {}
    return Device(
        threads=threads or profile.get("threads"),
        memory_mib=memory_mib or profile.get("memory_mib"),
        context_tokens=profile.get("context_tokens"),
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
    )


def shipped_programs(kind: str) -> dict[str, Path]:
    """The programs that answer a bundle, by their names in it; always ours, since a package may come from anybody."""
    return {**{name: shipped("export") / "runners" / name for name in (PROGRAM, FILES)}, **runner_files(kind)}


def describe_bundle(
    package: Path,
    manifest: dict[str, Any],
    questions: Sequence[Asked],
    device: Device,
    *,
    name: str,
    cost_questions: int,
    models: Sequence[str] = (),
    occasion: str = "",
    programs: Mapping[str, str] | None = None,
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
        programs: sha256 by name of those that answer; ours, as they are now, by default.
    """
    if programs is None:
        programs = {name: hash_path(path) for name, path in shipped_programs(manifest["kind"]).items()}
    asked = [dict(question) for question in questions]
    described = []
    for model in choose_models(manifest, models):
        files = {name: entry["sha256"] for name, entry in read_files(manifest, model["name"]).items()}
        common = [files, dict(programs), device.context_tokens, device.max_new_tokens]
        cost = [asked[: cost_questions + WARM_UP], device.threads, device.memory_mib, occasion]
        described.append(
            {
                "name": model["name"],
                "quantization": model["quantization"],
                "files": files,
                "answers_key": hash_json([common, asked, device.batch_size])[:12],
                "cost_key": hash_json([common, cost])[:12],
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
        "programs": dict(programs),
        "models": described,
    }


def write_questions(folder: Path, bundle: Mapping[str, Any], questions: Sequence[Asked]) -> dict[str, Any]:
    """Write questions.jsonl and bundle.json; returns what the latter says."""
    write_jsonl(folder / QUESTIONS, questions)
    document = {**bundle, "questions": {**bundle["questions"], "file_sha256": hash_path(folder / QUESTIONS)}}
    write_json(folder / BUNDLE, document)
    return document


def write_bundle(
    folder: Path, package: Path, manifest: dict[str, Any], bundle: Mapping[str, Any], questions: Sequence[Asked]
) -> None:
    """Write what a device needs into a folder, which appears whole or not at all.

    Only what the models read is copied: what else lies in a package would be run, or leave this machine, unseen.

    Args:
        folder: must not exist yet.
        package: folder of the package.
        manifest: its manifest.
        bundle: from `describe_bundle`.
        questions: the same that were described.

    Raises:
        UsageError: the folder exists.
    """
    with atomic_folder(folder, "--bundle") as partial:
        carried = {PACKAGE, *(name for model in bundle["models"] for name in model["files"])}
        for name in sorted(carried):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package / name, partial / name)
        for name, program in shipped_programs(manifest["kind"]).items():
            shutil.copyfile(program, partial / name)
        write_questions(partial, bundle, questions)
        write_text(
            partial / "INSTRUCTIONS.txt",
            f"pip install {NEEDS[manifest['kind']]} && python run.py\n\n"
            f"in this folder, and bring {RESULTS} back: kpodx evaluate --import {RESULTS}\n",
        )
