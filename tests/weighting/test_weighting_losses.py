"""The three losses and the control of α, by hand."""

from __future__ import annotations

import pytest
import torch

from kpodx.weighting.losses import answer_prediction_loss, keep_share_penalty, mask_learning_loss, mask_ratio_loss


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


def test_the_pull_to_a_kept_share() -> None:
    keep_prob = torch.tensor([[0.9, 0.5], [0.4, 0.7]], requires_grad=True)
    valid = torch.tensor([[True, True], [True, False]])
    penalty = keep_share_penalty(keep_prob, valid, 0.4)
    assert penalty.item() == pytest.approx(0.2**2)
    [gradient] = torch.autograd.grad(penalty, keep_prob)
    assert gradient.tolist() == [pytest.approx([2 * 0.2 / 3] * 2), pytest.approx([2 * 0.2 / 3, 0])]
    assert torch.autograd.grad(keep_share_penalty(keep_prob, valid, 0.9), keep_prob)[0][0, 0] < 0
