"""The packages of a run: what each model file weighs, how fast it is, what it got right, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from kpodx.acceptance.evaluate import RESULT, read_result
from kpodx.acceptance.verdict import Word
from kpodx.artifacts import hash_path, read_jsonl
from kpodx.errors import DataError
from kpodx.export.manifest import PACKAGE, read_manifest
from kpodx.runs import Run

NOT_EVALUATED = "not evaluated"
SHOWN_FLIPS = 3


def describe_packages(run: Run) -> list[dict[str, Any]]:
    """Every package in the run with its models, evaluated or not, in the order of their names."""
    manifests = {file.parent.name: file for file in sorted(run.path.glob(f"export/*/{PACKAGE}"))}
    results = {file.parent.name: file for file in sorted(run.path.glob(f"acceptance/*/{RESULT}"))}
    by_hash = {hash_path(file): file for file in manifests.values()}
    student = (run.manifest["phases"].get("distillation") or {}).get("folder", "").rpartition("/")[2]
    # One package may have several results: other questions, another device.
    of = {name: manifests.get(name) or by_hash.get(_package_hash(file)) for name, file in results.items()}
    return [
        describe_package(name, of.get(name) or manifests.get(name), results.get(name), student)
        for name in sorted(of.keys() | manifests.keys())
    ]


def _package_hash(result: Path) -> str:
    package = read_result(result).get("package")
    return str(package.get("sha256")) if isinstance(package, dict) else ""


def describe_package(name: str, manifest: Path | None, result: Path | None, student: str) -> dict[str, Any]:
    """One package.

    Args:
        name: of its folder.
        manifest: its `package.json`, where it is in the run.
        result: its `result.json`, where it was evaluated.
        student: folder name of the distillation that the run has now.

    Raises:
        DataError, RunError: one of the files is damaged.
    """
    try:
        exported = read_manifest(manifest.parent) if manifest else {}
        found = read_result(result) if result else {}
        evaluated = [_describe_model(model, result) for model in found.get("models", []) if result]
        if found:
            _check_judgement(found)
        same_package = manifest is None or hash_path(manifest) == (found.get("package") or {}).get("sha256")
        names = {model["name"] for model in evaluated} if same_package else set()
        is_other = manifest is not None and manifest.parent.name != name
        rest = [] if is_other else exported.get("models", [])
        waiting = [_waiting(model) for model in rest if model["name"] not in names]
        origin = (exported.get("origin") or {}).get("distillation")
        keys = ("created", "questions", "margin", "confidence", "least_questions", "machine", "device", "student")
        return {
            "name": name,
            # Other questions than the run's, a part of them, or another device.
            "is_other": is_other,
            "kind": exported.get("kind") or found["package"]["kind"],
            "profile": (exported.get("profile") or {}).get("name"),
            "of_this_student": origin == student if origin else None,
            "result_is_of_this_package": same_package if found else None,
            **{key: found.get(key) for key in keys},
            "models": evaluated + waiting,
        }
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{result or manifest}: expected what kpodx writes, got something else: {type(error).__name__} {error}",
            hint=f"Evaluate the package {name} again, or move its folder away.",
        ) from error


def _waiting(model: Mapping[str, Any]) -> dict[str, Any]:
    _check_texts(model, "name", "quantization")
    size = model.get("size")
    return {
        "name": model["name"],
        "quantization": model["quantization"],
        "state": NOT_EVALUATED,
        "size_mib": None if size is None else size / 2**20,
        "speed": None,
        "accuracy": None,
        "verdict": None,
        "flips": [],
        "budgets": [],
    }


def _describe_model(model: Mapping[str, Any], result: Path) -> dict[str, Any]:
    _check_texts(model, "name", "quantization", "ending")
    cost = model["cost"]
    verdict = model["verdict"]
    if verdict:
        _check_numbers(verdict, "difference", "low", "high", "gained", "lost", "p_value", "questions")
        _check_optional(verdict, "more_questions")
        _check_accuracy(model["accuracy"])
        if verdict["word"] not in get_args(Word):
            raise ValueError(f"the verdict {verdict['word']!r}")
    _check_numbers(cost, "size_mib")
    _check_optional(cost, "peak_mib", "start_seconds", "energy_joules_per_answer")
    for step, lost in (model.get("first_wrong_step") or {}).items():
        _check_numbers({"step": int(step), "lost": lost}, "step", "lost")
    speed = {name: cost[name] for name in ("tokens_per_second", "first_token_ms", "answer_ms") if name in cost}
    for times in speed.values():
        _check_numbers(times, "p50", "p95")
    for row in model["budgets"]:
        _check_texts(row, "budget")
        _check_numbers(row, "limit")
        _check_optional(row, "measured")
        if row["held"] not in (True, False, None):
            raise ValueError(f"held = {row['held']!r}")
    return {
        "name": model["name"],
        "quantization": model["quantization"],
        "state": model["ending"],
        "error": model.get("error") or None,
        "size_mib": cost["size_mib"],
        "peak_mib": cost["peak_mib"],
        "start_seconds": cost.get("start_seconds"),
        "energy_joules_per_answer": cost.get("energy_joules_per_answer"),
        "answers_timed": cost["answers"],
        "speed": speed or None,
        "accuracy": model.get("accuracy"),
        "verdict": verdict,
        "first_wrong_step": model.get("first_wrong_step"),
        "flips": _flips(result.parent, model.get("flips")),
        "budgets": model["budgets"],
    }


def _check_numbers(record: Mapping[str, Any], *names: str) -> None:
    """ValueError where one of the values is no finite number: a result may come from anybody."""
    for name in names:
        value = record[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name} = {value!r}")


def _check_optional(record: Mapping[str, Any], *names: str) -> None:
    """As `_check_numbers`, but a value may be absent or null."""
    _check_numbers(record, *(name for name in names if record.get(name) is not None))


def _check_texts(record: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(record[name], str):
            raise TypeError(f"{name} = {record[name]!r}")


def _check_accuracy(part: Mapping[str, Any]) -> None:
    for group in (part, *(part.get("by_steps") or {}).values()):
        _check_numbers(group, "accuracy", "low", "high", "n")


def _check_judgement(found: Mapping[str, Any]) -> None:
    """What a result says of all its models together."""
    _check_numbers(found, "margin", "confidence", "least_questions")
    _check_numbers(found["questions"], "n")
    _check_accuracy(found["student"])
    for name in ("machine", "device"):
        if not isinstance(found.get(name) or {}, dict):
            raise TypeError(f"{name} = {found[name]!r}")


def _flips(folder: Path, name: str | None) -> list[dict[str, Any]]:
    """The first answers that were lost, where the evaluation kept them.

    Raises:
        DataError, RunError: the file is damaged.
    """
    file = folder / Path(name or "").name
    if not name or not file.is_file():
        return []
    try:
        lost = [flip for flip in read_jsonl(file) if flip["by"] == "student"][:SHOWN_FLIPS]
        for flip in lost:
            _check_numbers(flip, "step")
            _check_texts(flip, "question_id", "expected", "got")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{file}: expected what kpodx writes, got something else: {type(error).__name__} {error}",
            hint="Evaluate the package again.",
        ) from error
    return lost
