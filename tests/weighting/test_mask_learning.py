"""The loop of mask learning: stages, what each part trains, resuming, and that it learns what matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from predictor_items import item_of
from tiny_models import make_tiny_t5
from torch import Tensor, nn

from kpodx.errors import DivergedError
from kpodx.modeling.examples import model_family
from kpodx.modeling.loading import load_model, load_tokenizer, load_with_tokenizer
from kpodx.runtime import SilentProgress
from kpodx.weighting import training
from kpodx.weighting.annealing import Ramp
from kpodx.weighting.features import EmbeddingFeatures, LayerFeatures
from kpodx.weighting.module import TokenWeightModule
from kpodx.weighting.predictor import AnswerPredictor, PredictorBatch, PredictorItem, Row, build_batch
from kpodx.weighting.training import Balance, Drawing, LearningRates, MaskLearner, Stages, resume, run_until

VOCABULARY, WIDTH, KEY = 40, 16, 7
RATES = LearningRates(module=1e-2, predictor=1e-3, joint=1e-4)


def items_of(count: int, *, seed: int = 0) -> list[PredictorItem]:
    """Rationales of 5 to 11 tokens, each with the key token once."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        body = rng.integers(10, VOCABULARY, rng.integers(5, 12))
        body[rng.integers(len(body))] = KEY
        result.append(item_of((4, 5), tuple(body.tolist()), (6,)))
    return result


