"""Settings of the difficulty phase."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kpodx.config import Config


class DifficultyConfig(Config):
    """How hard is each reasoning step for the student before distillation?"""

    measure: Literal["weighted-nll", "nll", "length"] = "weighted-nll"
    """What makes a step hard: weighted-nll (the student's loss, weighted by token, equation 8), nll (each token alike, the
    paper's ablation) or length (its number of tokens)."""
    batch_size: int = Field(default=32, ge=1)
    """Rationales scored at a time."""
    shard_size: int = Field(default=2048, ge=1)
    """Rationales between saved states, from which a killed phase resumes."""

    @property
    def uses_weights(self) -> bool:
        """Whether the measure needs token weights."""
        return self.measure == "weighted-nll"
