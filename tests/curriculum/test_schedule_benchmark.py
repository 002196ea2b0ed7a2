"""The schedule benchmark runs and its figures hold at a small size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_benchmark_runs_and_the_solver_is_no_worse_than_the_naive_greedy(repository: Path, tmp_path: Path) -> None:
    output = tmp_path / "schedule.json"
    script = str(repository / "benchmarks" / "schedule.py")
    arguments = ["--rationales", "3000", "--naive-items", "300", "--stages", "4", "--output", str(output)]
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3,000 rationales × 4 stages" in done.stderr
    result = json.loads(output.read_text())
    assert result["naive"]["same_greedy_picks"]
    assert result["naive"]["value_over_naive_greedy"] >= 1.0 - 1e-12
    assert len(result["done"]) == 5
