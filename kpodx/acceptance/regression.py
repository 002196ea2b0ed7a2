"""A result against an earlier one: accuracy, size and speed must not fall beyond their tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpodx.errors import DataError


@dataclass(frozen=True)
class Tolerances:
    """What may be lost: accuracy in absolute terms, size and answer time as shares of the baseline's."""

    accuracy: float = 0.01
    size: float = 0.05
    latency: float = 0.25


def check_comparable(questions: Mapping[str, Any], quantizations: Sequence[str], baseline: Mapping[str, Any]) -> None:
    """DataError where a baseline asked other questions (name, n, sha256), or has a model that is not among the quantisations."""
    if questions["sha256"] != baseline["questions"]["sha256"]:
        raise DataError(
            f"The baseline asked other questions ({baseline['questions']['name']}, {baseline['questions']['n']}) than this "
            f"evaluation ({questions['name']}, {questions['n']}).",
            hint="Evaluate the baseline's package again on these questions.",
        )
    gone = [model["quantization"] for model in baseline["models"] if model["quantization"] not in quantizations]
    if gone:
        raise DataError(f"The baseline has models that were not evaluated: {', '.join(gone)}.")


def regressions(
    result: Mapping[str, Any], baseline: Mapping[str, Any], tolerances: Tolerances
) -> tuple[list[str], list[str]]:
    """What fell beyond its tolerance, and what could not be compared, in words.

    Models are matched by quantisation. Times are compared only where both were taken on the same processor with the same threads.

    Raises:
        DataError: the two did not ask the same questions, or the baseline has a model that is gone.
    """
    check_comparable(result["questions"], [model["quantization"] for model in result["models"]], baseline)
    now = {model["quantization"]: model for model in result["models"]}
    same_machine = _place(result) == _place(baseline)
    fallen: list[str] = []
    unknown: list[str] = (
        [] if same_machine else ["times: the baseline was measured on another processor or with other threads"]
    )
    for before in baseline["models"]:
        name, after = before["quantization"], now[before["quantization"]]
        if before["ending"] != "finished" or after["ending"] != "finished":
            if after["ending"] != "finished":
                fallen.append(f"{name}: {after['ending']}")
            continue
        was, is_now = before["accuracy"]["accuracy"], after["accuracy"]["accuracy"]
        if was - is_now > tolerances.accuracy + 1e-12:
            fallen.append(f"{name}: accuracy fell from {100 * was:.1f} % to {100 * is_now:.1f} %")
        fallen += _grown(name, "size", "MiB", before["cost"]["size_mib"], after["cost"]["size_mib"], tolerances.size)
        if same_machine:
            slow, slower = (model["cost"]["answer_ms"]["p50"] for model in (before, after))
            fallen += _grown(name, "answer time", "ms", slow, slower, tolerances.latency)
    return fallen, unknown


def _place(result: Mapping[str, Any]) -> tuple[Any, ...]:
    return result["machine"]["processor"], result["machine"]["cores"], result["device"]["threads"]


def _grown(name: str, what: str, unit: str, was: float, is_now: float, tolerance: float) -> list[str]:
    if is_now <= was * (1.0 + tolerance):
        return []
    return [f"{name}: {what} grew from {was:g} to {is_now:g} {unit}, {100 * tolerance:g} % are allowed"]
