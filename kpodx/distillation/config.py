"""Settings of the distillation phase."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kpodx.config import Config, Seed

WeightUse = Literal["raw", "floor", "mean-one", "annealed"]
"""What the loss makes of token weights."""


class DistillationConfig(Config):
    """How the student is trained."""

    seed: Seed | None = None
    """Seed of this phase; None derives it from the recipe's."""
    method: Literal["kpod", "std-cot", "answer-only"] = "kpod"
    """kpod weighs tokens and gives steps by schedule; std-cot learns whole rationales, every token alike; answer-only learns answers."""
    weights_in_loss: bool = True
    """Weigh the loss by token weights (equation 15); false is equation 14 (the paper's ablation). kpod only."""
    weight_use: WeightUse = "raw"
    """What the loss takes: raw weights (equation 15), at least weight_floor, divided by their mean, or annealed to 1 by the last epoch."""
    weight_floor: float = Field(default=0.25, gt=0, le=1)
    """Least weight of a rationale's token in the loss; only with weight_use=floor."""
    progressive: bool = True
    """Give leading steps by the schedule; false gives none from the first epoch (the paper's ablation). kpod only."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the rationales; epoch t (from 0) is stage t of the schedule."""
    max_updates: int | None = Field(default=None, ge=1)
    """Optimiser updates after which training stops, whatever the epochs say; None for no limit."""
    batch_size: int = Field(default=4, ge=1)
    """Rationales on each device at a time."""
    gradient_accumulation: int = Field(default=1, ge=1)
    """Batches whose gradients are added up before an update."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Peak rate of the optimiser."""
    lr_scheduler: Literal[
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
        "warmup_stable_decay",
    ] = "linear"
    """Course of the rate, by its transformers name."""
    decay_fraction: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the updates, at the end, over which warmup_stable_decay lowers the rate to 0, linearly."""
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the updates over which the rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Norm that gradients are clipped to."""
    optimizer: Literal[
        "adamw_torch_fused",
        "adamw_torch",
        "adafactor",
        "sgd",
        "adagrad",
        "rmsprop",
        "adamw_bnb_8bit",
        "paged_adamw_8bit",
        "paged_adamw_32bit",
        "lion_32bit",
        "schedule_free_adamw",
    ] = "adamw_torch_fused"
    """Optimiser by its transformers name; those from adamw_bnb_8bit on need further packages (bitsandbytes, schedulefree)."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: about half the memory for about a fifth of the speed."""
    torch_compile: bool = False
    """Compile the student with torch.compile."""
    length_bucketing: bool = True
    """Put rationales of similar length into an update, so that little of it is padding."""
    bucket_window: int = Field(default=64, ge=1)
    """Updates whose rationales are drawn together and then sorted by length, if length_bucketing is on; 1 draws each update
    at random and sorts inside it only."""
    num_workers: int = Field(default=0, ge=0)
    """Processes that prepare batches."""
    validate_every_epochs: int = Field(default=1, ge=1)
    """Epochs between two looks at validation accuracy, each of which also saves a checkpoint to resume from."""
    max_validation_questions: int | None = Field(default=None, ge=1)
    """Validation questions that choose the checkpoint, the first ones; None takes all."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer of the student in validation, in tokens."""
    generation_batch_size: int = Field(default=64, ge=1)
    """Validation questions answered at a time."""
    loggers: tuple[str, ...] = ()
    """Where figures are logged besides `log.jsonl`, by transformers name: tensorboard, wandb, trackio, …"""

    @property
    def unread(self) -> frozenset[str]:
        """Settings of other choices: they may stay in a recipe and count for nothing."""
        buckets: frozenset[str] = frozenset() if self.length_bucketing else frozenset({"bucket_window"})
        if not self.uses_weights:
            return buckets | {"weight_use", "weight_floor"}
        return buckets if self.weight_use == "floor" else buckets | {"weight_floor"}

    @model_validator(mode="after")
    def _consistent(self) -> DistillationConfig:
        if self.uses_weights and self.weight_use == "annealed" and self.epochs < 2:
            raise ValueError("weight_use 'annealed' needs epochs of 2 or more, to come from the weights to 1")
        return self

    @property
    def uses_weights(self) -> bool:
        """Whether the loss needs token weights."""
        return self.method == "kpod" and self.weights_in_loss

    @property
    def uses_schedule(self) -> bool:
        """Whether steps are given by a schedule."""
        return self.method == "kpod" and self.progressive

    @property
    def needs(self) -> frozenset[str]:
        """The phases that this one reads besides dataset and rationales."""
        return frozenset(
            [
                *(["weighting"] if self.uses_weights else []),
                *(["difficulty", "curriculum"] if self.uses_schedule else []),
            ]
        )
