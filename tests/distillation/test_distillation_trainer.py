"""The real trainer: one gradient for the same data however it is cut, and no way past a loss that is not a number."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from distillation_runs import context_for, make_inputs
from torch import Tensor
from transformers import SchedulerType, TrainerCallback
from transformers.training_args import OptimizerNames

from kpodx import artifacts
from kpodx.distillation.batches import StagedRationales
from kpodx.distillation.config import DistillationConfig
from kpodx.distillation.phase import _load_rationales, _load_student, run
from kpodx.distillation.training import DistillationTrainer, build_trainer
from kpodx.errors import DivergedError, MissingDependencyError
from kpodx.modeling.examples import IGNORED, collate
from kpodx.modeling.likelihood import token_nll
from kpodx.runtime import SilentProgress


class GradientRecorder(TrainerCallback):  # type: ignore[misc]
    """Keeps the whole gradient before each update."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.gradients.append(flat_gradient(kwargs["model"]))


def flat_gradient(model: Any) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).double()


def trainer_for(
    inputs: Path, output: Path, *, lora: dict[str, Any] | None = None, **settings: Any
) -> DistillationTrainer:
    """A trainer without validation that hardly moves the parameters and never clips."""
    config = {"epochs": 1, "learning_rate": 1e-12, "max_gradient_norm": 1e9} | settings
    context = context_for(inputs, output, lora=lora, **config)
    torch.manual_seed(0)
    model, tokenizer = _load_student(context.recipe.student, {}, torch.float32)
    questions = artifacts.load_questions(inputs / "dataset")
    data, names = _load_rationales(context, context.recipe.distillation, model, tokenizer, questions)
    return build_trainer(
        model,
        tokenizer,
        data,
        names,
        config=context.recipe.distillation,
        dtype=torch.float32,
        use_cpu=True,
        seed=3,
        output=output / "checkpoints",
        validate=None,
        progress=SilentProgress(),
    )


def gradients(trainer: DistillationTrainer) -> list[Tensor]:
    recorder = GradientRecorder()
    trainer.add_callback(recorder)
    trainer.train()
    return recorder.gradients


def by_definition(
    model: Any, data: StagedRationales, batches: Sequence[Sequence[int]], *, per_batch_mean: bool = False
) -> Tensor:
    """The gradient of equation 15 over some rows, from its formula; or of the mean of each batch's own mean, the mistake."""
    model.zero_grad()
    total = sum(int((collate([data[i] for i in rows], data.family)["labels"] != IGNORED).sum()) for rows in batches)
    for rows in batches:
        batch = collate([data[i] for i in rows], data.family)
        nll = token_nll(model, batch, encoder_decoder=data.family.encoder_decoder)
        own = int((batch["labels"] != IGNORED).sum())
        ((batch["target_weight"] * nll).sum() / (own * len(batches) if per_batch_mean else total)).backward()
    return flat_gradient(model)


@pytest.fixture(scope="module", params=["t5", "llama"])
def inputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven rationales, so that updates of eight leave a window of three; no dropout."""
    return make_inputs(tmp_path_factory.mktemp(request.param), family=request.param, num_validation=0, dropout=0.0)


def test_one_gradient_however_the_update_is_cut(inputs: Path, tmp_path: Path) -> None:
    """Batch 8, 4 twice, 2 four times, 1 eight times, the uneven last window included: equation 15 over the window's own targets."""
    cuts = ((8, 1), (4, 2), (2, 4), (1, 8))
    found = []
    for batch_size, accumulation in cuts:
        trainer = trainer_for(
            inputs, tmp_path / str(batch_size), batch_size=batch_size, gradient_accumulation=accumulation
        )
        found.append(gradients(trainer))
    data, model = trainer.batch_sampler.data, trainer.model
    updates = trainer.batch_sampler.updates(0)
    assert [len(rows) for rows in updates] == [8, 3]
    for number, rows in enumerate(updates):
        expected = by_definition(model, data, [rows])
        mistaken = by_definition(model, data, [rows[:1], rows[1:]], per_batch_mean=True)
        for per_update in found:
            assert len(per_update) == 2
            assert torch.nn.functional.cosine_similarity(per_update[number], expected, dim=0) > 1 - 1e-6
            torch.testing.assert_close(per_update[number], expected, rtol=1e-4, atol=1e-7)
        assert (mistaken - expected).norm() > 1e-2 * expected.norm()


def test_checkpointed_activations_give_the_same_gradient(inputs: Path, tmp_path: Path) -> None:
    """They cost time, nothing else."""
    plain, checkpointed = (
        gradients(trainer_for(inputs, tmp_path / str(flag), batch_size=8, gradient_checkpointing=flag))
        for flag in (False, True)
    )
    for first, second in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-7)


def test_low_rank_updates_are_all_that_gets_a_gradient(inputs: Path, tmp_path: Path) -> None:
    """With checkpointed activations too, where a frozen input embedding would cut the graph."""
    trainer = trainer_for(inputs, tmp_path, batch_size=8, lora={"rank": 2, "dropout": 0.0}, gradient_checkpointing=True)
    [first, _] = gradients(trainer)
    assert first.norm() > 0
    assert all("lora_" in name for name, p in trainer.model.named_parameters() if p.requires_grad)


