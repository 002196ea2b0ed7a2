"""Settings of the evaluation phase."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kpodx.config import Config


class EvaluationConfig(Config):
    """How the finished student is measured."""

    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer, in tokens."""
    batch_size: int = Field(default=64, ge=1)
    """Questions answered at a time."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Coverage of the accuracy intervals."""
