"""The three losses and the control of α, by hand."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from kpodx.weighting.losses import (
    answer_prediction_loss,
    keep_share_penalty,
    leave_one_out_loss,
    mask_learning_loss,
    mask_ratio_loss,
    mean_per_rationale,
)
from kpodx.weighting.masking import keep_log_prob

OWNER = torch.tensor([0, 0, 2])


def test_answer_prediction_loss_counts_rationales_alike_however_many_prefixes_they_have() -> None:
    nll = torch.tensor([1.0, 3.0, 6.0])
    assert mean_per_rationale(nll, OWNER, 3).tolist() == [2.0, 0.0, 6.0]
    assert answer_prediction_loss(nll[:2], OWNER[:2], 1).item() == 2.0
    assert answer_prediction_loss(nll, torch.tensor([0, 0, 1]), 2).item() == 4.0


def test_leave_one_out_by_hand() -> None:
    log_prob = torch.tensor([-1.0, -2.0], requires_grad=True)
    nll = torch.tensor([3.0, 1.0], requires_grad=True)
    loss = leave_one_out_loss(nll[:1], nll[1:], log_prob[:1], log_prob[1:])
    assert loss.tolist() == [1.0]
    gradients = torch.autograd.grad(loss.sum(), [log_prob, nll], allow_unused=True)
    assert gradients[0].tolist() == [1.0, -1.0]
    assert gradients[1] is None


LOSS_OF_MASK = {(0, 0): 5.0, (0, 1): 1.0, (1, 0): 4.0, (1, 1): -2.0}
"""L(m) of a rationale of two tokens, without any structure that an estimator could lean on."""


def exact_gradient(logit: torch.Tensor) -> torch.Tensor:
    """The gradient of E[L(m)], by going through all masks."""
    expected = sum(
        keep_log_prob(logit, torch.tensor(mask, dtype=torch.float64), torch.ones(2, dtype=torch.bool)).exp() * loss
        for mask, loss in LOSS_OF_MASK.items()
    )
    return torch.autograd.grad(expected, logit)[0]


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_leave_one_out_is_unbiased_and_ignores_a_constant(shift: float) -> None:
    """Its expectation over both masks, by going through all sixteen pairs, is the gradient of E[L]."""
    logit = torch.tensor([0.4, -1.1], dtype=torch.float64, requires_grad=True)
    counted = torch.ones(2, dtype=torch.bool)
    total = torch.zeros(2, dtype=torch.float64)
    for (first, first_loss), (second, second_loss) in product(LOSS_OF_MASK.items(), repeat=2):
        log_probs = [keep_log_prob(logit, torch.tensor(m, dtype=torch.float64), counted) for m in (first, second)]
        losses = [torch.tensor(loss + shift, dtype=torch.float64) for loss in (first_loss, second_loss)]
        estimate = leave_one_out_loss(*(x[None] for x in (*losses, *log_probs))).sum()
        [gradient] = torch.autograd.grad(estimate, logit)
        total += (log_probs[0] + log_probs[1]).detach().exp() * gradient
    assert total.tolist() == pytest.approx(exact_gradient(logit).tolist(), abs=1e-9)


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
