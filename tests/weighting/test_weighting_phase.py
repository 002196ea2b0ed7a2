"""The phase from artifacts to artifacts on a tiny student."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from phase_inputs import Notes, context_for, write_inputs
from pydantic import ValidationError
from tiny_models import t5_tokenizer

from kpodx import artifacts
from kpodx.errors import ConfigError, GateError, ModelError, WeightingError
from kpodx.modeling.config import StudentConfig
from kpodx.modeling.loading import load_tokenizer
from kpodx.modeling.tokenization import check_token_weights, encode_continuations, tokenize_rationales, tokenizer_hash
from kpodx.runtime import PhaseContext, derive_seed
from kpodx.schema import Rationale, TokenWeights
from kpodx.weighting import mask_learning, phase
from kpodx.weighting.config import FeatureSource, Gradient, WeightingConfig
from kpodx.weighting.figures import weights_by_type
from kpodx.weighting.items import hold_out
from kpodx.weighting.training import MaskLearner
from kpodx.weighting.units import word_leaders

SHORT: dict[str, Any] = {
    "warmup_updates": 2,
    "random_mask_updates": 2,
    "mask_updates": 4,
    "batch_size": 4,
    "num_prefixes": 2,
    "min_rationale_gain": -100.0,
    "checkpoint_every": 3,
    "min_keep_share": 0.0,
    "max_keep_share": 1.0,
    "accept_uninformative": True,
}
WRITTEN = ["findings.json", "token_weights.safetensors"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weighting") / "in"
    write_inputs(folder)
    return folder


def context(inputs: Path, student: Path, out: str, **changes: Any) -> PhaseContext:
    return context_for(inputs, student, out, weighting=WeightingConfig(**(SHORT | changes)))


@pytest.mark.parametrize("features", get_args(FeatureSource))
@pytest.mark.parametrize("family", ["t5", "llama"])
def test_every_token_gets_a_weight(
    inputs: Path, tiny_t5: Path, tiny_llama: Path, family: str, features: FeatureSource
) -> None:
    student = tiny_t5 if family == "t5" else tiny_llama
    ctx = context(inputs, student, f"out-{family}-{features}", features=features)
    summary = phase.run(ctx)
    weights, tokenizer = artifacts.load_token_weights(ctx.output), load_tokenizer(str(student))
    rationales = artifacts.load_rationales(inputs / "rationales")
    tokenized = tokenize_rationales(tokenizer, rationales, artifacts.load_questions(inputs / "dataset"))
    check_token_weights(weights, tokenized, tokenizer)
    assert summary["num_tokens"] == len(weights.token_weight) == sum(len(i.rationale_ids) for i in tokenized)
    assert 0 < weights.token_weight.min() < weights.token_weight.max() < 1
    assert {"all", "none", "learnt", "random", "beats_random"} <= set(summary["masks"])  # type: ignore[call-overload]
    assert "digit" in summary["token_types"]  # type: ignore[operator]
    assert files_of(ctx) == WRITTEN
    assert isinstance(ctx.progress, Notes)
    assert "off the held-out target loss" in ctx.progress.lines[0]


@pytest.mark.parametrize("features", get_args(FeatureSource))
def test_a_predictor_of_another_vocabulary(
    inputs: Path, tiny_t5: Path, tiny_llama: Path, features: FeatureSource
) -> None:
    ctx = context(inputs, tiny_llama, f"out-mixed-{features}", predictor=str(tiny_t5), features=features)
    phase.run(ctx)
    weights = artifacts.load_token_weights(ctx.output)
    assert weights.tokenizer_hash == tokenizer_hash(load_tokenizer(str(tiny_llama)))


@pytest.mark.parametrize(
    ("label", "changes"),
    [("plain", {}), ("layer", {"features": "layer", "final_temperature": 0.5, "final_keep_share": 0.3})],
)
def test_a_killed_phase_goes_on_to_the_same_weights(
    inputs: Path, tiny_t5: Path, monkeypatch: pytest.MonkeyPatch, label: str, changes: dict[str, Any]
) -> None:
    whole, halves = (context(inputs, tiny_t5, f"out-{part}-{label}", **changes) for part in ("whole", "halves"))
    phase.run(whole)

    def killed(items: Any, *, total: int, description: str, done: int = 0) -> Iterator[Any]:
        for item in items:
            if description == "Mask learning" and item == 7:
                raise KeyboardInterrupt
            yield item

    with monkeypatch.context() as patch:
        patch.setattr(halves.progress, "track", killed)
        with pytest.raises(KeyboardInterrupt):
            phase.run(halves)
    assert [p.name for p in halves.output.iterdir()] == [mask_learning.CHECKPOINT]
    phase.run(halves)
    assert (whole.output / "findings.json").read_bytes() == (halves.output / "findings.json").read_bytes()
    first, second = (artifacts.load_token_weights(c.output) for c in (whole, halves))
    assert np.array_equal(first.token_weight, second.token_weight)
    assert first.rationale_ids == second.rationale_ids


def test_no_gain_and_collapse_stop_the_phase(inputs: Path, tiny_t5: Path) -> None:
    with pytest.raises(WeightingError, match="cannot use rationales"):
        phase.run(context(inputs, tiny_t5, "out-gain", min_rationale_gain=50.0))
    with pytest.raises(WeightingError, match="collapsed: nearly everything is masked"):
        phase.run(context(inputs, tiny_t5, "out-masked", min_keep_share=0.99))
    assert not (inputs.parent / "out-masked" / "token_weights.safetensors").exists()


def fix_verdict(monkeypatch: pytest.MonkeyPatch, beats: bool) -> None:
    honest = mask_learning.report
    monkeypatch.setattr(mask_learning, "report", lambda scores: honest(scores) | {"beats_random": beats})


def files_of(ctx: PhaseContext) -> list[str]:
    return sorted(path.name for path in ctx.output.iterdir())


def test_a_mask_that_beats_chance_passes(inputs: Path, tiny_t5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fix_verdict(monkeypatch, True)
    ctx = context(inputs, tiny_t5, "out-beats", accept_uninformative=False)
    phase.run(ctx)
    assert isinstance(ctx.progress, Notes)
    assert not any("WARNING" in line for line in ctx.progress.lines)
    assert files_of(ctx) == WRITTEN


def test_a_mask_no_better_than_chance_stops_the_phase_and_leaves_its_findings(
    inputs: Path, tiny_t5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_verdict(monkeypatch, False)
    strict = context(inputs, tiny_t5, "out-chance", accept_uninformative=False)
    with pytest.raises(GateError, match="carry no signal"):
        phase.run(strict)
    assert files_of(strict) == ["findings.json", "mask_learning.pt", "token_weights.safetensors"]
    assert artifacts.read_json(strict.output / "findings.json")["masks"]["beats_random"] is False

    # Accepted afterwards, the same weights are used without any further update.
    monkeypatch.setattr(MaskLearner, "step", None)
    accepted = context(inputs, tiny_t5, "out-chance")
    phase.run(accepted)
    assert files_of(accepted) == WRITTEN
    assert isinstance(accepted.progress, Notes)
    assert any("WARNING" in line and "accepted" in line for line in accepted.progress.lines)


def test_settings_that_a_choice_does_not_read_do_not_make_other_weights() -> None:
    assert WeightingConfig(feature_layer=3).deciding_settings() == WeightingConfig().deciding_settings()
    layers = [WeightingConfig(features="layer", feature_layer=layer).deciding_settings() for layer in (1, 3)]
    assert layers[0] != layers[1]

    def cooled(gradient: Gradient, final: float | None) -> dict[str, Any]:
        return WeightingConfig(gradient=gradient, final_temperature=final).deciding_settings()

    assert cooled("reinforce", None) == cooled("reinforce", 0.5)
    assert cooled("straight-through", None) != cooled("straight-through", 0.5)


def test_a_final_keep_share_needs_one_to_start_from() -> None:
    with pytest.raises(ValidationError, match="final_keep_share needs target_keep_share"):
        WeightingConfig(target_keep_share=None, final_keep_share=0.2)


def test_states_of_a_layer_need_room_for_question_and_rationale(inputs: Path, tiny_t5: Path) -> None:
    """Each alone fits; together they do only if nobody reads them together."""
    apart, together = (
        context(inputs, tiny_t5, f"out-long-{features}", features=features) for features in get_args(FeatureSource)
    )
    for ctx in (apart, together):
        ctx.recipe.student = StudentConfig(model=str(tiny_t5), max_input_tokens=200)
    phase.run(apart)
    with pytest.raises(ModelError, match=r"longer than student\.max_input_tokens = 200"):
        phase.run(together)


def test_a_layer_that_the_student_lacks(inputs: Path, tiny_t5: Path) -> None:
    with pytest.raises(ConfigError, match="feature_layer is 2, but the student has 1 layer "):
        phase.run(context(inputs, tiny_t5, "out-deep", features="layer", feature_layer=2))


def test_accepting_weights_does_not_make_other_weights() -> None:
    strict, accepting = WeightingConfig(), WeightingConfig(accept_uninformative=True)
    assert strict.deciding_settings() == accepting.deciding_settings()


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "next-result"},
        {"target": "answer"},
        {"gradient": "reinforce"},
        {"unit": "token"},
        {"features": "layer"},
        {"final_temperature": 0.1},
        {"final_keep_share": 0.1},
    ],
)
def test_every_choice_gives_other_weights(
    inputs: Path, tiny_t5: Path, changes: dict[str, Any], default_weights: TokenWeights
) -> None:
    ctx = context(inputs, tiny_t5, "out-" + "-".join(f"{key}-{value}" for key, value in changes.items()), **changes)
    phase.run(ctx)
    weights = artifacts.load_token_weights(ctx.output)
    assert weights.token_weight.shape == default_weights.token_weight.shape
    assert not np.array_equal(weights.token_weight, default_weights.token_weight)


@pytest.fixture(scope="module")
def default_weights(inputs: Path, tiny_t5: Path) -> TokenWeights:
    ctx = context(inputs, tiny_t5, "out-default")
    phase.run(ctx)
    return artifacts.load_token_weights(ctx.output)


def test_words_share_a_weight(inputs: Path, tiny_t5: Path) -> None:
    ctx = context(inputs, tiny_t5, "out-words", unit="word")
    phase.run(ctx)
    weights, tokenizer = artifacts.load_token_weights(ctx.output), load_tokenizer(str(tiny_t5))
    texts = [r.text for r in artifacts.load_rationales(inputs / "rationales")]
    shared = 0
    for row, (text, (_, spans)) in enumerate(zip(texts, encode_continuations(tokenizer, texts), strict=True)):
        leaders = word_leaders(text, spans)
        assert np.array_equal(weights.of(row), weights.of(row)[list(leaders)])
        shared += sum(leader != place for place, leader in enumerate(leaders))
    assert shared > 0


def test_all_rationales_of_a_question_are_held_out_together() -> None:
    rationales = [Rationale(f"{q}/{i}", f"q{q}", "x", "1", "t") for q in range(200) for i in range(3)]
    fit, held = hold_out(rationales, 0.2, 5)
    assert sorted([*fit, *held]) == list(range(600))
    assert not {rationales[i].question_id for i in fit} & {rationales[i].question_id for i in held}
    assert 0.1 < len(held) / 600 < 0.3
    assert hold_out(rationales, 0.2, 5) == (fit, held)


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_few_questions_are_still_parted(fraction: float) -> None:
    rationales = [Rationale(f"{q}/{i}", f"q{q}", "x", "1", "t") for q in range(3) for i in range(2)]
    assert hold_out(rationales, fraction, 0) == ([2, 3, 4, 5], [0, 1])
    assert hold_out(rationales[:2], fraction, 0) == ([0, 1], [0, 1])
    assert derive_seed("heldout", 0, "q0") >= 0


def weights_of(text: str, weight_of: dict[str, float]) -> tuple[TokenWeights, list[Rationale]]:
    [(_, spans)] = encode_continuations(t5_tokenizer(), [text])
    weight = np.array([weight_of.get(text[a:b].strip(), 0.5) for a, b in spans], dtype=np.float32)
    return TokenWeights(("r",), np.array([0, len(weight)]), weight, "h"), [Rationale("r", "q", text, "1", "t")]


def test_mean_weights_of_each_type_by_hand() -> None:
    weights, rationales = weights_of(
        "so 3 + 4 = 7", {"3": 0.75, "4": 0.75, "7": 0.75, "+": 0.5, "=": 1.0, "so": 0.25, "": 0.0}
    )
    table = weights_by_type(weights, rationales, t5_tokenizer())
    assert table["digit"] == {"mean": 0.75, "count": 3}
    assert table["operator"] == {"mean": 0.75, "count": 2}
    assert table["function_word"] == {"mean": 0.25, "count": 1}
    assert table["keypoints_over_function_words"] == 1.0
    assert table["keypoints_over_others"] == 1.0


def test_all_other_types_count_against_keypoints() -> None:
    # Each keypoint (0.75) wins against "so", ties with "Tom" and with the marks of words (""), and loses to "apples".
    weights, rationales = weights_of(
        "so 3 Tom + apples", {"3": 0.75, "+": 0.75, "so": 0.5, "Tom": 0.75, "apples": 1.0, "": 0.75}
    )
    table = weights_by_type(weights, rationales, t5_tokenizer())
    assert table["keypoints_over_others"] == 0.5
    assert table["keypoints_over_function_words"] == 1.0


def test_types_that_do_not_occur_are_left_out() -> None:
    weights, rationales = weights_of("Tom apples", {})
    assert weights_by_type(weights, rationales, t5_tokenizer()) == {"other_word": {"mean": 0.5, "count": 2}}
