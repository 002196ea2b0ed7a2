"""Settings of the student and of low-rank adaptation."""

from __future__ import annotations

from pydantic import Field

from kpodx.config import Config


class LoraSettings(Config):
    """Low-rank adaptation through peft; the rest of the student stays frozen."""

    rank: int = Field(default=64, ge=1)
    """Rank of the update matrices."""
    alpha: float = Field(default=128.0, gt=0)
    """Scale: the update is multiplied by alpha / rank."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Dropout on the input of the update matrices, a share."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Names of the layers that get an update, or all-linear."""


class StudentConfig(Config):
    """The model that learns to reason."""

    model: str = Field(min_length=1)
    """Hub id, or a local folder in the hub's layout (starting with ./ or ../: relative to the recipe)."""
    revision: str | None = None
    """Hub commit, tag or branch; None takes the newest and pins it when the run begins."""
    lora: LoraSettings | None = None
    """Low-rank adaptation; None trains all parameters."""
    max_input_tokens: int = Field(default=512, ge=8)
    """Longest input of the encoder, or prompt and target together of a decoder-only student, in tokens."""
    max_target_tokens: int = Field(default=512, ge=8)
    """Longest rationale and answer together, in tokens."""
