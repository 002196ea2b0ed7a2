"""Accuracy with its interval, and the phase on a tiny student."""

from __future__ import annotations

from pathlib import Path

import pytest
from phase_inputs import context_for, write_inputs

from kpodx import artifacts
from kpodx.evaluation.accuracy import accuracy, accuracy_by_steps
from kpodx.evaluation.config import EvaluationConfig
from kpodx.evaluation.phase import run
from kpodx.schema import Prediction, Split
from kpodx.statistics import wilson_interval

PREDICTIONS = [
    Prediction("a", "…", "1", True, 10),
    Prediction("b", "…", "2", False, 2),
    Prediction("c", "…", None, False, 2),
    Prediction("d", "…", "4", True, None),
]


def test_accuracy_in_all_and_by_steps() -> None:
    found = accuracy_by_steps(PREDICTIONS, 0.95)
    low, high = wilson_interval(2, 4, 0.95)
    assert {k: v for k, v in found.items() if k != "by_steps"} == {
        "accuracy": 0.5,
        "low": low,
        "high": high,
        "n": 4,
        "unreadable": 0.25,
        "answers": {},
    }
    groups = found["by_steps"]
    assert isinstance(groups, dict)
    assert list(groups) == ["2", "10"]
    assert (groups["2"]["accuracy"], groups["2"]["n"]) == (0.0, 2)
    assert (groups["10"]["accuracy"], groups["10"]["n"]) == (1.0, 1)


def test_a_wider_coverage_has_a_wider_interval() -> None:
    narrow, wide = accuracy(PREDICTIONS, 0.5), accuracy(PREDICTIONS, 0.99)
    assert wide["low"] < narrow["low"] < 0.5 < narrow["high"] < wide["high"]


def test_every_validation_and_test_question_is_answered(tmp_path: Path, tiny_t5: Path) -> None:
    folder = tmp_path / "in"
    write_inputs(folder, 3)
    (folder / "distillation").mkdir()
    (folder / "distillation" / artifacts.STUDENT).symlink_to(tiny_t5)
    context = context_for(folder, tiny_t5, "out", evaluation=EvaluationConfig(max_new_tokens=5, batch_size=2))
    summary = run(context)
    questions = artifacts.load_questions(folder / "dataset")
    for split in (Split.VALIDATION, Split.TEST):
        found = artifacts.load_predictions(context.output, f"predictions-{split.value}.jsonl")
        assert [p.question_id for p in found] == [q.id for q in questions if q.split is split]
        assert summary[split.value] == accuracy_by_steps(found, 0.95)
    artifacts.save_questions(folder / "dataset", [q for q in questions if q.split is not Split.TEST])
    assert run(context)["test"] is None


@pytest.mark.parametrize("confidence", [0.3, 0.5, 1.0])
def test_one_sided_tests_need_a_confidence_between_one_half_and_one(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        EvaluationConfig(confidence=confidence)
