"""Rationales as the predictor reads them, built by hand."""

from __future__ import annotations

from kpodx.weighting.predictor import PredictorItem
from kpodx.weighting.targets import Ids, answer_targets


def item_of(prompt: Ids, body: Ids, answer: Ids) -> PredictorItem:
    """A rationale in one vocabulary, two characters per token, with the answer behind every prefix."""
    spans = tuple((2 * i, 2 * i + 2) for i in range(len(body)))
    stops, targets = answer_targets(len(body), answer)
    return PredictorItem(prompt, body, stops, targets, body, spans, spans, tuple(range(len(body))), prompt)
