"""A package's models, one after the other: accuracy, verdict against the student, cost, budgets."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kpodx
from kpodx.acceptance.bundle import RESULTS, WARM_UP, Device, describe_bundle, write_bundle, write_questions
from kpodx.acceptance.device import Remote, run_here, run_there
from kpodx.acceptance.package import load_package, model_files
from kpodx.acceptance.results import Results, read_results, summarize_cost
from kpodx.acceptance.verdict import Flip, flips, judge_package, least_questions
from kpodx.artifacts import hash_json, hash_path, save_predictions, write_json, write_jsonl, write_text
from kpodx.errors import DataError
from kpodx.evaluation.accuracy import accuracy, accuracy_by_steps
from kpodx.export.manifest import PACKAGE
from kpodx.outside import read_json
from kpodx.runs import locked
from kpodx.runtime import Progress
from kpodx.schema import AnswerKind, Prediction, Question
from kpodx.storage import storing
from kpodx.text.judging import judge
from kpodx.text.prompts import format_choices

RESULT = "result.json"
MOST_RESULT = 2**26
"""Bytes of the largest result.json."""
OCCASION = ".occasion"


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


def evaluate_package(
    folder: Path,
    output: Path,
    examination: Examination,
    device: Device,
    progress: Progress,
    models: Sequence[str] = (),
    remote: Remote | None = None,
) -> dict[str, Any]:
    """Examine a package's models; every answer is kept, and a second call goes on where the first one stopped.

    Args:
        folder: of the package.
        output: folder of the answers and of `result.json`.
        examination: questions and margins.
        device: threads, memory, batch size.
        progress: where progress is shown.
        models: names or quantisations of those to examine; all by default.
        remote: the device that answers; this machine by default.

    Raises:
        DataError, RunError: the package is not whole, or the program that asks it stopped.
    """
    manifest = load_package(folder)
    asked = asked_records(examination.questions)
    with storing(output):
        output.mkdir(parents=True, exist_ok=True)
    with storing(output), locked(output, "Give another folder with --output."), _occasion(output) as occasion:
        settings: dict[str, Any] = {"name": examination.name, "cost_questions": examination.cost_questions}
        described = describe_bundle(folder, manifest, asked, device, models=models, occasion=occasion, **settings)
        if remote is None:
            write_questions(output, described, asked)
            run_here(output, folder, manifest["kind"], progress)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                bundle = Path(scratch) / "bundle"
                write_bundle(bundle, folder, manifest, described, asked)
                shutil.copyfile(run_there(remote, bundle, progress), output / RESULTS)
        results = read_results(output / RESULTS)
        if results.bundle["models"] != described["models"]:
            raise DataError(f"{output / RESULTS} answers something else than was asked.", hint="Ask again.")
        return score(folder, output, examination, results)


@contextlib.contextmanager
def _occasion(output: Path) -> Iterator[str]:
    """When this evaluation was begun: answers stay the same, times are taken anew, once. One that was broken off goes on."""
    mark = output / OCCASION
    if not mark.is_file():
        write_text(mark, datetime.now(UTC).isoformat())
    yield mark.read_text(encoding="utf-8")
    mark.unlink()


def import_results(folder: Path, output: Path, examination: Examination, results: Results) -> dict[str, Any]:
    """Score what a device answered, exactly as if it had been answered here.

    Args:
        folder: of the package that the bundle was made of.
        output: folder of `result.json`, which the results are copied to.
        examination: questions and margins; more questions than were asked may be given.
        results: read from the device's results.jsonl.

    Raises:
        DataError: the results are of another package, of other questions, or of models that this package does not have.
    """
    count = results.bundle["questions"]["n"]
    examination = replace(
        examination,
        questions=examination.questions[:count],
        student=examination.student[:count],
        cost_questions=results.bundle["cost_questions"],
    )
    if results.bundle["package"] != hash_path(folder / PACKAGE):
        raise DataError(
            f"{results.path} is of another package than {folder}: the sha256 of its {PACKAGE} differs.",
            hint="Name the package that the bundle was made of.",
        )
    if results.bundle["questions"]["sha256"] != hash_json(asked_records(examination.questions)):
        raise DataError(
            f"{results.path} answers other questions ({results.bundle['questions']['name']}, {count}) than those of "
            f"{examination.name}.",
            hint="Name the run whose questions the bundle holds with --run.",
        )
    lacking = [_lack(model, examination, results) for model in results.bundle["models"]]
    if any(lacking):
        raise DataError(
            f"{results.path} is not whole: {next(filter(None, lacking))}.",
            hint="Run the bundle's run.py again on the device: it goes on where it stopped.",
        )
    with storing(output):
        output.mkdir(parents=True, exist_ok=True)
    with storing(output), locked(output, "Give another folder with --output."):
        if results.path.resolve() != (output / RESULTS).resolve():
            shutil.copyfile(results.path, output / RESULTS)
        return score(folder, output, examination, results)


def _lack(model: Mapping[str, Any], examination: Examination, results: Results) -> str | None:
    """What is missing of a model's answers and times, though nothing went wrong."""
    taken, outputs = results.ending("cost", model["cost_key"]), results.outputs(model["answers_key"])
    ending = results.ending("answers", model["answers_key"])
    if any(part is not None and part["ending"] != "finished" for part in (taken, ending)):
        return None
    missing = sum(question.id not in outputs for question in examination.questions)
    if missing:
        return f"{missing} of {len(examination.questions)} questions are not answered by {model['name']}"
    return None if taken else f"no times were taken of {model['name']}"


