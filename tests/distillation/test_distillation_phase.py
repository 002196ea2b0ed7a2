"""The whole phase on a tiny student: what each method trains on, what is written, what is said."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from distillation_runs import context_for, equal, make_inputs, student_of
from safetensors.torch import load_file

from kpodx import artifacts
from kpodx.distillation import phase
from kpodx.distillation.phase import _load_rationales, run
from kpodx.errors import DataError
from kpodx.modeling.loading import load_model, load_tokenizer
from kpodx.schema import Prediction


@pytest.fixture(scope="module", params=["t5", "llama"])
def inputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven rationales and three validation questions."""
    return make_inputs(tmp_path_factory.mktemp(request.param), family=request.param)


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for a T5 alone."""
    return make_inputs(tmp_path_factory.mktemp("t5"))


def answering(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    """Let validation give these accuracies, one after another."""
    left = iter(accuracies)

    def answers(student: Any, tokenizer: Any, questions: Any, **_: Any) -> list[Prediction]:
        right = round(next(left) * len(questions))
        return [Prediction(q.id, "", None, number < right, None) for number, q in enumerate(questions)]

    monkeypatch.setattr(phase, "answer_questions", answers)


def test_a_run_writes_a_plain_student(inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A folder that transformers loads, a log, a summary; nothing on the terminal, nothing left over."""
    summary = run(context_for(inputs, tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"student", "log.jsonl", "summary.json"}
    student, before = load_model(str(tmp_path / "student")), load_model(str(inputs / "model"))
    assert any(not torch.equal(a, b) for a, b in zip(student.parameters(), before.parameters(), strict=True))
    text = "Tom has 3 apples."
    assert (
        load_tokenizer(str(tmp_path / "student"))(text).input_ids
        == load_tokenizer(str(inputs / "model"))(text).input_ids
    )
    assert {
        entry["eval_accuracy"] for entry in artifacts.read_jsonl(tmp_path / "log.jsonl") if "eval_accuracy" in entry
    }
    json.dumps(summary)
    assert summary["updates"] == 9
    assert summary["trainable_parameters"] == sum(p.numel() for p in before.parameters())
    assert list(summary["validation_accuracy_by_epoch"]) == ["1.0", "2.0", "3.0"]  # type: ignore[call-overload]
    assert capfd.readouterr() == ("", "")


def test_methods_differ_in_weights_and_steps(inputs: Path, tmp_path: Path) -> None:
    """What each one trains on, first epoch and after the schedule."""
    questions = artifacts.load_questions(inputs / "dataset")
    model, tokenizer = load_model(str(inputs / "model")), load_tokenizer(str(inputs / "model"))

    def first_example(**settings: Any) -> tuple[bool, int]:
        context = context_for(inputs, tmp_path, **settings)
        data, _ = _load_rationales(context, context.recipe.distillation, model, tokenizer, questions)
        weight = data[2].target_weight
        return bool(((weight > 0) & (weight < 1)).any()), int(data.target_lengths(0)[2])

    answer = first_example(method="answer-only")[1]
    whole = first_example(method="std-cot")[1]
    assert answer < whole
    assert first_example() == (False, answer), "at stage 0 of this schedule every step is given"
    assert first_example(progressive=False) == (True, whole)
    assert first_example(weights_in_loss=False, progressive=False) == (False, whole) == first_example(method="std-cot")
    assert first_example(method="answer-only") == (False, answer)


@pytest.mark.parametrize(
    "settings", [{"method": "std-cot"}, {"method": "answer-only"}, {"weights_in_loss": False}, {"progressive": False}]
)
def test_methods_need_only_their_inputs(t5: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    """And each makes a student."""
    context = context_for(t5, tmp_path, epochs=1, **settings)
    for name in {"weighting", "curriculum"} - context.recipe.distillation.needs:
        del context.inputs[name]
    assert run(context)["method"] == settings.get("method", "kpod")
    assert (tmp_path / "student" / "model.safetensors").is_file()


def test_the_window_of_the_recipe_is_the_trainings(t5: Path, tmp_path: Path) -> None:
    """Other updates, another student; with one update per epoch there is nothing to draw."""
    for window in (1, 64):
        run(context_for(t5, tmp_path / f"{window}", method="std-cot", bucket_window=window))
    assert not equal(student_of(tmp_path / "1"), student_of(tmp_path / "64"))


def test_a_schedule_that_gives_nothing_is_no_schedule(t5: Path, tmp_path: Path) -> None:
    """Strategy none trains the student of progressive = false, bit for bit."""
    schedule = artifacts.load_schedule(t5 / "curriculum")
    artifacts.save_schedule(tmp_path / "none", type(schedule)(schedule.rationale_ids, 0 * schedule.input_steps))
    context = context_for(t5, tmp_path / "given")
    context.inputs["curriculum"] = tmp_path / "none"
    run(context)
    run(context_for(t5, tmp_path / "plain", progressive=False))
    assert equal(student_of(tmp_path / "given"), student_of(tmp_path / "plain"))


def test_another_schedule_is_refused(t5: Path, tmp_path: Path) -> None:
    """One that gives more steps than a rationale has belongs to other rationales."""
    context = context_for(t5, tmp_path)
    schedule = artifacts.load_schedule(t5 / "curriculum")
    artifacts.save_schedule(tmp_path / "other", type(schedule)(schedule.rationale_ids, schedule.input_steps + 1))
    context.inputs["curriculum"] = tmp_path / "other"
    with pytest.raises(DataError, match="other rationales"):
        run(context)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_low_rank_updates_are_merged_into_a_plain_student(inputs: Path, tmp_path: Path, dtype: str) -> None:
    """No adapter files, no lora parameter names; the summary counts what was trained."""
    summary = run(context_for(inputs, tmp_path, lora={"rank": 2}, dtype=dtype, epochs=2))
    parameters, before = student_of(tmp_path), load_file(inputs / "model" / "model.safetensors")
    assert not [name for name in parameters if "lora" in name]
    assert parameters.keys() == before.keys()
    assert not list((tmp_path / "student").glob("adapter*"))
    load_model(str(tmp_path / "student"))
    whole = sum(p.numel() for p in before.values())
    assert 0 < summary["trainable_parameters"] < whole  # type: ignore[operator]


def test_bfloat16_trains_float32_parameters(inputs: Path, tmp_path: Path) -> None:
    """Only matrix products run in bfloat16, so the student is saved whole."""
    run(context_for(inputs, tmp_path, dtype="bfloat16", epochs=1))
    assert {p.dtype for p in student_of(tmp_path).values()} == {torch.float32}


def test_a_float32_run_after_a_bfloat16_one_is_float32(t5: Path, tmp_path: Path) -> None:
    """The Trainer leaves the number format in the environment, where the next run of the same process finds it."""
    run(context_for(t5, tmp_path / "first", epochs=1))
    run(context_for(t5, tmp_path / "bfloat16", epochs=1, dtype="bfloat16"))
    run(context_for(t5, tmp_path / "second", epochs=1))
    assert equal(student_of(tmp_path / "first"), student_of(tmp_path / "second"))
    assert not equal(student_of(tmp_path / "first"), student_of(tmp_path / "bfloat16"))


def test_wo_of_t5_computes_in_float32_when_training_in_bfloat16(
    t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its input and output, in the forward pass that makes the gradient."""
    seen = set()
    original = phase.add_lora

    def hooked(model: Any, settings: Any) -> Any:
        for name, module in model.named_modules():
            if name.endswith("DenseReluDense.wo"):
                module.register_forward_hook(lambda m, _, out: seen.add((m.weight.dtype, out.dtype)))
        return original(model, settings)

    monkeypatch.setattr(phase, "add_lora", hooked)
    run(context_for(t5, tmp_path, lora={"rank": 2}, dtype="bfloat16", epochs=1, max_updates=1))
    assert seen == {(torch.float32, torch.float32)}


def test_worker_processes_change_nothing(t5: Path, tmp_path: Path) -> None:
    """Not the batches, not the dropout."""
    run(context_for(t5, tmp_path / "none"))
    run(context_for(t5, tmp_path / "one", num_workers=1))
    assert equal(student_of(tmp_path / "none"), student_of(tmp_path / "one"))


def test_tensorboard_events_outlive_the_checkpoints(t5: Path, tmp_path: Path) -> None:
    """They stand beside the student."""
    pytest.importorskip("tensorboard")
    run(context_for(t5, tmp_path, epochs=1, loggers=("tensorboard",)))
    events = list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    assert events
    assert b"eval/accuracy" in events[0].read_bytes()


@pytest.mark.parametrize(
    ("accuracies", "update"),
    [([2 / 3, 1 / 3, 0.0], 3), ([0.0, 2 / 3, 1 / 3], 6), ([0.0, 0.0, 0.0], 9), ([1 / 3, 2 / 3, 2 / 3], 9)],
)
def test_the_best_checkpoint_becomes_the_student(
    t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accuracies: list[float], update: int
) -> None:
    """Of equal ones the latest: it has learnt more. Compared with a run that is stopped at that update."""
    answering(monkeypatch, accuracies)
    summary = run(context_for(t5, tmp_path / "out", lr_scheduler="constant"))
    assert summary["best_checkpoint_update"] == update
    assert summary["best_validation_accuracy"] == pytest.approx(max(accuracies))
    assert summary["chosen_by"] == "validation accuracy"
    answering(monkeypatch, [0.0] * 3)
    run(context_for(t5, tmp_path / "short", lr_scheduler="constant", max_updates=update))
    assert equal(student_of(tmp_path / "out"), student_of(tmp_path / "short"))


def test_the_state_after_the_last_update_is_judged_too(
    t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs, a look every two: after the second, and after the last."""
    answering(monkeypatch, [1 / 3, 2 / 3])
    summary = run(context_for(t5, tmp_path, validate_every_epochs=2))
    assert summary["best_checkpoint_update"] == 9
    assert summary["validation_accuracy_by_epoch"] == {"2.0": pytest.approx(1 / 3), "3.0": pytest.approx(2 / 3)}


def test_fewer_updates_than_an_epoch(t5: Path, tmp_path: Path) -> None:
    """The limit holds, and the student is judged and saved there."""
    summary = run(context_for(t5, tmp_path, max_updates=2))
    assert (summary["updates"], summary["best_checkpoint_update"]) == (2, 2)
    assert list(summary["validation_accuracy_by_epoch"]) == ["0.67"]  # type: ignore[call-overload]


def test_without_validation_questions_the_last_state_is_kept(tmp_path: Path) -> None:
    """And the summary says so."""
    inputs = make_inputs(tmp_path / "in", num_validation=0)
    summary = run(context_for(inputs, tmp_path / "out"))
    assert summary["chosen_by"] == "last update"
    assert summary["best_validation_accuracy"] is None
    assert summary["best_checkpoint_update"] is None
    assert summary["validation_accuracy_by_epoch"] == {}
    assert (tmp_path / "out" / "student" / "model.safetensors").is_file()


def test_only_the_first_validation_questions_are_asked(
    t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as the recipe says."""
    asked = io.StringIO()

    def answers(student: Any, tokenizer: Any, questions: Any, **_: Any) -> list[Prediction]:
        asked.write(" ".join(q.id for q in questions) + "\n")
        return [Prediction(q.id, "", None, False, None) for q in questions]

    monkeypatch.setattr(phase, "answer_questions", answers)
    run(context_for(t5, tmp_path, epochs=1, max_validation_questions=2))
    assert asked.getvalue() == "q11 q12\n"
