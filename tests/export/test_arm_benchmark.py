"""The comparison with Arm: what it keeps between calls, what it takes for a failure, and what it says where a tool is missing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kpodx.export.parity import compare
from kpodx.schema import AnswerKind, Question, Split


@pytest.fixture(scope="module")
def arm(repository: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repository / "benchmarks")
        yield importlib.import_module("arm")


@pytest.fixture(scope="module")
def machine(arm: Any) -> Any:
    return importlib.import_module("arm_machine")


def test_a_part_is_made_once_again_where_its_inputs_change_and_never_taken_half_made(
    machine: Any, tmp_path: Path
) -> None:
    folder, calls = tmp_path / "part", []

    def make(target: Path) -> None:
        calls.append(target)
        (target / "file").write_text(str(len(calls)))
        if len(calls) == 2:
            raise KeyboardInterrupt

    assert machine.made(folder, "a", make) == folder
    assert machine.made(folder, "a", make) == folder
    assert len(calls) == 1
    with pytest.raises(KeyboardInterrupt):
        machine.made(folder, "b", make)
    assert not folder.exists()
    machine.made(folder, "b", make)
    assert (folder / "file").read_text() == "3"
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_cpuinfo_is_a_raspberry_pi_5s(machine: Any) -> None:
    lines = dict(line.split("\t: ") for line in machine.CPUS["cortex-a76"].cpuinfo().strip().splitlines())
    assert lines["CPU implementer"] == "0x41"
    assert lines["CPU variant"] == "0x4"
    assert lines["CPU part"] == "0xd0b"


@pytest.mark.parametrize(
    ("model", "there", "divergence", "failed"),
    [
        ("f32", [[1, 2]], 0.0, False),
        ("f32", [[1, 3]], 0.0, True),
        ("q4", [[1, 3]], 1e-4, False),
        ("q4", [[1, 2]], 2e-3, True),
        ("q4", [[1, 2]], float("nan"), True),
    ],
)
def test_unquantised_answers_must_be_equal_and_quantised_ones_near(
    arm: Any, model: str, there: list[list[int]], divergence: float, failed: bool
) -> None:
    agreement = compare([[1, 2]], there, divergence)
    assert arm.Line(f"onnx {model}", "cortex-a76", agreement, None, None, 1e-3, 1.0).failed is failed


def test_results_are_read_off_the_answers_of_a_known_run(arm: Any, machine: Any) -> None:
    question = Question("a", Split.TEST, "What is 3 + 4?", "7", AnswerKind.NUMBER)
    here, there = (
        [{"id": "a", "output": f"{words} The answer is {result}.", "tokens": [number]}]
        for number, (words, result) in enumerate((("3 + 4 = 7.", 7), ("It is 3 + 4.", 8)))
    )
    model = {"quantization": "int8", "agreement": {"divergence": 1e-5}}
    cpu = machine.CPUS["max"]
    line = arm.line("onnx", model, cpu, here, there, 1e-6, 2.0, {"a": question})
    assert line.right == (1, 0)
    assert line.same_result == 0
    assert line.row()[2:4] == ("0/1", "0")
    unknown = arm.line("onnx", model, cpu, here, here, 0.0, 2.0, {})
    assert unknown.right is None
    assert unknown.row()[2:6] == ("1/1", "-", "-", "-")


def test_a_missing_tool_is_named_with_its_package(machine: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(machine.ArmError, match="no qemu-aarch64-static: apt-get install qemu-user-static"):
        machine.Arm(tmp_path, None, 1, print).python(machine.CPUS["max"], "onnx")
    assert not list(tmp_path.iterdir())


def test_a_failing_program_is_told_with_what_it_said(machine: Any) -> None:
    with pytest.raises(machine.ArmError, match=r"(?s)it ended with status 3\nno mirror"):
        machine.run([sys.executable, "-c", "import sys; print('no mirror', file=sys.stderr); sys.exit(3)"])


def test_what_cannot_be_compared_is_refused(arm: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["arm.py", str(tmp_path), "--work", str(tmp_path / "work"), "--model", "q3"])
    with pytest.raises(SystemExit, match=r"is no package: it has no package\.json"):
        arm.main()
    (tmp_path / "package.json").write_text('{"kind": "onnx", "models": [{"name": "a", "quantization": "q4"}]}')
    with pytest.raises(SystemExit, match=r"has no questions\.jsonl and lies in no run"):
        arm.main()
    (tmp_path / "questions.jsonl").write_text('{"id": "a", "question": "What is 3 + 4?"}\n')
    with pytest.raises(SystemExit, match="None of the packages has a model q3"):
        arm.main()
