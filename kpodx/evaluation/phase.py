"""The evaluation phase: questions and student → accuracy and keypoint mimicry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from kpodx import artifacts
from kpodx.evaluation.accuracy import accuracy_by_steps
from kpodx.evaluation.config import EvaluationConfig
from kpodx.evaluation.scoring import measure_mimicry
from kpodx.modeling.generation import answer_questions
from kpodx.modeling.loading import Model, Tokenizer, load_model, load_tokenizer
from kpodx.runtime import PhaseContext, resolve_device, resolve_dtype
from kpodx.schema import Question, Split


def run(context: PhaseContext) -> dict[str, object]:
    """Answer every validation and test question greedily, keep each answer, and measure keypoint mimicry."""
    config: EvaluationConfig = context.recipe.evaluation
    folder = str(context.inputs["distillation"] / artifacts.STUDENT)
    device = resolve_device(context.recipe.runtime.device)
    tokenizer = load_tokenizer(folder)
    dtype = resolve_dtype(context.recipe.runtime.dtype, device)
    model = load_model(folder, dtype=dtype).to(device).eval()
    questions = artifacts.load_questions(context.inputs["dataset"])
    summary: dict[str, object] = {}
    for split in (Split.VALIDATION, Split.TEST):
        asked = [question for question in questions if question.split is split]
        if not asked:
            context.progress.note(f"There are no {split.value} questions: no {split.value} accuracy.")
            summary[split.value] = None
            continue
        predictions = answer_questions(
            model,
            tokenizer,
            asked,
            max_new_tokens=config.max_new_tokens,
            batch_size=config.batch_size,
            progress=context.progress,
        )
        artifacts.save_predictions(context.output, predictions, f"predictions-{split.value}.jsonl")
        summary[split.value] = accuracy_by_steps(predictions, config.confidence)
    summary["keypoint_mimicry"] = _mimicry(context, model, tokenizer, dtype, questions)
    return summary


def _mimicry(
    context: PhaseContext, model: Model, tokenizer: Tokenizer, dtype: torch.dtype, questions: Sequence[Question]
) -> dict[str, Any] | None:
    """Measure keypoint mimicry on the test questions; return None, and say why, if there is nothing to measure it on."""
    config: EvaluationConfig = context.recipe.evaluation
    if not config.max_keypoint_rationales:
        return None
    found = measure_mimicry(
        model,
        tokenizer,
        [question for question in questions if question.split is Split.TEST],
        context.recipe.student,
        max_rationales=config.max_keypoint_rationales,
        batch_size=config.batch_size,
        dtype=dtype,
        progress=context.progress,
    )
    if found is None:
        context.progress.note("No test question has a right gold rationale: no keypoint mimicry.")
        return None
    if found.num_too_long:
        total = found.num_rationales + found.num_too_long
        context.progress.note(
            f"{found.num_too_long} of {total} gold rationales of test questions are longer than the student's limits: keypoint "
            "mimicry leaves them out."
        )
    return asdict(found)
