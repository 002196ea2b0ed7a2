"""The evaluation phase: questions and student → accuracy."""

from __future__ import annotations

from kpodx import artifacts
from kpodx.evaluation.accuracy import accuracy_by_steps
from kpodx.evaluation.config import EvaluationConfig
from kpodx.modeling.generation import answer_questions
from kpodx.modeling.loading import load_model, load_tokenizer
from kpodx.runtime import PhaseContext, resolve_device, resolve_dtype
from kpodx.schema import Split


def run(context: PhaseContext) -> dict[str, object]:
    """Answer every validation and test question greedily, keep each answer, and summarise by split."""
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
    return summary
