"""Difficulties measured again during training: what is measured, what it changes, and that a stop changes nothing."""

from __future__ import annotations

import dataclasses
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distillation_runs import Stopper, context_for, equal, make_inputs, solve_curriculum, start, student_of

from kpodx import artifacts
from kpodx.difficulty.phase import run as measure_before_training
from kpodx.distillation import remeasuring
from kpodx.distillation.phase import run
from kpodx.distillation.remeasuring import REMEASURED, Revision, load_revision, measure_steps, save_revision, step_table
from kpodx.errors import DivergedError, RunError
from kpodx.modeling.examples import model_family
from kpodx.modeling.loading import load_model, load_tokenizer
from kpodx.modeling.tokenization import TokenizedRationale, tokenize_rationales
from kpodx.schema import Schedule

CURRICULUM = {"full_stage": 4, "question_vectors": "tfidf", "num_clusters": 2, "initial_fraction": 0.2}
EVERY_STAGE = {"epochs": 6, "curriculum": {**CURRICULUM, "remeasure_every": 1}}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A solved schedule of four stages; with dropout, so that the random state counts."""
    return solve_curriculum(make_inputs(tmp_path_factory.mktemp("inputs"), dropout=0.2), **CURRICULUM)


@pytest.fixture(scope="module")
def whole(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupts: six epochs of three updates, measured again before stages 1, 2 and 3."""
    output = tmp_path_factory.mktemp("whole")
    run(context_for(inputs, output, **EVERY_STAGE))
    return output


def findings_of(output: Path) -> list[dict[str, Any]]:
    """What each measurement found, without the seconds it took."""
    found = artifacts.read_json(output / artifacts.FINDINGS)["remeasured"]
    return [{name: value for name, value in record.items() if name != "seconds"} for record in found]


def rationales_of(inputs: Path) -> list[TokenizedRationale]:
    tokenizer = load_tokenizer(str(inputs / "model"))
    rationales = artifacts.load_rationales(inputs / "rationales")
    return tokenize_rationales(tokenizer, rationales, artifacts.load_questions(inputs / "dataset"))


def test_the_rest_of_the_schedule_is_solved_again(inputs: Path, whole: Path) -> None:
    before, after = artifacts.load_schedule(inputs / "curriculum"), artifacts.load_schedule(whole)
    assert after.rationale_ids == before.rationale_ids
    assert after.num_stages == before.num_stages == 5
    assert np.array_equal(after.input_steps[:, 0], before.input_steps[:, 0])
    assert not np.array_equal(after.input_steps, before.input_steps)
    assert np.all(np.diff(after.input_steps.astype(int), axis=1) <= 0)
    stages = artifacts.read_json(whole / artifacts.STAGES)
    assert [row["stage"] for row in stages] == [0, 1, 2, 3, 4]
    assert [row["done"] for row in stages] == after.done.tolist()
    assert stages[0] == artifacts.read_json(inputs / "curriculum" / artifacts.STAGES)[0]


def test_findings_have_the_cost_and_each_schedule(inputs: Path, whole: Path) -> None:
    items = rationales_of(inputs)
    scored = sum(len(item.rationale_ids) + len(item.answer_ids) + 1 for item in items)
    found = artifacts.read_json(whole / artifacts.FINDINGS)["remeasured"]
    assert [record["stage"] for record in found] == [1, 2, 3]
    assert [record["target_tokens"] for record in found] == [scored] * 3
    assert all(record["seconds"] > 0 for record in found)
    assert [[row["stage"] for row in record["stages"]] for record in found] == [[1, 2, 3, 4], [2, 3, 4], [3, 4]]
    assert len({record["total_difficulty"] for record in found}) == 3, "the student changes, and so do its difficulties"
    summary = artifacts.read_json(whole / "summary.json")
    assert summary["remeasured_stages"] == [1, 2, 3]
    assert summary["remeasuring_target_tokens"] == 3 * scored
    assert not (whole / REMEASURED).exists()


def test_the_summary_counts_the_tokens_of_the_revised_schedule(inputs: Path, whole: Path) -> None:
    items, schedule = rationales_of(inputs), artifacts.load_schedule(whole)
    expected = 0
    for row, item in enumerate(items):
        given = [*schedule.input_steps[row].tolist(), 0]
        expected += sum(
            len(item.rationale_ids) - item.input_tokens(steps) + len(item.answer_ids) + 1 for steps in given
        )
    assert artifacts.read_json(whole / "summary.json")["target_tokens"] == expected


