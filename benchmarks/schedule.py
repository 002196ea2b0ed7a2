"""How long the schedule takes to solve, how much memory it needs, and how good it is against the naive greedy.

    python benchmarks/schedule.py --rationales 1000000 --stages 10 --output schedule.json

Steps are drawn: 1 to 8 a rationale, gamma-distributed difficulties. The two comparisons with `naive_greedy` and the
large schedule run in one process; peak memory is of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from naive_greedy import naive_greedy

from kpodx.scheduling.schedule import Pace, Plan, SelectionRule, StepTable, solve_schedule
from kpodx.scheduling.selection import density_order, first_fit, select_greedy_max, selection_value


def draw_steps(num_rationales: int, num_clusters: int, rng: np.random.Generator) -> StepTable:
    """Rationales of 1 to 8 steps with a mean difficulty of 1.2 nats."""
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 9, num_rationales))]).astype(np.int64)
    num_steps = int(offsets[-1])
    clusters = rng.integers(0, num_clusters, num_rationales)
    return StepTable(offsets, rng.gamma(3.0, 0.4, num_steps), rng.integers(3, 40, num_steps), clusters)


def solve(steps: StepTable, num_stages: int, diversity_coef: float) -> tuple[Plan, float]:
    """The schedule and the seconds it took."""
    started = time.perf_counter()
    plan = solve_schedule(steps, SelectionRule("kpod", diversity_coef, np.random.default_rng(0)), Pace(num_stages))
    return plan, time.perf_counter() - started


def compare(num_items: int, num_clusters: int, diversity_coef: float, rng: np.random.Generator) -> dict[str, object]:
    """One selection of the package beside the naive greedy on the same items and a tenth of their total cost."""
    costs, clusters = rng.gamma(3.0, 0.4, num_items), rng.integers(0, num_clusters, num_items)
    budget = float(costs.sum()) / 10
    started = time.perf_counter()
    picks, best_seen = naive_greedy(costs.tolist(), clusters.tolist(), budget, diversity_coef)
    naive_seconds = time.perf_counter() - started
    started = time.perf_counter()
    selected = select_greedy_max(costs, clusters, budget, diversity_coef)
    seconds = time.perf_counter() - started
    naive_value = selection_value(costs[picks], clusters[picks], diversity_coef)
    value = selection_value(costs[selected], clusters[selected], diversity_coef)
    return {
        "items": num_items,
        "same_greedy_picks": first_fit(density_order(costs, clusters, diversity_coef), costs, budget).tolist() == picks,
        "value_over_naive_greedy": value / naive_value,
        "value_over_naive_greedy_max": value / best_seen,
        "seconds": seconds,
        "naive_seconds": naive_seconds,
    }


def main() -> None:
    """Run the benchmark, print a line for people, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rationales", type=int, default=1_000_000, help="rationales of the large schedule")
    parser.add_argument("--stages", type=int, default=10, help="stage T whose budget is everything")
    parser.add_argument("--naive-items", type=int, default=2_000, help="items of the comparison (quadratic time)")
    parser.add_argument("--clusters", type=int, default=5, help="clusters K of questions")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawn steps")
    parser.add_argument("--output", type=Path, help="JSON file to write; standard output without it")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    comparison = compare(options.naive_items, options.clusters, 12.0 * (options.naive_items / 7473) ** 0.5, rng)
    steps = draw_steps(options.rationales, options.clusters, rng)
    plan, seconds = solve(steps, options.stages, 12.0 * (options.rationales / 7473) ** 0.5)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    result = {
        "rationales": options.rationales,
        "steps": len(steps.difficulty),
        "stages": options.stages,
        "seconds": seconds,
        "peak_rss_bytes": peak,
        "planned": plan.planned.tolist(),
        "done": plan.done.tolist(),
        "naive": comparison,
    }
    text = json.dumps(result, indent=2)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    print(
        f"{options.rationales:,} rationales × {options.stages} stages: {seconds:.1f} s, {peak / 2**30:.2f} GiB peak; "
        f"value / naive greedy at {options.naive_items:,} items: {comparison['value_over_naive_greedy']:.6f}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
