"""The distillation phase: rationales, token weights and schedule → student."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from kpodx import artifacts
from kpodx.distillation.batches import StagedRationales
from kpodx.distillation.checkpoints import resumable_checkpoint
from kpodx.distillation.config import DistillationConfig
from kpodx.distillation.remeasuring import REMEASURED, Course, Remeasuring
from kpodx.distillation.training import DistillationTrainer, build_trainer
from kpodx.distillation.weight_use import LossWeights
from kpodx.errors import DataError
from kpodx.modeling.config import StudentConfig
from kpodx.modeling.examples import model_family
from kpodx.modeling.generation import answer_questions
from kpodx.modeling.loading import (
    Model,
    Tokenizer,
    add_lora,
    copy_vocabulary_files,
    load_with_tokenizer,
    merge_lora,
)
from kpodx.modeling.tokenization import TokenizedRationale, check_lengths, check_token_weights, tokenize_rationales
from kpodx.runtime import PhaseContext, resolve_device, resolve_dtype, seed_everything
from kpodx.schema import Question, Schedule, Split

CHECKPOINTS = "checkpoints"
SUMMARY = "summary.json"


def run(context: PhaseContext) -> dict[str, object]:
    """Train the student and keep the checkpoint of the best validation accuracy (of equal ones the latest).

    Without validation questions the last state is kept. A killed run goes on from its last complete checkpoint.
    """
    if (context.output / SUMMARY).exists():
        return _finish(context)
    config: DistillationConfig = context.recipe.distillation
    device = resolve_device(context.recipe.runtime.device)
    dtype = resolve_dtype(context.recipe.runtime.dtype, device)
    questions = artifacts.load_questions(context.inputs["dataset"])
    seed_everything(context.seed)
    model, tokenizer = _load_student(context.recipe.student, context.revisions, dtype)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    data, question_ids = _load_rationales(context, config, model, tokenizer, questions)
    asked = [q for q in questions if q.split is Split.VALIDATION][: config.max_validation_questions]
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
        validate=partial(shared_accuracy, tokenizer=tokenizer, questions=asked, config=config) if asked else None,
        progress=context.progress,
    )
    remeasuring = _add_remeasuring(context, trainer, tokenizer, dtype)

    seconds, resumed = _train(trainer, checkpoints)

    summary = {
        **_summary(trainer, config, seconds, resumed=resumed),
        "num_rationales": len(data),
        "trainable_parameters": trainable,
        **({} if remeasuring is None else remeasuring.summary()),
    }
    if remeasuring is not None and trainer.is_world_process_zero():
        remeasuring.save_findings(context.output, context.inputs["curriculum"])
    _save_student(trainer, tokenizer, context, summary)
    return summary


def _train(trainer: DistillationTrainer, checkpoints: Path) -> tuple[float, bool]:
    """Train from the last complete checkpoint; return the seconds it took, and whether there was one."""
    begun = time.perf_counter()
    resume_from = resumable_checkpoint(checkpoints, num_processes=trainer.args.world_size)
    trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    return time.perf_counter() - begun, resume_from is not None


def shared_accuracy(
    student: Model, *, tokenizer: Tokenizer, questions: Sequence[Question], config: DistillationConfig
) -> float:
    """Accuracy on questions that the processes share out; every process gets the same figure."""
    state = PartialState()
    predictions = answer_questions(
        student,
        tokenizer,
        questions[state.process_index :: state.num_processes],
        max_new_tokens=config.max_new_tokens,
        batch_size=config.generation_batch_size,
    )
    correct = gather_object([p.correct for p in predictions])
    assert len(correct) == len(questions)
    return sum(correct) / len(correct)


def _load_student(student: StudentConfig, revisions: dict[str, str], dtype: torch.dtype) -> tuple[Model, Tokenizer]:
    # Only a frozen base is loaded in bfloat16: parameters that are trained stay float32 under autocast.
    weights_dtype = dtype if student.lora is not None else torch.float32
    model, tokenizer = load_with_tokenizer(student.model, revisions, dtype=weights_dtype)
    if student.lora is not None:
        model = add_lora(model, student.lora)
    return model, tokenizer  # The Trainer moves it to this process's own device.


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
        steps_in_encoder=config.uses_schedule and context.recipe.curriculum.given_steps == "encoder",
    )
    weights = artifacts.load_token_weights(context.inputs["weighting"]) if config.uses_weights else None
    if weights is not None:
        check_token_weights(weights, tokenized, tokenizer)
    schedule = artifacts.load_schedule(context.inputs["curriculum"]) if config.uses_schedule else None
    if schedule is not None:
        _check_schedule(schedule, tokenized)
    data = StagedRationales(
        tokenized,
        family,
        weights=weights,
        schedule=schedule,
        placement=context.recipe.curriculum.given_steps,
        loss_weights=LossWeights.of(config),
    )
    return data, [item.question_id for item in tokenized]


def _add_remeasuring(
    context: PhaseContext, trainer: DistillationTrainer, tokenizer: Tokenizer, dtype: torch.dtype
) -> Remeasuring | None:
    """Let the steps be measured again during training; None if the schedule stays as it was solved."""
    data, curriculum = trainer.batch_sampler.data, context.recipe.curriculum
    every = curriculum.remeasure_every
    if every is None or data.schedule is None:
        return None

    difficulty = context.recipe.difficulty
    weights = artifacts.load_token_weights(context.inputs["weighting"]) if difficulty.uses_weights else None
    if weights is not None:
        check_token_weights(weights, list(data.items), tokenizer)
    course = Course(
        every=every,
        weights=weights,
        clusters=artifacts.load_clusters(context.inputs["curriculum"]),
        strategy=curriculum.strategy,
        diversity_coef=curriculum.resolve_diversity_coef(len(data)),
        pace=curriculum.resolve_pace(context.recipe.distillation.epochs),
        seed=context.seed,
        batch_size=difficulty.batch_size,
        dtype=dtype,
    )
    remeasuring = Remeasuring(trainer, course, context.output / REMEASURED)
    trainer.add_callback(remeasuring)
    return remeasuring


def answer_only(item: TokenizedRationale) -> TokenizedRationale:
    """The same question without its rationale: what a student learns that is never shown any reasoning."""
    return dataclasses.replace(item, rationale_ids=(), step_stops=())


def _check_schedule(schedule: Schedule, tokenized: list[TokenizedRationale]) -> None:
    steps = [len(item.step_stops) for item in tokenized]
    if schedule.rationale_ids != tuple(item.rationale_id for item in tokenized) or bool(
        (schedule.input_steps.max(axis=1) > steps).any()
    ):
        raise DataError("The schedule belongs to other rationales.", hint="Run it again: add `--force curriculum`.")


def _save_student(
    trainer: DistillationTrainer, tokenizer: Tokenizer, context: PhaseContext, summary: dict[str, object]
) -> None:
    """Write the student as a plain transformers folder, low-rank updates merged, then the summary, and drop the checkpoints."""
    weights = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
    # The others may still be reading the best checkpoint, which is deleted below.
    trainer.accelerator.wait_for_everyone()
    if not trainer.is_world_process_zero():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    artifacts.write_jsonl(context.output / artifacts.TRAINING_LOG, trainer.state.log_history)
    folder = context.output / artifacts.STUDENT
    partial_folder = context.output / f"{artifacts.STUDENT}.partial"
    shutil.rmtree(partial_folder, ignore_errors=True)
    merge_lora(model).save_pretrained(partial_folder, state_dict=weights)
    tokenizer.save_pretrained(partial_folder)
    copy_vocabulary_files(context.recipe.student.model, partial_folder, context.revisions)
    shutil.rmtree(folder, ignore_errors=True)
    partial_folder.rename(folder)
    artifacts.write_json(context.output / SUMMARY, summary)
    _finish(context)


def _finish(context: PhaseContext) -> dict[str, object]:
    """Drop what a phase resumes from, now that its student and summary are written, and return the summary."""
    for name in (CHECKPOINTS, REMEASURED):
        shutil.rmtree(context.output / name, ignore_errors=True)
    return dict(artifacts.read_json(context.output / SUMMARY))


def _summary(
    trainer: DistillationTrainer, config: DistillationConfig, seconds: float, *, resumed: bool
) -> dict[str, object]:
    state = trainer.state
    best = state.best_model_checkpoint
    return {
        "method": config.method,
        "updates": state.global_step,
        "target_tokens": trainer.batch_sampler.target_tokens(state.global_step),
        "training_seconds": round(seconds, 1),
        "resumed": resumed,
        "chosen_by": "last update" if best is None else "validation accuracy",
        "best_validation_accuracy": state.best_metric,
        "best_checkpoint_update": None if best is None else int(Path(best).name.rsplit("-", 1)[1]),
        "validation_accuracy_by_epoch": {
            str(round(entry["epoch"], 2)): entry["eval_accuracy"]
            for entry in state.log_history
            if "eval_accuracy" in entry
        },
    }
