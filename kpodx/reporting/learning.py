"""How mask learning and distillation went: the schedule, losses over updates, accuracy over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kpodx.artifacts import (
    FINDINGS,
    SCHEDULE,
    STAGES,
    TRAINING_LOG,
    load_schedule,
    load_step_difficulties,
    read_json,
    read_jsonl,
)
from kpodx.runs import Run
from kpodx.schema import Schedule
from kpodx.statistics import wilson_interval

MOST_POINTS = 200
"""More entries of a log than these are averaged in groups, so that a page stays small."""


def describe_token_weights(run: Run) -> dict[str, Any]:
    """Return mean weights by kind and frequency of token, how the mask reads held-out rationales, and the losses of its learning."""
    findings = read_json(run.folder("weighting") / FINDINGS)
    kinds = findings.get("token_types") or {}
    settings = run.manifest["recipe"]["weighting"]
    parts = {
        name: settings[f"{name}_updates"] for name in ("warmup", "random_mask", "mask") if f"{name}_updates" in settings
    }
    return {
        "kinds": [{"kind": kind, **value} for kind, value in kinds.items() if isinstance(value, Mapping)],
        "method": findings.get("method", "mask-learning"),
        "keypoints_over_function_words": kinds.get("keypoints_over_function_words"),
        "keypoints_over_others": kinds.get("keypoints_over_others"),
        "frequency": findings.get("frequency"),
        "known_keypoints": findings.get("known_keypoints"),
        "num_tokens": run.summary("weighting").get("num_tokens"),
        "mean_token_weight": run.summary("weighting").get("mean_token_weight"),
        "masks": findings.get("masks"),
        "target_keep_share": settings.get("target_keep_share"),
        "parts": parts,
        # The log counts updates from 0; as everywhere else, they are counted from 1 here.
        "history": [{**entry, "update": int(entry["update"]) + 1} for entry in findings.get("history") or []],
    }


def describe_schedule(run: Run) -> dict[str, Any]:
    """Each stage of the schedule: what was planned, what was reached, and the share of all steps that is given as input."""
    phase = schedule_phase(run)
    schedule = load_schedule(run.folder(phase))
    num_steps = np.diff(load_step_difficulties(run.folder("difficulty")).offsets)
    summary = run.summary("curriculum")
    stages = read_json(run.folder(phase) / STAGES)
    revised = phase == "distillation"
    given = given_shares(schedule, int(num_steps.sum()))
    return {
        **{
            key: summary.get(key)
            for key in ("strategy", "num_rationales", "num_steps", "total_difficulty", "full_stage")
        },
        "stages": [{**stage, "given_share": share} for stage, share in zip(stages, given, strict=True)],
        "written_by": phase,
        "remeasured": read_json(run.folder(phase) / FINDINGS)["remeasured"] if revised else [],
    }


def schedule_phase(run: Run) -> str:
    """Return the phase that wrote the schedule the student was trained on: distillation if it solved it again."""
    if "distillation" in run.manifest["phases"] and (run.folder("distillation") / SCHEDULE).is_file():
        return "distillation"
    return "curriculum"


def given_shares(schedule: Schedule, num_steps: int) -> list[float]:
    """Share of all steps that is given as input at each planned stage: Σ_i c_i(t) / Σ_i n_i."""
    counts: list[int] = schedule.input_steps.sum(axis=0, dtype=np.int64).tolist()
    return [count / num_steps for count in counts]


def describe_training(run: Run) -> dict[str, Any]:
    """What distillation did: losses over updates, and of each epoch its stage, its mean loss and its validation accuracy."""
    log = read_jsonl(run.folder("distillation") / TRAINING_LOG)
    summary = run.summary("distillation")
    losses = [entry for entry in log if "loss" in entry]
    per_epoch = updates_per_epoch(log)
    asked = _validation_questions(run)
    validation = []
    for entry in log:
        if "eval_accuracy" in entry:
            low, high = wilson_interval(round(entry["eval_accuracy"] * asked), asked, _confidence(run))
            accuracy = {"accuracy": entry["eval_accuracy"], "low": low, "high": high, "n": asked}
            validation.append({"update": entry["step"], "epoch": entry["epoch"], **accuracy})
    keys = ("method", "updates", "target_tokens", "training_seconds", "chosen_by", "best_validation_accuracy")
    return {
        **{
            key: summary.get(key) for key in (*keys, "best_checkpoint_update", "num_rationales", "trainable_parameters")
        },
        "updates_per_epoch": per_epoch,
        "losses": thin([{"update": entry["step"], "loss": entry["loss"]} for entry in losses]),
        "validation": validation,
        "epochs": _epochs(losses, validation, per_epoch, _stages(run)),
    }


def updates_per_epoch(log: Sequence[Mapping[str, Any]]) -> int | None:
    """Updates in one pass over the rationales, read off the log's own epochs; None where it is empty.

    >>> updates_per_epoch([{"step": 5, "epoch": 0.5}, {"step": 25, "epoch": 2.5}])
    10
    """
    entries = [entry for entry in log if entry.get("epoch")]
    return round(entries[-1]["step"] / entries[-1]["epoch"]) if entries else None


def thin(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """At most MOST_POINTS points: means of as many neighbours as it takes, at the update of the last of them."""
    size = -(-len(points) // MOST_POINTS) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [{"update": group[-1]["update"], "loss": sum(p["loss"] for p in group) / len(group)} for group in groups]


def _epochs(
    losses: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    per_epoch: int | None,
    stages: Sequence[tuple[float, float]] | None,
) -> list[dict[str, Any]]:
    """One record an epoch that ended or began; after the planned stages nothing is given and all is written."""
    if not per_epoch:
        return []
    last = max(entry["step"] for entry in losses) if losses else 0
    accuracy = {round(entry["update"] / per_epoch): entry["accuracy"] for entry in validation}
    number = max([-(-last // per_epoch), *accuracy])
    rows = []
    for stage in range(number):
        mine = [entry["loss"] for entry in losses if stage * per_epoch < entry["step"] <= (stage + 1) * per_epoch]
        given, written = (None, None) if stages is None else stages[stage] if stage < len(stages) else (0.0, 1.0)
        rows.append(
            {
                "epoch": stage + 1,
                "stage": stage,
                "given_share": given,
                "written_share": written,
                "mean_loss": sum(mine) / len(mine) if mine else None,
                "validation_accuracy": accuracy.get(stage + 1),
            }
        )
    return rows


def _stages(run: Run) -> list[tuple[float, float]] | None:
    """Of each stage the share of steps given and of difficulty written; None where the student was not trained on a schedule."""
    if not {"curriculum", "difficulty"} <= run.manifest["phases"].keys():
        return None
    schedule = load_schedule(run.folder(schedule_phase(run)))
    num_steps = int(load_step_difficulties(run.folder("difficulty")).offsets[-1])
    return list(zip(given_shares(schedule, num_steps), schedule.done.tolist(), strict=True))


def _validation_questions(run: Run) -> int:
    """How many questions each validation accuracy is of."""
    count = int((run.summary("dataset").get("questions") or {}).get("validation", 0))
    limit = run.manifest["recipe"]["distillation"].get("max_validation_questions")
    return count if limit is None else min(count, limit)


def _confidence(run: Run) -> float:
    return float(run.manifest["recipe"]["evaluation"].get("confidence", 0.95))