def corrupt(inputs: Path, rows: Sequence[int], value: float) -> None:
    """Make the token weights of some rationales `value`."""
    weights = artifacts.load_token_weights(inputs / "weighting")
    token_weight = weights.token_weight.copy()
    for row in rows:
        token_weight[weights.offsets[row]] = value
    artifacts.save_token_weights(
        inputs / "weighting",
        type(weights)(weights.rationale_ids, weights.offsets, token_weight, weights.tokenizer_hash),
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_its_questions(tmp_path: Path, value: float) -> None:
    """And leaves no student, no complete checkpoint of that update and no worker process behind."""
    inputs = make_inputs(tmp_path / "in", count=6, num_validation=0)
    corrupt(inputs, [4, 5], value)
    with pytest.raises(DivergedError, match=r"loss is not finite after 0 updates.*q[45], q[45]") as caught:
        run(context_for(inputs, tmp_path / "out", batch_size=6, progressive=False, num_workers=1))
    assert "q0" not in caught.value.message
    assert caught.value.hint is not None
    assert not (tmp_path / "out" / "student").exists()
    assert not list((tmp_path / "out").rglob("complete.json"))
    del caught
    assert multiprocessing.active_children() == []


def test_an_infinite_gradient_stops_before_it_is_applied(tmp_path: Path) -> None:
    """The loss of this update is finite, but the parameters after it would not be; it may be the last update of all."""
    inputs = make_inputs(tmp_path / "in", count=4, num_validation=0, dropout=0.0)
    trainer = trainer_for(inputs, tmp_path, batch_size=4)
    parameter = next(trainer.model.parameters())
    before = parameter.detach().clone()
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(DivergedError, match=r"gradient is not finite after 0 updates.*q0"):
        trainer.train()
    torch.testing.assert_close(parameter.detach(), before)


@pytest.mark.parametrize(("key", "known"), [("lr_scheduler", SchedulerType), ("optimizer", OptimizerNames)])
def test_transformers_knows_the_names_that_recipes_may_use(key: str, known: type[Enum]) -> None:
    names = get_args(DistillationConfig.model_fields[key].annotation)
    assert set(names) <= {str(member.value) for member in known}


def test_a_logger_that_is_not_installed(tmp_path: Path, inputs: Path) -> None:
    """Said before anything is trained."""
    with pytest.raises(MissingDependencyError, match=r"no_such_logger.*it has .*tensorboard"):
        trainer_for(inputs, tmp_path, loggers=("no_such_logger",))


def test_settings_reach_the_trainer(tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation (never done here), the course of the rate, and the limit on updates beside the epochs."""
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        monkeypatch.delenv(name)
    # TrainingArguments speaks to accelerate through the environment; monkeypatch takes back what it sets.
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "no")
    monkeypatch.setenv("ACCELERATE_DYNAMO_MODE", "default")
    trainer = trainer_for(
        inputs, tmp_path, torch_compile=True, batch_size=4, epochs=5, warmup_fraction=0.2, max_updates=10
    )
    assert trainer.args.torch_compile
    assert trainer.args.max_steps == 10
    assert trainer.args.warmup_steps == 2
    assert trainer_for(inputs, tmp_path, batch_size=4, epochs=2, max_updates=100).args.max_steps == 6


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"warmup_fraction": 0.2, "decay_fraction": 0.4}, [0.0, 0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]),
        ({"warmup_fraction": 0.0, "decay_fraction": 0.2}, [1, 1, 1, 1, 1, 1, 1, 1, 1, 0.5, 0]),
        ({"warmup_fraction": 0.5, "decay_fraction": 1.0}, [0, 0.2, 0.4, 0.6, 0.8, 1, 0.8, 0.6, 0.4, 0.2, 0]),
    ],
)
def test_the_rate_stays_up_and_decays_late(
    tmp_path: Path, inputs: Path, settings: dict[str, float], expected: list[float]
) -> None:
    trainer = trainer_for(
        inputs, tmp_path, batch_size=4, epochs=5, max_updates=10, lr_scheduler="warmup_stable_decay", **settings
    )
    scheduler = trainer.create_scheduler(10, torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0))
    rates = [scheduler.get_last_lr()[0]]
    for _ in range(10):
        scheduler.optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    assert rates == pytest.approx(expected, abs=1e-6)


def test_what_each_method_reads() -> None:
    """The pipeline runs only the phases that a method needs."""
    everything = {"weighting", "difficulty", "curriculum"}
    assert DistillationConfig().needs == everything
    assert DistillationConfig(weights_in_loss=False).needs == {"difficulty", "curriculum"}
    assert DistillationConfig(progressive=False).needs == {"weighting"}
    assert DistillationConfig(method="std-cot").needs == set()
    assert DistillationConfig(method="answer-only").needs == set()
