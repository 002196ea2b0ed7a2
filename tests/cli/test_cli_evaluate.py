"""`kpodx evaluate`: from a run's package to a verdict and an exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exporting import export
from typer.testing import CliRunner

from kpodx.artifacts import STUDENT, read_json, save_predictions, save_questions, save_rationales, write_json
from kpodx.cli import app
from kpodx.config import shipped
from kpodx.dataset.config import DatasetConfig
from kpodx.dataset.phase import build_questions
from kpodx.errors import DataError, GateError, RunError, UsageError
from kpodx.schema import Split

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def make_run(folder: Path, *, test: bool = True) -> Path:
    """As much of a finished run as is read: the quickstart's starting student, its questions and its answers."""
    stories = {"train": 10, "validation": 0, "test": 0, "min_steps": 1, "max_steps": 1, "level": "basic"}
    questions = build_questions(DatasetConfig.model_validate({"format": "embedded", "embedded": stories}))[0]
    questions = [replace(question, split=Split.TEST if test else Split.TRAIN) for question in questions]
    phases: dict[str, Any] = {}
    done = {"summary": {}, "files": {}, "inputs": {}, "fingerprint": "a" * 64, "seconds": 1.0, "created": "now"}
    for phase in ("dataset", "rationales", "distillation", "evaluation"):
        (folder / phase / "a").mkdir(parents=True)
        write_json(folder / phase / "a" / "done.json", done)
        phases[phase] = {"folder": f"{phase}/a", "fingerprint": "a" * 64, "seconds": 1.0}
    save_questions(folder / "dataset" / "a", questions)
    shutil.copytree(shipped("recipes") / "quickstart-student", folder / "distillation" / "a" / STUDENT)
    from kpodx.modeling.generation import answer_questions
    from kpodx.modeling.loading import load_with_tokenizer

    said = answer_questions(
        *load_with_tokenizer(str(folder / "distillation" / "a" / STUDENT)), questions, max_new_tokens=64, batch_size=10
    )
    save_predictions(folder / "evaluation" / "a", said, "predictions-test.jsonl")
    save_rationales(folder / "rationales" / "a", [])
    recipe = {
        "student": {"model": "quickstart-student"},
        "dataset": {"format": "embedded"},
        "rationales": {"teacher": "embedded"},
        "evaluation": {"max_new_tokens": 64, "confidence": 0.95, "margin": 0.02},
    }
    manifest = {
        "kpodx": "0",
        "format": 1,
        "state": "finished",
        "recipe_name": "tiny",
        "recipe": recipe,
        "phases": phases,
    }
    write_json(folder / "manifest.json", manifest)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a package in it."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "tiny")
    profile = {
        "name": "tight",
        "threads": 1,
        "context_tokens": 512,
        "memory_mib": 2000,
        "size_mib": 2,
        "tokens_per_second": 0.1,
    }
    export(shipped("recipes") / "quickstart-student", folder / "export" / "tight", "onnx", "f32", "q8", profile=profile)
    return folder


def test_verdicts_are_printed_and_budgets_are_a_gate(run: Path) -> None:
    package = str(run / "export" / "tight")
    result = CliRunner().invoke(app, ["evaluate", package, "--model", "q8", "--cost-questions", "2", "--json"])
    assert result.exception is None, result.output
    document = json.loads(result.stdout)
    (model,) = document["models"]
    assert (model["quantization"], model["verdict"]["word"], model["verdict"]["questions"]) == ("q8", "undecided", 10)
    assert all(row["held"] for row in model["budgets"])
    assert document["device"]["threads"] == 1
    assert (run / "acceptance" / "tight" / "result.json").is_file()
    wide = CliRunner().invoke(app, ["evaluate", package, "--model", "q8", "--cost-questions", "2", "--margin", "0.3"])
    assert wide.exception is None
    assert "held" in wide.stdout
    whole = CliRunner().invoke(app, ["evaluate", package, "--cost-questions", "2"])
    assert isinstance(whole.exception, GateError)
    assert "decoder_model_merged.onnx: size_mib is" in whole.exception.message
    assert "the profile allows 2" in whole.exception.message


