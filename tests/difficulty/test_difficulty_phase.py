"""Scoring with a tiny student, in shards, and the phase."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from phase_inputs import context_for, write_inputs
from safetensors.torch import load_file, save_file

from kpodx import artifacts
from kpodx.difficulty.config import DifficultyConfig
from kpodx.difficulty.phase import run
from kpodx.difficulty.scoring import score_in_shards
from kpodx.errors import KpodxError, ModelError
from kpodx.modeling.examples import ModelFamily, model_family
from kpodx.modeling.loading import load_model, load_tokenizer
from kpodx.modeling.rationale_likelihood import rationale_nll
from kpodx.modeling.tokenization import TokenizedRationale, tokenize_rationales, tokenizer_hash
from kpodx.runtime import SilentProgress
from kpodx.scheduling.difficulty import step_difficulties
from kpodx.schema import TokenWeights


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("difficulty") / "in"
    write_inputs(folder, 11)
    return folder


def loaded(inputs: Path, student: Path) -> tuple[Any, ModelFamily, list[TokenizedRationale]]:
    model, tokenizer = load_model(str(student)).eval(), load_tokenizer(str(student))
    rationales, questions = (
        artifacts.load_rationales(inputs / "rationales"),
        artifacts.load_questions(inputs / "dataset"),
    )
    return model, model_family(model, tokenizer), tokenize_rationales(tokenizer, rationales, questions)


@torch.no_grad()
def alone(model: Any, family: ModelFamily, item: TokenizedRationale) -> list[float]:
    """-log P of each rationale token in one plain forward pass of its own."""
    prompt, body = list(item.prompt_ids), list(item.rationale_ids)
    if family.encoder_decoder:
        decoder = torch.tensor([[0, *body[:-1]]])
        logits = model(input_ids=torch.tensor([[*prompt, 1]]), decoder_input_ids=decoder).logits[0]
    else:
        logits = model(input_ids=torch.tensor([[2, *prompt, *body]])).logits[0, len(prompt) : -1]
    return (-logits.log_softmax(dim=-1)[torch.arange(len(body)), torch.tensor(body)]).tolist()


def test_batches_score_as_one_by_one(inputs: Path, tiny_t5: Path, tiny_llama: Path) -> None:
    for folder in (tiny_t5, tiny_llama):
        model, family, items = loaded(inputs, folder)
        scored = dict(rationale_nll(model, family, items, batch_size=4, dtype=torch.float32))
        assert sorted(scored) == list(range(len(items)))
        for row, item in enumerate(items):
            assert scored[row].tolist() == pytest.approx(alone(model, family, item), abs=1e-3)


def test_shards_are_read_again_not_scored_again(inputs: Path, tiny_t5: Path, tmp_path: Path) -> None:
    model, family, items = loaded(inputs, tiny_t5)
    settings: dict[str, Any] = {"batch_size": 4, "shard_size": 4, "dtype": torch.float32, "progress": SilentProgress()}
    first = score_in_shards(model, family, items, tmp_path, **settings)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["shard-000000000.safetensors", "shard-000000004.safetensors", "shard-000000008.safetensors"]
    (tmp_path / names[1]).unlink()
    calls = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    second = score_in_shards(model, family, items, tmp_path, **settings)
    assert len(calls) == 1
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert [len(a) for a in first] == [len(i.rationale_ids) for i in items]


def save_weights(inputs: Path, student: Path) -> TokenWeights:
    _, _, items = loaded(inputs, student)
    offsets = np.concatenate([[0], np.cumsum([len(i.rationale_ids) for i in items])])
    weight = np.random.default_rng(0).uniform(0.1, 0.9, int(offsets[-1])).astype(np.float32)
    names = tuple(i.rationale_id for i in items)
    weights = TokenWeights(names, offsets, weight, tokenizer_hash(load_tokenizer(str(student))))
    artifacts.save_token_weights(inputs / "weighting", weights)
    return weights


@pytest.mark.parametrize("weighted", [True, False])
def test_the_phase_weighs_each_step(inputs: Path, tiny_t5: Path, weighted: bool) -> None:
    weights = save_weights(inputs, tiny_t5)
    config = DifficultyConfig(measure="weighted-nll" if weighted else "nll", batch_size=4, shard_size=5)
    context = context_for(inputs, tiny_t5, f"out-{weighted}", difficulty=config)
    summary = run(context)
    found = artifacts.load_step_difficulties(context.output)
    model, family, items = loaded(inputs, tiny_t5)
    for row, item in enumerate(items):
        nll = np.array(alone(model, family, item))
        expected = step_difficulties(nll, weights.of(row) if weighted else None, np.array(item.step_stops))
        assert found.of(row) == pytest.approx(expected, abs=1e-3)
        assert tuple(found.stops_of(row)) == item.step_stops
    assert summary["num_steps"] == len(found.difficulty)
    assert not (context.output / "shards").exists()


def test_the_length_of_a_step_can_be_its_difficulty(inputs: Path, tiny_t5: Path) -> None:
    context = context_for(inputs, tiny_t5, "out-length", difficulty=DifficultyConfig(measure="length"))
    run(context)
    found = artifacts.load_step_difficulties(context.output)
    for row, item in enumerate(loaded(inputs, tiny_t5)[2]):
        assert found.of(row).tolist() == np.diff((0, *item.step_stops)).tolist()


def test_weights_of_another_tokenizer_are_refused(inputs: Path, tiny_t5: Path, tiny_llama: Path) -> None:
    save_weights(inputs, tiny_t5)
    with pytest.raises(ModelError, match="do not fit"):
        run(context_for(inputs, tiny_llama, "out-other", difficulty=DifficultyConfig()))


def test_a_student_whose_loss_is_not_finite_is_told_with_the_rationales(
    inputs: Path, tiny_t5: Path, tmp_path: Path
) -> None:
    student = Path(shutil.copytree(tiny_t5, tmp_path / "broken"))
    state = load_file(student / "model.safetensors")
    # Only the embedding of the digit 7 is broken: only rationales with a 7 are.
    token = load_tokenizer(str(student)).convert_tokens_to_ids("7")
    state["shared.weight"][token] = float("nan")
    save_file(state, student / "model.safetensors", {"format": "pt"})
    config = DifficultyConfig(measure="nll")
    with pytest.raises(KpodxError, match=r"not finite on \d+ rationales, .* embedded-train-00000\d/0") as caught:
        run(context_for(inputs, student, "out-nan", difficulty=config))
    assert "float32" in (caught.value.hint or "")
    assert not (inputs.parent / "out-nan" / artifacts.STEP_DIFFICULTIES).exists()
