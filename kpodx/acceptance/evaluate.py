"""A package's models, one after the other: accuracy, verdict against the student, cost, budgets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kpodx
from kpodx.acceptance.device import Device, describe_machine, measure_cost, model_files, read_answers, run_package
from kpodx.acceptance.verdict import flips, judge_package, least_questions
from kpodx.artifacts import hash_json, hash_path, read_json, save_predictions, write_json, write_jsonl
from kpodx.errors import DataError, RunError
from kpodx.evaluation.accuracy import accuracy_by_steps
from kpodx.export.manifest import PACKAGE
from kpodx.runtime import Progress
from kpodx.schema import Prediction, Question
from kpodx.text.judging import judge
from kpodx.text.prompts import format_choices

RESULT = "result.json"


@dataclass(frozen=True)
class Examination:
    """What packages are examined with.

    Attributes:
        questions: with their reference answers.
        student: the student's own answers to them, in the same order.
        name: of the question set.
        margin: accuracy that may be lost.
        confidence: of intervals and verdicts.
        cost_questions: how many are answered one by one for times and memory; two more warm up.
    """

    questions: Sequence[Question]
    student: Sequence[Prediction]
    name: str
    margin: float
    confidence: float
    cost_questions: int


def load_package(folder: Path) -> dict[str, Any]:
    """A package's manifest, its files compared with their hashes.

    Raises:
        RunError: the folder is no package.
        DataError: a file is missing, or not the one that was exported.
    """
    if not (folder / PACKAGE).is_file():
        raise RunError(f"{folder} is no package: it has no {PACKAGE}.", hint="Make one: kpodx export")
    manifest: dict[str, Any] = read_json(folder / PACKAGE)
    try:
        expected = {str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()}
        models = [str(model["name"]) for model in manifest["models"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder / PACKAGE} is no manifest of a package.", hint="Make the package again.") from error
    for name, digest in expected.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"{folder / PACKAGE} names a file outside the package: {name}")
        if not path.is_file():
            raise DataError(f"{path} is missing, which {PACKAGE} names.", hint="Copy or export the package again.")
        if hash_path(path) != digest:
            raise DataError(
                f"{path} is not the file that was exported: its sha256 differs from {PACKAGE}'s.",
                hint="Copy or export the package again.",
            )
    if not isinstance(manifest.get("profile") or {}, dict):
        raise RunError(f"The profile in {folder / PACKAGE} is no table.", hint="Make the package again.")
    unnamed = [name for name in models if name not in expected]
    if unnamed:
        raise DataError(f"{folder / PACKAGE} has no hash of its model {unnamed[0]}.", hint="Make the package again.")
    return manifest


def evaluate_package(
    folder: Path, output: Path, examination: Examination, device: Device, progress: Progress, models: Sequence[str] = ()
) -> dict[str, Any]:
    """Examine a package's models; every answer is kept, and a second call goes on where the first one stopped.

    Args:
        folder: of the package.
        output: folder of the answers and of `result.json`.
        examination: questions and margins.
        device: threads, memory, batch size.
        progress: where progress is shown.
        models: names or quantisations of those to examine; all by default.

    Raises:
        DataError, RunError: the package is not whole.
    """
    manifest = load_package(folder)
    output.mkdir(parents=True, exist_ok=True)
    records = [{"id": question.id, "question": _asked(question)} for question in examination.questions]
    wanted = [
        model for model in manifest["models"] if not models or {model["name"], model["quantization"]} & set(models)
    ]
    if not wanted:
        known = ", ".join(model["quantization"] for model in manifest["models"])
        raise DataError(f"The package {folder} has no model {', '.join(models)}; it has {known}.")
    save_predictions(output, examination.student, "student.jsonl")
    examined = [
        _examine(folder, model, manifest, output, records, examination, device)
        for model in progress.track(wanted, total=len(wanted), description="Evaluating")
    ]
    document = {
        "format": 1,
        "kpodx": kpodx.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "package": {"name": manifest["name"], "kind": manifest["kind"], "sha256": hash_path(folder / PACKAGE)},
        "questions": {"name": examination.name, "n": len(records), "sha256": hash_json(records)},
        "margin": examination.margin,
        "confidence": examination.confidence,
        "least_questions": least_questions(examination.margin, examination.confidence),
        "machine": describe_machine(),
        "device": {key: value for key, value in asdict(device).items() if key != "python"},
        "student": accuracy_by_steps(examination.student, examination.confidence),
        "models": examined,
    }
    write_json(output / RESULT, document)
    return document


def _asked(question: Question) -> str:
    """The question as the student read it: its options belong to it."""
    return f"{question.question} {format_choices(question.choices)}" if question.choices else question.question


def _examine(
    folder: Path,
    model: Mapping[str, Any],
    manifest: Mapping[str, Any],
    output: Path,
    records: Sequence[Mapping[str, Any]],
    examination: Examination,
    device: Device,
) -> dict[str, Any]:
    files = {path.relative_to(folder).as_posix(): hash_path(path) for path in model_files(folder, model["name"])}
    # Answers of another file, other questions or other settings are other answers.
    settings = {"files": files, "questions": records, "device": [device.context_tokens, device.max_new_tokens]}
    mark = f"{model['quantization']}-{hash_json(settings)[:8]}"
    questions, answers = output / f"questions-{mark}.jsonl", output / f"answers-{mark}.jsonl"
    write_jsonl(questions, records)
    outcome = run_package(folder, model["name"], questions, answers, device, device.batch_size)
    questions.unlink()
    found: dict[str, Any] = {"name": model["name"], "quantization": model["quantization"], "files": files}
    cost = measure_cost(folder, model["name"], records[: examination.cost_questions + 2], output, device)
    found |= {"cost": cost, "budgets": budgets(manifest.get("profile") or {}, cost)}
    # Answers may all be kept from before: what the device allows now shows where the cost is taken.
    for ending, error in ((outcome.ending, outcome.error), (cost["ending"], cost["error"])):
        if ending != "finished":
            return found | {"ending": ending, "error": error, "verdict": None}
    outputs = read_answers(answers, [record["id"] for record in records])
    predictions = list(judge(examination.questions, outputs))
    save_predictions(output, predictions, f"predictions-{mark}.jsonl")
    flipped = list(flips(examination.student, predictions))
    write_jsonl(output / f"flips-{mark}.jsonl", map(asdict, flipped))
    right = [[prediction.correct for prediction in side] for side in (examination.student, predictions)]
    verdict = judge_package(*right, margin=examination.margin, confidence=examination.confidence)
    return found | {
        "ending": "finished",
        "accuracy": accuracy_by_steps(predictions, examination.confidence),
        "verdict": asdict(verdict),
        "first_wrong_step": _count_steps(flipped),
        "answers": answers.name,
    }


def _count_steps(flipped: Sequence[Any]) -> dict[str, int]:
    """How many lost answers went another way at which step, from 0."""
    counts: dict[str, int] = {}
    for flip in flipped:
        if flip.by == "student":
            counts[str(flip.step)] = counts.get(str(flip.step), 0) + 1
    return dict(sorted(counts.items()))


def budgets(profile: Mapping[str, Any], cost: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each budget of a profile with what was measured; `held` is None where nothing could be."""
    measured = {
        "memory_mib": cost.get("peak_mib"),
        "size_mib": cost.get("size_mib"),
        "first_token_ms": (cost.get("first_token_ms") or {}).get("p50"),
        "tokens_per_second": (cost.get("tokens_per_second") or {}).get("p50"),
    }
    rows = []
    for name, value in measured.items():
        if name not in profile:
            continue
        limit = profile[name]
        held = None if value is None else value >= limit if name == "tokens_per_second" else value <= limit
        rows.append({"budget": name, "limit": limit, "measured": value, "held": held})
    return rows


def failures(document: Mapping[str, Any]) -> list[str]:
    """What a gate must not let through, in words: lost accuracy, budgets that were not held, models that did not run."""
    found = []
    for model in document["models"]:
        name, verdict = model["name"], model["verdict"]
        if model["ending"] != "finished":
            found.append(f"{name}: {model['ending']}" + (f" ({model['error']})" if model["error"] else ""))
        elif verdict["word"] == "lost":
            found.append(
                f"{name}: accuracy lost: {100 * verdict['difference']:+.1f} points "
                f"[{100 * verdict['low']:+.1f}, {100 * verdict['high']:+.1f}], {100 * verdict['margin']:g} may be"
            )
        found += [
            f"{name}: {row['budget']} is {row['measured']:g}, the profile allows {row['limit']:g}"
            for row in model["budgets"]
            if row["held"] is False
        ]
    return found


def read_result(path: Path) -> dict[str, Any]:
    """A `result.json`; DataError where it is none."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        assert {"models", "questions", "student"} <= document.keys()
    except (OSError, ValueError, AssertionError, AttributeError) as error:
        raise DataError(f"{path} is no result of `kpodx evaluate`.") from error
    return document
