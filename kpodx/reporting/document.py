"""All that a run found, as one JSON document; the page shows these figures and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kpodx
from kpodx.artifacts import load_step_difficulties
from kpodx.errors import RunError
from kpodx.phase_folders import missing_files
from kpodx.reporting.difficulty import describe_difficulties
from kpodx.reporting.examples import describe_examples
from kpodx.reporting.learning import describe_schedule, describe_token_weights, describe_training
from kpodx.reporting.packages import describe_packages
from kpodx.reporting.provenance import describe_provenance
from kpodx.reporting.state import status_document
from kpodx.runs import Run, read_done

FORMAT = 1
KIND = "kpodx report"


def describe_data(run: Run) -> dict[str, Any]:
    """How many questions there are, and how many of the teacher's rationales were kept."""
    rationales = run.summary("rationales") if "rationales" in run.manifest["phases"] else None
    return {**run.summary("dataset"), "rationales": rationales}


def describe_accuracy(run: Run) -> dict[str, Any]:
    """Return accuracy by split, with Wilson intervals, in all and by number of reference steps, and keypoint mimicry."""
    summary = run.summary("evaluation")
    splits = {split: summary[split] for split in ("validation", "test") if summary.get(split)}
    return {
        "confidence": run.manifest["recipe"]["evaluation"].get("confidence", 0.95),
        "splits": splits,
        "keypoint_mimicry": summary.get("keypoint_mimicry"),
    }


Describe = Callable[[Run], Any]

PARTS: dict[str, tuple[tuple[str, ...], Describe]] = {
    "data": (("dataset",), describe_data),
    "examples": (("dataset", "rationales"), describe_examples),
    "token_weights": (("weighting",), describe_token_weights),
    "difficulty": (
        ("difficulty",),
        lambda run: describe_difficulties(load_step_difficulties(run.folder("difficulty"))),
    ),
    "schedule": (("curriculum", "difficulty"), describe_schedule),
    "training": (("dataset", "distillation"), describe_training),
    "accuracy": (("evaluation",), describe_accuracy),
}
"""Each part with the phases that it is made from."""


def build_document(run: Run) -> dict[str, Any]:
    """The document of a run; parts whose phases are not finished are absent, and `absent` says why.

    Raises:
        RunError, DataError: a finished phase or a result in the run is damaged.
    """
    check_phases(run)
    phases = run.manifest["phases"]
    document: dict[str, Any] = {
        "format": FORMAT,
        "kind": KIND,
        "kpodx": kpodx.__version__,
        "run": run.name,
        "state": status_document(run)["state"],
        "files": {name: entry["folder"] for name, entry in phases.items()},
        "absent": {},
    }
    for part, (needs, describe) in PARTS.items():
        lacking = [name for name in needs if name not in phases]
        if lacking:
            document["absent"][part] = _why(run, lacking[0])
        else:
            document[part] = describe(run)
    packages = describe_packages(run)
    if packages:
        document["packages"] = packages
    else:
        document["absent"]["packages"] = "nothing was exported yet: kpodx export"
    return document | {"provenance": describe_provenance(run)}


def check_phases(run: Run) -> None:
    """RunError where a phase that the manifest calls finished is not whole."""
    for name in run.manifest.setdefault("phases", {}):
        folder = run.folder(name)
        if missing := missing_files(folder, read_done(folder)):
            raise RunError(
                f"{folder / missing[0]} is missing or of another size than when its phase was finished.",
                hint="Run the recipe again: the phase is repeated.",
            )


def _why(run: Run, phase: str) -> str:
    planned = [entry["name"] for entry in run.manifest.get("plan", [])]
    if phase in planned or run.state != "finished":
        return f"the {phase} phase has not run"
    method = (run.manifest["recipe"].get("distillation") or {}).get("method")
    return f"the {phase} phase is not needed" + (f" with distillation.method={method}" if method else "")
