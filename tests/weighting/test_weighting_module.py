"""The token-weight module: shapes, bounds, padding, gradients."""

from __future__ import annotations

import pytest
import torch

from kpodx.weighting.module import TokenWeightModule


@pytest.fixture(params=[8, 6], ids=["four heads", "one head"])
def module(request: pytest.FixtureRequest) -> TokenWeightModule:
    torch.manual_seed(0)
    return TokenWeightModule(request.param, 16, logit_bound=2.0)


def embedding(module: TokenWeightModule, *shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, module.norm.normalized_shape[0], generator=torch.Generator().manual_seed(seed))


def test_one_bounded_logit_a_token(module: TokenWeightModule) -> None:
    logit = module(embedding(module, 3, 5) * 100, torch.ones(3, 5, dtype=torch.bool))
    assert logit.shape == (3, 5)
    assert float(logit.detach().abs().max()) <= 2.0
    assert float(logit.detach().std()) > 0


@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(module: TokenWeightModule, training: bool) -> None:
    module.train(training)
    short, long = embedding(module, 1, 3), embedding(module, 1, 7, seed=2)
    padded = torch.cat([torch.cat([short, embedding(module, 1, 4, seed=3) * 50], dim=1), long])
    valid = torch.tensor([[True] * 3 + [False] * 4, [True] * 7])
    together = module.keep_prob(padded, valid)
    assert torch.allclose(together[0, :3], module.keep_prob(short, valid[:1, :3])[0], atol=1e-6)
    assert torch.allclose(together[1], module.keep_prob(long, valid[1:])[0], atol=1e-6)
    assert torch.allclose(together[0, :3], torch.sigmoid(module(padded, valid))[0, :3], atol=1e-6)


def test_the_weight_depends_on_the_other_tokens(module: TokenWeightModule) -> None:
    one, valid = embedding(module, 1, 4), torch.ones(1, 4, dtype=torch.bool)
    other = one.clone()
    other[0, 3] = -other[0, 3] + 1
    assert not torch.allclose(module(one, valid)[0, 0], module(other, valid)[0, 0], atol=1e-6)


def test_every_parameter_learns(module: TokenWeightModule) -> None:
    loss = (module(embedding(module, 2, 5), torch.ones(2, 5, dtype=torch.bool)) * torch.arange(5.0)).sum()
    torch.autograd.backward(loss)
    # The key's bias shifts all scores of a query alike, which a softmax cannot see.
    assert all(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


def test_keep_prob_is_the_sigmoid_and_has_no_gradient(module: TokenWeightModule) -> None:
    valid = torch.ones(1, 4, dtype=torch.bool)
    prob = module.keep_prob(embedding(module, 1, 4), valid)
    assert not prob.requires_grad
    assert float(prob.min()) >= 1 / (1 + 2.718281828**2.0) - 1e-6
