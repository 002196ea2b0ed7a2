"""The mask: straight-through samples, masked embeddings, prefixes."""

from __future__ import annotations

from itertools import product
from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.weighting.masking import (
    bound_logit,
    keep_log_prob,
    logistic_noise,
    mask_embeddings,
    sample_keep,
    spread_targets,
)


def test_bounded_logits_by_hand() -> None:
    bounded = bound_logit(torch.tensor([-1000.0, 0.0, 4.0, 1000.0]), 4.0)
    assert bounded.tolist() == pytest.approx([-4, 0, 4 * (exp(2) - 1) / (exp(2) + 1), 4])
    small = torch.tensor([1e-3], requires_grad=True)
    assert torch.autograd.grad(bound_logit(small, 4.0).sum(), small)[0].item() == pytest.approx(1, abs=1e-4)


def test_logistic_noise_by_hand_and_at_the_ends() -> None:
    noise = logistic_noise(torch.tensor([0.5, 0.8, 0.0, 1.0]))
    assert noise[:2].tolist() == pytest.approx([0.0, log(4)], abs=1e-6)
    assert bool(noise.isfinite().all())
    assert noise[2] < -13
    assert noise[3] > 13


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_a_token_is_kept_with_probability_sigmoid_of_its_logit(temperature: float) -> None:
    logit = torch.tensor([-3.0, -1.0, 0.0, 0.5, 2.0])
    uniform = torch.rand(200_000, 1, generator=torch.Generator().manual_seed(0))
    keep = sample_keep(logit.expand(200_000, 5), logistic_noise(uniform).expand(200_000, 5), temperature)
    # Three standard errors of a share at 200,000 draws are below 0.0034.
    assert keep.mean(dim=0).tolist() == pytest.approx(torch.sigmoid(logit).tolist(), abs=0.0034)


@given(st.floats(0.2, 5.0), st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_a_sample_is_exactly_zero_or_one(temperature: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logit, uniform = torch.randn(300, generator=generator) * 3, torch.rand(300, generator=generator)
    keep = sample_keep(logit, logistic_noise(uniform), temperature)
    assert bool(((keep == 0) | (keep == 1)).all())
    assert torch.equal(keep == 1, logit + logistic_noise(uniform) > 0)


def test_the_gradient_passes_the_hard_mask() -> None:
    logit, noise = torch.tensor([-0.5, 0.2, 1.0], requires_grad=True), torch.tensor([0.3, -0.7, 0.1])
    weight = torch.tensor([1.0, -2.0, 3.0])
    [gradient] = torch.autograd.grad((sample_keep(logit, noise, 2.0) * weight).sum(), logit)
    soft = torch.sigmoid((logit.detach() + noise) / 2)
    assert torch.allclose(gradient, weight * soft * (1 - soft) / 2)
    assert bool((gradient != 0).all())


def test_masked_embeddings_by_hand() -> None:
    embedding = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    mask = torch.tensor([-1.0, 7.0])
    found = mask_embeddings(embedding, mask, torch.tensor([[1.0, 0.0, 0.25]]))
    assert found.tolist() == [[[1, 2], [-1, 7], [0.5, 6.75]]]


def test_the_loss_reaches_the_mask_through_the_embeddings() -> None:
    logit = torch.zeros(1, 2, requires_grad=True)
    keep = sample_keep(logit, torch.tensor([[1.0, -1.0]]), 1.0)
    embedding, mask = torch.tensor([[[1.0], [2.0]]]), torch.tensor([0.5], requires_grad=True)
    loss = mask_embeddings(embedding, mask, keep).sum()
    by_logit, by_mask = torch.autograd.grad(loss, [logit, mask])
    slope = float(torch.sigmoid(torch.tensor(1.0)) * torch.sigmoid(torch.tensor(-1.0)))
    assert by_logit.tolist() == [pytest.approx([0.5 * slope, 1.5 * slope])]
    assert by_mask.item() == 1.0


def test_prefixes_by_hand() -> None:
    found = spread_targets(torch.tensor([8, 8, 3, 1]), 4, torch.tensor([0.0, 0.5, 0.0, 0.9]))
    assert found.tolist() == [[2, 4, 6, 8], [1, 3, 5, 7], [1, 2, 3, 3], [1, 1, 1, 1]]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=6), st.integers(1, 12), st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=150)
def test_prefixes_rise_and_stay_inside(lengths: list[int], num_prefixes: int, shift: float) -> None:
    found = spread_targets(torch.tensor(lengths), num_prefixes, torch.full((len(lengths),), shift))
    assert found.shape == (len(lengths), num_prefixes)
    assert bool((found >= 1).all())
    for row, length in zip(found, lengths, strict=True):
        gaps = row.diff()
        assert int(row.max()) <= length
        assert bool((gaps >= 0).all())
        assert not len(gaps) or float(gaps.max()) <= length / num_prefixes + 1
    whole = spread_targets(torch.tensor(lengths), num_prefixes, torch.zeros(len(lengths)))
    assert whole[:, -1].tolist() == lengths


def test_every_prefix_length_is_equally_likely() -> None:
    shifts = (torch.arange(70_000) + 0.5) / 70_000
    found = spread_targets(torch.full((70_000,), 7), 3, shifts)
    shares = torch.bincount(found.flatten(), minlength=8)[1:] / found.numel()
    assert shares.tolist() == pytest.approx([1 / 7] * 7, abs=1e-3)


# 32 bits wide, as shifts are drawn: a wider float just below 1 would become 1, which no draw gives.
@given(st.integers(1, 12), st.integers(0, 12), st.floats(0, 1, exclude_max=True, width=32))
@settings(deadline=None, max_examples=100)
def test_few_targets_are_all_drawn(num_targets: int, more: int, shift: float) -> None:
    found = spread_targets(torch.tensor([num_targets]), num_targets + more, torch.tensor([shift]))
    assert sorted(set(found[0].tolist())) == list(range(1, num_targets + 1))


def test_the_probability_of_a_mask_by_hand() -> None:
    logit, counted = torch.tensor([[log(3), 0.0, 50.0]]), torch.tensor([[True, True, False]])
    kept, masked = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 1.0]])
    assert keep_log_prob(logit, kept, counted).tolist() == pytest.approx([log(3 / 4) + log(1 / 2)], abs=1e-6)
    assert keep_log_prob(logit, masked, counted).tolist() == pytest.approx([log(1 / 4) + log(1 / 2)], abs=1e-6)


@given(st.lists(st.floats(-6, 6), min_size=1, max_size=6))
@settings(deadline=None, max_examples=50)
def test_the_probabilities_of_all_masks_add_up_to_one(logits: list[float]) -> None:
    masks = torch.tensor(list(product([0.0, 1.0], repeat=len(logits))))
    logit = torch.tensor(logits).expand(masks.shape)
    assert float(keep_log_prob(logit, masks, masks >= 0).exp().sum()) == pytest.approx(1, abs=1e-4)