@pytest.mark.parametrize("measure", ["weighted-nll", "nll"])
@pytest.mark.parametrize("family", ["t5", "llama"])
def test_it_measures_what_the_difficulty_phase_does(tmp_path: Path, family: str, measure: str) -> None:
    """The untrained student is measured before training and here: the same numbers."""
    inputs = make_inputs(tmp_path / "in", family=family, dropout=0.2)
    context = context_for(inputs, tmp_path / "out", difficulty={"measure": measure, "batch_size": 4})
    measure_before_training(context)
    expected = artifacts.load_step_difficulties(tmp_path / "out")

    student, items = load_model(str(inputs / "model")).train(), rationales_of(inputs)
    weights = artifacts.load_token_weights(inputs / "weighting") if measure == "weighted-nll" else None
    state = torch.get_rng_state()
    found = measure_steps(
        student,
        model_family(student, load_tokenizer(str(inputs / "model"))),
        items,
        weights=weights,
        batch_size=4,
        dtype=torch.float32,
    )
    assert found.tolist() == expected.difficulty.tolist()
    assert student.training
    assert torch.equal(state, torch.get_rng_state())
    steps = step_table(items, found, np.zeros(len(items), np.int64), stage=1)
    assert steps.offsets.tolist() == expected.offsets.tolist()
    ends = [steps.num_tokens[a:b].cumsum() for a, b in zip(steps.offsets, steps.offsets[1:], strict=False)]
    assert np.concatenate(ends).tolist() == expected.step_stop.tolist()


