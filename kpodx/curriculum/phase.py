"""Solve the schedule of a run: dataset, rationales and step difficulties in, `schedule.safetensors` out."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from kpodx import artifacts
from kpodx.curriculum.clusters import cluster_questions
from kpodx.curriculum.config import CurriculumConfig
from kpodx.curriculum.vectors import glove_question_vectors, tfidf_question_vectors
from kpodx.errors import DataError, RunError
from kpodx.runtime import PhaseContext, derive_seed
from kpodx.scheduling.schedule import (
    Plan,
    SelectionRule,
    StepTable,
    describe_stages,
    solve_schedule,
    step_lengths,
)
from kpodx.schema import Question, Rationale, Schedule, StepDifficulties

logger = logging.getLogger(__name__)

SCHEDULE_TABLE = "schedule.csv"


def run(context: PhaseContext) -> dict[str, object]:
    """Read the questions, rationales and step difficulties; write the schedule, `schedule.csv` and `stages.json`."""
    config: CurriculumConfig = context.recipe.curriculum
    num_epochs: int = context.recipe.distillation.epochs
    difficulties = artifacts.load_step_difficulties(context.inputs["difficulty"])
    check_difficulties(difficulties, context.inputs["difficulty"])
    question_ids = match_questions(difficulties, artifacts.load_rationales(context.inputs["rationales"]))
    full_stage = config.resolve_full_stage(num_epochs)
    if full_stage >= num_epochs and config.strategy != "none":
        context.progress.note(
            f"The schedule ends at stage {full_stage}, but training has {num_epochs} epochs (stages 0 to "
            f"{num_epochs - 1}): the student may never learn whole rationales."
        )
    diversity_coef = config.resolve_diversity_coef(len(question_ids))
    clusters, vectors_used = np.zeros(len(question_ids), dtype=np.int64), None
    if config.strategy == "kpod" and diversity_coef > 0.0:
        questions = artifacts.load_questions(context.inputs["dataset"])
        clusters, vectors_used = cluster_rationales(context, config, questions, question_ids)
    plan = solve_schedule(
        StepTable(
            difficulties.offsets,
            difficulties.difficulty,
            step_lengths(difficulties.step_stop, difficulties.offsets),
            clusters,
        ),
        SelectionRule(config.strategy, diversity_coef, np.random.default_rng(derive_seed("orders", context.seed))),
        config.resolve_pace(num_epochs),
    )
    stages = describe_stages(plan)
    for stage in stages:
        logger.info("stage %(stage)d: planned %(planned).3f, done %(done).3f, selected %(selected)d", stage)
    save_plan(context.output, plan, stages, difficulties, question_ids)
    artifacts.save_clusters(context.output, clusters)
    return {
        "strategy": config.strategy,
        "num_rationales": len(question_ids),
        "num_steps": len(difficulties.difficulty),
        "total_difficulty": float(difficulties.difficulty.sum()),
        "full_stage": full_stage,
        "diversity_coef": diversity_coef,
        "question_vectors": vectors_used,
        "cluster_sizes": np.bincount(clusters).tolist(),
        "share_released": stages[-1]["share_released"],
    }


def check_difficulties(difficulties: StepDifficulties, folder: Path) -> None:
    """Refuse difficulties from which no schedule can be made.

    Raises:
        DataError: there are no rationales, or one has more steps than the schedule can count (32,767).
        RunError: a difficulty is negative, NaN or infinite.
    """
    if not difficulties.rationale_ids:
        raise DataError(
            f"{folder} holds no rationale, expected at least one to schedule.",
            hint="Look at the summary of the rationales phase: its filter may have dropped all of them.",
        )
    bad = np.flatnonzero(~(np.isfinite(difficulties.difficulty) & (difficulties.difficulty >= 0.0)))
    if bad.size:
        row = int(np.searchsorted(difficulties.offsets, bad[0], side="right")) - 1
        raise RunError(
            f"{folder}: expected finite step difficulties of at least 0, got {difficulties.difficulty[bad[0]]} in "
            f"rationale {difficulties.rationale_ids[row]!r} ({bad.size} such steps).",
            hint="Delete this folder and run the difficulty phase again, in float32 if it was not.",
        )
    num_steps = np.diff(difficulties.offsets)
    if num_steps.max() > np.iinfo(np.int16).max:
        row = int(num_steps.argmax())
        raise DataError(
            f"rationale {difficulties.rationale_ids[row]!r} has {num_steps[row]} steps, expected at most 32767.",
            hint="Drop the rationale: it is hardly reasoning.",
        )


def match_questions(difficulties: StepDifficulties, rationales: Sequence[Rationale]) -> list[str]:
    """The question id of each rationale with difficulties, in their order."""
    question_of = {rationale.id: rationale.question_id for rationale in rationales}
    missing = next((i for i in difficulties.rationale_ids if i not in question_of), None)
    if missing is not None:
        raise RunError(
            f"rationale {missing!r} has step difficulties, but is not among the {len(question_of)} rationales.",
            hint="The two folders come from different runs; run the difficulty phase again.",
        )
    return [question_of[i] for i in difficulties.rationale_ids]


def cluster_rationales(
    context: PhaseContext, config: CurriculumConfig, questions: Sequence[Question], question_ids: Sequence[str]
) -> tuple[Int64[np.ndarray, " num_rationales"], str]:
    """The cluster of each rationale's question, and which question vectors were used."""
    used = set(question_ids)
    text_of = {question.id: question.question for question in questions if question.id in used}
    missing = next((i for i in question_ids if i not in text_of), None)
    if missing is not None:
        raise RunError(
            f"a rationale answers question {missing!r}, which is not in the dataset.",
            hint="The two folders come from different runs; run the rationales phase again.",
        )
    vectors, kind = question_vectors(context, config, list(text_of.values()))
    labels = cluster_questions(vectors, config.num_clusters, derive_seed("clusters", context.seed))
    label_of = dict(zip(text_of, labels.tolist(), strict=True))
    return np.array([label_of[i] for i in question_ids], dtype=np.int64), kind


