"""Killed at any moment, moved, out of space: the run goes on and ends with the same student, bit for bit."""

from __future__ import annotations

import dataclasses
import errno
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from distillation_runs import Stopper, context_for, equal, make_inputs, start, student_of

from kpodx import artifacts
from kpodx.distillation import checkpoints, phase
from kpodx.distillation.checkpoints import COMPLETE, resumable_checkpoint
from kpodx.distillation.phase import run
from kpodx.errors import RunError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With dropout, so that the random state counts."""
    return make_inputs(tmp_path_factory.mktemp("inputs"), dropout=0.2)


@pytest.fixture(scope="module")
def whole(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The student of a run that nothing interrupts: three epochs of three updates."""
    output = tmp_path_factory.mktemp("whole")
    run(context_for(inputs, output))
    return student_of(output)


def stop(inputs: Path, output: Path, at: int, **settings: Any) -> None:
    """Run until update `at` is asked for."""
    context = dataclasses.replace(context_for(inputs, output, **settings), progress=Stopper(at, kill=False))
    with pytest.raises(KeyboardInterrupt):
        run(context)


@pytest.mark.slow
@pytest.mark.parametrize(("kill_at", "left"), [(1, []), (4, [3]), (8, [6])])
def test_killed_by_the_system(
    inputs: Path, tmp_path: Path, whole: dict[str, torch.Tensor], kill_at: int, left: list[int]
) -> None:
    """Before the first checkpoint, in the second epoch, in the third."""
    killed = start(inputs, tmp_path, kill_at=kill_at)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    complete = [int(path.parent.name.split("-")[1]) for path in (tmp_path / "checkpoints").glob(f"*/{COMPLETE}")]
    assert sorted(complete) == left
    summary = run(context_for(inputs, tmp_path))
    assert summary["resumed"] is bool(left)
    assert summary["updates"] == 9
    assert equal(student_of(tmp_path), whole)


