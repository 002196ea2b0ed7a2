"""Weights without a mask: each formula by hand, and each method from artifacts to artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from phase_inputs import Notes, context_for, mark_results, write_inputs

from kpodx import artifacts
from kpodx.modeling.examples import model_family
from kpodx.modeling.loading import load_model, load_tokenizer
from kpodx.modeling.rationale_likelihood import rationale_nll
from kpodx.modeling.tokenization import tokenize_rationales
from kpodx.runtime import PhaseContext, SilentProgress
from kpodx.text.token_types import TokenType
from kpodx.weighting import phase, rivals
from kpodx.weighting.config import TokenTypeWeights, WeightingConfig
from kpodx.weighting.learnability import learnability_weight
from kpodx.weighting.likelihood_gain import gain_weight, other_questions
from kpodx.weighting.material import load_material
from kpodx.weighting.reference import halves, train_plainly
from kpodx.weighting.token_table import table_weights

SHORT: dict[str, Any] = {"reference_updates": 3, "batch_size": 4}
METHODS = ("token-type", "gold", "learnability", "question-dependence", "conditional", "uniform")
LOSS = st.lists(st.floats(0, 20, width=32), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rivals") / "in"
    write_inputs(folder)
    mark_results(folder)
    return folder


def context(inputs: Path, student: Path, out: str, **changes: Any) -> PhaseContext:
    return context_for(inputs, student, out, weighting=WeightingConfig(**(SHORT | changes)))


def floats(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_the_table_by_hand() -> None:
    table = {kind: place / 10 for place, kind in enumerate(TokenType, start=1)}
    found = table_weights("we + 12 eggs.", [(0, 2), (2, 4), (4, 7), (7, 12), (12, 13)], table)
    assert found.tolist() == pytest.approx([0.3, 0.2, 0.1, 0.4, 0.5])
    assert len(table_weights("", [], table)) == 0


def test_the_recipes_table_has_every_type() -> None:
    assert set(TokenTypeWeights().by_type) == set(TokenType)
    assert TokenTypeWeights(digit=0.5).by_type[TokenType.DIGIT] == 0.5


def test_learnability_by_hand() -> None:
    """Hard and learnable, hard and not, easy already, and harder after training."""
    found = learnability_weight(floats(1, 1, 0, 1, 1), floats(0, 1, 0, 2, 0.5), half=0.25, low=0.2, high=1.0)
    assert found.tolist() == pytest.approx([0.2 + 0.8 * 0.8, 0.2, 0.2, 0.2, 0.2 + 0.8 * 0.8 / 16])


@given(LOSS, st.floats(0, 20))
@settings(deadline=None)
def test_learnability_stays_in_its_range_and_falls_with_the_references_loss(before: list[float], after: float) -> None:
    untrained = floats(*before)
    low, high = (
        learnability_weight(untrained, np.full_like(untrained, loss), half=0.25, low=0.2, high=0.98)
        for loss in (after, 0.0)
    )
    assert bool(((low >= 0.2 - 1e-6) & (high <= 0.98 + 1e-6)).all())
    assert bool((low <= high + 1e-6).all())


def test_gain_by_hand() -> None:
    found = gain_weight(floats(0.05, 3.0, 1.0), floats(0.0, 3.0, 2.0), half=0.05, low=0.2, high=1.0)
    assert found.tolist() == pytest.approx([0.6, 0.2, 0.2])


@given(LOSS, st.floats(0, 5))
@settings(deadline=None)
def test_gain_rises_with_what_the_information_is_worth(losses: list[float], more: float) -> None:
    beside = floats(*losses)
    less, greater = (gain_weight(beside + extra, beside, half=0.05, low=0.2, high=0.98) for extra in (more / 2, more))
    assert bool((less <= greater + 1e-5).all())
    assert bool(((less >= 0.2 - 1e-6) & (greater <= 0.98 + 1e-6)).all())


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), st.integers(0, 99))
def test_another_question_is_another_question(names: list[str], seed: int) -> None:
    found = other_questions(names, seed)
    for row, other in enumerate(found):
        assert (names[other] != names[row]) or (len(set(names)) == 1 and other == row)
    assert found == other_questions(names, seed)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12), st.integers(0, 99))
def test_halves_part_questions(names: list[str], seed: int) -> None:
    first, second = halves(names, seed)
    assert sorted([*first, *second]) == list(range(len(names)))
    assert not {names[row] for row in first} & {names[row] for row in second}
    assert abs(len({names[row] for row in first}) - len({names[row] for row in second})) <= 1


@pytest.mark.parametrize("family", ["tiny_t5", "tiny_llama"])
def test_plain_training_lowers_the_loss_of_what_it_is_taught(
    inputs: Path, family: str, request: pytest.FixtureRequest
) -> None:
    folder = str(request.getfixturevalue(family))
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    rationales = artifacts.load_rationales(inputs / "rationales")
    items = tokenize_rationales(tokenizer, rationales, artifacts.load_questions(inputs / "dataset"))[:4]
    layout = model_family(model, tokenizer)

    def loss() -> float:
        scored = rationale_nll(model.eval(), layout, items, batch_size=4, dtype=torch.float32)
        return float(np.mean([values.mean() for _, values in scored]))

    before = loss()
    train_plainly(
        model,
        layout,
        items,
        updates=25,
        batch_size=4,
        learning_rate=1e-2,
        dtype=torch.float32,
        seed=0,
        progress=SilentProgress(),
    )
    assert loss() < before - 0.5


@pytest.mark.parametrize("method", METHODS)
def test_every_method_weighs_every_token(inputs: Path, tiny_t5: Path, method: str) -> None:
    ctx = context(inputs, tiny_t5, f"out-{method}", method=method)
    summary = phase.run(ctx)
    weights = artifacts.load_token_weights(ctx.output)
    tokenizer = load_tokenizer(str(tiny_t5))
    rationales = artifacts.load_rationales(inputs / "rationales")
    tokenized = tokenize_rationales(tokenizer, rationales, artifacts.load_questions(inputs / "dataset"))
    assert np.diff(weights.offsets).tolist() == [len(item.rationale_ids) for item in tokenized]
    assert bool(((weights.token_weight > 0) & (weights.token_weight <= 1)).all())
    assert (len(set(weights.token_weight.tolist())) == 1) is (method == "uniform")
    assert summary["method"] == method
    assert summary["masks"] is None
    assert sorted(path.name for path in ctx.output.iterdir()) == ["findings.json", "token_weights.safetensors"]


def test_a_decoder_only_student_can_be_compared_too(inputs: Path, tiny_llama: Path) -> None:
    ctx = context(inputs, tiny_llama, "out-llama", method="conditional")
    phase.run(ctx)
    assert len(set(artifacts.load_token_weights(ctx.output).token_weight.tolist())) > 10


def test_the_table_reaches_the_weights(inputs: Path, tiny_t5: Path) -> None:
    ctx = context(inputs, tiny_t5, "out-table", method="token-type", token_type_weights={"digit": 0.5})
    phase.run(ctx)
    found = artifacts.read_json(ctx.output / "findings.json")["token_types"]
    assert found["digit"]["mean"] == 0.5
    assert found["function_word"]["mean"] == 0.23


@pytest.mark.parametrize("method", [*METHODS, "mask-learning"])
def test_settings_of_other_methods_do_not_count(method: str) -> None:
    plain = WeightingConfig(method=method)
    changes: dict[str, Any] = {
        "predictor": "org/other",
        "mask_updates": 7,
        "reference_updates": 7,
        "gain_half": 0.5,
        "hardness_half": 0.5,
        "batch_size": 7,
        "token_type_weights": {"digit": 0.5},
        "gold_weights": {"other": 0.5},
    }
    counted = {
        name
        for name, value in changes.items()
        if WeightingConfig(method=method, **{name: value}).deciding_settings() != plain.deciding_settings()
    }
    assert (
        counted
        == {
            "mask-learning": {"predictor", "mask_updates", "batch_size"},
            "token-type": {"token_type_weights"},
            "gold": {"gold_weights"},
            "learnability": {"reference_updates", "hardness_half", "batch_size"},
            "question-dependence": {"gain_half"},
            "conditional": {"reference_updates", "gain_half", "batch_size"},
            "uniform": set(),
        }[method]
    )
    assert WeightingConfig(method="uniform").deciding_settings() != WeightingConfig().deciding_settings()


def test_every_method_is_known_to_the_phase() -> None:
    assert set(rivals.RIVALS) == set(METHODS)


def test_a_weight_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        TokenTypeWeights(digit=0.0)


@pytest.mark.parametrize("method", ["learnability", "conditional"])
def test_no_student_scores_what_it_was_taught(
    inputs: Path, tiny_t5: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    taught: list[set[str]] = []
    scored: list[set[str]] = []
    honest = rivals.rationale_nll

    def watch_training(_model: Any, _family: Any, items: Any, **_rest: Any) -> None:
        taught.append({item.question_id for item in items})

    def watch_scoring(model: Any, family: Any, items: Any, **rest: Any) -> Iterator[Any]:
        if len(taught) > len(scored) or method == "conditional":
            scored.append({item.question_id for item in items})
        return honest(model, family, items, **rest)

    monkeypatch.setattr(rivals, "train_plainly", watch_training)
    monkeypatch.setattr(rivals, "rationale_nll", watch_scoring)
    phase.run(context(inputs, tiny_t5, f"out-fitted-{method}", method=method))
    assert len(taught) == 2
    repeats = 2 if method == "conditional" else 1
    for number, questions in enumerate(taught):
        for part in scored[number * repeats : (number + 1) * repeats]:
            assert not part & questions
    assert set.union(*scored) == set.union(*taught)


def test_the_answer_is_read_before_the_rationale(inputs: Path, tiny_t5: Path) -> None:
    ctx = context(inputs, tiny_t5, "out-answered", method="conditional")
    material = load_material(ctx)
    for item, answered in zip(material.tokenized, rivals.with_answers(material), strict=True):
        assert item == replace(answered, prompt_ids=item.prompt_ids)
        assert "Theansweris" in material.tokenizer.decode(answered.prompt_ids).replace(" ", "")
        assert "Theansweris" not in material.tokenizer.decode(item.prompt_ids).replace(" ", "")


def test_a_killed_reference_goes_on_to_the_same_weights(
    inputs: Path, tiny_t5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, halved = (context(inputs, tiny_t5, f"out-{name}", method="learnability") for name in ("whole", "halved"))
    phase.run(whole)
    honest, calls = rivals.train_plainly, []

    def killed(*args: Any, **rest: Any) -> None:
        calls.append(rest["seed"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        honest(*args, **rest)

    monkeypatch.setattr(rivals, "train_plainly", killed)
    with pytest.raises(KeyboardInterrupt):
        phase.run(halved)
    assert [path.name for path in halved.output.iterdir()] == ["reference-0.safetensors"]
    phase.run(halved)
    assert len(calls) == 3
    first, second = (artifacts.load_token_weights(ctx.output).token_weight for ctx in (whole, halved))
    assert np.array_equal(first, second)
    assert isinstance(halved.progress, Notes)