def question_vectors(context: PhaseContext, config: CurriculumConfig, texts: Sequence[str]) -> tuple[np.ndarray, str]:
    """One vector a question and the kind of vectors; tf-idf, with a note, for a student without pretrained ones."""
    if config.question_vectors == "glove":
        assert config.glove_path is not None
        return glove_question_vectors(texts, Path(config.glove_path)), "glove"
    if config.question_vectors == "student":
        from kpodx.modeling.embeddings import question_embeddings

        vectors = question_embeddings(context, texts)
        if vectors is not None:
            return vectors, "student"
        context.progress.note("The student has no pretrained embeddings: questions are clustered by tf-idf vectors.")
    return tfidf_question_vectors(texts, derive_seed("tfidf", context.seed)), "tfidf"


def save_plan(
    folder: Path,
    plan: Plan,
    stages: list[dict[str, int | float]],
    difficulties: StepDifficulties,
    question_ids: Sequence[str],
) -> None:
    """Write the schedule, the same as a table of one line a rationale, and the stages."""
    artifacts.write_json(folder / artifacts.STAGES, stages)
    with artifacts.atomic_open(folder / SCHEDULE_TABLE) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["question_id", "rationale_id", "num_steps", *(f"stage_{t}" for t in range(len(plan.planned)))])
        num_steps = np.diff(difficulties.offsets).tolist()
        rows = zip(question_ids, difficulties.rationale_ids, num_steps, plan.input_steps.tolist(), strict=True)
        table.writerows([question, rationale, count, *given] for question, rationale, count, given in rows)
    artifacts.save_schedule(folder, Schedule(difficulties.rationale_ids, plan.input_steps, plan.planned, plan.done))
