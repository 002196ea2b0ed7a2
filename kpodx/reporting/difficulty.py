"""How hard the steps are: all of them, by their place in the rationale, and by how many steps it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kpodx.schema import StepDifficulties

BINS = 24
MOST_ROWS = 10
"""Places beyond this one share a row."""


def describe_difficulties(difficulties: StepDifficulties) -> dict[str, Any]:
    """Figures of all steps of a run, in nats a token.

    Args:
        difficulties: with at least one step.
    """
    values = difficulties.difficulty
    num_steps = np.diff(difficulties.offsets)
    position = np.arange(len(values)) - np.repeat(difficulties.offsets[:-1], num_steps) + 1
    counts, edges = np.histogram(values, bins=BINS, range=(0.0, float(values.max()) or 1.0))
    return {
        "rationales": len(num_steps),
        "steps": len(values),
        **spread(values),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "by_position": by_group(values, position),
        "by_num_steps": by_group(values, np.repeat(num_steps, num_steps)),
    }


def spread(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """Mean, median and quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return {"mean": float(values.mean()), "p25": low, "median": middle, "p75": high}


def by_group(values: npt.NDArray[np.float64], group: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Count and spread of the values of each group, numbered from 1; high numbers share the last row, named "10+".

    >>> [(row["group"], row["n"], row["mean"]) for row in by_group(np.array([1.0, 2.0, 4.0]), np.array([1, 2, 1]))]
    [('1', 2, 2.5), ('2', 1, 2.0)]
    """
    capped = np.minimum(group, MOST_ROWS)
    name = {MOST_ROWS: f"{MOST_ROWS}+"} if (group > MOST_ROWS).any() else {}
    return [
        {"group": name.get(number, str(number)), "n": int((capped == number).sum()), **spread(values[capped == number])}
        for number in np.unique(capped).tolist()
    ]
