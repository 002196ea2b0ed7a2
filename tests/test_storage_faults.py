"""A disk that is full, refuses or fails, at every single operation: one error with a path and a hint, nothing half written, resumable."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_phases
import pytest
import torch
from faults import NUMBERS, Faults, listing
from reported_runs import make_run

from kpodx import artifacts
from kpodx.errors import KpodxError, StorageError
from kpodx.pipeline import Choice, run_pipeline
from kpodx.reporting.document import build_document
from kpodx.reporting.writing import write_report
from kpodx.runs import load_run
from kpodx.storage import fault_of, storing
from kpodx.weighting.training import MaskLearner, resume, save_checkpoint


def check_error(error: KpodxError, root: Path, what: object) -> None:
    """Assert one line with a path, a hint, and an exit code that says why."""
    assert "\n" not in error.message, what
    assert str(root) in error.message, (what, error.message)
    assert error.hint, what
    assert error.exit_code in (1, 2), what


def leftovers(root: Path) -> list[str]:
    """What a write that was broken off would leave."""
    return [name for name in listing(root) if name.endswith(".partial") or "/.tmp" in name]


# Single files and folders


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, mode: str
) -> None:
    path = tmp_path / "deep" / "figures.json"
    artifacts.write_text(path, "old")
    faults = Faults(monkeypatch, tmp_path)

    def write() -> None:
        with artifacts.atomic_open(path, mode) as stream:
            stream.write("new" if mode == "w" else b"new")

    write()
    operations = [name for name, _ in faults.done]
    assert {"open", "fsync", "replace"} <= set(operations)
    artifacts.write_text(path, "old")
    for place in range(len(operations)):
        faults.fail_at(place, number)
        if operations[place] == "mkdir":
            continue
        with pytest.raises(StorageError) as caught:
            write()
        check_error(caught.value, path, (place, operations[place]))
        assert listing(tmp_path) == {"deep/figures.json": b"old"}
    faults.end()
    write()
    assert path.read_text() == "new"


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_a_folder_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    faults = Faults(monkeypatch, tmp_path)

    def write() -> None:
        with artifacts.atomic_folder(tmp_path / "package", "--output") as partial:
            artifacts.write_text(partial / "a" / "b.txt", "whole")

    write()
    count = len(faults.done)
    assert count >= 5
    shutil.rmtree(tmp_path / "package")
    for place in range(count):
        faults.fail_at(place, number)
        with pytest.raises(StorageError) as caught:
            write()
        check_error(caught.value, tmp_path, place)
        assert list(tmp_path.iterdir()) == []
    faults.end()
    write()
    assert listing(tmp_path) == {"package/a/b.txt": b"whole"}


class Full:
    """A stream on a disk that is full."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, _content: object) -> int:
        """Take nothing."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Learner(MaskLearner):
    """A mask learner with nothing in it but a state."""

    def __init__(self) -> None:
        pass

    def state(self) -> dict[str, Any]:
        """A state."""
        return {"update": 3, "module": {"weight": torch.ones(100_000)}}


def test_a_disk_that_is_full_while_the_mask_learning_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch reports such a write as a position that it did not expect."""
    path, learner = tmp_path / "mask_learning.pt", Learner()
    save_checkpoint(learner, path)
    before = listing(tmp_path)
    real = os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda *arguments, **settings: Full(real(*arguments, **settings)))
    with pytest.raises(StorageError, match=r"disk is full: .*mask_learning\.pt"):
        save_checkpoint(learner, path)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02N.", b"PK\x03\x04" + b"\0" * 200, b"x" * 5000])
def test_a_damaged_state_of_mask_learning_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "mask_learning.pt"
    path.write_bytes(content)
    monkeypatch.setattr(MaskLearner, "device", torch.device("cpu"))
    assert not resume(Learner(), path)
    assert "mask_learning.pt is damaged" in caplog.text