def test_what_cannot_be_evaluated(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    invoke = CliRunner().invoke
    assert isinstance(invoke(app, ["evaluate"]).exception, RunError)
    alone = tmp_path / "alone"
    shutil.copytree(run / "export" / "tight", alone)
    lonely = invoke(app, ["evaluate", str(alone)]).exception
    assert isinstance(lonely, RunError)
    assert "lies in no run" in lonely.message
    assert "has no model Q9; it has f32, q8" in str(
        invoke(app, ["evaluate", str(alone), "--run", str(run), "--model", "Q9"]).exception
    )
    untested = make_run(tmp_path / "untested", test=False)
    (untested / "evaluation" / "a" / "predictions-test.jsonl").unlink()
    assert isinstance(invoke(app, ["evaluate", str(alone), "--run", str(untested)]).exception, UsageError)


def test_a_baseline_is_a_gate(run: Path, tmp_path: Path) -> None:
    package = str(run / "export" / "tight")
    arguments = ["evaluate", package, "--model", "q8", "--cost-questions", "2", "--tolerate-latency", "100"]
    first = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path)])
    assert first.exception is None
    baseline = tmp_path / "result.json"
    again = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "b"), "--baseline", str(baseline)])
    assert again.exception is None, again.output
    document = read_json(baseline)
    document["models"][0]["cost"]["size_mib"] /= 2
    write_json(baseline, document)
    fallen = (
        CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "b"), "--baseline", str(baseline)]).exception
    )
    assert isinstance(fallen, GateError)
    assert "against the baseline, q8: size grew from" in fallen.message
    own = ["--output", str(tmp_path), "--baseline", str(baseline)]
    assert "is where this result will be written" in str(CliRunner().invoke(app, [*arguments, *own]).exception)
    # What cannot be compared is told before anything is asked.
    few = [*arguments, "--limit", "2", "--output", str(tmp_path / "c"), "--baseline", str(baseline)]
    assert "asked other questions" in str(CliRunner().invoke(app, few).exception)
    assert not (tmp_path / "c").exists()
    wrong = CliRunner().invoke(app, [*arguments, "--baseline", str(run / "manifest.json")]).exception
    assert isinstance(wrong, DataError)


def test_a_bundle_goes_out_and_its_results_come_back(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke = CliRunner().invoke
    plain = run / "export" / "plain"
    words = ["export", str(run), "--format", "onnx", "--quant", "q8", "--questions", "2", "--threads", "1"]
    words += ["--output", str(plain), "--bundle-questions", "4", "--bundle"]
    bundle = tmp_path / "bundle"
    made = invoke(app, [*words, str(bundle)])
    assert made.exception is None, made.output
    assert "python run.py" in made.stderr
    assert "exists already" in str(invoke(app, [*words, str(bundle)]).exception)
    # The package is there already, and is not made again.
    before = (plain / "package.json").stat().st_mtime_ns
    assert invoke(app, [*words, str(tmp_path / "second")]).exception is None
    assert (plain / "package.json").stat().st_mtime_ns == before
    # For other bounds it would be.
    other = invoke(app, [*words[:2], "--profile", "raspberry-pi-5", *words[4:], str(tmp_path / "third")])
    assert "plain exists already" in str(other.exception)
    done = subprocess.run([sys.executable, "run.py"], cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = ["evaluate", "--import", str(bundle / "results.jsonl"), "--json"]
    scored = invoke(app, [*results, str(plain)])
    document = json.loads(scored.stdout)
    assert [(model["quantization"], model["verdict"]["questions"]) for model in document["models"]] == [("q8", 4)]
    assert (run / "acceptance" / "plain-imported" / "result.json").is_file()
    monkeypatch.chdir(run.parent.parent)
    (run.parent.parent / "runs").symlink_to(run.parent)
    assert json.loads(invoke(app, results).stdout)["package"] == document["package"]
    monkeypatch.chdir(tmp_path)
    assert "No package below runs is the one" in str(invoke(app, results).exception)
    assert "do not go with it" in str(invoke(app, [*results, "--set", "stages"]).exception)


def test_a_package_of_another_student_is_refused(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run / "export" / "tight", other)
    manifest = read_json(other / "package.json")
    write_json(other / "package.json", {**manifest, "origin": {"student": "0" * 64}})
    error = CliRunner().invoke(app, ["evaluate", str(other), "--run", str(run)]).exception
    assert isinstance(error, DataError)
    assert "exported from another student" in error.message


def test_a_model_alone_gives_no_bundle(tmp_path: Path) -> None:
    words = ["export", str(shipped("recipes") / "quickstart-student"), "--bundle", str(tmp_path / "bundle")]
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, UsageError)
    assert "a model alone has no test questions" in error.message


def test_another_question_set_is_asked(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "Tom has 3 apples. He buys 4 more. How many apples does Tom have?", "answer": "7"}\n')
    words = ["evaluate", str(run / "export" / "tight"), "--set", str(path), "--model", "q8", "--json"]
    result = CliRunner().invoke(app, words)
    document = json.loads(result.stdout)
    assert (document["questions"]["name"], document["questions"]["n"]) == ("mine", 1)
    assert document["models"][0]["flips_by_steps"] == {}
    (folder,) = (run / "acceptance").glob("tight-mine-*")
    assert (folder / "result.json").is_file()
    assert "--set mine.txt: expected a recipe, a file" in str(
        CliRunner().invoke(app, [*words[:2], "--set", "mine.txt"]).exception
    )
