"""What is measured on held-out rationales, and when the phase must stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_mask_learning import KEY, KeyPredictor, items_of, learner_of

from kpodx.errors import GateError, WeightingError
from kpodx.weighting.validation import (
    RANDOM_DRAWS,
    MaskKind,
    Reading,
    Scores,
    check_beats_random,
    check_keep_share,
    check_rationale_gain,
    report,
    score_random,
    score_with_mask,
    top_tokens,
)


def test_top_tokens_by_hand() -> None:
    score = torch.tensor([[0.1, 0.9, 0.5, 0.7], [0.5, 0.5, 0.5, 9.0]])
    valid = torch.tensor([[True] * 4, [True, True, True, False]])
    assert top_tokens(score, valid, torch.tensor([0.5, 0.34])).tolist() == [[0, 1, 0, 1], [1, 0, 0, 0]]
    assert top_tokens(score, valid, torch.tensor([1.0, 1.0])).tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert top_tokens(score, valid, torch.zeros(2)).tolist() == [[0] * 4] * 2


@pytest.mark.parametrize("kind", ["all", "none", "learnt", "random"])
def test_readings_of_a_predictor_that_needs_one_token(kind: MaskKind) -> None:
    learner, items = learner_of(KeyPredictor(3.0)), items_of(60)
    scores = score_with_mask(learner, items, kind, seed=0)
    reading = scores.reading()
    again = score_with_mask(learner, items[::-1], kind, seed=0)
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
        assert again.prefix_nll[::-1].tolist() == pytest.approx(scores.prefix_nll.tolist(), abs=1e-9)


def test_scores_belong_to_their_rationales() -> None:
    """The key's place decides which of the three prefixes show it, whatever the order that batches are made in."""
    learner, items = learner_of(KeyPredictor(3.0)), items_of(60)
    scores = score_with_mask(learner, items, "all", seed=0)
    for item, found in zip(items, scores.prefix_nll, strict=True):
        place, length = item.student_ids.index(KEY), len(item.student_ids)
        blind = sum(-(-part * length // 3) <= place for part in (1, 2, 3))
        assert found == pytest.approx(3 * blind / 3, abs=1e-6)


def test_learnt_and_random_masks_keep_as_much() -> None:
    learner, items = learner_of(KeyPredictor()), items_of(60)
    learnt, random = score_with_mask(learner, items, "learnt", seed=1), score_random(learner, items, seed=1)
    assert learnt.keep_share.tolist() == pytest.approx(random.keep_share.tolist(), abs=1e-9)


def test_several_random_masks_are_averaged() -> None:
    learner, items = learner_of(KeyPredictor()), items_of(20)
    draws = [score_with_mask(learner, items, "random", seed).whole_nll for seed in range(5, 5 + RANDOM_DRAWS)]
    assert score_random(learner, items, seed=5).whole_nll.tolist() == pytest.approx(np.mean(draws, axis=0).tolist())
    assert len({tuple(draw) for draw in draws}) > 1


def test_a_predictor_that_cannot_use_rationales_stops_the_phase() -> None:
    with_it, without = Reading(1.5, 0.5, 1.0, 1.0), Reading(1.5, 0.1, 1.15, 0.0)
    assert check_rationale_gain(with_it, without, 0.1) == pytest.approx(0.15)
    with pytest.raises(WeightingError, match=r"1\.000 nats with .* 1\.150 without\. .* 0\.150; expected") as caught:
        check_rationale_gain(with_it, without, 0.2)
    assert "warmup_updates" in (caught.value.hint or "")
    with pytest.raises(WeightingError):
        check_rationale_gain(Reading(0.0, 0.0, float("nan"), 1.0), without, 0.2)


@pytest.mark.parametrize(
    ("share", "end", "remedy"), [(0.01, "masked", "lower"), (0.99, "kept", "raise"), (float("nan"), "kept", "raise")]
)
def test_a_collapsed_mask_stops_the_phase(share: float, end: str, remedy: str) -> None:
    with pytest.raises(WeightingError, match=f"nearly everything is {end}") as caught:
        check_keep_share(share, 0.03, 0.97)
    assert f"{remedy} weighting.mask_ratio_coef" in (caught.value.hint or "")
    check_keep_share(0.03, 0.03, 0.97)
    check_keep_share(0.97, 0.03, 0.97)


def scores_of(prefix_nll: list[float], accuracy: list[float]) -> Scores:
    count = len(prefix_nll)
    return Scores(np.ones(count), np.array(accuracy), np.array(prefix_nll), np.full(count, 0.4))


RANDOM = scores_of([2.0, 2.5, 1.5, 2.0], [0.5, 0.5, 0.5, 0.5])


def test_the_report_compares_with_a_random_mask() -> None:
    found = report({"learnt": scores_of([1.5, 2.0, 1.0, 1.25], [1.0, 1.0, 0.0, 1.0]), "random": RANDOM})
    assert found["accuracy_over_random"] == 0.25
    assert found["prefix_nll_under_random"] == pytest.approx(0.5625)
    assert found["prefix_nll_standard_error"] == pytest.approx(0.125 / 2)
    assert found["num_rationales"] == 4
    assert found["beats_random"] is True
    assert found["learnt"] == {"whole_nll": 1.0, "whole_accuracy": 0.75, "prefix_nll": 1.4375, "keep_share": 0.4}


@pytest.mark.parametrize(
    ("prefix_nll", "accuracy", "beats"),
    [
        ([1.9, 2.4, 1.4, 1.9], [0.5] * 4, True),
        ([2.0, 2.5, 1.5, 2.0], [0.5] * 4, False),
        ([2.1, 2.6, 1.6, 2.1], [1.0] * 4, False),
        ([0.5, 3.0, 1.5, 2.0], [0.5] * 4, False),
        ([1.0, 1.5, 0.5, 1.0], [0.0] * 4, False),
        ([1.0, 1.5, 0.5, 1.0], [0.0, 1.0, 0.0, 0.5], True),
    ],
    ids=["lower", "equal", "higher", "lower by chance", "answers lost", "answers lost by chance"],
)
def test_beating_a_random_mask_takes_more_than_chance(
    prefix_nll: list[float], accuracy: list[float], beats: bool
) -> None:
    assert report({"learnt": scores_of(prefix_nll, accuracy), "random": RANDOM})["beats_random"] is beats


def test_one_rationale_proves_nothing() -> None:
    found = report({"learnt": scores_of([0.0], [1.0]), "random": scores_of([9.0], [0.0])})
    assert found["beats_random"] is False
    assert found["prefix_nll_standard_error"] is None


def test_a_mask_no_better_than_chance_stops_the_phase(tmp_path: Path) -> None:
    better = report({"learnt": scores_of([1.0, 1.5, 0.5, 1.0], [1.0] * 4), "random": RANDOM})
    check_beats_random(better, tmp_path / "findings.json")
    equal = report({"learnt": RANDOM, "random": RANDOM})
    with pytest.raises(
        GateError, match=r"2\.000 nats against 2\.000, .* 0\.500 against 0\.500 of 4 .*findings"
    ) as caught:
        check_beats_random(equal, tmp_path / "findings.json")
    assert caught.value.exit_code == 3
    hint = caught.value.hint or ""
    named = ("warmup_updates", "target", "predictor", "accept_uninformative=true")
    assert all(f"weighting.{name}" in hint for name in named)
    assert "distillation.weights_in_loss=false and difficulty.measure=nll" in hint