def test_faults_are_found_behind_what_libraries_raise() -> None:
    assert fault_of(OSError(errno.EIO, "x")) == errno.EIO
    assert fault_of(RuntimeError("I/O error: No space left on device (os error 28)")) == errno.ENOSPC
    assert fault_of(Exception("Error: Read-only file system (os error 30)")) == errno.EROFS
    assert fault_of(ConnectionRefusedError(errno.ECONNREFUSED, "refused")) is None
    assert fault_of(OSError("no model of that name")) is None
    assert fault_of(RuntimeError("Symlink loop from '/a'")) == errno.ELOOP
    for number, expected in ((errno.ENOENT, None), (errno.ENOSPC, errno.ENOSPC)):
        error = RuntimeError("a bug, or what torch makes of a full disk")
        error.__context__ = OSError(number, "x")
        assert fault_of(error) == expected


def test_an_error_of_our_own_passes_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KpodxError, match=r"^mine$"), storing(tmp_path):
        raise KpodxError("mine")


# Runs


@pytest.fixture
def run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A function that runs fake phases in a folder, and returns those that were not cached."""
    modules: dict[str, Any] = {}
    calls: list[str] = []
    fake_phases.install(calls, {}, modules)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    recipe: Any = fake_phases.resolved(student={"model": str(model)})

    def run(folder: Path, choice: Choice | None = None) -> list[str]:
        calls.clear()
        run_pipeline(recipe, folder, choice)
        return list(calls)

    return run


def results(run: Path) -> dict[str, bytes]:
    """What the phases of a run left, without times."""
    return {name: content for name, content in listing(run).items() if name.endswith("result.json")}


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from-then-on"])
def test_a_run_survives_a_fault_at_every_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_it: Callable[..., list[str]], lasting: bool
) -> None:
    sound = tmp_path / "sound"
    faults = Faults(monkeypatch, tmp_path / "runs")
    choice = Choice(stop="rationales")
    run_it(sound, choice)
    run_it(tmp_path / "runs" / "first", choice)
    faults.end()
    run_it(tmp_path / "runs" / "count", choice)
    operations = [name for name, _ in faults.done]
    assert operations.count("replace") >= 10
    for place in range(0, len(operations), 2 if lasting else 1):
        run = tmp_path / "runs" / f"{place}"
        number = NUMBERS[place % len(NUMBERS)]
        faults.fail_at(place, number, lasting=lasting)
        try:
            run_it(run, choice)
            # Only a folder that was there already need not be made.
            assert operations[place] == "mkdir", place
        except KpodxError as error:
            check_error(error, tmp_path, (place, number))
        faults.end()
        assert leftovers(run) == []
        run_it(run, choice)
        assert load_run(run).state == "partial"
        assert results(run) == results(sound)
        shutil.rmtree(run)


def test_reusing_another_run_survives_a_fault_at_every_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_it: Callable[..., list[str]]
) -> None:
    faults = Faults(monkeypatch, tmp_path / "runs")
    run_it(tmp_path / "first", Choice(stop="rationales"))
    before = listing(tmp_path / "first")
    choice = Choice(stop="rationales", reuse=(tmp_path / "first",))
    assert run_it(tmp_path / "runs" / "count", choice) == []
    count = len(faults.done)
    for place in range(0, count, 3):
        run = tmp_path / "runs" / f"{place}"
        faults.fail_at(place, NUMBERS[place % len(NUMBERS)])
        try:
            run_it(run, choice)
        except KpodxError as error:
            check_error(error, tmp_path, place)
        faults.end()
        run_it(run, choice)
        assert results(run) == results(tmp_path / "first")
        assert listing(tmp_path / "first") == before


# Reports


def test_a_report_survives_a_fault_at_every_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = build_document(load_run(make_run(tmp_path / "run")))
    folder = tmp_path / "pages"
    folder.mkdir()
    page = folder / "report.html"
    write_report(document, page)
    before = listing(folder)
    faults = Faults(monkeypatch, folder)
    write_report(document, page)
    count = len(faults.done)
    assert count >= 6
    for place in range(count):
        for number in NUMBERS:
            faults.fail_at(place, number)
            if faults_a_folder_that_is_there(place):
                continue
            with pytest.raises(StorageError) as caught:
                write_report(document, page)
            check_error(caught.value, folder, (place, number))
            assert listing(folder) == before


def faults_a_folder_that_is_there(place: int) -> bool:
    """Whether an operation only makes sure that the folder exists, as the first of the three of each file does."""
    return place % 4 == 0
