"""Time, processor time and peak memory of each phase of a recipe, each in a process of its own.

    python benchmarks/phases.py recipes/quickstart.toml --run runs/phases distillation.max_updates=20

A finished phase is not run again, and is printed as such.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

PHASES = ("dataset", "rationales", "weighting", "difficulty", "curriculum", "distillation", "evaluation")


def run_phase(phase: str, recipe: str, run: Path, settings: list[str]) -> dict[str, object]:
    """Run one phase through the command line; its wall and processor time in seconds and peak resident memory in MiB, imports included."""
    command = [
        sys.executable,
        "-m",
        "kpodx",
        "distill",
        recipe,
        *settings,
        "--run",
        str(run),
        "--from",
        phase,
        "--to",
        phase,
    ]
    before = set(run.glob(f"{phase}/*/done.json"))
    begun = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - begun
    if status:
        sys.exit(f"{' '.join(command)} failed with {os.waitstatus_to_exitcode(status)}")
    new = set(run.glob(f"{phase}/*/done.json")) - before
    return {
        "phase": phase,
        "seconds": round(seconds, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
        "cached": not new,
        "summary": json.loads(new.pop().read_text(encoding="utf-8"))["summary"] if new else None,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("settings", nargs="*", help="key=value overrides")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--phases", nargs="*", default=PHASES)
    arguments = parser.parse_args()
    rows = [run_phase(phase, arguments.recipe, arguments.run, arguments.settings) for phase in arguments.phases]
    print("| phase | seconds | processor seconds | peak memory, MiB |\n|---|---|---|---|")
    for row in rows:
        took = "done before |" if row["cached"] else f"{row['seconds']} | {row['processor_seconds']}"
        print(f"| {row['phase']} | {took} | {row['peak_mib']} |")
    (arguments.run / "phases.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
