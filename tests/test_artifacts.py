"""What a phase leaves behind: round trips, equal bytes for equal content, and nothing half-written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from kpodx import artifacts
from kpodx.errors import RunError, StorageError, UsageError
from kpodx.schema import AnswerKind, Prediction, Question, Rationale, Schedule, Split, StepDifficulties, TokenWeights


def test_questions_and_rationales_come_back_equal(tmp_path: Path) -> None:
    questions = [
        Question("a", Split.TRAIN, "1 + 1 × ½?", "2", num_steps=1, gold_rationales=("1 + 1 = 2.",)),
        Question("b", Split.TEST, "Which?", "B", AnswerKind.CHOICE, ("x", "y")),
    ]
    rationales = [
        Rationale("a-0", "a", "1 + 1 = 2.\nReally.", "2", "gold"),
        Rationale("b-0", "b", "3 = 3.", "3", "embedded", ((0, 1), (4, 5))),
    ]
    artifacts.save_questions(tmp_path, questions)
    artifacts.save_rationales(tmp_path, rationales)
    assert artifacts.load_questions(tmp_path) == questions
    assert artifacts.load_rationales(tmp_path) == rationales


def test_arrays_come_back_equal_and_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    weights = TokenWeights(("a", "b"), np.array([0, 2, 3]), np.array([0.1, 0.9, 0.5], dtype=np.float32), "hash")
    for folder in ("one", "two"):
        artifacts.save_token_weights(tmp_path / folder, weights)
    first, second = (tmp_path / folder / artifacts.TOKEN_WEIGHTS for folder in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    loaded = artifacts.load_token_weights(tmp_path / "one")
    assert (loaded.rationale_ids, loaded.tokenizer_hash) == (("a", "b"), "hash")
    assert loaded.of(0).tolist() == weights.of(0).tolist()
    assert loaded.of(1).tolist() == [0.5]


def test_difficulties_schedules_and_predictions_come_back_equal(tmp_path: Path) -> None:
    difficulties = StepDifficulties(("a",), np.array([0, 2]), np.array([1.5, 0.25]), np.array([3, 7]))
    artifacts.save_step_difficulties(tmp_path, difficulties)
    assert artifacts.load_step_difficulties(tmp_path).of(0).tolist() == [1.5, 0.25]
    assert artifacts.load_step_difficulties(tmp_path).stops_of(0).tolist() == [3, 7]
    schedule = Schedule(("a",), np.array([[2, 1, 0]], dtype=np.int16), np.array([0.3, 0.5, 1]), np.array([0.2, 0.4, 1]))
    artifacts.save_schedule(tmp_path, schedule)
    assert artifacts.load_schedule(tmp_path).input_steps.tolist() == [[2, 1, 0]]
    assert artifacts.load_schedule(tmp_path).num_stages == 3
    artifacts.save_clusters(tmp_path, np.array([4, 0, 4]))
    assert artifacts.load_clusters(tmp_path).tolist() == [4, 0, 4]
    predictions = [Prediction("a", "so 2", "2", True, 1), Prediction("b", "?", None, False, None)]
    artifacts.save_predictions(tmp_path, predictions)
    assert artifacts.load_predictions(tmp_path) == predictions


def write_half(path: Path) -> None:
    with artifacts.atomic_open(path) as stream:
        stream.write("half")
        raise OSError(28, "disk full")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    artifacts.write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="JSON"):
        artifacts.write_json(path, {"x": float("nan")})
    with pytest.raises(StorageError, match=r"report\.json"):
        write_half(path)
    assert artifacts.read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("name", ["bad.json", "bad.jsonl", "bad.safetensors"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text('{"x": 1}\n{"x": ')
    read = {".json": artifacts.read_json, ".jsonl": artifacts.read_jsonl, ".safetensors": artifacts.read_arrays}
    with pytest.raises(RunError, match=name):
        read[path.suffix](path)


def test_the_hash_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = artifacts.hash_path(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = artifacts.hash_path(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, second, artifacts.hash_path(tmp_path)}) == 3
    assert artifacts.hash_bytes(b"ab", b"c") != artifacts.hash_bytes(b"a", b"bc")


def test_a_journal_on_a_full_disk_keeps_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with artifacts.Journal(tmp_path / "j.jsonl") as journal:
        journal.append({"a": 1})
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:5]))
        with pytest.raises(StorageError, match=r"disk is full: .*j\.jsonl"):
            journal.append({"b": 2})
        monkeypatch.setattr(os, "write", write)
        journal.append({"c": 3})
    with artifacts.Journal(tmp_path / "j.jsonl") as again:
        assert again.records == [{"a": 1}, {"c": 3}]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with artifacts.atomic_folder(tmp_path / "new", "--output") as partial:
            (partial / "file").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with artifacts.atomic_folder(tmp_path / "new", "--output") as partial:
        (partial / "file").write_text("whole")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "file").read_text() == "whole"
    with (
        pytest.raises(UsageError, match="new exists already"),
        artifacts.atomic_folder(tmp_path / "new", "--output"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
