"""What the module reads: the same vector for a token id everywhere, or states that know place and context."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from predictor_items import item_of
from tiny_models import make_tiny_llama, make_tiny_t5
from torch import Tensor

from kpodx.errors import ConfigError
from kpodx.modeling.examples import model_family
from kpodx.modeling.loading import Model, Tokenizer, load_with_tokenizer
from kpodx.weighting.annealing import Ramp
from kpodx.weighting.features import EmbeddingFeatures, Features, LayerFeatures
from kpodx.weighting.module import TokenWeightModule
from kpodx.weighting.predictor import AnswerPredictor, PredictorItem, build_batch
from kpodx.weighting.training import Balance, Drawing, LearningRates, MaskLearner, Stages

CPU = torch.device("cpu")
PROMPT, BODY = (10, 11, 12, 13), (20, 21, 22, 20, 23, 20)
"""The rationale has token 20 three times."""


@pytest.fixture(scope="module", params=["t5", "llama", "llama without start"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of three layers, with dropout."""
    path = tmp_path_factory.mktemp("student")
    if request.param == "t5":
        return make_tiny_t5(path, layers=3, dropout=0.5)
    return make_tiny_llama(path, layers=3, bos=request.param == "llama", attention_dropout=0.5)


def loaded(folder: Path) -> tuple[Model, Tokenizer]:
    return load_with_tokenizer(str(folder))


def layer_of(folder: Path, layer: int = 1) -> LayerFeatures:
    model, tokenizer = loaded(folder)
    return LayerFeatures(model.train(), model_family(model, tokenizer), layer, CPU, torch.float32)


def table_of(folder: Path) -> EmbeddingFeatures:
    return EmbeddingFeatures(loaded(folder)[0].get_input_embeddings().weight.detach())


def states(features: Features, *items: PredictorItem) -> Tensor:
    return features(build_batch(items, CPU))


def keep_prob(features: Features, item: PredictorItem) -> Tensor:
    torch.manual_seed(0)
    module = TokenWeightModule(features.width, 16, 3.0).eval()
    batch = build_batch([item], CPU)
    return module.keep_prob(features(batch), batch.student_valid)[0]


ITEM = item_of(PROMPT, BODY, (6,))


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_states_are_those_of_the_whole_student_after_that_layer(folder: Path, layer: int) -> None:
    model, tokenizer = loaded(folder)
    family = model_family(model, tokenizer)
    if family.encoder_decoder:
        ids, stack = (*PROMPT, *BODY, family.eos_id), model.get_encoder()
    else:
        ids, stack = (*(() if family.bos_id is None else (family.bos_id,)), *PROMPT, *BODY), model
    first = ids.index(BODY[0])
    with torch.no_grad():
        whole = stack(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[layer]
    found = states(layer_of(folder, layer), ITEM)
    assert found.shape == (1, len(BODY), 32)
    torch.testing.assert_close(found[0], whole[0, first : first + len(BODY)])


def test_layers_above_are_dropped(folder: Path) -> None:
    kept = [sum(p.numel() for p in layer_of(folder, layer).stack.parameters()) for layer in (1, 2, 3)]
    assert kept[0] < kept[1] == kept[2], "one more than is read, if there is one"


def test_a_layer_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError, match="feature_layer is 4, but the student has 3 layers"):
        layer_of(folder, 4)


def test_an_id_in_two_places_has_one_weight_by_its_embedding_and_two_by_its_states(folder: Path) -> None:
    by_embedding, by_state = keep_prob(table_of(folder), ITEM), keep_prob(layer_of(folder), ITEM)
    twenties = [place for place, token in enumerate(BODY) if token == 20]
    assert float(by_embedding[twenties].max() - by_embedding[twenties].min()) < 1e-6
    assert len({round(w, 5) for w in by_state[twenties].tolist()}) == 3


def test_padding_changes_nothing(folder: Path) -> None:
    longer = item_of((*PROMPT, 14, 15), (*BODY, 30, 31, 32), (6,))
    for features in (table_of(folder), layer_of(folder)):
        together = states(features, ITEM, longer)
        assert together.shape == (2, 9, 32)
        torch.testing.assert_close(together[0, : len(BODY)], states(features, ITEM)[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together[1], states(features, longer)[0], atol=1e-5, rtol=1e-4)


def test_who_sees_what(folder: Path) -> None:
    """The question is read by both families; what follows a token is read by an encoder alone."""
    features = layer_of(folder)
    own = states(features, ITEM)[0]
    other_question = states(features, replace(ITEM, student_prompt_ids=(10, 11, 12, 40)))[0]
    assert not torch.isclose(own, other_question).all(dim=1).any()
    other_end = states(features, item_of(PROMPT, (*BODY[:-1], 40), (6,)))[0]
    unchanged = torch.isclose(own, other_end, atol=1e-6).all(dim=1).tolist()
    assert unchanged == [not features.family.encoder_decoder] * 5 + [False]


def test_states_are_frozen_and_alike_every_time(folder: Path) -> None:
    features = layer_of(folder)
    torch.manual_seed(1)
    first = states(features, ITEM)
    torch.manual_seed(2)
    assert torch.equal(first, states(features, ITEM)), "no dropout"
    assert not first.requires_grad
    assert not any(p.requires_grad for p in features.stack.parameters())


def test_learning_moves_the_module_and_leaves_the_student(folder: Path) -> None:
    features, (model, tokenizer) = layer_of(folder), loaded(folder)
    module = TokenWeightModule(features.width, 16, 3.0)
    learner = MaskLearner(
        AnswerPredictor(model, model_family(model, tokenizer)),
        module,
        features,
        stages=Stages(0, 0, 3),
        rates=LearningRates(1e-2, 1e-3, 1e-3),
        drawing=Drawing(4, 2, True, 0.0, Ramp(1.0), "straight-through"),
        balance=Balance(0.5, Ramp(0.4), 50.0),
        dtype=torch.float32,
        seed=0,
    )
    student = [p.clone() for p in features.stack.parameters()]
    before = [p.clone() for p in module.parameters()]
    for _ in range(3):
        learner.step([ITEM, item_of(PROMPT, (20, 30, 31), (6,))])
    assert all(torch.equal(a, b) for a, b in zip(student, features.stack.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_states_in_bfloat16_come_as_float32(folder: Path) -> None:
    model, tokenizer = loaded(folder)
    features = LayerFeatures(model, model_family(model, tokenizer), 1, CPU, torch.bfloat16)
    found = states(features, ITEM)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, states(layer_of(folder), ITEM), atol=0.1, rtol=0.1)