def score(folder: Path, output: Path, examination: Examination, results: Results) -> dict[str, Any]:
    """The verdicts that results give, written into `result.json`, with each answer as it was read and each flip."""
    manifest, bundle = load_package(folder), results.bundle
    device = Device(**{field.name: bundle[field.name] for field in fields(Device)})
    asked = asked_records(examination.questions)
    expected = describe_bundle(
        folder,
        manifest,
        asked,
        device,
        name=examination.name,
        cost_questions=bundle["cost_questions"],
        models=[model["name"] for model in bundle["models"]],
        occasion=bundle["occasion"],
        programs=bundle["programs"],
    )
    if expected["models"] != bundle["models"]:
        raise DataError(
            f"{results.path} does not belong to the package {folder}: the keys of its models differ.",
            hint="Make the bundle again.",
        )
    save_predictions(output, examination.student, "student.jsonl")
    document = {
        "format": 2,
        "kpodx": kpodx.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "package": {"name": manifest["name"], "kind": manifest["kind"], "sha256": bundle["package"]},
        "questions": {**expected["questions"], "name": examination.name},
        "margin": examination.margin,
        "confidence": examination.confidence,
        "least_questions": least_questions(examination.margin, examination.confidence),
        "machine": results.machine,
        "device": {**asdict(device), "threads": results.machine.get("threads") or device.threads},
        "student": accuracies(examination.questions, examination.student, examination.confidence),
        "models": [_score_model(model, manifest, output, examination, results) for model in bundle["models"]],
    }
    write_json(output / RESULT, document)
    return document


def asked_records(questions: Sequence[Question]) -> list[dict[str, str]]:
    """The questions as runners are given them; the options of a multiple choice belong to a question."""
    return [
        {
            "id": question.id,
            "question": f"{question.question} {format_choices(question.choices)}"
            if question.choices
            else question.question,
        }
        for question in questions
    ]


def accuracies(questions: Sequence[Question], predictions: Sequence[Prediction], confidence: float) -> dict[str, Any]:
    """Accuracy in all, by number of reasoning steps, and by kind of answer."""
    kinds = [str(AnswerKind(question.answer_kind)) for question in questions]
    return {
        **accuracy_by_steps(predictions, confidence),
        "by_kind": {
            kind: accuracy([p for p, its in zip(predictions, kinds, strict=True) if its == kind], confidence)
            for kind in sorted(set(kinds))
        },
    }


def _score_model(
    model: Mapping[str, Any], manifest: dict[str, Any], output: Path, examination: Examination, results: Results
) -> dict[str, Any]:
    size = sum(int(entry["size"]) for entry in model_files(manifest, model["name"]).values())
    found: dict[str, Any] = {name: model[name] for name in ("name", "quantization", "files")}
    taken = results.ending("cost", model["cost_key"])
    cost = summarize_cost(taken, size)
    found |= {"cost": cost, "budgets": budgets(manifest.get("profile") or {}, cost)}
    outputs = results.outputs(model["answers_key"])
    asked = {question.id for question in examination.questions}
    if unknown := outputs.keys() - asked:
        raise DataError(f"{results.path} answers a question that was not asked: {min(unknown)!r}.")
    missing = len(asked - outputs.keys())
    # Answers may all be kept from before: what the device allows now shows where the cost is taken.
    for ending in (results.ending("answers", model["answers_key"]) if missing else None, taken):
        if ending is not None and ending["ending"] != "finished":
            return found | {"ending": ending["ending"], "error": ending["error"], "verdict": None}
    if missing or taken is None or len(taken["times"]) != min(len(asked), results.bundle["cost_questions"] + WARM_UP):
        left = f"{missing} of {len(asked)} questions are not answered" if missing else "its times are not whole"
        return found | {"ending": "unfinished", "error": left, "verdict": None}
    mark = f"{model['quantization']}-{model['answers_key'][:8]}"
    predictions = list(judge(examination.questions, [outputs[question.id] for question in examination.questions]))
    save_predictions(output, predictions, f"predictions-{mark}.jsonl")
    flipped = list(flips(examination.student, predictions))
    write_jsonl(output / f"flips-{mark}.jsonl", map(asdict, flipped))
    right = [[prediction.correct for prediction in side] for side in (examination.student, predictions)]
    verdict = judge_package(*right, margin=examination.margin, confidence=examination.confidence)
    return found | {
        "ending": "finished",
        "accuracy": accuracies(examination.questions, predictions, examination.confidence),
        "verdict": asdict(verdict),
        "first_wrong_step": _count_steps(flipped),
        "flips_by_steps": _count_flips(flipped, predictions),
        "predictions": f"predictions-{mark}.jsonl",
        "flips": f"flips-{mark}.jsonl",
    }


def _count_flips(flipped: Sequence[Flip], predictions: Sequence[Prediction]) -> dict[str, dict[str, int]]:
    """Questions lost and gained, by their number of reasoning steps."""
    steps = {prediction.question_id: prediction.num_steps for prediction in predictions}
    counts: dict[str, dict[str, int]] = {}
    for flip in sorted(flipped, key=lambda flip: steps[flip.question_id] or 0):
        row = counts.setdefault(str(steps[flip.question_id] or "unknown"), {"lost": 0, "gained": 0})
        row["lost" if flip.by == "student" else "gained"] += 1
    return counts


def _count_steps(flipped: Sequence[Flip]) -> dict[str, int]:
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
        document: dict[str, Any] = read_json(path, most_bytes=MOST_RESULT)
        assert {"models", "questions", "student"} <= document.keys()
    except (OSError, ValueError, AssertionError, AttributeError) as error:
        said = f": {error}" if isinstance(error, ValueError) else ""
        raise DataError(f"{path} is no result of `kpodx evaluate`{said}.") from error
    return document
