"""The three losses and the control of α, by hand."""

from __future__ import annotations

from math import exp

import pytest
import torch

from kpodx.weighting.losses import answer_prediction_loss, mask_learning_loss, mask_ratio_loss, steer_coef


def test_answer_prediction_loss_is_the_mean_over_prefixes() -> None:
    assert answer_prediction_loss(torch.tensor([[1.0, 3.0], [2.0, 6.0]])).item() == 3.0


def test_mask_ratio_loss_is_the_kept_share_of_each_rationale() -> None:
    keep = torch.tensor([[1.0, 0, 1, 1], [1, 1, 1, 1]])
    valid = torch.tensor([[True, True, False, False], [True, True, True, True]])
    assert mask_ratio_loss(keep, valid).item() == pytest.approx((1 / 2 + 1) / 2)


def test_mask_ratio_loss_rises_with_each_kept_token_and_ignores_padding() -> None:
    keep = torch.full((2, 3), 0.5, requires_grad=True)
    valid = torch.tensor([[True, True, True], [True, False, False]])
    [gradient] = torch.autograd.grad(mask_ratio_loss(keep, valid), keep)
    assert gradient.tolist() == [pytest.approx([1 / 6] * 3), [0.5, 0, 0]]


def test_the_sum_of_both() -> None:
    assert mask_learning_loss(torch.tensor(2.0), torch.tensor(0.4), 0.5).item() == pytest.approx(2.2)


def test_a_kept_share_above_the_target_raises_the_price_of_keeping() -> None:
    assert steer_coef(0.5, 0.9, 0.4, 0.1) == pytest.approx(0.5 * exp(0.05))
    assert steer_coef(0.5, 0.1, 0.4, 0.1) == pytest.approx(0.5 * exp(-0.03))
    assert steer_coef(0.5, 0.4, 0.4, 0.1) == 0.5
    assert steer_coef(0.5, 0.9, None, 0.1) == 0.5
