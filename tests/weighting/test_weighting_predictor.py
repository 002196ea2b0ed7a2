"""The answer predictor sees the question, the kept tokens of a prefix, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from predictor_items import item_of
from tiny_models import make_tiny_llama, make_tiny_t5

from kpodx.modeling.examples import model_family
from kpodx.modeling.loading import load_model, load_tokenizer
from kpodx.modeling.tokenization import encode_continuations
from kpodx.weighting.predictor import AnswerPredictor, PredictorItem, build_batch
from kpodx.weighting.targets import answer_targets

CPU = torch.device("cpu")
Make = Callable[..., Path]


ITEM = item_of((10, 11, 12), (20, 21, 22, 23, 24, 25), (30, 31))
OTHER = item_of((13,), (26, 27), (32,))
LONGER = item_of((10, 14, 15, 16), tuple(range(40, 52)), (33, 34, 35))


@pytest.fixture(scope="module", params=[make_tiny_t5, make_tiny_llama], ids=["t5", "llama"])
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AnswerPredictor:
    folder = str(request.param(tmp_path_factory.mktemp("model"), layers=2))
    model = load_model(folder)
    result = AnswerPredictor(model, model_family(model, load_tokenizer(folder))).eval()
    with torch.no_grad():
        result.mask_embedding.copy_(torch.randn(32, generator=torch.Generator().manual_seed(5)))
    return result


def nll(
    predictor: AnswerPredictor, items: list[PredictorItem], keep: list[list[float]], prefixes: list[list[int]]
) -> torch.Tensor:
    batch = build_batch(items, CPU)
    mask = torch.zeros(batch.student_valid.shape)
    for row, values in enumerate(keep):
        mask[row, : len(values)] = torch.tensor(values)
    rows = [(i, k - 1) for i, row in enumerate(prefixes) for k in row]
    with torch.no_grad():
        return predictor(batch, mask, rows)[0].view(len(items), -1)


def one(predictor: AnswerPredictor, item: PredictorItem, keep: list[float], prefix: int) -> float:
    return float(nll(predictor, [item], [keep], [[prefix]]))


def changed(item: PredictorItem, place: int, token: int = 60) -> PredictorItem:
    body = (*item.rationale_ids[:place], token, *item.rationale_ids[place + 1 :])
    return replace(item, rationale_ids=body, student_ids=body)


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 5), st.integers(1, 6))
@settings(deadline=None, max_examples=40)
def test_only_kept_tokens_inside_the_prefix_matter(
    predictor: AnswerPredictor, kept: list[bool], place: int, prefix: int
) -> None:
    keep = [float(k) for k in kept]
    before, after = one(predictor, ITEM, keep, prefix), one(predictor, changed(ITEM, place), keep, prefix)
    if kept[place] and place < prefix:
        assert abs(before - after) > 1e-6
    else:
        assert before == after


def test_masking_itself_is_seen(predictor: AnswerPredictor) -> None:
    values = {one(predictor, ITEM, [1.0] * k + [0.0] * (6 - k), 6) for k in range(7)}
    assert len(values) == 7


def test_the_question_and_the_answer_are_never_masked(predictor: AnswerPredictor) -> None:
    masked = [0.0] * 6
    for place in range(3):
        prompt = (*ITEM.prompt_ids[:place], 61, *ITEM.prompt_ids[place + 1 :])
        assert one(predictor, replace(ITEM, prompt_ids=prompt), masked, 6) != one(predictor, ITEM, masked, 6)
    swapped = replace(ITEM, targets=((30, 62),) * 6)
    assert one(predictor, swapped, masked, 6) != one(predictor, ITEM, masked, 6)


def test_a_fully_masked_prefix_is_not_the_question_alone(predictor: AnswerPredictor) -> None:
    assert one(predictor, ITEM, [0.0] * 6, 6) != pytest.approx(plain_nll(predictor, ITEM, 0), abs=1e-6)


def test_each_target_follows_its_own_prefix(predictor: AnswerPredictor) -> None:
    item = replace(ITEM, stops=(2, 5, 6), targets=((40, 41, 42), (43,), ITEM.targets[0]))
    found = nll(predictor, [item, ITEM], [[1.0] * 6] * 2, [[1, 2, 3], [2, 5, 6]])
    asked = [replace(ITEM, targets=(target,) * 6) for target in item.targets]
    expected = [plain_nll(predictor, i, k) for i, k in zip(asked, item.stops, strict=True)]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-4)
    assert found[1].tolist() == pytest.approx([plain_nll(predictor, ITEM, k) for k in (2, 5, 6)], abs=1e-4)


@torch.no_grad()
def plain_nll(predictor: AnswerPredictor, item: PredictorItem, prefix: int) -> float:
    """The same by ids, one token at a time, without any mask."""
    model, target = predictor.model, [*item.targets[-1], 1]
    read = [*item.prompt_ids, *item.rationale_ids[:prefix]]
    total = 0.0
    for place, token in enumerate(target):
        if predictor.family.encoder_decoder:
            start = torch.tensor([[0, *target[:place]]])
            logits = model(input_ids=torch.tensor([[*read, 1]]), decoder_input_ids=start).logits
        else:
            logits = model(input_ids=torch.tensor([[2, *read, *target[:place]]])).logits
        total -= float(logits[0, -1].log_softmax(dim=-1)[token])
    return total


def test_unmasked_it_is_the_language_model_itself(predictor: AnswerPredictor) -> None:
    found = nll(predictor, [ITEM, OTHER], [[1.0] * 6, [1.0] * 2], [[2, 6], [1, 2]])
    expected = [[plain_nll(predictor, i, k) for k in ks] for i, ks in ((ITEM, (2, 6)), (OTHER, (1, 2)))]
    assert found.tolist() == [pytest.approx(row, abs=1e-4) for row in expected]


def test_the_rest_of_the_batch_changes_nothing(predictor: AnswerPredictor) -> None:
    keep, items = {6: [1.0, 0, 1, 1, 0, 1], 2: [0.0, 1], 12: [1.0, 0] * 6}, [ITEM, OTHER, LONGER]
    masks = [keep[len(i.rationale_ids)] for i in items]
    together = nll(predictor, items, masks, [[3, 6], [1, 2], [5, 12]])
    for row, (item, mask, prefixes) in enumerate(zip(items, masks, ((3, 6), (1, 2), (5, 12)), strict=True)):
        alone = [one(predictor, item, mask, k) for k in prefixes]
        assert together[row].tolist() == pytest.approx(alone, abs=1e-4)


def test_the_gradient_reaches_every_kept_or_masked_token_of_the_prefix(predictor: AnswerPredictor) -> None:
    batch = build_batch([ITEM, OTHER], CPU)
    keep = torch.full(batch.student_valid.shape, 0.5, requires_grad=True)
    loss = predictor(batch, keep, [(0, 3), (1, 1)])[0].sum()
    gradient, mask_gradient = torch.autograd.grad(loss, [keep, predictor.mask_embedding])
    assert (gradient != 0).tolist() == [[True] * 4 + [False] * 2, [True] * 2 + [False] * 4]
    assert bool(mask_gradient.any())


@pytest.mark.parametrize(("said", "correct"), [((32, 1), True), ((32, 5), False), ((5, 1), False)])
def test_correct_means_every_token_of_the_answer_is_the_most_likely(
    predictor: AnswerPredictor, said: tuple[int, int], correct: bool
) -> None:
    # A decoder-only model says the answer from its last prompt position on: behind the start, one prompt and two rationale tokens.
    first = 0 if predictor.family.encoder_decoder else 3

    def say(_module: torch.nn.Module, _args: object, output: Any) -> Any:
        for place, token in enumerate(said):
            output.logits[:, first + place, token] += 1e4
        return output

    handle = predictor.model.register_forward_hook(say)
    with torch.no_grad():
        found = predictor(build_batch([OTHER], CPU), torch.ones(1, 2), [(0, 1), (0, 1)])[1]
    handle.remove()
    assert found.tolist() == [correct, correct]


def test_a_student_of_another_vocabulary_masks_by_characters(predictor: AnswerPredictor) -> None:
    # The predictor's token 0 covers characters 0-4 = the student's tokens 0 and 1; its tokens 1 and 2 are both the student's token 2.
    stops, targets = answer_targets(3, (30,))
    spans, student_spans = ((0, 4), (4, 5), (5, 8)), ((0, 2), (2, 4), (4, 8))
    item = PredictorItem((10,), (20, 21, 22), stops, targets, (1, 2, 3), spans, student_spans, (0, 1, 2))
    batch = build_batch([item], CPU)
    assert batch.overlap.tolist() == [[[0.5, 0.5, 0], [0, 0, 1], [0, 0, 1]]]
    assert batch.student_ids.tolist() == [[1, 2, 3]]
    assert batch.visible([(0, 0), (0, 1), (0, 2)]).tolist() == [[True, True, False], [True] * 3, [True] * 3]
    first_two = [1.0, 1.0, 0.0]
    for place, matters in ((0, True), (1, False), (2, False)):
        ids = (*item.rationale_ids[:place], 60, *item.rationale_ids[place + 1 :])
        same = one(predictor, replace(item, rationale_ids=ids), first_two, 3) == one(predictor, item, first_two, 3)
        assert same is not matters


def test_vocabularies_meet_on_the_same_words(tiny_t5: Path, tiny_llama: Path) -> None:
    t5, llama = load_tokenizer(str(tiny_t5)), load_tokenizer(str(tiny_llama))
    text = "Tom has 12 apples, so 3."
    [(own, spans)], [(theirs, student_spans)] = encode_continuations(t5, [text]), encode_continuations(llama, [text])
    stops, targets = answer_targets(len(own), (6,))
    leaders = tuple(range(len(theirs)))
    batch = build_batch([PredictorItem((5,), own, stops, targets, theirs, spans, student_spans, leaders)], CPU)
    keep = torch.tensor([[float(text[a:b].strip().isdigit()) for a, b in student_spans]])
    carried = torch.bmm(batch.overlap, keep[..., None]).flatten()
    kept = "".join(text[a:b] for (a, b), k in zip(spans, carried.tolist(), strict=True) if k > 0.5)
    assert kept.replace(" ", "") == "123"


def test_the_mask_starts_as_the_mean_embedding_and_learns(tiny_t5: Path) -> None:
    model = load_model(str(tiny_t5))
    fresh = AnswerPredictor(model, model_family(model, load_tokenizer(str(tiny_t5))))
    assert torch.allclose(fresh.mask_embedding, model.get_input_embeddings().weight.mean(dim=0))
    assert any(p is fresh.mask_embedding for p in fresh.parameters())
