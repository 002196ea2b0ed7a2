"""What is measured on held-out rationales, and when the phase must stop."""

from __future__ import annotations

import pytest
import torch
from test_mask_learning import KeyPredictor, items_of, learner_of

from kpodx.errors import WeightingError
from kpodx.weighting.validation import (
    Reading,
    check_keep_share,
    check_rationale_gain,
    read_with_mask,
    report,
    top_tokens,
)


def test_top_tokens_by_hand() -> None:
    score = torch.tensor([[0.1, 0.9, 0.5, 0.7], [0.5, 0.5, 0.5, 9.0]])
    valid = torch.tensor([[True] * 4, [True, True, True, False]])
    assert top_tokens(score, valid, torch.tensor([0.5, 0.34])).tolist() == [[0, 1, 0, 1], [1, 0, 0, 0]]
    assert top_tokens(score, valid, torch.tensor([1.0, 1.0])).tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert top_tokens(score, valid, torch.zeros(2)).tolist() == [[0] * 4] * 2


@pytest.mark.parametrize("kind", ["all", "none", "learnt", "random"])
def test_readings_of_a_predictor_that_needs_one_token(kind: str) -> None:
    learner, items = learner_of(KeyPredictor(3.0)), items_of(60)
    reading = read_with_mask(learner, items, kind, seed=0)
    again = read_with_mask(learner, items[::-1], kind, seed=0)
    if kind == "all":
        assert (reading.whole_nll, reading.whole_accuracy, reading.keep_share) == (0.0, 1.0, 1.0)
        assert 0 < reading.prefix_nll < 3
    elif kind == "none":
        assert (reading.whole_nll, reading.whole_accuracy, reading.keep_share) == (3.0, 0.0, 0.0)
        assert reading.prefix_nll == 3.0
    else:
        assert 0 < reading.whole_accuracy < 1 or kind == "learnt"
        assert reading.whole_nll == pytest.approx(3 * (1 - reading.whole_accuracy), abs=1e-6)
        assert 0.2 < reading.keep_share < 0.8
    if kind != "random":
        assert again.whole_nll == pytest.approx(reading.whole_nll, abs=1e-9)


def test_learnt_and_random_masks_keep_as_much() -> None:
    learner, items = learner_of(KeyPredictor()), items_of(60)
    shares = [read_with_mask(learner, items, kind, seed=1).keep_share for kind in ("learnt", "random")]
    assert shares[0] == shares[1]


def test_a_predictor_that_cannot_use_rationales_stops_the_phase() -> None:
    with_it, without = Reading(1.0, 0.5, 1.5, 1.0), Reading(1.15, 0.1, 1.5, 0.0)
    assert check_rationale_gain(with_it, without, 0.1) == pytest.approx(0.15)
    with pytest.raises(WeightingError, match=r"1\.000 nats with .* 1\.150 without, a gain of 0\.150") as caught:
        check_rationale_gain(with_it, without, 0.2)
    assert "warmup_updates" in (caught.value.hint or "")
    with pytest.raises(WeightingError):
        check_rationale_gain(Reading(float("nan"), 0.0, 0.0, 1.0), without, 0.2)


@pytest.mark.parametrize(
    ("share", "end", "remedy"), [(0.01, "masked", "lower"), (0.99, "kept", "raise"), (float("nan"), "kept", "raise")]
)
def test_a_collapsed_mask_stops_the_phase(share: float, end: str, remedy: str) -> None:
    with pytest.raises(WeightingError, match=f"nearly everything is {end}") as caught:
        check_keep_share(share, 0.03, 0.97)
    assert f"{remedy} weighting.mask_ratio_coef" in (caught.value.hint or "")
    check_keep_share(0.03, 0.03, 0.97)
    check_keep_share(0.97, 0.03, 0.97)


def test_the_report_compares_with_a_random_mask() -> None:
    random = Reading(1.0, 0.5, 2.0, 0.4)
    found = report({"learnt": Reading(0.5, 0.75, 1.5, 0.4), "random": random})
    assert found["accuracy_over_random"] == 0.25
    assert found["prefix_nll_under_random"] == 0.5
    assert found["beats_random"] is True
    assert found["learnt"] == {"whole_nll": 0.5, "whole_accuracy": 0.75, "prefix_nll": 1.5, "keep_share": 0.4}
    for worse in (Reading(0.5, 0.75, 2.0, 0.4), Reading(0.5, 0.25, 1.5, 0.4)):
        assert report({"learnt": worse, "random": random})["beats_random"] is False
