"""results.jsonl, as a bundle's program wrote it, here or on a device: answers, times, memory."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpodx.errors import DataError

WARM_UP = 2
MOST_BYTES = 2**30


@dataclass(frozen=True)
class Results:
    """All records of a results file.

    Attributes:
        path: of the file.
        bundle: what the last bundle.json said that was answered into it.
        machine: the machine that answered.
        records: all of them, by part and key.
    """

    path: Path
    bundle: dict[str, Any]
    machine: dict[str, Any]
    records: dict[tuple[str, str], list[dict[str, Any]]]

    def outputs(self, key: str) -> dict[str, str]:
        """Output of each question that a model answered, by the question's id."""
        return {str(record["id"]): str(record["output"]) for record in self.records.get(("answer", key), ())}

    def ending(self, part: str, key: str) -> dict[str, Any] | None:
        """How a model's last run of a part (answers, cost) ended; None where it never did."""
        found = self.records.get((part, key))
        return found[-1] if found else None


def read_results(path: Path) -> Results:
    """A results file, which may come from anywhere.

    Raises:
        DataError: it is none, or cut off in the middle.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} has more than {MOST_BYTES:,} bytes.")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    bundle: dict[str, Any] | None = None
    machine: dict[str, Any] = {}
    records: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if record["part"] == "bundle":
                bundle, machine = dict(record["bundle"]), dict(record["machine"])
                _check_bundle(bundle)
                continue
            _check_record(record)
            records.setdefault((record["part"], record["key"]), []).append(record)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{path}: line {number} is no record of results: {line[:60]!r}",
                hint="A file that was cut off: run the bundle's run.py again on the device; it goes on, and mends the file.",
            ) from error
    if bundle is None:
        raise DataError(f"{path} holds no results of a bundle.", hint="results.jsonl, which run.py writes in a bundle.")
    return Results(path, bundle, machine, records)


def _check_bundle(bundle: Mapping[str, Any]) -> None:
    """TypeError or KeyError where a bundle's description lacks what scoring reads."""
    int(bundle["questions"]["n"])
    for name in ("threads", "max_new_tokens", "batch_size", "cost_questions"):
        if not isinstance(bundle[name], int):
            raise TypeError(name)
    for name in ("memory_mib", "context_tokens"):
        if not isinstance(bundle[name], int | None):
            raise TypeError(name)
    for model in bundle["models"]:
        if not all(isinstance(model[name], str) for name in ("name", "quantization", "answers_key", "cost_key")):
            raise TypeError("models")
        dict(model["files"])


def _check_record(record: Mapping[str, Any]) -> None:
    """TypeError or KeyError where a record lacks what scoring reads."""
    if not isinstance(record["key"], str):
        raise TypeError("key")
    if record["part"] == "answer":
        str(record["id"]), str(record["output"])
        return
    numbers = [record["run_seconds"], record["answered"]]
    numbers += [record[name] for name in ("peak_mib", "energy_joules") if record[name] is not None]
    for time in record.get("times", ()):
        numbers += [time["first_token_seconds"], time["seconds"], time["tokens_per_second"]]
    if not all(isinstance(number, int | float) and math.isfinite(number) and number >= 0 for number in numbers):
        raise TypeError("a number")
    if record["ending"] not in ("finished", "over memory", "failed"):
        raise ValueError(record["ending"])


NOT_TAKEN: dict[str, Any] = {
    "ending": "unfinished",
    "error": "",
    "peak_mib": None,
    "energy_joules": None,
    "times": [],
}


def summarize_cost(taken: Mapping[str, Any] | None, size: int) -> dict[str, Any]:
    """Times, memory and energy of answers one by one; the first of them warmed up and do not count.

    Args:
        taken: a record of the part cost; None where there is none.
        size: bytes of the model's files.
    """
    ending = taken or NOT_TAKEN
    times = ending["times"]
    counted = times[WARM_UP:] or times
    energy = ending["energy_joules"]
    cost: dict[str, Any] = {
        "ending": ending["ending"],
        "error": str(ending["error"]),
        "peak_mib": ending["peak_mib"],
        "size_mib": round(size / 2**20, 2),
        "answers": len(counted),
        "energy_joules_per_answer": None if energy is None else round(energy / max(1, len(times)), 3),
    }
    if counted:
        spent = sum(record["seconds"] for record in times)
        cost |= {
            "start_seconds": round(max(0.0, ending["run_seconds"] - spent), 3),
            "first_token_ms": spread([1e3 * record["first_token_seconds"] for record in counted]),
            "answer_ms": spread([1e3 * record["seconds"] for record in counted]),
            "tokens_per_second": spread([record["tokens_per_second"] for record in counted]),
        }
    return cost


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile (the nearest rank), least and greatest.

    >>> spread([3.0, 1.0, 2.0])
    {'p50': 2.0, 'p95': 3.0, 'min': 1.0, 'max': 3.0}
    """
    ranked = sorted(values)
    middle = len(ranked) // 2
    median = ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2
    highest = ranked[math.ceil(0.95 * len(ranked)) - 1]
    return {"p50": round(median, 3), "p95": round(highest, 3), "min": round(ranked[0], 3), "max": round(ranked[-1], 3)}
