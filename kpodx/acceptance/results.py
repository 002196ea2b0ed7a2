"""results.jsonl, as a bundle's program wrote it, here or on a device: answers, times, memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

from kpodx.acceptance.bundle import WARM_UP
from kpodx.errors import DataError
from kpodx.outside import clean_line, parse_json

MOST_BYTES = 2**30
MOST_LINE = 2**24
"""Bytes of the largest results file, and of its longest line."""
MOST_NUMBER = 1e12


@dataclass(frozen=True)
class Results:
    """All records of a results file.

    Attributes:
        path: of the file.
        bundle: what the last bundle.json said that was answered into it.
        machine: the machine that answered then.
        records: of that machine, by part and key.
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
        # Not splitlines: it takes characters of an answer for the end of a line.
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_json(line, most_bytes=MOST_LINE, most_text=MOST_LINE)
            CHECKS[record["part"]](record)
            found.append(record)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{path}: line {number} is no record of results ({clean_line(error, 100)}): {line[:60]!r}",
                hint="A file that was cut off: run the bundle's run.py again on the device; it goes on, and mends the file.",
            ) from error
    bundles = [record for record in found if record["part"] == "bundle"]
    if not bundles:
        raise DataError(f"{path} holds no results of a bundle.", hint="results.jsonl, which run.py writes in a bundle.")
    last = bundles[-1]
    records: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in found:
        if record["part"] != "bundle" and record["place"] == last["place"]:
            records.setdefault((record["part"], record["key"]), []).append(record)
    for (part, key), members in records.items():
        if part == "answer" and len({record["id"] for record in members}) < len(members):
            raise DataError(f"{path}: a question is answered twice by the model with the key {key[:40]!r}.")
    return Results(path, last["bundle"], last["machine"], records)


def _require(record: Mapping[str, Any], kind: type | UnionType, *names: str) -> None:
    """KeyError or TypeError where a value is missing or of another kind."""
    for name in names:
        if not isinstance(record[name], kind) or isinstance(record[name], bool):
            raise TypeError(name)


def _check_bundle(record: Mapping[str, Any]) -> None:
    _require(record, dict, "bundle", "machine")
    _require(record, str, "place")
    bundle = record["bundle"]
    _require(bundle, str, "package", "occasion")
    _require(bundle, dict, "questions", "programs")
    _require(bundle, list, "models")
    _require(bundle["questions"], int, "n")
    _require(bundle["questions"], str, "name", "sha256")
    _require(bundle, int, "max_new_tokens", "batch_size", "cost_questions")
    _require(bundle, int | None, "threads", "memory_mib", "context_tokens")
    for model in bundle["models"]:
        _require(model, str, "name", "quantization", "answers_key", "cost_key")
        _require(model, dict, "files")


def _check_answer(record: Mapping[str, Any]) -> None:
    _require(record, str, "key", "place", "id", "output")
    # A lone surrogate could not be written again.
    record["output"].encode()


def _check_ending(record: Mapping[str, Any]) -> None:
    _require(record, str, "key", "place", "error")
    record["error"].encode()
    if record["ending"] not in ("finished", "over memory", "failed"):
        raise ValueError(record["ending"])
    numbers = [record["run_seconds"], record["answered"]]
    numbers += [record[name] for name in ("peak_mib", "energy_joules") if record[name] is not None]
    if record["part"] == "cost":
        _require(record, list, "times")
        for time in record["times"]:
            numbers += [time["first_token_seconds"], time["seconds"], time["tokens_per_second"]]
    if not all(isinstance(n, int | float) and math.isfinite(n) and 0 <= n < MOST_NUMBER for n in numbers):
        raise TypeError("a number")


CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "bundle": _check_bundle,
    "answer": _check_answer,
    "answers": _check_ending,
    "cost": _check_ending,
}
"""What raises TypeError, KeyError or ValueError where a record of a part lacks what scoring reads."""


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
