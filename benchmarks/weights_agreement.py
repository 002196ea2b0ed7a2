"""How far the token weights of runs agree: the rank correlation of two runs, and how surely each run separates types of tokens.

    python benchmarks/weights_agreement.py runs/seed-0 runs/seed-1

The weights must be of the same tokens: runs of one recipe that differ in the table `weighting` only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from kpodx.artifacts import FINDINGS, load_token_weights, read_json
from kpodx.errors import KpodxError
from kpodx.runs import load_run
from kpodx.weighting.agreement import weights_rank_correlation

TYPES = ("digit", "operator", "other_word", "function_word", "punctuation")
HEADER = ("run", *TYPES, "over others", "over function words")


def weighting_folder(run: Path) -> Path:
    """Return the folder of the finished weighting phase of a run."""
    return load_run(run).folder("weighting")


def separation_row(name: str, types: dict[str, Any]) -> list[str]:
    """Return a row of the table: mean weight per type of token, and the areas under the ROC curve."""
    means = [f"{types[kind]['mean']:.2f}" if kind in types else "" for kind in TYPES]
    areas = [types.get(f"keypoints_over_{others}") for others in ("others", "function_words")]
    return [name, *means, *("" if area is None else f"{area:.3f}" for area in areas)]


def print_table(rows: list[list[str]]) -> None:
    """Print rows as a Markdown table."""
    for row in (list(HEADER), ["---"] * len(HEADER), *rows):
        print(f"| {' | '.join(row)} |")


def compare(first: Path, second: Path) -> None:
    """Print how two runs separate types of tokens, and the rank correlation of their weights."""
    folders = [weighting_folder(run) for run in (first, second)]
    weights = [load_token_weights(folder) for folder in folders]
    found = weights_rank_correlation(*weights)

    rows = [
        separation_row(str(run), read_json(folder / FINDINGS)["token_types"])
        for run, folder in zip((first, second), folders, strict=True)
    ]
    print_table(rows)
    value = "none, since one of the runs weighs all tokens alike" if found is None else f"{found:.3f}"
    print(f"\nrank correlation of {len(weights[0].token_weight):,} token weights: {value}")


def main() -> int:
    """Compare the two runs of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, metavar="RUN")
    parser.add_argument("second", type=Path, metavar="RUN")
    arguments = parser.parse_args()
    try:
        compare(arguments.first, arguments.second)
    except KpodxError as error:
        print(f"{error.message}\n{error.hint or ''}".strip(), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
