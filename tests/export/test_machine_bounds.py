"""A package may ask for any number of threads, any context, any batch: it gets what the machine can bear."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from exporting import RUNNERS, export, run_it
from tiny_models import make_tiny_llama, make_tiny_t5

from kpodx.errors import RunError
from kpodx.export.divergence import load_runner

CORES = os.cpu_count() or 1


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The runners' module of the machine."""
    monkeypatch.syspath_prepend(str(RUNNERS))
    import machine  # type: ignore[import-not-found]

    return machine


@pytest.mark.parametrize(
    ("wanted", "cores", "threads"),
    [(None, 8, 4), (0, 8, 4), (1, 8, 1), (8, 8, 8), (9, 8, 8), (100_000, 8, 8), (3, 1, 1), (None, 1, 1), (5, None, 1)],
)
def test_threads_are_at_most_the_cores(
    machine: ModuleType, monkeypatch: pytest.MonkeyPatch, wanted: int | None, cores: int | None, threads: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert machine.bounded_threads(wanted) == threads


def test_the_memory_that_is_free_is_known_where_the_machine_says(
    machine: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if Path("/proc/meminfo").is_file():
        assert machine.free_bytes() > 2**20
    monkeypatch.setattr(machine, "_free_of_the_machine", lambda: 10 * 2**30)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.free_bytes() == 10 * 2**30
    for name, text in (("memory.max", "1000\n"), ("memory.current", "900\n"), ("memory.stat", "inactive_file 300\n")):
        (tmp_path / name).write_text(text)
    assert machine.free_bytes() == 400
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_bytes() == 10 * 2**30
    monkeypatch.setattr(machine, "_free_of_the_machine", lambda: None)
    assert machine.free_bytes() is None
    assert machine.lack_of_memory(2**60, 1, 1) is None


def test_a_batch_that_does_not_fit_is_explained(machine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_bytes", lambda: 2**30)
    assert machine.lack_of_memory(2**30, 4, 1000) is None
    assert machine.lack_of_memory(3 * 2**30, 4, 1000) == (
        "4 questions of up to 1,000 tokens take about 3.0 GiB, and 1.0 GiB are free: ask shorter ones, or fewer at a time"
    )


@pytest.fixture(scope="module", params=["onnx-t5", "gguf-t5", "gguf-llama", "onnx-llama"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny package of each kind."""
    form, _, family = request.param.partition("-")
    for library in {"onnx": ("onnx", "onnxruntime"), "gguf": ("gguf", "llama_cpp")}[form]:
        pytest.importorskip(library, reason=f"{library} is not installed")
    if request.param == "onnx-llama":
        pytest.importorskip("optimum", reason="optimum is not installed")
    folder = tmp_path_factory.mktemp("package")
    make = make_tiny_t5 if family == "t5" else make_tiny_llama
    export(make(folder / family, seed=3), folder / "out", form, "f32", count=2)
    return folder / "out"


def model_of(package: Path) -> Path:
    """The model's file."""
    return package / json.loads((package / "package.json").read_text())["models"][0]["name"]


COUNT = """
import os, sys
from pathlib import Path
from kpodx.export.divergence import load_runner

runner = load_runner(Path(sys.argv[1]))
with runner.Model(sys.argv[2], 1000) as model:
    list(model.generate([model.tokenize("How many eggs?")], 3, lambda _row, logits: int(logits.argmax())))
    print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_no_thousand_threads_are_started(package: Path) -> None:
    command = [sys.executable, "-c", COUNT, str(package / "run.py"), str(model_of(package))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) <= 4 * CORES + 8


def test_a_package_that_asks_for_many_threads_answers_with_few(package: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(package, copy)
    manifest = json.loads((copy / "package.json").read_text())
    bounds = {"threads": 1024, "context_tokens": 2**31 - 1}
    (copy / "package.json").write_text(json.dumps({**manifest, "profile": bounds}))
    shown = run_it(copy / "run.py", "--help")
    assert f"CPU threads (default {CORES})" in shown.stdout
    done = run_it(copy / "run.py", "--max-new-tokens", "3", text="How many eggs?\n")
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)
    (copy / "package.json").write_text(json.dumps({**manifest, "profile": {"threads": 1025}}))
    refused = run_it(copy / "run.py", "x")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "error: threads is '1025', expected a whole number from 1 to 1024\n"


def test_a_batch_is_bounded(package: Path) -> None:
    done = run_it(package / "run.py", "--batch-size", "257", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--batch-size must be at most 256" in done.stderr


def test_a_question_that_does_not_fit_into_the_memory_is_refused(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The context that a package names is only a bound: what a batch takes is compared with what is free, before it is taken."""
    runner = load_runner(package / "run.py")
    machine = sys.modules["machine"]
    with runner.Model(model_of(package), 1, 2**31 - 1) as model:
        assert model.context_tokens <= 2**20
        prompts = [model.tokenize("How many eggs has Tom? " * 20)] * 3
        monkeypatch.setattr(machine, "free_bytes", lambda: 10_000)
        with pytest.raises(
            sys.modules["command_line"].RunnerError, match=r"3 questions of up to [\d,]+ tokens take about"
        ):
            next(model.generate(prompts, 3, lambda _row, _logits: None))
        monkeypatch.setattr(machine, "free_bytes", lambda: 2**31)
        assert list(model.generate(prompts, 3, lambda _row, _logits: None)) == []


@pytest.mark.parametrize("value", [10**9 + 1, 1e300, True, "4", -1, 0, 1025])
def test_kpodx_refuses_a_profile_beyond_all_machines(package: Path, tmp_path: Path, value: object) -> None:
    from kpodx.acceptance.package import load_package

    copy = tmp_path / "copy"
    shutil.copytree(package, copy)
    manifest = json.loads((copy / "package.json").read_text())
    (copy / "package.json").write_text(json.dumps({**manifest, "profile": {"threads": value}}))
    with pytest.raises(RunError, match="profile: threads is"):
        load_package(copy)
