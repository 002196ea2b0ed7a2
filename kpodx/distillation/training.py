"""Training on `transformers.Trainer`: its loop, devices and checkpoints; our batches, loss and choice of checkpoint."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kpodx import artifacts
from kpodx.distillation.batches import StageBatchSampler, StagedRationales
from kpodx.distillation.losses import distillation_loss
from kpodx.errors import DivergedError
from kpodx.modeling.examples import IGNORED, ModelFamily, collate
from kpodx.modeling.likelihood import token_nll
from kpodx.modeling.loading import Model, Tokenizer
from kpodx.runtime import Progress

logger = logging.getLogger(__name__)

COMPLETE = "complete.json"


class DistillationTrainer(Trainer):  # type: ignore[misc]
    """A Trainer with equation 15 as its loss and validation accuracy as its measure.

    Args:
        sampler: batches by stage.
        family: the student's layout.
        question_ids: question of each row, to name those whose loss is not finite.
        validate: answers the validation questions with the student and returns the accuracy.
        settings: what `transformers.Trainer` takes.
    """

    def __init__(
        self,
        *,
        sampler: StageBatchSampler,
        family: ModelFamily,
        question_ids: Sequence[str],
        validate: Callable[[Model], float] | None,
        **settings: Any,
    ) -> None:
        # A loss function of our own tells Trainer to count the targets of the whole accumulation window, on all devices.
        super().__init__(compute_loss_func=distillation_loss, **settings)
        self.control: TrainerControl
        self.batch_sampler, self.family = sampler, family
        self.question_ids, self.validate = question_ids, validate
        self.target_tokens = 0

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of the epoch's stage, dealt out to the devices by accelerate."""
        loader = DataLoader(
            self.batch_sampler.data,
            batch_sampler=self.batch_sampler,  # type: ignore[arg-type]
            collate_fn=partial(collate, family=self.family),
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def compute_loss(
        self,
        model: Model,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Equation 15 over one batch; DivergedError with the questions where it is not finite."""
        assert not return_outputs
        nll = token_nll(model, inputs, encoder_decoder=self.family.encoder_decoder)
        per_example = (inputs["target_weight"] * nll).sum(dim=1)
        finite = torch.isfinite(per_example.detach())
        if not bool(finite.all()):
            self._diverged(inputs["rows"][~finite])
        targets = (inputs["labels"] != IGNORED).sum()
        count = targets if num_items_in_batch is None else num_items_in_batch
        loss = distillation_loss(nll, inputs["target_weight"], count)
        if model.training:
            self.target_tokens += int(targets)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # The count is over all devices, and their gradients are averaged: undo the average.
            loss = loss * self.accelerator.num_processes
        return loss

    def _diverged(self, rows: Tensor) -> None:
        names = [self.question_ids[row] for row in rows.tolist()]
        raise DivergedError(
            f"The loss is not finite at update {self.state.global_step} (epoch {self.state.epoch:.2f}) on {', '.join(names[:8])}"
            + (f" and {len(names) - 8} more questions." if len(names) > 8 else "."),
            hint="Lower distillation.learning_rate, or use runtime.dtype=float32; look at these questions with `kpodx show`.",
        )

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Validation accuracy as `eval_accuracy`; nothing else is computed."""
        assert self.validate is not None
        accuracy = self.validate(self.accelerator.unwrap_model(self.model))
        metrics = {"eval_accuracy": accuracy}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class CheckpointMarker(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint as complete after its last file is written: only such are resumed from."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Write the marker, from the main process."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            artifacts.write_json(folder / COMPLETE, {"update": state.global_step, "epoch": state.epoch})


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Shows each update on the phase's progress bar."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.bar: Iterator[int] | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Open the bar where training begins or resumes."""
        if state.is_world_process_zero:
            updates = range(state.global_step, state.max_steps)
            self.bar = self.progress.track(
                updates, total=state.max_steps, description="Distillation", done=state.global_step
            )
            next(self.bar, None)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Advance it."""
        if self.bar is not None:
            next(self.bar, None)


def complete_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint below `folder`; those that a killed process left half-written are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    for path in found:
        if not (path / COMPLETE).exists():
            logger.warning("%s is incomplete and is removed.", path)
            shutil.rmtree(path)
    complete = [path for path in found if (path / COMPLETE).exists()]
    return complete[-1] if complete else None


def build_trainer(
    model: Model,
    tokenizer: Tokenizer,
    data: StagedRationales,
    question_ids: Sequence[str],
    *,
    config: Any,
    dtype: torch.dtype,
    use_cpu: bool,
    seed: int,
    output: Path,
    validate: Callable[[Model], float] | None,
    progress: Progress,
) -> DistillationTrainer:
    """Set a trainer up from the phase's settings.

    Args:
        model: the student, with or without low-rank updates.
        tokenizer: its tokenizer, saved with each checkpoint.
        data: its rationales.
        question_ids: question of each row.
        config: a `DistillationConfig`.
        dtype: number format of the matrix products.
        use_cpu: keep off a GPU that is there.
        seed: of the phase.
        output: folder of the checkpoints.
        validate: accuracy on the validation questions; None trains without checkpoints chosen by accuracy.
        progress: where progress is shown.
    """
    sampler = StageBatchSampler(data, batch_size=config.batch_size, seed=seed, bucketed=config.length_bucketing)
    updates = updates_per_epoch(len(sampler), config.gradient_accumulation)
    every = updates * config.validate_every_epochs
    if config.max_updates is not None:
        every = min(every, config.max_updates)
    arguments = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=config.epochs,
        max_steps=config.max_updates or -1,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=round(config.warmup_fraction * (config.max_updates or updates * config.epochs)),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_gradient_norm,
        optim=config.optimizer,
        gradient_checkpointing=config.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if config.gradient_checkpointing else None,
        torch_compile=config.torch_compile,
        bf16=dtype == torch.bfloat16,
        use_cpu=use_cpu,
        seed=seed,
        data_seed=seed,
        dataloader_num_workers=config.num_workers,
        dataloader_pin_memory=not use_cpu,
        remove_unused_columns=False,
        average_tokens_across_devices=True,
        logging_steps=max(1, min(50, updates)),
        logging_nan_inf_filter=False,
        eval_strategy="no" if validate is None else "steps",
        eval_steps=every,
        save_strategy="no" if validate is None else "steps",
        save_steps=every,
        save_total_limit=3,
        load_best_model_at_end=validate is not None,
        metric_for_best_model="accuracy",
        greater_is_better=True,
        report_to=list(config.loggers),
        disable_tqdm=True,
        log_level="error",
    )
    callbacks = [CheckpointMarker(), ProgressCallback(progress)]
    trainer = DistillationTrainer(
        model=model,
        args=arguments,
        processing_class=tokenizer,
        sampler=sampler,
        family=data.family,
        question_ids=question_ids,
        validate=validate,
        eval_dataset=data if validate is not None else None,
        train_dataset=data,
        callbacks=callbacks,
    )
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ == "PrinterCallback":
            trainer.remove_callback(callback)
    return trainer


def updates_per_epoch(num_batches: int, gradient_accumulation: int, num_processes: int = 1) -> int:
    """Optimiser updates in one pass over the data."""
    batches = -(-num_batches // num_processes)
    return -(-batches // gradient_accumulation)
