"""Accuracy with its interval, in all and by number of reasoning steps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from kpodx.schema import Prediction
from kpodx.statistics import wilson_interval


def accuracy(predictions: Sequence[Prediction], confidence: float) -> dict[str, float | int]:
    """Share of correct answers with its Wilson interval: accuracy, low, high in [0, 1], and n."""
    right = sum(p.correct for p in predictions)
    low, high = wilson_interval(right, len(predictions), confidence)
    return {"accuracy": right / len(predictions), "low": low, "high": high, "n": len(predictions)}


def accuracy_by_steps(predictions: Sequence[Prediction], confidence: float) -> dict[str, object]:
    """Return `accuracy` of all predictions, and more about them.

    `unreadable` is the share without a readable answer, `answers` counts how the others give theirs, and `by_steps` is the
    accuracy for each number of reference steps.
    """
    groups: dict[int, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        if prediction.num_steps is not None:
            groups[prediction.num_steps].append(prediction)
    return {
        **accuracy(predictions, confidence),
        "unreadable": sum(p.predicted is None for p in predictions) / len(predictions),
        "answers": dict(Counter(p.answer_source for p in predictions if p.answer_source is not None).most_common()),
        "by_steps": {str(steps): accuracy(groups[steps], confidence) for steps in sorted(groups)},
    }
