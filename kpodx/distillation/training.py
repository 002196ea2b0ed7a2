"""Training on `transformers.Trainer`: its loop, devices and checkpoints; our batches, loss and choice of checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback, get_available_reporting_integrations
from transformers.trainer_callback import PrinterCallback

from kpodx.distillation.batches import StageBatchSampler, StagedRationales, StageLoader
from kpodx.distillation.checkpoints import CheckpointKeeper
from kpodx.distillation.losses import distillation_loss
from kpodx.errors import ConfigError, DivergedError, MissingDependencyError
from kpodx.modeling.examples import ModelFamily, collate
from kpodx.modeling.likelihood import token_nll
from kpodx.modeling.loading import Model, Tokenizer
from kpodx.runtime import Progress

T = TypeVar("T")


class DistillationTrainer(Trainer):  # type: ignore[misc]
    """A Trainer with equation 15 as its loss and validation accuracy as its measure.

    Args:
        sampler: this process's batches by stage.
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
        self.state: TrainerState
        self.batch_sampler, self.family = sampler, family
        self.question_ids, self.validate = question_ids, validate
        self.window_rows: list[Tensor] = []

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of the epoch's stage; the sampler has dealt them out already, so accelerate must not do it again."""
        return StageLoader(
            self.batch_sampler.data,
            batch_sampler=self.batch_sampler,
            collate_fn=partial(collate, family=self.family),
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def compute_loss(
        self,
        model: Model,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Equation 15 over one batch; DivergedError with the questions where it is not finite."""
        assert not return_outputs
        assert num_items_in_batch is not None, "the Trainer did not count the targets of the accumulation window"
        nll = token_nll(model, inputs, encoder_decoder=self.family.encoder_decoder)
        finite = torch.isfinite((inputs["target_weight"] * nll.detach()).sum(dim=1))
        if not bool(finite.all()):
            raise self.diverged("loss", inputs["rows"][~finite])
        self.window_rows.append(inputs["rows"])
        loss = distillation_loss(nll, inputs["target_weight"], num_items_in_batch)
        # The count is over all devices, and their gradients are averaged: undo the average.
        return loss * self.accelerator.num_processes

    def diverged(self, what: str, rows: Tensor) -> DivergedError:
        """The error that says which questions made the loss or the gradient infinite or NaN."""
        names = list(dict.fromkeys(self.question_ids[row] for row in rows.tolist()))
        more = f" and {len(names) - 8} more questions" if len(names) > 8 else ""
        return DivergedError(
            f"The {what} is not finite after {self.state.global_step} updates (epoch {self.state.epoch:.2f}) on "
            f"{', '.join(names[:8])}{more}.",
            hint="Lower distillation.learning_rate, or use runtime.dtype=float32; look at these questions with `kpodx show`.",
        )

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Validation accuracy as `eval_accuracy`; nothing else is computed.

        Of equal accuracies the later counts as better: early on all are 0, and the earliest student has learnt least.
        """
        assert self.validate is not None
        accuracy = self.with_student(self.validate)
        metrics = {"eval_accuracy": accuracy}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if accuracy == self.state.best_metric:
            self.state.best_metric = None
        return metrics

    def with_student(self, look: Callable[[Model], T]) -> T:
        """Return what `look` finds in the whole, unwrapped student; every process calls this at the same time."""
        with self._whole_parameters():
            return look(self.accelerator.unwrap_model(self.model))

    def _whole_parameters(self) -> contextlib.AbstractContextManager[None]:
        """Every process holds all parameters for a while, so that each can generate at its own pace."""
        if isinstance(self.model, FullyShardedDataParallel):
            return FullyShardedDataParallel.summon_full_params(self.model, writeback=False)
        return contextlib.nullcontext()


class GradientCheck(TrainerCallback):  # type: ignore[misc]
    """Stops before an update whose gradient is not finite: the loss of this update was, the next one's would not be."""

    def __init__(self) -> None:
        self.trainer: DistillationTrainer | None = None

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Look at the gradient, which an infinite norm has made NaN in clipping."""
        assert self.trainer is not None
        gradients = [p.grad for p in self.trainer.model.parameters() if p.grad is not None]
        if not bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients))):
            raise self.trainer.diverged("gradient", torch.cat(self.trainer.window_rows))
        self.trainer.window_rows.clear()


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
        validate: accuracy on the validation questions; None saves checkpoints to resume from, and the last one is the student.
        progress: where progress is shown.

    Raises:
        ConfigError: the optimiser or the course of its rate is not one that transformers has.
        MissingDependencyError: a logger is not installed.
    """
    arguments = _arguments(config, dtype=dtype, use_cpu=use_cpu, seed=seed, output=output, judged=validate is not None)
    sampler = StageBatchSampler(
        data,
        batch_size=config.batch_size,
        seed=seed,
        bucketed=config.length_bucketing,
        bucket_window=config.bucket_window,
        gradient_accumulation=config.gradient_accumulation,
        num_processes=arguments.world_size,
        process_index=arguments.process_index,
    )
    _set_intervals(arguments, config, sampler)
    check = GradientCheck()
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
        callbacks=[check, CheckpointKeeper(), ProgressCallback(progress), *_tensorboard(config, arguments, output)],
    )
    check.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(
    config: Any, *, dtype: torch.dtype, use_cpu: bool, seed: int, output: Path, judged: bool
) -> TrainingArguments:
    available = get_available_reporting_integrations()
    if missing := [name for name in config.loggers if name not in available]:
        raise MissingDependencyError(
            f"distillation.loggers names {', '.join(missing)}, which transformers cannot use here; it has {', '.join(available)}.",
            hint="Install its package (tensorboard: `pip install 'kpodx[tracking]'`), or take it out of the recipe.",
        )
    # TrainingArguments tells accelerate both through the environment, but takes neither back for the next run in this process.
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if dtype == torch.bfloat16 else "no"
    if not config.torch_compile:
        os.environ.pop("ACCELERATE_DYNAMO_BACKEND", None)
    try:
        arguments = TrainingArguments(
            output_dir=str(output),
            per_device_train_batch_size=config.batch_size,
            gradient_accumulation_steps=config.gradient_accumulation,
            learning_rate=config.learning_rate,
            lr_scheduler_type=config.lr_scheduler,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_gradient_norm,
            optim=config.optimizer,
            **(checkpointing_arguments() if config.gradient_checkpointing else {}),
            torch_compile=config.torch_compile,
            bf16=dtype == torch.bfloat16,
            use_cpu=use_cpu,
            seed=seed,
            data_seed=seed,
            dataloader_num_workers=config.num_workers,
            dataloader_pin_memory=not use_cpu,
            ddp_find_unused_parameters=False,
            remove_unused_columns=False,
            average_tokens_across_devices=True,
            logging_nan_inf_filter=False,
            eval_strategy="steps" if judged else "no",
            eval_steps=1,
            save_strategy="steps",
            save_steps=1,
            load_best_model_at_end=judged,
            metric_for_best_model="accuracy" if judged else None,
            greater_is_better=True if judged else None,
            report_to=[name for name in config.loggers if name != "tensorboard"],
            disable_tqdm=True,
            log_level="error",
            log_level_replica="error",
        )
    except ValueError as error:
        raise ConfigError(
            f"transformers does not accept the settings of distillation: {error}",
            hint="See distillation.optimizer, distillation.lr_scheduler and runtime.dtype.",
        ) from error
    if arguments.n_gpu > 1:
        # One process would drive all GPUs through DataParallel, and slowly; torchrun starts one for each.
        arguments._n_gpu = 1
    return arguments


def _set_intervals(arguments: TrainingArguments, config: Any, sampler: StageBatchSampler) -> None:
    """Fill in what depends on the number of updates."""
    per_epoch = sampler.updates_per_epoch
    total = min(config.max_updates or per_epoch * config.epochs, per_epoch * config.epochs)
    arguments.max_steps = sampler.max_updates = total
    arguments.warmup_steps = round(config.warmup_fraction * total)
    if config.lr_scheduler == "warmup_stable_decay":
        # The decay begins after the warm-up at the earliest, however the two shares add up.
        decay = min(round(config.decay_fraction * total), total - arguments.warmup_steps)
        arguments.lr_scheduler_kwargs = {"num_decay_steps": decay, "decay_type": "linear"}
    arguments.logging_steps = min(50, per_epoch)
    arguments.eval_steps = arguments.save_steps = min(per_epoch * config.validate_every_epochs, total)


def _tensorboard(config: Any, arguments: TrainingArguments, output: Path) -> list[TrainerCallback]:
    """TensorBoard beside the checkpoints, which are deleted in the end, and not below them."""
    if "tensorboard" not in config.loggers or arguments.process_index > 0:
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(log_dir=str(output.parent / "tensorboard")))]


def checkpointing_arguments() -> dict[str, Any]:
    """What tells Trainer to compute activations again in the backward pass; transformers 5 has a new name for it."""
    names = {field.name for field in dataclasses.fields(TrainingArguments)}
    name = "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
    return {name: True, f"{name}_kwargs": {"use_reentrant": False}}
