"""Equation 15 by hand and by its properties."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from kpodx.distillation.losses import distillation_loss


def test_two_rationales_by_hand() -> None:
    """Weighted rationale targets, unweighted answers, over all six targets, a padding position worth nothing."""
    nll = torch.tensor([[2.0, 1.0, 0.5], [4.0, 3.0, 0.25]])
    weight = torch.tensor([[0.5, 0.25, 1.0], [0.1, 1.0, 1.0]])
    assert distillation_loss(nll, weight, 6).item() == pytest.approx((1.0 + 0.25 + 0.5 + 0.4 + 3.0 + 0.25) / 6)
    padded = torch.nn.functional.pad(nll, (0, 1)), torch.nn.functional.pad(weight, (0, 1))
    assert distillation_loss(*padded, 6).item() == pytest.approx(5.4 / 6)


def test_halving_all_weights_halves_the_loss() -> None:
    """Divided by the sum of weights, as a mean, it would not change."""
    nll = torch.rand(3, 5) + 0.1
    weight = torch.rand(3, 5) + 0.1
    assert distillation_loss(nll, weight / 2, 15).item() == pytest.approx(distillation_loss(nll, weight, 15).item() / 2)


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1)), min_size=2, max_size=30), st.integers(1, 29))
@settings(deadline=None, max_examples=50)
def test_batches_add_up(targets: list[tuple[float, float]], cut: int) -> None:
    """With the count of the whole window, the sum over its batches is the loss of one batch."""
    cut = min(cut, len(targets) - 1)
    nll, weight = (torch.tensor([column], dtype=torch.float64).float() for column in zip(*targets, strict=True))
    whole = distillation_loss(nll, weight, len(targets))
    parts = distillation_loss(nll[:, :cut], weight[:, :cut], len(targets)) + distillation_loss(
        nll[:, cut:], weight[:, cut:], len(targets)
    )
    assert parts.item() == pytest.approx(whole.item(), rel=1e-5, abs=1e-6)


def test_gradient_of_each_token_is_its_weight() -> None:
    """∂L/∂nll_j = w_j / n."""
    nll = torch.ones(1, 4, requires_grad=True)
    weight = torch.tensor([[0.2, 0.9, 1.0, 0.0]])
    distillation_loss(nll, weight, torch.tensor(3)).backward()
    assert nll.grad is not None
    torch.testing.assert_close(nll.grad, weight / 3)


def test_not_a_number_stays_one() -> None:
    """Never returned as 0."""
    assert torch.isnan(distillation_loss(torch.tensor([[float("nan"), 1.0]]), torch.ones(1, 2), 2))


def test_shapes_are_checked() -> None:
    """One weight a token."""
    with pytest.raises(TypeCheckError):
        distillation_loss(torch.ones(2, 3), torch.ones(2, 4), 6)
