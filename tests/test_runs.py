"""Run folders: ownership, manifests, finding runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import kpodx
from kpodx.artifacts import read_json, write_json
from kpodx.errors import RunError
from kpodx.runs import (
    all_runs,
    describe_environment,
    installed_versions,
    load_run,
    lock_holder,
    newest_run,
    open_run,
    refuse_foreign,
)

HOLD = """
import sys, time
from pathlib import Path
from kpodx.runs import open_run
with open_run(Path(sys.argv[1])) as run:
    run.save()
    print("held", flush=True)
    time.sleep(600)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that owns the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def make_run(folder: Path, state: str, updated: str) -> Path:
    """A run folder with a manifest and no more."""
    manifest = {"kpodx": "0.1.0", "format": 1, "state": state, "updated": updated}
    write_json(folder / "manifest.json", manifest)
    return folder


def test_a_new_folder_becomes_a_run(tmp_path: Path) -> None:
    with open_run(tmp_path / "deep" / "run") as run:
        run.manifest["state"] = "finished"
        run.save()
        assert (run.path / ".lock").read_text() == f"{os.getpid()}\n"
    again = load_run(tmp_path / "deep" / "run")
    assert again.state == "finished"
    assert again.manifest["kpodx"] == kpodx.__version__
    assert (again.path / ".lock").read_text() == "", "nobody holds it any more"


@pytest.mark.parametrize("name", ["notes.txt", ".git", "dataset"])
def test_a_foreign_folder_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match="not empty and not a run folder"), open_run(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_manifest_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "web app"}')
    with pytest.raises(RunError, match="was not written by kpodx"), open_run(tmp_path):
        pass
    assert (tmp_path / "manifest.json").read_text() == '{"name": "web app"}'


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RunError, match="is a file, expected a run folder"), open_run(tmp_path / "run"):
        pass


def test_a_folder_whose_process_died_at_once_may_be_taken(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1\n")
    (tmp_path / ".manifest.json.x.partial").write_text("{")
    with open_run(tmp_path) as run:
        run.save()
    assert load_run(tmp_path).state == "running"


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    holder = hold(tmp_path / "run")
    try:
        assert lock_holder(tmp_path / "run") == holder.pid
        with (
            pytest.raises(RunError, match=f"in use by another kpodx process, pid {holder.pid}"),
            open_run(tmp_path / "run"),
        ):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    assert lock_holder(tmp_path / "run") is None
    with open_run(tmp_path / "run"):
        assert lock_holder(tmp_path / "run") == os.getpid()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", {"kpodx": "9.0.0", "format": 99})
    with pytest.raises(RunError, match="format 99, expected 1"):
        load_run(tmp_path)


def test_the_newest_finished_run_is_found(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "finished", "2026-01-02T00:00:00+00:00")
    make_run(tmp_path / "b", "finished", "2026-01-01T00:00:00+00:00")
    make_run(tmp_path / "c", "interrupted", "2026-01-03T00:00:00+00:00")
    (tmp_path / "other").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "manifest.json").write_text("{}")
    assert newest_run(tmp_path).name == "a"
    assert newest_run(tmp_path, finished=False).name == "c"
    assert [run.name for run in all_runs(tmp_path)] == ["b", "a", "c"]
    with pytest.raises(RunError, match="no finished run"):
        newest_run(tmp_path / "other")


def test_an_unfinished_phase_is_told(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path / "a", "partial", "2026"))
    with pytest.raises(RunError, match="no finished weighting phase"):
        run.folder("weighting")


def test_a_failed_save_leaves_the_old_manifest(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.save()
        run.manifest["bad"] = float("nan")
        with pytest.raises(ValueError, match="JSON"):
            run.save()
    assert "bad" not in read_json(tmp_path / "manifest.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "manifest.json"]


def test_versions_are_recorded_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    described = describe_environment(None)
    assert described["packages"]["numpy"] is not None
    assert "secret" not in str(described)
    assert installed_versions(("no-such-distribution",)) == {"no-such-distribution": None}


def test_a_damaged_manifest_is_written_anew_and_finished_phases_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_run(tmp_path, "finished", "2026-01-01")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RunError, match="is not JSON") as caught:
        load_run(tmp_path)
    assert f"kpodx distill RECIPE --run {tmp_path}" in (caught.value.hint or "")
    with open_run(tmp_path) as run:
        run.save()
    assert load_run(tmp_path).manifest["kpodx"] == kpodx.__version__
    assert (tmp_path / "manifest.json.damaged").read_text() == "{"
    assert (tmp_path / "dataset").is_dir()
    assert "it is written again" in caplog.text


def test_looking_at_a_foreign_folder_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty and not a run folder"):
        refuse_foreign(tmp_path)
    refuse_foreign(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
