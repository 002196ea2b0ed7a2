"""Two processes that train together, over gloo on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from distillation_runs import context_for, make_inputs, start, student_of

from kpodx import artifacts
from kpodx.distillation.phase import run

COUNT, QUESTIONS = 9, 5


@pytest.mark.slow
def test_two_processes_do_the_work_of_one(tmp_path: Path) -> None:
    """Nine rationales, four an update: the third update of an epoch is one rationale, and process 1 has none of it.

    The student is that of one process with batches of four; each rationale comes once an epoch, at its stage; the validation questions
    are shared out and both processes count all of them.
    """
    inputs = make_inputs(tmp_path / "in", count=COUNT, num_validation=QUESTIONS, dropout=0.0)
    done = start(inputs, tmp_path / "two", processes=2, batch_size=2, record=str(tmp_path / "seen"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "missing keys" not in done.stderr
    seen = [artifacts.read_json(tmp_path / "seen" / f"rank{rank}.json") for rank in (0, 1)]

    for rank, batches in enumerate(process["batches"] for process in seen):
        assert [stage for stage, _, _ in batches] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert [len(rows) for _, rows, _ in batches] == [2, 2, 1 - rank] * 3
        assert [size for _, _, size in batches] == [2, 2, 1] * 3
    for stage in range(3):
        rows = [row for process in seen for at, rows, _ in process["batches"] if at == stage for row in rows]
        assert sorted(rows) == list(range(COUNT))

    assert [process["questions"][0] for process in seen] == [["q9", "q11", "q13"], ["q10", "q12"]]
    summary = artifacts.read_json(tmp_path / "two" / "summary.json")
    assert summary["validation_accuracy_by_epoch"] == {"1.0": 0.4, "2.0": 0.4, "3.0": 0.4}

    alone = run(context_for(inputs, tmp_path / "one", batch_size=4))
    assert summary["updates"] == alone["updates"] == 9
    assert summary["target_tokens"] == alone["target_tokens"]
    two, one, before = student_of(tmp_path / "two"), student_of(tmp_path / "one"), student_of_inputs(inputs)
    for name, parameter in one.items():
        torch.testing.assert_close(two[name], parameter, rtol=1e-4, atol=2e-6)
        assert (parameter - before[name]).abs().max() > 1e-4


def student_of_inputs(inputs: Path) -> dict[str, torch.Tensor]:
    """The student before training."""
    from safetensors.torch import load_file

    return load_file(inputs / "model" / "model.safetensors")
