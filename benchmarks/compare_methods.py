"""Train answer-only, std-cot and kpod with the same number of updates over several seeds, and print them side by side.

    python benchmarks/compare_methods.py --runs runs/compare            # what `make compare` does

Everything but the method and the seed of the training is the same: questions, rationales, token weights and schedule are made once. Two
runs go on side by side, each with one thread. Finished runs are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

METHODS = ("answer-only", "std-cot", "kpod")


def distil(recipe: Path, folder: Path, method: str, seed: int, extra: list[str]) -> dict:
    """One run through the command line; returns its JSON document."""
    reuse = ["--reuse", str(folder / "kpod-0")] if (method, seed) != ("kpod", 0) else []
    command = [
        sys.executable, "-m", "kpodx", "distill", str(recipe), f"distillation.method={method}", f"distillation.seed={seed}",
        *extra, "--run", str(folder / f"{method}-{seed}"), *reuse, "--json",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / f"{method}-{seed}.log").open("w", encoding="utf-8") as log:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with {done.returncode}; see {log.name}")
    return json.loads(done.stdout)


def training_summary(document: dict) -> dict:
    """What the distillation phase said of itself."""
    [phase] = [phase for phase in document["phases"] if phase["name"] == "distillation"]
    return json.loads((Path(phase["folder"]) / "done.json").read_text(encoding="utf-8"))["summary"]


def row(method: str, documents: list[dict]) -> dict:
    """Accuracy over the seeds, pooled by number of steps, and what the training took."""
    accuracies = [document["test"]["accuracy"] for document in documents]
    summaries = [training_summary(document) for document in documents]
    steps = documents[0]["test"]["by_steps"]
    return {
        "method": method,
        "mean": statistics.mean(accuracies),
        "spread": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "accuracies": accuracies,
        "by_steps": {k: statistics.mean(d["test"]["by_steps"][k]["accuracy"] for d in documents) for k in steps},
        "updates": summaries[0]["updates"],
        "target_tokens": round(statistics.mean(s["target_tokens"] for s in summaries)),
        "seconds": round(statistics.mean(s["training_seconds"] for s in summaries)),
    }


def show(rows: list[dict]) -> None:
    """The rows as a Markdown table."""
    steps = list(rows[0]["by_steps"])
    print(
        f"| method | accuracy, mean ± sd | each seed | {' | '.join(f'{s} steps' for s in steps)} | updates | target tokens | seconds |"
    )
    print("|---" * (6 + len(steps)) + "|")
    for r in rows:
        seeds = " ".join(f"{100 * a:.1f}" for a in r["accuracies"])
        by_steps = " | ".join(f"{100 * r['by_steps'][s]:.1f}" for s in steps)
        print(
            f"| {r['method']} | {100 * r['mean']:.1f} ± {100 * r['spread']:.1f} | {seeds} | {by_steps} "
            f"| {r['updates']} | {r['target_tokens']:,} | {r['seconds']} |"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=Path("recipes/quickstart.toml"))
    parser.add_argument("--runs", type=Path, default=Path("runs/compare"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("settings", nargs="*", help="key=value overrides for every run")
    arguments = parser.parse_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    first = distil(arguments.recipe, arguments.runs, "kpod", 0, arguments.settings)
    jobs = [(method, seed) for seed in range(arguments.seeds) for method in METHODS if (method, seed) != ("kpod", 0)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = pool.map(lambda job: distil(arguments.recipe, arguments.runs, *job, arguments.settings), jobs)
        documents = {("kpod", 0): first, **dict(zip(jobs, results, strict=True))}
    rows = [row(method, [documents[method, seed] for seed in range(arguments.seeds)]) for method in METHODS]
    (arguments.runs / "compare.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    show(rows)


if __name__ == "__main__":
    main()
