"""Token losses: the shift of each family, by hand and against a plain loop."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest
import torch

from kpodx.modeling.examples import IGNORED, Placement, build_example, collate, model_family
from kpodx.modeling.likelihood import autocast, hits_from_logits, nll_from_logits, token_nll, token_scores
from kpodx.modeling.loading import load_model, load_tokenizer
from kpodx.modeling.tokenization import TokenizedRationale

# Three positions over three tokens: P = (1/2, 1/4, 1/4), (1/4, 1/2, 1/4), (1/8, 1/8, 3/4).
LOGITS = torch.log(torch.tensor([[[2.0, 1, 1], [1, 2, 1], [1, 1, 6]]]))
LABELS = torch.tensor([[0, 1, 2]])


def test_encoder_decoder_logits_stand_above_their_label() -> None:
    nll = nll_from_logits(LOGITS, LABELS, causal=False)
    assert nll.tolist() == [pytest.approx([log(2), log(2), log(4 / 3)])]


def test_decoder_only_logits_stand_before_their_label() -> None:
    nll = nll_from_logits(LOGITS, LABELS, causal=True)
    assert nll.tolist() == [pytest.approx([0.0, log(4), log(4)])]


@pytest.mark.parametrize("causal", [False, True])
def test_ignored_labels_cost_nothing_and_have_no_gradient(causal: bool) -> None:
    logits = LOGITS.clone().requires_grad_()
    nll = nll_from_logits(logits, torch.tensor([[IGNORED, 1, IGNORED]]), causal=causal)
    assert nll[0, 0] == nll[0, 2] == 0
    [gradient] = torch.autograd.grad(nll.sum(), logits)
    used = 0 if causal else 1
    assert [bool((g != 0).any()) for g in gradient[0]] == [place == used for place in range(3)]


def test_low_precision_logits_are_scored_in_float32() -> None:
    nll = nll_from_logits(LOGITS.bfloat16(), LABELS, causal=False)
    assert nll.dtype == torch.float32


def test_a_loss_that_is_not_finite_is_told_not_hidden() -> None:
    nll = nll_from_logits(torch.full((1, 3, 3), float("nan")), LABELS, causal=False)
    assert bool(nll.isnan().all())


ITEMS = [
    TokenizedRationale("a", "q", (5, 6, 7), (8, 9, 10, 11), (12, 13), (2, 4)),
    TokenizedRationale("b", "q", (5, 6), (8, 20), (12,), (2,)),
]


def one_by_one(model: torch.nn.Module, placement: Placement, item: TokenizedRationale, given: int) -> list[float]:
    """-log P of each target, asked for one token at a time."""
    steps = list(item.rationale_ids[:given])
    target = [*item.rationale_ids[given:], *item.answer_ids, 1]
    forced = steps if placement == "decoder" and model.config.is_encoder_decoder else []
    read = [*item.prompt_ids, *([] if forced else steps)]
    result = []
    for place, token in enumerate(target):
        if model.config.is_encoder_decoder:
            logits = model(
                input_ids=torch.tensor([[*read, 1]]), decoder_input_ids=torch.tensor([[0, *forced, *target[:place]]])
            ).logits
        else:
            logits = model(input_ids=torch.tensor([[2, *read, *target[:place]]])).logits
        result.append(float(-logits[0, -1].log_softmax(dim=-1)[token]))
    return result


@pytest.mark.parametrize("given_tokens", [0, 2])
@pytest.mark.parametrize("placement", ["decoder", "encoder"])
@torch.no_grad()
def test_a_padded_batch_scores_as_one_token_at_a_time(
    tiny_t5: Path, tiny_llama: Path, given_tokens: int, placement: Placement
) -> None:
    for folder in (tiny_t5, tiny_llama):
        model, tokenizer = load_model(str(folder)).eval(), load_tokenizer(str(folder))
        family = model_family(model, tokenizer)
        examples = [build_example(i, None, given_tokens, family, row=0, placement=placement) for i in ITEMS]
        batch = collate(examples, family)
        nll = token_nll(model, batch, encoder_decoder=family.encoder_decoder)
        for row, item in enumerate(ITEMS):
            found = nll[row][batch["labels"][row] != IGNORED].tolist()
            assert found == pytest.approx(one_by_one(model, placement, item, given_tokens), abs=1e-4), folder
            assert np.std(found) > 0.01


def test_hits_by_hand() -> None:
    labels = torch.tensor([[0, 1, 0]])
    # The likeliest tokens are 0, 1, 2; a decoder-only model's stand one place before their label.
    assert hits_from_logits(LOGITS, labels, causal=False).tolist() == [[True, True, False]]
    assert hits_from_logits(LOGITS, labels, causal=True).tolist() == [[False, False, False]]
    assert hits_from_logits(LOGITS, torch.tensor([[2, 0, 1]]), causal=True).tolist() == [[False, True, True]]
    assert not hits_from_logits(LOGITS, torch.full((1, 3), IGNORED), causal=False).any()


@torch.no_grad()
def test_scores_are_losses_with_hits_below_them(tiny_t5: Path, tiny_llama: Path) -> None:
    for folder in (tiny_t5, tiny_llama):
        model, tokenizer = load_model(str(folder)).eval(), load_tokenizer(str(folder))
        family = model_family(model, tokenizer)
        batch = collate([build_example(item, None, 0, family, row=0) for item in ITEMS], family)
        labels = batch["labels"]
        names = ["input_ids", "attention_mask", *(["decoder_input_ids"] if family.encoder_decoder else [])]
        shift = 0 if family.encoder_decoder else 1
        likeliest = model(**{name: batch[name] for name in names}).logits.argmax(dim=-1).roll(shift, dims=1)
        # With the likeliest token as its label, and not fed back, every target is a hit.
        target = torch.where(labels == IGNORED, labels, likeliest)
        nll, hits = token_scores(model, batch | {"labels": target}, encoder_decoder=family.encoder_decoder)
        assert torch.equal(hits == 1, labels != IGNORED)
        nll, hits = token_scores(model, batch, encoder_decoder=family.encoder_decoder)
        assert torch.equal(nll, token_nll(model, batch, encoder_decoder=family.encoder_decoder))
        assert torch.equal(hits == 1, labels == likeliest)


def test_autocast_changes_nothing_in_float32() -> None:
    cpu = torch.device("cpu")
    a = torch.randn(4, 4)
    with autocast(cpu, torch.float32):
        assert (a @ a).dtype == torch.float32
    with autocast(cpu, torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
