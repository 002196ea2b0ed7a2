"""Settings of the evaluation phase."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from kpodx.config import Config


class EvaluationConfig(Config):
    """How the finished student is measured, and what its packages may lose."""

    outside_fingerprint: ClassVar[frozenset[str]] = frozenset({"margin"})

    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer, in tokens."""
    batch_size: int = Field(default=64, ge=1)
    """Questions answered at a time."""
    max_keypoint_rationales: int = Field(default=256, ge=0)
    """Most gold rationales of test questions to measure keypoint mimicry on; 0 turns it off."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Coverage of the accuracy intervals, and the level of the one-sided tests of packages, which needs more than one half."""
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Accuracy that a package may lose against the student and still count as held; 0.02 is two points."""