def test_measuring_alone_leaves_no_trace(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the schedule kept as it is, the student is that of a run without measurements, bit for bit."""
    run(context_for(inputs, tmp_path / "plain", epochs=6, curriculum=CURRICULUM))
    revise = remeasuring.revise_schedule
    monkeypatch.setattr(
        remeasuring, "revise_schedule", lambda schedule, *a, **k: (schedule, revise(schedule, *a, **k)[1])
    )
    summary = run(context_for(inputs, tmp_path / "measured", **EVERY_STAGE))
    assert summary["remeasured_stages"] == [1, 2, 3]
    assert equal(student_of(tmp_path / "measured"), student_of(tmp_path / "plain"))


def test_without_the_setting_nothing_is_measured(inputs: Path, tmp_path: Path, whole: Path) -> None:
    summary = run(context_for(inputs, tmp_path, epochs=6, curriculum=CURRICULUM))
    assert {path.name for path in tmp_path.iterdir()} == {"student", "log.jsonl", "summary.json"}
    assert not [name for name in summary if name.startswith("remeasur")]
    assert not equal(student_of(tmp_path), student_of(whole))


def stop(inputs: Path, output: Path, at: int, **settings: Any) -> None:
    """Run until update `at` is asked for."""
    context = dataclasses.replace(context_for(inputs, output, **settings), progress=Stopper(at, kill=False))
    with pytest.raises(KeyboardInterrupt):
        run(context)


@pytest.mark.parametrize(
    ("looks", "at", "stages"),
    [(1, 2, []), (1, 4, [1]), (1, 11, [1, 2, 3]), (2, 4, [1]), (2, 7, [1, 2]), (2, 11, [1, 2, 3]), (1, 14, [1, 2, 3])],
)
def test_a_stopped_run_ends_with_the_same_student(
    inputs: Path, tmp_path: Path, whole: Path, looks: int, at: int, stages: list[int]
) -> None:
    """A checkpoint every one or two stages of three updates: revisions that it knows are read, later ones repeated.

    No validation answer is right, so the last of equal checkpoints is the student, however many there are.
    """
    stop(inputs, tmp_path, at, validate_every_epochs=looks, **EVERY_STAGE)
    assert sorted(path.name for path in (tmp_path / REMEASURED).glob("*")) == [f"stage-{s:05d}" for s in stages]
    summary = run(context_for(inputs, tmp_path, validate_every_epochs=looks, **EVERY_STAGE))
    assert summary["best_validation_accuracy"] == 0.0
    assert equal(student_of(tmp_path), student_of(whole))
    assert findings_of(tmp_path) == findings_of(whole)
    assert np.array_equal(artifacts.load_schedule(tmp_path).input_steps, artifacts.load_schedule(whole).input_steps)


def test_a_stop_in_the_middle_of_a_measurement(
    inputs: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule is written and the rest is not: the stage counts as not measured."""
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "write_json", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_revision(tmp_path / REMEASURED, load_dummy())
    assert (tmp_path / REMEASURED / "stage-00001" / artifacts.SCHEDULE).is_file()
    run(context_for(inputs, tmp_path, **EVERY_STAGE))
    assert equal(student_of(tmp_path), student_of(whole))
    assert findings_of(tmp_path) == findings_of(whole)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def load_dummy() -> Revision:
    """A revision of other rationales."""
    return Revision(1, 10, 0.5, 2.0, [], Schedule(("a",), np.zeros((1, 2), np.int16), np.ones(2), np.ones(2)))


def test_a_revision_is_read_as_it_was_written(tmp_path: Path) -> None:
    save_revision(tmp_path, load_dummy())
    found = load_revision(tmp_path, 1)
    assert found.findings() == load_dummy().findings()
    assert found.schedule.input_steps.tolist() == [[0, 0]]


def test_a_lost_revision_is_not_passed_over(inputs: Path, tmp_path: Path) -> None:
    """The checkpoint was trained on it: another schedule would count other tokens and go on at other stages."""
    stop(inputs, tmp_path, 7, **EVERY_STAGE)
    shutil.rmtree(tmp_path / REMEASURED / "stage-00001")
    with pytest.raises(RunError, match="stage 1"):
        run(context_for(inputs, tmp_path, **EVERY_STAGE))


@pytest.mark.slow
def test_killed_by_the_system(inputs: Path, tmp_path: Path, whole: Path) -> None:
    killed = start(inputs, tmp_path, kill_at=8, **EVERY_STAGE)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    summary = run(context_for(inputs, tmp_path, **EVERY_STAGE))
    assert summary["resumed"] is True
    assert equal(student_of(tmp_path), student_of(whole))
    assert findings_of(tmp_path) == findings_of(whole)


@pytest.mark.parametrize("max_updates", [5, 6])
def test_stopped_after_the_last_update(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_updates: int
) -> None:
    """In the middle of a stage and at its end: nothing is measured again."""
    settings = {**EVERY_STAGE, "max_updates": max_updates}
    run(context_for(inputs, tmp_path / "whole", **settings))
    with monkeypatch.context() as patch:
        patch.setattr("kpodx.distillation.phase.merge_lora", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(context_for(inputs, tmp_path / "out", **settings))
    monkeypatch.setattr(remeasuring, "measure_steps", _interrupt)
    run(context_for(inputs, tmp_path / "out", **settings))
    assert equal(student_of(tmp_path / "out"), student_of(tmp_path / "whole"))
    assert findings_of(tmp_path / "out") == findings_of(tmp_path / "whole")


def test_worker_processes_see_the_new_schedule(inputs: Path, tmp_path: Path, whole: Path) -> None:
    run(context_for(inputs, tmp_path, num_workers=1, **EVERY_STAGE))
    assert equal(student_of(tmp_path), student_of(whole))


@pytest.mark.slow
def test_two_processes_measure_as_one(tmp_path: Path) -> None:
    """Each scores half of the rationales, and both solve the same schedule."""
    inputs = solve_curriculum(make_inputs(tmp_path / "in", dropout=0.0), **CURRICULUM)
    done = start(inputs, tmp_path / "two", processes=2, batch_size=2, **EVERY_STAGE)
    assert done.returncode == 0, done.stderr
    run(context_for(inputs, tmp_path / "one", batch_size=4, **EVERY_STAGE))
    two, one = artifacts.load_schedule(tmp_path / "two"), artifacts.load_schedule(tmp_path / "one")
    assert np.array_equal(two.input_steps, one.input_steps)
    assert two.done == pytest.approx(one.done, rel=1e-3)
    trained, alone = student_of(tmp_path / "two"), student_of(tmp_path / "one")
    for name, parameter in alone.items():
        torch.testing.assert_close(trained[name], parameter, rtol=1e-3, atol=1e-5)


def test_a_student_that_diverged_is_named(inputs: Path) -> None:
    items = rationales_of(inputs)
    difficulty = np.ones(sum(len(item.step_stops) for item in items))
    difficulty[1] = np.nan  # r0 has one step, r1 two
    with pytest.raises(DivergedError, match="before stage 3, is not finite on rationale 'r1'"):
        step_table(items, difficulty, np.zeros(len(items), np.int64), stage=3)
