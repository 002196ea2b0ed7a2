"""Run folders with a damaged `done.json` or a missing or damaged manifest: what can be rebuilt is, the rest runs again."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_phases
import pytest
from faults import listing
from reported_runs import make_run
from typer.testing import CliRunner

from kpodx.artifacts import read_json, write_json
from kpodx.cli import app
from kpodx.errors import KpodxError, RunError
from kpodx.pipeline import run_pipeline
from kpodx.runs import load_run, looks_like_a_run, open_run

ALL = list(fake_phases.NAMES)


@pytest.fixture
def run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A function that runs fake phases in the folder `run`, and returns those that were not cached."""
    modules: dict[str, Any] = {}
    calls: list[str] = []
    fake_phases.install(calls, {}, modules)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    recipe: Any = fake_phases.resolved(student={"model": str(model)})

    def run() -> list[str]:
        calls.clear()
        run_pipeline(recipe, tmp_path / "run")
        return list(calls)

    return run


DAMAGE: dict[str, Any] = {
    "empty": "",
    "cut": '{"fingerprint": "ab',
    "not-utf-8": b"\xff\xfe\x00",
    "null": "null",
    "list": "[]",
    "nothing-in-it": "{}",
    "no-files": {"files": None},
    "files-elsewhere": {"files": {"../../manifest.json": {"size": 1, "sha256": "0"}}},
    "files-without-sizes": {"files": {"result.json": {}}},
    "inputs-is-a-list": {"inputs": []},
    "seconds": {"seconds": "soon"},
    "digits": '{"seconds": ' + "9" * 5000 + "}",
    "deep": "[" * 100_000,
    "zeros": "\0" * 4096,
}


def damaged(path: Path, damage: Any) -> None:
    """Write what is no longer what kpodx wrote."""
    if isinstance(damage, dict):
        damage = json.dumps({**json.loads(path.read_text()), **damage})
    path.write_bytes(damage if isinstance(damage, bytes) else damage.encode())


