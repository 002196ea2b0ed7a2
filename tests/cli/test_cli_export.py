"""`kpodx export` and `kpodx ask`, from a model's folder to an answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kpodx.artifacts import read_json, write_json
from kpodx.cli import app
from kpodx.errors import GateError, RunError, UsageError
from kpodx.export.manifest import newest_package


def test_a_folder_becomes_a_package_and_answers(tmp_path: Path, tiny_t5: Path) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed")
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    package = tmp_path / "package"
    arguments = [
        "export",
        str(tiny_t5),
        "--quant",
        "f32",
        "--quant",
        "Q8_0",
        "--questions",
        "2",
        "--max-new-tokens",
        "4",
    ]
    result = CliRunner().invoke(
        app, [*arguments, "--threads", "1", "--output", str(package), "--json"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    models = json.loads(result.stdout)["models"]
    assert [model["name"] for model in models] == ["t5-f32.gguf", "t5-Q8_0.gguf"]
    assert models[0]["agreement"]["equal"] == 2
    command = [sys.executable, "-m", "kpodx", "ask", "How many eggs?", "--package", str(package)]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    named = subprocess.run([*command, "--model", "t5-f32.gguf"], capture_output=True, text=True, check=True)
    assert first.stdout == named.stdout
    missing = subprocess.run([*command, "--model", "none.gguf"], capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert "it has f32, Q8_0" in missing.stderr


def test_what_cannot_be_exported_or_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert isinstance(run(app, ["export", "--format", "pdf"]).exception, UsageError)
    assert isinstance(run(app, ["export"]).exception, RunError)
    assert isinstance(run(app, ["export", str(tmp_path)]).exception, RunError)
    assert isinstance(run(app, ["ask", "Why?"]).exception, RunError)
    assert "The question is empty" in str(run(app, ["ask", " "]).exception)
    assert isinstance(run(app, ["ask", "Why?", "--package", str(tmp_path)]).exception, RunError)
    assert GateError.exit_code == 3


def test_the_newest_package_is_asked(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_json(tmp_path / name / "export" / "gguf" / "package.json", {})
    newest = tmp_path / "a" / "export" / "gguf"
    later = (tmp_path / "b" / "export" / "gguf" / "package.json").stat().st_mtime + 5

    os.utime(newest / "package.json", (later, later))
    assert newest_package(tmp_path) == newest


def test_a_profile_picks_format_quantisation_threads_and_budgets(tmp_path: Path, tiny_t5: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    package = tmp_path / "package"
    arguments = ["export", str(tiny_t5), "--profile", "raspberry-pi-5", "--questions", "2", "--max-new-tokens", "4"]
    result = CliRunner().invoke(app, [*arguments, "--threads", "1", "--output", str(package)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    manifest = read_json(package / "package.json")
    assert [model["quantization"] for model in manifest["models"]] == ["q4", "q8"]
    assert (manifest["kind"], manifest["profile"]["name"], manifest["profile"]["threads"]) == (
        "onnx",
        "raspberry-pi-5",
        4,
    )
    assert manifest["profile"]["memory_mib"] > 0
    shown = subprocess.run(
        [sys.executable, str(package / "run.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert f"CPU threads (default {min(4, os.cpu_count() or 1)})" in shown.stdout
    wrong = CliRunner().invoke(app, [*arguments, "--format", "gguf"])
    assert "the profile raspberry-pi-5 is for onnx" in str(wrong.exception)
    command = [sys.executable, "-m", "kpodx", "ask", "How many eggs?", "--package", str(package), "--model", "q8"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 0
