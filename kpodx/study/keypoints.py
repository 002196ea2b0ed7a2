"""Keypoint mimicry in a study: the figures of a run, and their means over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KeypointFigures:
    """What students make of keypoints and of all other tokens of held-out rationales, each behind the true tokens before it.

    Attributes:
        source: how keypoints are known, "gold" or "token-type"; several names with commas if runs differ.
        keypoint_nll, other_nll: mean loss in nats per token, None without such tokens.
        keypoint_accuracy, other_accuracy: share of tokens that are the student's likeliest, in [0, 1].
    """

    source: str
    keypoint_nll: float | None
    keypoint_accuracy: float | None
    other_nll: float | None
    other_accuracy: float | None


def read_figures(found: Mapping[str, Any] | None) -> KeypointFigures | None:
    """Return the figures of what the evaluation phase found; None if it measured nothing."""
    if found is None:
        return None
    high, low = found["on_keypoints"], found["on_others"]
    return KeypointFigures(found["keypoints"], high["nll"], high["accuracy"], low["nll"], low["accuracy"])


def mean_figures(runs: Sequence[KeypointFigures | None]) -> KeypointFigures | None:
    """Return the mean of each figure over the runs that have it; None if none has any."""
    found = [figures for figures in runs if figures is not None]
    if not found:
        return None
    return KeypointFigures(
        ", ".join(sorted({figures.source for figures in found})),
        _mean([figures.keypoint_nll for figures in found]),
        _mean([figures.keypoint_accuracy for figures in found]),
        _mean([figures.other_nll for figures in found]),
        _mean([figures.other_accuracy for figures in found]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None
