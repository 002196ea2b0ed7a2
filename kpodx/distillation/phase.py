"""The distillation phase: rationales, token weights and schedule → student."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from kpodx import artifacts
from kpodx.distillation.batches import StagedRationales
from kpodx.distillation.config import DistillationConfig
from kpodx.distillation.training import DistillationTrainer, build_trainer, complete_checkpoint
from kpodx.errors import DataError
from kpodx.modeling.config import StudentConfig
from kpodx.modeling.examples import model_family
from kpodx.modeling.generation import answer_questions
from kpodx.modeling.loading import (
    Model,
    Tokenizer,
    add_lora,
    check_vocabulary,
    copy_vocabulary_files,
    load_model,
    load_tokenizer,
    merge_lora,
)
from kpodx.modeling.tokenization import TokenizedRationale, check_lengths, check_token_weights, tokenize_rationales
from kpodx.runtime import PhaseContext, resolve_device, resolve_dtype, seed_everything
from kpodx.schema import Question, Schedule, Split

CHECKPOINTS = "checkpoints"
LOG = "log.jsonl"


def run(context: PhaseContext) -> dict[str, object]:
    """Train the student and keep the checkpoint of the best validation accuracy; resumes from the last complete checkpoint."""
    config: DistillationConfig = context.recipe.distillation
    device = resolve_device(context.recipe.runtime.device)
    dtype = resolve_dtype(context.recipe.runtime.dtype, device)
    questions = artifacts.load_questions(context.inputs["dataset"])
    seed_everything(context.seed)
    model, tokenizer = _load_student(context.recipe.student, context.revisions, device, dtype)
    data, question_ids = _load_rationales(context, config, model, tokenizer, questions)
    asked = [q for q in questions if q.split is Split.VALIDATION][: config.max_validation_questions]

    def validate(student: Model) -> float:
        predictions = answer_questions(
            student,
            tokenizer,
            asked,
            max_new_tokens=config.max_new_tokens,
            batch_size=config.generation_batch_size,
        )
        return sum(p.correct for p in predictions) / len(predictions)

    checkpoints = context.output / CHECKPOINTS
    trainer = build_trainer(
        model,
        tokenizer,
        data,
        question_ids,
        config=config,
        dtype=dtype,
        use_cpu=device.type == "cpu",
        seed=context.seed,
        output=checkpoints,
        validate=validate if asked else None,
        progress=context.progress,
    )
    begun = time.perf_counter()
    resume_from = complete_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    seconds = time.perf_counter() - begun
    _save_student(trainer, tokenizer, context)
    return _summary(trainer, config, data, seconds, resumed=resume_from is not None)


def _load_student(
    student: StudentConfig, revisions: dict[str, str], device: torch.device, dtype: torch.dtype
) -> tuple[Model, Tokenizer]:
    tokenizer = load_tokenizer(student.model, revisions)
    # Only a frozen base is loaded in bfloat16: parameters that are trained stay float32 under autocast.
    weights_dtype = dtype if student.lora is not None else torch.float32
    model = load_model(student.model, revisions, dtype=weights_dtype)
    check_vocabulary(model, tokenizer, student.model)
    if student.lora is not None:
        model = add_lora(model, student.lora)
    return model.to(device), tokenizer


def _load_rationales(
    context: PhaseContext, config: DistillationConfig, model: Model, tokenizer: Tokenizer, questions: list[Question]
) -> tuple[StagedRationales, list[str]]:
    student: StudentConfig = context.recipe.student
    rationales = artifacts.load_rationales(context.inputs["rationales"])
    tokenized = tokenize_rationales(tokenizer, rationales, questions)
    if config.method == "answer-only":
        tokenized = [answer_only(item) for item in tokenized]
    family = model_family(model, tokenizer)
    check_lengths(
        tokenized,
        max_input_tokens=student.max_input_tokens,
        max_target_tokens=student.max_target_tokens,
        encoder_decoder=family.encoder_decoder,
    )
    weights = artifacts.load_token_weights(context.inputs["weighting"]) if config.uses_weights else None
    if weights is not None:
        check_token_weights(weights, tokenized, tokenizer)
    schedule = artifacts.load_schedule(context.inputs["curriculum"]) if config.uses_schedule else None
    if schedule is not None:
        _check_schedule(schedule, tokenized)
    data = StagedRationales(tokenized, family, weights=weights, schedule=schedule)
    return data, [item.question_id for item in tokenized]


def answer_only(item: TokenizedRationale) -> TokenizedRationale:
    """The same question without its rationale: what a student learns that is never shown any reasoning."""
    return dataclasses.replace(item, rationale_ids=(), step_stops=())


def _check_schedule(schedule: Schedule, tokenized: list[TokenizedRationale]) -> None:
    steps = [len(item.step_stops) for item in tokenized]
    if schedule.rationale_ids != tuple(item.rationale_id for item in tokenized) or bool(
        (schedule.input_steps.max(axis=1) > steps).any()
    ):
        raise DataError("The schedule belongs to other rationales.", hint="Run it again: add `--force curriculum`.")


def _save_student(trainer: DistillationTrainer, tokenizer: Tokenizer, context: PhaseContext) -> None:
    """Write the best student as a plain transformers folder, low-rank updates merged, and drop the checkpoints."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
        model.load_state_dict(trainer.accelerator.get_state_dict(trainer.model))
    if not trainer.is_world_process_zero():
        return
    artifacts.write_jsonl(context.output / LOG, trainer.state.log_history)
    folder = context.output / artifacts.STUDENT
    partial = context.output / f"{artifacts.STUDENT}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    merge_lora(model).save_pretrained(partial, safe_serialization=True)
    tokenizer.save_pretrained(partial)
    copy_vocabulary_files(context.recipe.student.model, partial, context.revisions)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    shutil.rmtree(context.output / CHECKPOINTS)


def _summary(
    trainer: DistillationTrainer, config: DistillationConfig, data: StagedRationales, seconds: float, *, resumed: bool
) -> dict[str, object]:
    accuracies = {round(e["epoch"], 2): e["eval_accuracy"] for e in trainer.state.log_history if "eval_accuracy" in e}
    return {
        "method": config.method,
        "num_rationales": len(data),
        "updates": trainer.state.global_step,
        "target_tokens": planned_target_tokens(data, trainer),
        "training_seconds": round(seconds, 1),
        "resumed": resumed,
        "best_validation_accuracy": trainer.state.best_metric,
        "best_checkpoint_update": _update_of(trainer.state.best_model_checkpoint),
        "validation_accuracy_by_epoch": accuracies,
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    }


def _update_of(checkpoint: str | None) -> int | None:
    return None if checkpoint is None else int(Path(checkpoint).name.rsplit("-", 1)[1])


def planned_target_tokens(data: StagedRationales, trainer: Any) -> int:
    """Target tokens of all updates that were taken, resumed ones included; the last epoch counts in proportion."""
    epochs = float(trainer.state.epoch)
    whole, rest = int(epochs), epochs - int(epochs)
    per_epoch = [_stage_targets(data, epoch) for epoch in range(whole + (rest > 0))]
    return int(sum(per_epoch[:whole]) + (rest * per_epoch[whole] if rest > 0 else 0))


def _stage_targets(data: StagedRationales, epoch: int) -> int:
    lengths = data.lengths(data.stage_of(epoch))
    return int(lengths[:, 0].sum() if data.family.encoder_decoder else lengths[:, 1].sum())
