"""Step difficulties measured again while the student learns, and the rest of the schedule solved with them."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from jaxtyping import Float64, Int64
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kpodx import artifacts
from kpodx.distillation.training import DistillationTrainer
from kpodx.errors import DivergedError, RunError
from kpodx.modeling.examples import ModelFamily
from kpodx.modeling.loading import Model
from kpodx.modeling.rationale_likelihood import rationale_nll
from kpodx.modeling.tokenization import TokenizedRationale
from kpodx.runtime import derive_seed
from kpodx.scheduling.difficulty import step_difficulties
from kpodx.scheduling.revision import is_revision_due, revise_schedule
from kpodx.scheduling.schedule import Pace, SelectionRule, StepTable, describe_stages
from kpodx.scheduling.strategy import Strategy
from kpodx.schema import Schedule, TokenWeights

logger = logging.getLogger(__name__)

REMEASURED = "remeasured"
"""Folder, beside the checkpoints, of the schedules that were solved again; from it a killed run resumes."""


@dataclass(frozen=True)
class Revision:
    """One measurement during training, and the schedule that came of it.

    Attributes:
        stage: the stage before whose first update it happened.
        target_tokens: tokens that were scored: all rationales whole, with their answers.
        seconds: what it took, on the wall clock.
        total_difficulty: B, the sum of all step difficulties, in nats.
        stages: what is planned and done from `stage` on, as `stages.json` has it.
        schedule: the whole schedule from then on.
    """

    stage: int
    target_tokens: int
    seconds: float
    total_difficulty: float
    stages: list[dict[str, int | float]]
    schedule: Schedule

    def findings(self) -> dict[str, object]:
        """Return all but the schedule itself, as plain values."""
        return {
            "stage": self.stage,
            "target_tokens": self.target_tokens,
            "seconds": round(self.seconds, 2),
            "total_difficulty": self.total_difficulty,
            "stages": self.stages,
        }


@dataclass(frozen=True)
class Course:
    """How the rest of a schedule is measured and solved again.

    Attributes:
        every: stages between two measurements, ≥ 1.
        weights: token weights for the difficulties (equation 8); None weighs all tokens alike.
        clusters: the cluster of each rationale's question.
        strategy: what is released first.
        diversity_coef: β, in nats.
        pace: how fast the budget grows.
        seed: of the phase; random orders draw from it and the stage.
        batch_size: rationales scored at a time.
        dtype: number format of the matrix products.
    """

    every: int
    weights: TokenWeights | None
    clusters: Int64[np.ndarray, " num_rationales"]
    strategy: Strategy
    diversity_coef: float
    pace: Pace
    seed: int
    batch_size: int
    dtype: torch.dtype

    def rule(self, stage: int) -> SelectionRule:
        """Return how rationales are chosen from a stage on; the same for the same stage, whatever came before."""
        rng = np.random.default_rng(derive_seed("orders", self.seed, stage))
        return SelectionRule(self.strategy, self.diversity_coef, rng)


class Remeasuring(TrainerCallback):  # type: ignore[misc]
    """Measures the steps before the first update of a stage, if it is due, and gives the data the new schedule.

    Each revision is on disk before the stage's first update, and so before any checkpoint that holds what it led to.
    A run that resumes takes the revisions of the stages that its checkpoint has begun, and repeats later ones.

    Args:
        trainer: whose student is measured, and whose data get another schedule.
        course: how to measure and solve.
        folder: of the revisions.
    """

    def __init__(self, trainer: DistillationTrainer, course: Course, folder: Path) -> None:
        self.trainer, self.course, self.folder = trainer, course, folder
        self.data = trainer.batch_sampler.data
        self.revisions: list[Revision] = []

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take up the revisions of the stages that have begun, and remove those of later ones."""
        assert self.data.schedule is not None
        num_begun = -(-state.global_step // self.trainer.batch_sampler.updates_per_epoch)
        self.revisions = resume_revisions(self.folder, self.data.schedule, every=self.course.every, num_begun=num_begun)
        if self.revisions:
            self.data.schedule = self.revisions[-1].schedule

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Measure the steps and solve the rest of the schedule again if that is due."""
        assert self.data.schedule is not None
        # Checkpoints stand between epochs, or after the last update, when nothing is left to revise.
        stage = state.global_step // self.trainer.batch_sampler.updates_per_epoch
        if state.global_step >= state.max_steps or not is_revision_due(self.data.schedule, stage, self.course.every):
            return

        revision = self._revise(self.data.schedule, stage)
        if state.is_world_process_zero:
            save_revision(self.folder, revision)
        self.data.schedule = revision.schedule
        self.revisions.append(revision)
        logger.info("stage %d: difficulties measured again in %.1f seconds", stage, revision.seconds)

    def summary(self) -> dict[str, object]:
        """Return what measuring has cost, for the phase's summary."""
        return {
            "remeasured_stages": [revision.stage for revision in self.revisions],
            "remeasuring_target_tokens": sum(revision.target_tokens for revision in self.revisions),
            "remeasuring_seconds": round(sum(revision.seconds for revision in self.revisions), 1),
        }

    def save_findings(self, folder: Path, curriculum: Path) -> None:
        """Write the schedule that the student was trained on, its stages, and what each measurement cost.

        Args:
            folder: of the distillation.
            curriculum: of the schedule that was solved before training.
        """
        assert self.data.schedule is not None
        stages = artifacts.read_json(curriculum / artifacts.STAGES)
        for revision in self.revisions:
            stages[revision.stage :] = revision.stages
        artifacts.save_schedule(folder, self.data.schedule)
        artifacts.write_json(folder / artifacts.STAGES, stages)
        findings = {"remeasured": [revision.findings() for revision in self.revisions]}
        artifacts.write_json(folder / artifacts.FINDINGS, findings)

    def _revise(self, schedule: Schedule, stage: int) -> Revision:
        begun = time.perf_counter()
        items, course = self.data.items, self.course
        difficulty = self.trainer.with_student(
            lambda student: measure_steps(
                student,
                self.data.family,
                items,
                weights=course.weights,
                batch_size=course.batch_size,
                dtype=course.dtype,
            )
        )
        steps = step_table(items, difficulty, course.clusters, stage)
        revised, plan = revise_schedule(schedule, steps, course.rule(stage), course.pace, stage=stage)
        return Revision(
            stage,
            sum(len(item.rationale_ids) + len(item.answer_ids) + 1 for item in items),
            time.perf_counter() - begun,
            float(difficulty.sum()),
            describe_stages(plan),
            revised,
        )


def measure_steps(
    student: Model,
    family: ModelFamily,
    items: Sequence[TokenizedRationale],
    *,
    weights: TokenWeights | None,
    batch_size: int,
    dtype: torch.dtype,
) -> Float64[np.ndarray, " num_steps"]:
    """Return the difficulty of every step under the student as it is now, in nats (equation 8).

    The processes share the rationales out, and each returns all difficulties.

    Args:
        student: the whole student; dropout is off while it is measured, and nothing random is drawn.
        family: its layout.
        items: the rationales.
        weights: their token weights, in the same order; None weighs all tokens alike.
        batch_size: rationales at a time.
        dtype: number format of the matrix products.
    """
    state, was_training = PartialState(), student.training
    mine = range(len(items))[state.process_index :: state.num_processes]
    student.eval()
    losses = rationale_nll(student, family, [items[row] for row in mine], batch_size=batch_size, dtype=dtype)
    found = [(mine[place], loss) for place, loss in losses]
    student.train(was_training)

    loss_of = dict(gather_object(found))
    return np.concatenate(
        [
            step_difficulties(loss_of[row], None if weights is None else weights.of(row), _stops(item))
            for row, item in enumerate(items)
        ]
    )


def step_table(
    items: Sequence[TokenizedRationale],
    difficulty: Float64[np.ndarray, " num_steps"],
    clusters: Int64[np.ndarray, " num_rationales"],
    stage: int,
) -> StepTable:
    """Return the steps of all rationales with their new difficulties.

    Raises:
        DivergedError: a difficulty is NaN or infinite.
    """
    num_steps = [len(item.step_stops) for item in items]
    if not np.isfinite(difficulty).all():
        first = int(np.flatnonzero(~np.isfinite(difficulty))[0])
        row = int(np.searchsorted(np.cumsum(num_steps), first, side="right"))
        raise DivergedError(
            f"The student's loss, measured before stage {stage}, is not finite on rationale "
            f"{items[row].rationale_id!r}, expected finite step difficulties.",
            hint="Lower distillation.learning_rate, or use runtime.dtype=float32.",
        )
    offsets = np.concatenate([[0], np.cumsum(num_steps)]).astype(np.int64)
    num_tokens = np.concatenate([np.diff(_stops(item), prepend=0) for item in items])
    return StepTable(offsets, difficulty, num_tokens, clusters)


def _stops(item: TokenizedRationale) -> Int64[np.ndarray, " steps"]:
    return np.array(item.step_stops, dtype=np.int64)


def save_revision(folder: Path, revision: Revision) -> None:
    """Write a revision into `folder`: the schedule as arrays, the rest beside them as JSON."""
    place = _place(folder, revision.stage)
    artifacts.save_schedule(place, revision.schedule)
    facts = {name: value for name, value in vars(revision).items() if name != "schedule"}
    # This file is written last: a folder without it holds no complete revision.
    artifacts.write_json(place / artifacts.STAGES, facts)


def load_revision(folder: Path, stage: int) -> Revision:
    """Read what `save_revision` wrote; raise RunError if it is not there."""
    place = _place(folder, stage)
    if not (place / artifacts.STAGES).is_file():
        raise RunError(
            f"{place} is missing, expected the schedule that the student was trained on from stage {stage}.",
            hint="Start over with `--force distillation`.",
        )
    return Revision(**artifacts.read_json(place / artifacts.STAGES), schedule=artifacts.load_schedule(place))


def _place(folder: Path, stage: int) -> Path:
    return folder / f"stage-{stage:05d}"


def resume_revisions(folder: Path, schedule: Schedule, *, every: int, num_begun: int) -> list[Revision]:
    """Return the revisions of the stages that have begun, in order; the main process removes all others.

    Args:
        folder: of the revisions.
        schedule: the one solved before training.
        every: stages between two measurements.
        num_begun: stages with at least one update in the checkpoint.

    Raises:
        RunError: one that the checkpoint was trained on is missing.
    """
    revisions: list[Revision] = []
    for stage in range(num_begun):
        if is_revision_due(schedule, stage, every):
            revisions.append(load_revision(folder, stage))
            schedule = revisions[-1].schedule

    state, known = PartialState(), {_place(folder, revision.stage) for revision in revisions}
    if state.is_main_process:
        for place in folder.glob("stage-*"):
            if place not in known:
                shutil.rmtree(place)
    state.wait_for_everyone()
    return revisions
