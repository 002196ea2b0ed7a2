"""A result against an earlier one: what fell, what grew, and what cannot be compared."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from kpodx.acceptance.regression import Tolerances, regressions
from kpodx.errors import DataError
from kpodx.outside import understood


def result(accuracy: float = 0.9, size: float = 10.0, answer_ms: float = 100.0) -> dict[str, Any]:
    """As much of a result as is compared."""
    cost = {"size_mib": size, "answer_ms": {"p50": answer_ms}}
    return {
        "questions": {"name": "test", "n": 500, "sha256": "a"},
        "machine": {"processor": "one", "cores": 2},
        "device": {"threads": 1},
        "models": [{"quantization": "q8", "ending": "finished", "accuracy": {"accuracy": accuracy}, "cost": cost}],
    }


def test_nothing_within_its_tolerance_is_told() -> None:
    assert regressions(result(0.89, 10.5, 125.0), result(), Tolerances()) == ([], [])
    assert regressions(result(0.99, 1.0, 1.0), result(), Tolerances()) == ([], [])


def test_what_fell_beyond_it_is() -> None:
    fallen, _ = regressions(result(0.889, 10.6, 126.0), result(), Tolerances())
    assert fallen == [
        "q8: accuracy fell from 90.0 % to 88.9 %",
        "q8: size grew from 10 to 10.6 MiB, 5 % are allowed",
        "q8: answer time grew from 100 to 126 ms, 25 % are allowed",
    ]
    broken = result()
    broken["models"][0] |= {"ending": "over memory"}
    assert regressions(broken, result(), Tolerances())[0] == ["q8: over memory"]


def test_times_of_another_machine_are_not_compared() -> None:
    other = copy.deepcopy(result())
    other["machine"]["processor"] = "another"
    fallen, unknown = regressions(result(answer_ms=900.0), other, Tolerances())
    assert fallen == []
    assert "another processor" in unknown[0]


def test_other_questions_and_missing_models_are_refused() -> None:
    other = result()
    other["questions"] = {"name": "x", "n": 5, "sha256": "b"}
    with pytest.raises(DataError, match=r"asked other questions \(x, 5\)"):
        regressions(result(), other, Tolerances())
    more = result()
    more["models"] = [*more["models"], {"quantization": "q4"}]
    with pytest.raises(DataError, match="not evaluated: q4"):
        regressions(result(), more, Tolerances())


@pytest.mark.parametrize("lost", ["machine", "device", "questions", "models"])
def test_a_baseline_of_another_shape_is_one_error(lost: str) -> None:
    baseline = {**result(), lost: {"models": [{"quantization": "q8"}]}.get(lost, [])}
    with (
        pytest.raises(DataError, match="is not a result of"),
        understood(Path("old.json"), "a result of `kpodx evaluate`"),
    ):
        regressions(result(), baseline, Tolerances())