@pytest.mark.slow
def test_a_program_of_its_own_says_nothing_and_warns_of_nothing(
    inputs: Path, tmp_path: Path, whole: dict[str, torch.Tensor]
) -> None:
    """Python's warnings are errors there; and it makes the same student as this process."""
    done = start(inputs, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert equal(student_of(tmp_path), whole)


@pytest.mark.parametrize("use", ["floor", "mean-one", "annealed"])
def test_resuming_keeps_to_the_epochs_weights(
    inputs: Path, tmp_path: Path, whole: dict[str, torch.Tensor], use: str
) -> None:
    """Stopped in the second epoch of three; and the student is another one than that of the raw weights."""
    run(context_for(inputs, tmp_path / "whole", weight_use=use))
    stop(inputs, tmp_path / "stopped", 5, weight_use=use)
    run(context_for(inputs, tmp_path / "stopped", weight_use=use))
    assert equal(student_of(tmp_path / "stopped"), student_of(tmp_path / "whole"))
    assert not equal(student_of(tmp_path / "whole"), whole)


@pytest.mark.parametrize("lora", [None, {"rank": 2}])
def test_resuming_counts_everything_once(inputs: Path, tmp_path: Path, lora: dict[str, Any] | None) -> None:
    """The summary of a stopped run that went on is that of one that was not stopped; low-rank updates resume too."""
    expected = run(context_for(inputs, tmp_path / "whole", lora=lora))
    stop(inputs, tmp_path / "stopped", 5, lora=lora)
    found = run(context_for(inputs, tmp_path / "stopped", lora=lora))
    for name in (
        "updates",
        "target_tokens",
        "best_checkpoint_update",
        "validation_accuracy_by_epoch",
        "trainable_parameters",
    ):
        assert found[name] == expected[name]
    assert equal(student_of(tmp_path / "stopped"), student_of(tmp_path / "whole"))


def test_a_half_written_checkpoint_is_removed(inputs: Path, tmp_path: Path, whole: dict[str, torch.Tensor]) -> None:
    """One whose files are cut off and whose marker is missing."""
    stop(inputs, tmp_path, 5)
    folder = tmp_path / "checkpoints"
    half = folder / "checkpoint-6"
    half.mkdir()
    weights = (folder / "checkpoint-3" / "model.safetensors").read_bytes()
    (half / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert resumable_checkpoint(folder) == folder / "checkpoint-3"
    assert not half.exists()
    run(context_for(inputs, tmp_path))
    assert equal(student_of(tmp_path), whole)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    """A folder that is empty, absent, or holds only what a killed process left."""
    assert resumable_checkpoint(tmp_path / "absent") is None
    (tmp_path / "checkpoint-4").mkdir()
    assert resumable_checkpoint(tmp_path) is None
    assert not (tmp_path / "checkpoint-4").exists()


def test_checkpoints_are_ordered_by_number(tmp_path: Path) -> None:
    """1000 comes after 999, and what has another name is left alone."""
    for name in ("checkpoint-999", "checkpoint-1000", "checkpoint-old"):
        (tmp_path / name).mkdir()
        artifacts.write_json(tmp_path / name / COMPLETE, {"num_processes": 1})
        artifacts.write_json(tmp_path / name / "trainer_state.json", {"best_model_checkpoint": None})
    assert resumable_checkpoint(tmp_path) == tmp_path / "checkpoint-1000"
    assert (tmp_path / "checkpoint-old").is_dir()


def test_a_run_folder_that_moved(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Trainer's state holds absolute paths; the best checkpoint is found in the new place, and kept there to the end."""
    from test_distillation_phase import answering

    answering(monkeypatch, [2 / 3, 1 / 3, 0.0])
    run(context_for(inputs, tmp_path / "whole"))
    answering(monkeypatch, [2 / 3])
    stop(inputs, tmp_path / "before", 5)
    (tmp_path / "before").rename(tmp_path / "after")
    answering(monkeypatch, [1 / 3, 0.0])
    summary = run(context_for(inputs, tmp_path / "after"))
    assert summary["best_checkpoint_update"] == 3
    assert not (tmp_path / "before").exists()
    assert equal(student_of(tmp_path / "after"), student_of(tmp_path / "whole"))


def test_the_best_checkpoint_and_the_newest_are_kept(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no other, each with its marker."""
    from test_distillation_phase import answering

    answering(monkeypatch, [0.0, 2 / 3, 1 / 3, 0.0, 0.0])
    stop(inputs, tmp_path, 13, epochs=5)
    folder = tmp_path / "checkpoints"
    assert {path.name for path in folder.iterdir()} == {"checkpoint-6", "checkpoint-12"}
    assert artifacts.read_json(folder / "checkpoint-12" / COMPLETE) == {"update": 12, "epoch": 4.0, "num_processes": 1}
    assert (folder / "checkpoint-6" / COMPLETE).is_file()


def test_a_lost_best_checkpoint_is_not_passed_over(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Trainer would keep the last state and call it the best."""
    from test_distillation_phase import answering

    answering(monkeypatch, [2 / 3, 0.0])
    stop(inputs, tmp_path, 7)
    (tmp_path / "checkpoints" / "checkpoint-3" / COMPLETE).unlink()
    with pytest.raises(RunError, match="names checkpoint-3 as the best"):
        run(context_for(inputs, tmp_path))


def test_another_number_of_processes_is_refused(inputs: Path, tmp_path: Path) -> None:
    """They would make other updates, and skip the wrong ones."""
    stop(inputs, tmp_path, 4)
    with pytest.raises(RunError, match="written by 1 processes, and 2 train now"):
        resumable_checkpoint(tmp_path / "checkpoints", num_processes=2)


@pytest.mark.parametrize("max_updates", [None, 5])
def test_stopped_after_the_last_update(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_updates: int | None
) -> None:
    """While the student is being written: not one update more, and the half-written student is written again."""
    settings = {"max_updates": max_updates, "learning_rate": 1e-2}
    run(context_for(inputs, tmp_path / "whole", **settings))

    def interrupted(model: Any) -> Any:
        (tmp_path / "out" / "student.partial").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(phase, "merge_lora", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(context_for(inputs, tmp_path / "out", **settings))
    assert not (tmp_path / "out" / "student").exists()
    summary = run(context_for(inputs, tmp_path / "out", **settings))
    assert summary["updates"] == (max_updates or 9)
    assert equal(student_of(tmp_path / "out"), student_of(tmp_path / "whole"))
    assert not (tmp_path / "out" / "student.partial").exists()


def test_stopped_while_checkpoints_are_deleted(inputs: Path, tmp_path: Path, whole: dict[str, torch.Tensor]) -> None:
    """Student and summary are written: nothing is trained again, the rest of the checkpoints goes."""
    expected = run(context_for(inputs, tmp_path))
    (tmp_path / "checkpoints" / "checkpoint-9").mkdir(parents=True)
    artifacts.write_json(tmp_path / "checkpoints" / "checkpoint-9" / COMPLETE, {"num_processes": 1})
    assert run(context_for(inputs, tmp_path)) == expected
    assert not (tmp_path / "checkpoints").exists()
    assert equal(student_of(tmp_path), whole)


@pytest.mark.parametrize("where", ["checkpoint", "marker", "student"])
def test_a_full_disk_leaves_nothing_that_looks_finished(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, torch.Tensor], where: str
) -> None:
    """And the run goes on when there is space again."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = {"checkpoint": "transformers.Trainer._save_rng_state", "marker": "kpodx.distillation.checkpoints._flush"}
    with monkeypatch.context() as patch:
        patch.setattr(target.get(where, "kpodx.distillation.phase.copy_vocabulary_files"), full)
        with pytest.raises(OSError, match="No space left"):
            run(context_for(inputs, tmp_path))
    assert not (tmp_path / "student").exists()
    assert not (tmp_path / "summary.json").exists()
    if where != "student":
        assert not list(tmp_path.rglob(COMPLETE))
    assert run(context_for(inputs, tmp_path))["resumed"] is (where == "student")
    assert equal(student_of(tmp_path), whole)


def test_the_marker_goes_before_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while an old checkpoint is deleted leaves no complete one with half its files."""
    path = tmp_path / "checkpoint-3"
    path.mkdir()
    artifacts.write_json(path / COMPLETE, {})

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints._remove(path)
    assert not (path / COMPLETE).exists()
