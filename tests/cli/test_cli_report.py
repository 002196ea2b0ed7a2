"""`kpodx report`: where it writes, what it prints, what it refuses, and how light it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from reported_runs import PHASES, add_package, make_run
from typer.testing import CliRunner, Result

from kpodx.artifacts import read_json
from kpodx.cli import app
from kpodx.errors import DataError, RunError, UsageError


def report(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["report", *arguments])


def test_page_and_figures_go_into_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_package(run)
    result = report(str(run), "--json")
    assert result.exception is None
    document = json.loads(result.stdout)
    assert document == read_json(run / "report.json")
    assert document["packages"][0]["models"][1]["verdict"]["word"] == "held"
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "report.html" in result.stderr
    assert report(str(run)).stdout == ""


def test_the_newest_finished_run_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(report().exception, RunError)
    make_run(tmp_path / "runs" / "old", updated="2026-01-01")
    make_run(tmp_path / "runs" / "new", updated="2026-01-02")
    make_run(tmp_path / "runs" / "begun", *PHASES[:2], updated="2026-01-03")
    assert report().exception is None
    assert [(path.parent.name) for path in Path("runs").glob("*/report.html")] == ["new"]


def test_a_run_that_is_not_finished_is_told_what_it_lacks(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", *PHASES[:2])
    result = report(str(run))
    assert result.exception is None
    assert "absent: accuracy (the evaluation phase has not run)" in result.stderr


def test_output_goes_where_it_is_asked_to(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert report(str(run), "--output", str(tmp_path / "new" / "page.html")).exception is None
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["page.html", "page.json"]
    assert not (run / "report.html").exists()
    over_folder = report(str(run), "--output", str(tmp_path)).exception
    assert isinstance(over_folder, UsageError)
    assert over_folder.exit_code == 2
    assert isinstance(report(str(tmp_path / "nowhere")).exception, RunError)
    assert isinstance(report(str(run), "--output", str(run / "manifest.html")).exception, UsageError)


def test_a_damaged_result_writes_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_package(run).write_text("{")
    assert isinstance(report(str(run)).exception, DataError)
    assert not (run / "report.html").exists()


def test_a_report_loads_no_torch(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_package(run)
    code = "import sys, kpodx.cli\nsys.argv[1:] = ['report', sys.argv[1]]\n"
    code += "try: kpodx.cli.main()\nexcept SystemExit as end: assert not end.code\n"
    code += "print(sorted({'torch', 'transformers', 'sklearn', 'datasets'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code, str(run)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