class KeyPredictor(AnswerPredictor):
    """Knows the answer if, and only if, it sees the key token."""

    def __init__(self, cost: float = 3.0) -> None:
        nn.Module.__init__(self)
        self.cost = nn.Parameter(torch.tensor(cost))

    def forward(self, batch: PredictorBatch, keep: Tensor, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        key = (batch.student_ids == KEY)[batch.owners(rows)]
        seen = (keep[batch.owners(rows)] * (key & batch.visible(rows))).sum(dim=1)
        return self.cost.detach() * (1 - seen) + 0 * self.cost, seen > 0.5


class BalancedPredictor(KeyPredictor):
    """Gains `cost` times the kept share: with α = cost, keeping is worth exactly what it costs."""

    def forward(self, batch: PredictorBatch, keep: Tensor, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        share = (keep * batch.student_valid).sum(dim=1) / batch.student_valid.sum(dim=1)
        nll = (self.cost.detach() * (1 - share))[batch.owners(rows)] + 0 * self.cost
        return nll, nll > 0


def learner_of(predictor: AnswerPredictor, **changes: Any) -> MaskLearner:
    torch.manual_seed(0)
    embedding = torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(1))
    features = changes.pop("features", EmbeddingFeatures(embedding))
    drawing = {
        "batch_size": 8,
        "num_targets": 3,
        "whole_first": True,
        "random_mask_share": 0.5,
        "temperature": Ramp(1.0),
        "gradient": "straight-through",
    }
    balance = {"mask_ratio_coef": 0.5, "target_keep_share": None, "keep_share_coef": 50.0}
    rest: dict[str, Any] = {"stages": Stages(0, 0, 100), "rates": RATES, "dtype": torch.float32, "seed": 3}
    for table in (drawing, balance, rest):
        table.update({name: changes.pop(name) for name in table.keys() & changes.keys()})
    assert not changes, changes
    module = TokenWeightModule(features.width, WIDTH, 4.0)
    return MaskLearner(predictor, module, features, drawing=Drawing(**drawing), balance=Balance(**balance), **rest)


def t5_learner(folder: Path, **changes: Any) -> MaskLearner:
    model = load_model(str(folder))
    predictor = AnswerPredictor(model, model_family(model, load_tokenizer(str(folder))))
    return learner_of(predictor, **({"stages": Stages(3, 3, 6), "target_keep_share": Ramp(0.5)} | changes))


def flat(state: Any) -> list[Any]:
    """All tensors and numbers of a nested state, in order."""
    if isinstance(state, dict):
        return [leaf for value in state.values() for leaf in flat(value)]
    return [leaf for value in state for leaf in flat(value)] if isinstance(state, list | tuple) else [state]


def same(first: Any, second: Any) -> bool:
    pairs = list(zip(flat(first), flat(second), strict=True))
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def test_the_parts_of_the_loop() -> None:
    stages = Stages(2, 3, 4)
    assert stages.total == 9
    assert [stages.of(u) for u in range(9)] == ["warmup"] * 2 + ["random_mask"] * 3 + ["mask"] * 4


@pytest.mark.parametrize("gradient", ["straight-through", "reinforce"])
def test_the_one_token_that_decides_the_answer_rises_above_the_others(gradient: str) -> None:
    learner, fresh = learner_of(KeyPredictor(), mask_ratio_coef=2.0, gradient=gradient), items_of(50, seed=9)
    fit = items_of(200)
    learner.module.train()
    for _ in range(150):
        learner.step(fit)
    key, rest = [], []
    for item in fresh:
        weight = learner.keep_prob(build_batch([item], learner.device))[0]
        for token, w in zip(item.student_ids, weight.tolist(), strict=True):
            (key if token == KEY else rest).append(w)
    assert min(key) > 0.8
    assert float(np.mean(rest)) < 0.3
    assert min(key) > max(rest)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_balance_of_both_losses_does_not_depend_on_the_rows_masked_at_random(share: float) -> None:
    learner = learner_of(BalancedPredictor(2.0), mask_ratio_coef=2.0, random_mask_share=share)
    learner.step(items_of(200))
    gradients = [p.grad for p in learner.module.parameters() if p.grad is not None]
    assert len(gradients) == len(list(learner.module.parameters()))
    assert max(float(g.abs().max()) for g in gradients) < 1e-6
    dearer = learner_of(BalancedPredictor(2.0), mask_ratio_coef=4.0, random_mask_share=share)
    dearer.step(items_of(200))
    assert max(float(p.grad.abs().max()) for p in dearer.module.parameters() if p.grad is not None) > 1e-3


def test_the_warm_ups_train_the_predictor_alone_and_mask_learning_both(tiny_t5: Path) -> None:
    learner, items = t5_learner(tiny_t5), items_of(30)
    for part in ("warmup", "random_mask", "mask"):
        module, predictor = ([p.clone() for p in m.parameters()] for m in (learner.module, learner.predictor))
        for _ in range(3):
            assert learner.stages.of(learner.update) == part
            learner.step(items)
        assert same(module, list(learner.module.parameters())) is (part != "mask")
        assert not same(predictor, list(learner.predictor.parameters()))


def test_a_joint_rate_of_zero_freezes_the_predictor(tiny_t5: Path) -> None:
    rates = LearningRates(module=1e-2, predictor=1e-3, joint=0.0)
    learner = t5_learner(tiny_t5, stages=Stages(1, 0, 3), rates=rates)
    learner.step(items_of(30))
    before = [p.clone() for p in learner.predictor.parameters()]
    for _ in range(3):
        learner.step(items_of(30))
    assert same(before, list(learner.predictor.parameters()))


def test_all_rows_masked_at_random_leave_alpha_out_of_the_loss(tiny_t5: Path) -> None:
    figures = t5_learner(tiny_t5, stages=Stages(0, 0, 1), random_mask_share=1.0).step(items_of(30))
    assert figures["loss"] == figures["answer_nll"]
    assert "answer_nll_learnt_mask" not in figures


def test_the_mask_is_pulled_to_the_target_share() -> None:
    for target in (0.2, 0.8):
        learner = learner_of(KeyPredictor(), target_keep_share=Ramp(target), stages=Stages(0, 0, 60))
        shares = [learner.step(items_of(30)).get("keep_share", 0.5) for _ in range(60)]
        assert abs(shares[-1] - target) < abs(shares[0] - target) / 2


def layer_features(folder: Path) -> LayerFeatures:
    model, tokenizer = load_with_tokenizer(str(folder))
    return LayerFeatures(model, model_family(model, tokenizer), 1, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("features", ["embeddings", "layer"])
@pytest.mark.parametrize("gradient", ["straight-through", "reinforce"])
def test_resuming_is_bit_exact(tmp_path: Path, gradient: str, features: str) -> None:
    folder, items = make_tiny_t5(tmp_path / "t5", dropout=0.2), items_of(60)

    def fresh() -> MaskLearner:
        return t5_learner(
            folder,
            gradient=gradient,
            temperature=Ramp(1.0, 0.3),
            target_keep_share=Ramp(0.5, 0.2),
            **({"features": layer_features(folder)} if features == "layer" else {}),
        )

    whole = fresh()
    loop: dict[str, Any] = {"checkpoint_every": 5, "progress": SilentProgress(), "description": "x"}
    run_until(whole, items, 12, checkpoint=tmp_path / "whole.pt", **loop)
    for stop in (2, 5, 8):
        path = tmp_path / f"{stop}.pt"
        first = fresh()
        run_until(first, items, stop, checkpoint=path, **loop)
        second = fresh()
        torch.rand(7)
        assert resume(second, path)
        assert second.update == stop
        run_until(second, items, 12, checkpoint=path, **loop)
        # The history also holds the last update before each stop.
        assert same(*({**learner.state(), "history": learner.history[-1:]} for learner in (whole, second)))


def recorded_figures(monkeypatch: pytest.MonkeyPatch, name: str) -> list[float]:
    """Return a list that gets the last argument of every call of a function of the loop."""
    seen: list[float] = []
    honest = getattr(training, name)

    def recording(first: Any, second: Any, last: float) -> Any:
        seen.append(last)
        return honest(first, second, last)

    monkeypatch.setattr(training, name, recording)
    return seen


def test_temperature_and_keep_share_move_while_the_mask_is_learnt_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    temperatures, shares = (recorded_figures(monkeypatch, name) for name in ("sample_keep", "keep_share_penalty"))
    learner = learner_of(
        KeyPredictor(),
        stages=Stages(2, 3, 5),
        random_mask_share=0.0,
        temperature=Ramp(1.0, 0.2),
        target_keep_share=Ramp(0.6, 0.4),
    )
    for _ in range(10):
        learner.step(items_of(30))
    assert temperatures == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert shares == pytest.approx([0.6, 0.55, 0.5, 0.45, 0.4])


def test_the_mask_follows_a_share_that_tightens() -> None:
    learner = learner_of(KeyPredictor(), target_keep_share=Ramp(0.7, 0.25), stages=Stages(0, 0, 150))
    shares = [learner.step(items_of(30))["keep_share"] for _ in range(150)]
    assert shares[60] > 0.4
    assert shares[-1] == pytest.approx(0.25, abs=0.06)


def test_dropout_is_really_drawn(tmp_path: Path) -> None:
    losses = []
    for dropout in (0.0, 0.5):
        learner = t5_learner(make_tiny_t5(tmp_path / str(dropout), dropout=dropout))
        learner.predictor.train()
        losses.append(learner.step(items_of(30))["loss"])
    assert losses[0] != losses[1]


def test_without_a_checkpoint_nothing_is_loaded(tmp_path: Path) -> None:
    learner = learner_of(KeyPredictor())
    assert not resume(learner, tmp_path / "absent.pt")
    assert learner.update == 0


def test_checkpoints_are_written_on_time_and_hold_no_code(tmp_path: Path, tiny_t5: Path) -> None:
    learner, path, seen = t5_learner(tiny_t5), tmp_path / "state.pt", []

    class Watch(SilentProgress):
        def track(self, items: Any, *, total: int, description: str, done: int = 0) -> Any:
            for item in items:
                seen.append(torch.load(path, weights_only=True)["update"] if path.exists() else None)
                yield item

    run_until(learner, items_of(30), 7, checkpoint=path, checkpoint_every=3, progress=Watch(), description="x")
    assert seen == [None, None, None, 3, 3, 3, 6]
    assert torch.load(path, weights_only=True)["update"] == 7
    assert len(learner.history) == 1


def test_a_loss_that_is_not_finite_stops_before_it_is_learnt() -> None:
    learner = learner_of(KeyPredictor(float("nan")))
    before = [p.clone() for p in learner.module.parameters()]
    with pytest.raises(DivergedError, match=r"update 0 \(mask\)"):
        learner.step(items_of(30))
    assert same(before, list(learner.module.parameters()))


def test_a_batch_holds_rationales_of_similar_length() -> None:
    learner, items = learner_of(KeyPredictor()), items_of(400)
    lengths = [len(i.rationale_ids) for i in items]
    generator = torch.Generator().manual_seed(0)
    spreads = [np.ptp([len(i.rationale_ids) for i in learner._choose(generator, items)]) for _ in range(50)]
    assert np.mean(spreads) < 0.4 * np.ptp(lengths)


class RecordingPredictor(KeyPredictor):
    """Remembers the masks and targets that it was shown."""

    def forward(self, batch: PredictorBatch, keep: Tensor, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        self.shown = (batch, keep.detach(), list(rows))
        return super().forward(batch, keep, rows)


def test_the_predictor_keeps_seeing_whole_rationales() -> None:
    predictor = RecordingPredictor()
    learner = learner_of(predictor, stages=Stages(2, 20, 20), random_mask_share=1.0)
    whole_rows = 0
    for update in range(42):
        learner.step(items_of(30))
        batch, keep, rows = predictor.shown
        last = [max(k for i, k in rows if i == item) for item in range(8)]
        assert last == [len(item.stops) - 1 for item in batch.items]
        if update < 2:
            assert len(rows) == 8
            assert bool((keep == 1).all())
        else:
            whole_rows += int(((keep == 1) | ~batch.student_valid).all(dim=1).sum())
    assert whole_rows > 40 * 8 * 0.2


def test_targets_in_reach_are_asked_for_from_the_first_update_on_and_never_twice() -> None:
    predictor = RecordingPredictor()
    learner = learner_of(predictor, stages=Stages(10, 10, 10), whole_first=False)
    items = [replace(item, stops=(2, len(item.student_ids)), targets=((8,), (6,))) for item in items_of(30)]
    asked = set()
    for _ in range(30):
        learner.step(items)
        rows = predictor.shown[2]
        assert len(rows) == len(set(rows))
        asked |= {k for _, k in rows}
    assert asked == {0, 1}


@pytest.mark.parametrize("gradient", ["straight-through", "reinforce"])
def test_tokens_of_a_unit_are_kept_together_and_weigh_the_same(gradient: str) -> None:
    predictor = RecordingPredictor()
    learner = learner_of(predictor, stages=Stages(0, 2, 4), gradient=gradient)
    pairs = [
        replace(item, leaders=tuple(place - place % 2 for place in range(len(item.leaders)))) for item in items_of(30)
    ]
    for _ in range(6):
        learner.step(pairs)
        batch, keep, _ = predictor.shown
        assert torch.equal(keep, keep.gather(1, batch.leaders))
    weight = learner.keep_prob(build_batch(pairs[:4], learner.device))
    assert torch.equal(weight, weight.gather(1, build_batch(pairs[:4], learner.device).leaders))


def module_gradient(learner: MaskLearner, items: list[PredictorItem]) -> Tensor:
    learner.step(items)
    return torch.cat([p.grad.flatten() for p in learner.module.parameters() if p.grad is not None])


def test_reinforce_alone_reaches_the_module_where_the_predictor_is_not_differentiable() -> None:
    class Blind(KeyPredictor):
        def forward(self, batch: PredictorBatch, keep: Tensor, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
            return super().forward(batch, keep.detach(), rows)

    found = {
        gradient: module_gradient(learner_of(Blind(), mask_ratio_coef=0.0, gradient=gradient), items_of(200))
        for gradient in ("straight-through", "reinforce")
    }
    assert float(found["straight-through"].abs().max()) == 0
    assert float(found["reinforce"].abs().max()) > 1e-5


def test_reinforce_leaves_the_loss_as_it_is() -> None:
    """Its term has a gradient but no value, so that the history shows L_k."""
    figures = learner_of(KeyPredictor(), mask_ratio_coef=0.0, gradient="reinforce").step(items_of(30))
    assert figures["loss"] == pytest.approx(figures["answer_nll"], abs=1e-6)
