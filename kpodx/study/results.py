"""What a study found: each run's figures, and each variant against the baseline."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import kpodx
from kpodx.artifacts import load_predictions
from kpodx.errors import RunError
from kpodx.runs import Run, load_run
from kpodx.schema import Split
from kpodx.statistics import crossed_bootstrap, holm
from kpodx.study.config import StudyConfig
from kpodx.study.keypoints import KeypointFigures, mean_figures, read_figures
from kpodx.study.plan import StudyPlan, StudyRun

BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class RunResult:
    """What one finished run found.

    Attributes:
        variant, seed, folder: which run it is.
        accuracy: on the questions of the study's split, in [0, 1].
        validation_accuracy: of the kept checkpoint, None without validation questions.
        by_steps: accuracy by number of reference steps.
        correct: whether each of them was answered correctly, by question id.
        updates, target_tokens, training_seconds: what the training took.
        phase_seconds: how long each phase took when it ran, here or in the run that shared it.
        learning: (epoch, validation accuracy) pairs.
        keypoints: its keypoint mimicry, None if it was not measured.
    """

    variant: str
    seed: int
    folder: str
    accuracy: float
    validation_accuracy: float | None
    by_steps: dict[str, float]
    correct: dict[str, bool]
    updates: int
    target_tokens: int
    training_seconds: float
    phase_seconds: dict[str, float]
    learning: list[tuple[float, float]]
    keypoints: KeypointFigures | None = None


@dataclass(frozen=True)
class Difference:
    """Accuracy minus the baseline's: the mean over seeds and questions, its interval, and p-values.

    `p_value` is two-sided, from the bootstrap; `holm_p_value` is corrected for the number of variants.
    """

    mean: float
    low: float
    high: float
    p_value: float
    holm_p_value: float
    num_seeds: int
    num_questions: int


@dataclass(frozen=True)
class VariantResult:
    """One variant over its finished seeds; `sd` is None for a single seed, `difference` for the baseline."""

    name: str
    settings: dict[str, Any]
    axis: tuple[str, Any] | None
    seeds: list[int]
    accuracies: list[float]
    mean: float
    sd: float | None
    by_steps: dict[str, float]
    updates: int
    target_tokens: int
    training_seconds: float
    learning: list[tuple[float, float]]
    difference: Difference | None
    keypoints: KeypointFigures | None = None


@dataclass(frozen=True)
class StudyResult:
    """All that a study found."""

    name: str
    description: str
    recipe: str
    baseline: str
    seed_setting: str
    kpodx_version: str
    split: str
    num_questions: int
    variants: list[VariantResult]
    runs: list[RunResult]

    def document(self) -> dict[str, Any]:
        """Return the result as plain values for JSON; single answers are left to the run folders."""
        values = asdict(self)
        for run in values["runs"]:
            del run["correct"]
        return values


def read_run(run: StudyRun, split: Split) -> RunResult | None:
    """Read what a run found on the questions of one split; None if it is not finished with these settings."""
    try:
        opened = load_run(run.folder)
        if opened.state != "finished" or not _has_fingerprints(opened, run):
            return None
        evaluation, distillation = opened.summary("evaluation"), opened.summary("distillation")
    except RunError:
        return None
    measured = evaluation.get(split.value)
    if measured is None:
        return None

    predictions = load_predictions(opened.folder("evaluation"), f"predictions-{split.value}.jsonl")
    curve = distillation.get("validation_accuracy_by_epoch") or {}
    return RunResult(
        variant=run.variant.name,
        seed=run.seed,
        folder=str(run.folder),
        accuracy=measured["accuracy"],
        validation_accuracy=distillation.get("best_validation_accuracy"),
        by_steps={steps: found["accuracy"] for steps, found in measured["by_steps"].items()},
        correct={prediction.question_id: prediction.correct for prediction in predictions},
        updates=distillation["updates"],
        target_tokens=distillation["target_tokens"],
        training_seconds=distillation["training_seconds"],
        phase_seconds={name: round(float(entry["seconds"]), 1) for name, entry in opened.manifest["phases"].items()},
        learning=[(float(epoch), accuracy) for epoch, accuracy in curve.items()],
        keypoints=read_figures(evaluation.get("keypoint_mimicry")),
    )


def _has_fingerprints(opened: Run, run: StudyRun) -> bool:
    phases = opened.manifest.get("phases", {})
    return all(phases.get(name, {}).get("fingerprint") == digest for name, digest in run.fingerprints)


def summarize(study: StudyConfig, plan: StudyPlan) -> StudyResult:
    """Summarize the finished runs of a study; variants without any are left out.

    Raises:
        RunError: no run is finished.
    """
    split = Split(study.split)
    runs = [result for run in plan.runs if (result := read_run(run, split)) is not None]
    if not runs:
        raise RunError(
            f"No run of the study {study.name} is finished.", hint="Its logs say why: see logs/ in the study's folder."
        )
    by_variant: dict[str, list[RunResult]] = {}
    for run in runs:
        by_variant.setdefault(run.variant, []).append(run)

    differences = compare_variants(by_variant, study.baseline)
    variants = {run.variant.name: run.variant for run in plan.runs}
    summaries = []
    for name, found in by_variant.items():
        variant = variants[name]
        summaries.append(
            VariantResult(
                name=name,
                settings=dict(variant.settings),
                axis=variant.axis,
                seeds=[run.seed for run in found],
                accuracies=[run.accuracy for run in found],
                mean=statistics.mean(run.accuracy for run in found),
                sd=statistics.stdev(run.accuracy for run in found) if len(found) > 1 else None,
                by_steps=_mean_by_key([run.by_steps for run in found]),
                updates=max(run.updates for run in found),
                target_tokens=round(statistics.mean(run.target_tokens for run in found)),
                training_seconds=round(statistics.mean(run.training_seconds for run in found), 1),
                learning=_mean_curve([run.learning for run in found]),
                difference=differences.get(name),
                keypoints=mean_figures([run.keypoints for run in found]),
            )
        )
    return StudyResult(
        name=study.name,
        description=study.description,
        recipe=study.recipe,
        baseline=study.baseline,
        seed_setting=study.seed_setting,
        kpodx_version=kpodx.__version__,
        split=split.value,
        num_questions=max(len(run.correct) for run in runs),
        variants=summaries,
        runs=runs,
    )


def compare_variants(by_variant: Mapping[str, Sequence[RunResult]], baseline: str) -> dict[str, Difference]:
    """Compare each variant with the baseline, paired by seed and by question.

    Only seeds and questions that both have count. A variant without a common one is left out.
    """
    if baseline not in by_variant:
        return {}
    base = {run.seed: run for run in by_variant[baseline]}
    found = {}
    for name, runs in by_variant.items():
        matrix = _difference_matrix(base, runs) if name != baseline else None
        if matrix is not None:
            found[name] = (matrix, crossed_bootstrap(matrix, BOOTSTRAP_SEED))

    corrected = holm([interval.p_value for _, interval in found.values()])
    return {
        name: Difference(float(matrix.mean()), interval.low, interval.high, interval.p_value, p_value, *matrix.shape)
        for (name, (matrix, interval)), p_value in zip(found.items(), corrected, strict=True)
    }


def _difference_matrix(base: Mapping[int, RunResult], runs: Sequence[RunResult]) -> npt.NDArray[np.float64] | None:
    """Return correct(variant) - correct(baseline), [seeds, questions]; None if nothing is common."""
    pairs = [(run.correct, base[run.seed].correct) for run in runs if run.seed in base]
    if not pairs:
        return None
    common = sorted(set.intersection(*(set(one) & set(other) for one, other in pairs)))
    if not common:
        return None
    rows = [[float(one[name]) - float(other[name]) for name in common] for one, other in pairs]
    return np.array(rows)


def _mean_by_key(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    keys = sorted({key for table in tables for key in table}, key=lambda key: (len(key), key))
    return {key: statistics.mean(table[key] for table in tables if key in table) for key in keys}


def _mean_curve(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Return the mean accuracy at each epoch that all seeds reached."""
    tables = [dict(curve) for curve in curves]
    epochs = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    return [(epoch, statistics.mean(table[epoch] for table in tables)) for epoch in epochs]