@pytest.mark.parametrize("name", DAMAGE)
def test_a_phase_whose_mark_is_damaged_runs_again(
    tmp_path: Path, run_it: Callable[[], list[str]], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    run_it()
    folder = load_run(tmp_path / "run").folder("weighting")
    damaged(folder / "done.json", DAMAGE[name])
    assert run_it() == ["weighting"]
    assert load_run(tmp_path / "run").state == "finished"
    assert f"{folder / 'done.json'} is" in caplog.text
    assert "The phase counts as unfinished" in caplog.text
    aside = folder.with_name(f"{folder.name}.replaced-1")
    assert (aside / "result.json").is_file(), "nothing finished is lost"
    assert run_it() == []


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("command", ["status", "report"])
def test_commands_that_read_a_damaged_phase_say_so_in_one_line(tmp_path: Path, command: str, name: str) -> None:
    run = make_run(tmp_path / "run")
    for file in run.glob("*/*/done.json"):
        damaged(file, DAMAGE[name])
    done = CliRunner().invoke(app, [command, str(run)])
    if command == "status":
        assert done.exit_code == 0
        assert "damaged" in done.stdout
    else:
        assert isinstance(done.exception, KpodxError), done.exception
        assert done.exception.exit_code == 2
        assert "done.json is" in done.exception.message
        assert done.exception.hint


@pytest.mark.parametrize("name", ["empty", "cut", "list", "zeros"])
def test_a_partial_state_whose_mark_is_damaged_is_put_aside(
    tmp_path: Path, run_it: Callable[[], list[str]], name: str
) -> None:
    run_it()
    folder = load_run(tmp_path / "run").folder("weighting")
    (folder / "done.json").unlink()
    damaged(folder / ".started.json", DAMAGE[name])
    assert run_it() == ["weighting"]
    assert load_run(tmp_path / "run").state == "finished"


def test_a_missing_manifest_is_written_again(
    tmp_path: Path, run_it: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    run_it()
    (tmp_path / "run" / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"has no manifest\.json") as caught:
        load_run(tmp_path / "run")
    assert "kpodx distill RECIPE --run" in (caught.value.hint or "")
    before = {name: content for name, content in listing(tmp_path / "run").items() if "result" in name}
    assert run_it() == []
    assert "manifest.json is missing and is written again" in caplog.text
    run = load_run(tmp_path / "run")
    assert (run.state, list(run.manifest["phases"])) == ("finished", ALL)
    assert {name: content for name, content in listing(run.path).items() if "result" in name} == before


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "null", "[]", "3", "{}", "\0" * 100, "[" * 100_000, '{"format": ' + "9" * 5000 + "}"),
        {"phases": []},
        {"phases": {"dataset": {}}},
        {"phases": {"dataset": {"folder": "../../elsewhere"}}},
        {"plan": [3]},
        {"plan": [{"folder": "/etc"}]},
        {"recipe": "none"},
        {"revisions": [1]},
    ],
    ids=str,
)
def test_a_damaged_manifest_is_written_again_and_kept(
    tmp_path: Path, run_it: Callable[[], list[str]], content: Any
) -> None:
    run_it()
    file = tmp_path / "run" / "manifest.json"
    damaged(file, content)
    before = file.read_bytes()
    with pytest.raises(RunError) as caught:
        load_run(tmp_path / "run")
    assert "writes it again" in (caught.value.hint or "")
    assert run_it() == []
    assert load_run(tmp_path / "run").state == "finished"
    assert (tmp_path / "run" / "manifest.json.damaged").read_bytes() == before


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "mine"},
        {"dataset/questions.jsonl": "{}"},
        {"a/b/done.json": "{}"},
        {"dataset/0123456789ab/done.json": '{"fingerprint": "ffff"}'},
        {"dataset/0123456789ab/done.json": "[]"},
        {"dataset/0123456789ab/done.json": "not JSON"},
        {"build/done.json": '{"fingerprint": "x"}'},
        {"manifest.json": '{"manifest_version": 3, "name": "a browser extension"}', "a.js": ""},
        {"manifest.json": "[]"},
    ],
    ids=str,
)
def test_a_foreign_folder_is_still_refused(tmp_path: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    before = listing(tmp_path)
    assert not looks_like_a_run(tmp_path)
    with pytest.raises(RunError), open_run(tmp_path):
        pass
    assert {name: content for name, content in listing(tmp_path).items() if name != ".lock"} == before


def test_a_newer_format_is_not_taken_for_damage(tmp_path: Path, run_it: Callable[[], list[str]]) -> None:
    run_it()
    file = tmp_path / "run" / "manifest.json"
    write_json(file, {**read_json(file), "format": 99})
    with pytest.raises(RunError, match="has format 99"):
        run_it()
    assert not (tmp_path / "run" / "manifest.json.damaged").exists()


def test_a_folder_of_another_program_inside_a_run_is_no_harm(tmp_path: Path, run_it: Callable[[], list[str]]) -> None:
    run_it()
    shutil.copytree(tmp_path / "run" / "dataset", tmp_path / "run" / "my notes")
    (tmp_path / "run" / "manifest.json").unlink()
    assert run_it() == []


@pytest.mark.parametrize("command", ["status", "report", "show"])
@pytest.mark.parametrize("lost", ["plan", "recipe", "phases", "seeds"])
def test_a_manifest_that_lacks_something_is_no_traceback(tmp_path: Path, command: str, lost: str) -> None:
    run = make_run(tmp_path / "run")
    manifest = read_json(run / "manifest.json")
    manifest.pop(lost, None)
    write_json(run / "manifest.json", manifest)
    done = CliRunner().invoke(app, [command, str(run)])
    assert done.exit_code == 0 or isinstance(done.exception, KpodxError), done.exception
