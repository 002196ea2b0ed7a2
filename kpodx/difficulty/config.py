"""Settings of the difficulty phase."""

from __future__ import annotations

from pydantic import Field

from kpodx.config import Config


class DifficultyConfig(Config):
    """How hard is each reasoning step for the student before distillation?"""

    token_weights: bool = True
    """Weigh the tokens of a step by their learnt weights (equation 8); false weighs them alike (the paper's ablation)."""
    batch_size: int = Field(default=32, ge=1)
    """Rationales scored at a time."""
    shard_size: int = Field(default=2048, ge=1)
    """Rationales between saved states, from which a killed phase resumes."""
