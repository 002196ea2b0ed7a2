"""The phase from artifacts to artifacts."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from kpodx import artifacts
from kpodx.curriculum.config import CurriculumConfig
from kpodx.curriculum.phase import run
from kpodx.errors import DataError, RunError
from kpodx.runtime import PhaseContext, SilentProgress
from kpodx.schema import Question, Rationale, Split, StepDifficulties

TOPICS = ("a train leaves the station", "a farmer sells fresh eggs", "paint covers the wall")


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def write_inputs(folder: Path, num_questions: int = 30, per_question: int = 2) -> StepDifficulties:
    rng = np.random.default_rng(0)
    questions = [Question(f"q{i}", Split.TRAIN, f"{TOPICS[i % 3]}, number {i}?", str(i)) for i in range(num_questions)]
    rationales = [
        Rationale(f"q{i}/{j}", f"q{i}", "One. Two.", str(i), "teacher")
        for i in range(num_questions)
        for j in range(per_question)
    ]
    num_steps = rng.integers(1, 6, len(rationales))
    offsets = np.concatenate([[0], np.cumsum(num_steps)]).astype(np.int64)
    stops = np.concatenate([np.cumsum(rng.integers(1, 9, n)) for n in num_steps]).astype(np.int64)
    difficulties = StepDifficulties(
        tuple(r.id for r in rationales), offsets, rng.gamma(2.0, 0.5, int(offsets[-1])), stops
    )
    artifacts.save_questions(folder / "dataset", questions)
    artifacts.save_rationales(folder / "rationales", rationales)
    artifacts.save_step_difficulties(folder / "difficulty", difficulties)
    return difficulties


def context_for(folder: Path, epochs: int = 12, **settings: object) -> PhaseContext:
    config = CurriculumConfig(**{"question_vectors": "tfidf", "num_clusters": 3, **settings})  # type: ignore[arg-type]
    recipe = SimpleNamespace(curriculum=config, distillation=SimpleNamespace(epochs=epochs))
    inputs = {name: folder / name for name in ("dataset", "rationales", "difficulty")}
    return PhaseContext(recipe, inputs, folder / "out", seed=1, progress=Notes())


def test_the_schedule_and_its_tables_agree(tmp_path: Path) -> None:
    difficulties = write_inputs(tmp_path)
    context = context_for(tmp_path)
    summary = run(context)
    schedule = artifacts.load_schedule(tmp_path / "out")
    assert schedule.rationale_ids == difficulties.rationale_ids
    assert schedule.num_stages == 7
    assert schedule.planned[0] == 0.3
    assert np.all(schedule.done <= schedule.planned + 1e-12)
    with (tmp_path / "out" / "schedule.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["rationale_id"] for row in rows] == list(schedule.rationale_ids)
    assert all(row["rationale_id"].startswith(row["question_id"] + "/") for row in rows)
    assert [[int(row[f"stage_{t}"]) for t in range(7)] for row in rows] == schedule.input_steps.tolist()
    stages = json.loads((tmp_path / "out" / "stages.json").read_text())
    assert [stage["done"] for stage in stages] == schedule.done.tolist()
    assert stages[-1]["share_released"] == np.mean(schedule.input_steps[:, -1] == 0)
    assert summary["cluster_sizes"] == [20, 20, 20]
    clusters = artifacts.load_clusters(tmp_path / "out")
    topics = [int(name[1:].split("/")[0]) % 3 for name in schedule.rationale_ids]
    assert len(set(zip(topics, clusters.tolist(), strict=True))) == 3
    assert summary["full_stage"] == 6
    assert summary["question_vectors"] == "tfidf"
    assert json.loads(json.dumps(summary)) == summary
    assert context.progress.lines == []  # type: ignore[attr-defined]


def test_the_same_seed_writes_the_same_schedule(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    contents = []
    for _ in range(2):
        run(context_for(tmp_path, strategy="random"))
        contents.append((tmp_path / "out" / artifacts.SCHEDULE).read_bytes())
    assert contents[0] == contents[1]
    run(dataclasses.replace(context_for(tmp_path, strategy="random"), seed=2))
    assert (tmp_path / "out" / artifacts.SCHEDULE).read_bytes() != contents[0]


@pytest.mark.parametrize("strategy", ["none", "random", "length", "reverse"])
def test_other_strategies_need_no_question_vectors(tmp_path: Path, strategy: str) -> None:
    write_inputs(tmp_path)
    (tmp_path / "dataset" / artifacts.QUESTIONS).unlink()
    summary = run(context_for(tmp_path, strategy=strategy))
    assert summary["question_vectors"] is None
    assert artifacts.load_schedule(tmp_path / "out").input_steps[:, 0].any() == (strategy != "none")


def fake_embeddings(monkeypatch: pytest.MonkeyPatch, vectors: np.ndarray | None) -> list[list[str]]:
    asked: list[list[str]] = []

    def question_embeddings(context: PhaseContext, texts: list[str]) -> np.ndarray | None:
        asked.append(list(texts))
        return vectors

    module = ModuleType("kpodx.modeling.embeddings")
    module.question_embeddings = question_embeddings  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kpodx.modeling.embeddings", module)
    return asked


def test_student_vectors_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inputs(tmp_path)
    asked = fake_embeddings(monkeypatch, np.repeat(np.eye(2), [12, 18], axis=0).astype(np.float32))
    summary = run(context_for(tmp_path, question_vectors="student"))
    assert len(asked[0]) == 30  # one a question, not one a rationale
    assert summary["question_vectors"] == "student"
    assert sorted(summary["cluster_sizes"]) == [24, 36]  # type: ignore[call-overload]


def test_a_student_without_embeddings_falls_back_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inputs(tmp_path)
    fake_embeddings(monkeypatch, None)
    context = context_for(tmp_path, question_vectors="student")
    assert run(context)["question_vectors"] == "tfidf"
    assert any("tf-idf" in line for line in context.progress.lines)  # type: ignore[attr-defined]


def test_glove_vectors_are_used(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    path = tmp_path / "glove.txt"
    path.write_text("train 1 0\nstation 1 0\neggs 0 1\nwall -1 -1\n")
    summary = run(context_for(tmp_path, question_vectors="glove", glove_path=str(path)))
    assert (summary["question_vectors"], summary["cluster_sizes"]) == ("glove", [20, 20, 20])


def test_a_schedule_longer_than_the_training_is_told(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    context = context_for(tmp_path, epochs=4, full_stage=4)
    run(context)
    assert "4 epochs" in context.progress.lines[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_impossible_difficulties_are_refused_by_name(tmp_path: Path, value: float) -> None:
    difficulties = write_inputs(tmp_path)
    difficulties.difficulty[difficulties.offsets[3]] = value
    artifacts.save_step_difficulties(tmp_path / "difficulty", difficulties)
    with pytest.raises(RunError, match=f"rationale '{difficulties.rationale_ids[3]}'"):
        run(context_for(tmp_path))


def test_no_rationale_and_too_many_steps_are_refused(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    empty = StepDifficulties((), np.zeros(1, np.int64), np.zeros(0), np.zeros(0, np.int64))
    artifacts.save_step_difficulties(tmp_path / "difficulty", empty)
    with pytest.raises(DataError, match="no rationale"):
        run(context_for(tmp_path))
    many = StepDifficulties(("q0/0",), np.array([0, 40_000]), np.ones(40_000), np.arange(1, 40_001))
    artifacts.save_step_difficulties(tmp_path / "difficulty", many)
    with pytest.raises(DataError, match="40000 steps"):
        run(context_for(tmp_path))


def test_folders_of_different_runs_are_refused(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    rationales = artifacts.load_rationales(tmp_path / "rationales")
    artifacts.save_rationales(tmp_path / "rationales", rationales[1:])
    with pytest.raises(RunError, match="'q0/0' has step difficulties"):
        run(context_for(tmp_path))
    artifacts.save_rationales(tmp_path / "rationales", rationales)
    artifacts.save_questions(tmp_path / "dataset", artifacts.load_questions(tmp_path / "dataset")[1:])
    with pytest.raises(RunError, match="question 'q0'"):
        run(context_for(tmp_path))


def test_real_questions_fall_into_clusters_of_some_size(tmp_path: Path, shared_data: Path) -> None:
    """Every fifth training question of GSM8K, with its human solution's lines as steps."""
    lines = (shared_data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()[::5]
    records = [json.loads(line) for line in lines]
    questions = [Question(str(i), Split.TRAIN, r["question"], "0") for i, r in enumerate(records)]
    texts = [r["answer"].split("\n####")[0].split("\n") for r in records]
    rationales = [Rationale(str(i), str(i), "\n".join(steps), "0", "human") for i, steps in enumerate(texts)]
    lengths = [[len(step.split()) + 1 for step in steps] for steps in texts]
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in lengths])]).astype(np.int64)
    stops = np.concatenate([np.cumsum(own) for own in lengths]).astype(np.int64)
    difficulty = np.random.default_rng(0).gamma(4.0, 0.3, len(stops))
    artifacts.save_questions(tmp_path / "dataset", questions)
    artifacts.save_rationales(tmp_path / "rationales", rationales)
    artifacts.save_step_difficulties(
        tmp_path / "difficulty", StepDifficulties(tuple(r.id for r in rationales), offsets, difficulty, stops)
    )
    summary = run(context_for(tmp_path, epochs=20, num_clusters=5))
    sizes = summary["cluster_sizes"]
    assert isinstance(sizes, list)
    assert len(sizes) == 5
    assert min(sizes) > len(questions) / 50
    schedule = artifacts.load_schedule(tmp_path / "out")
    assert np.all(schedule.planned[:-1] - schedule.done[:-1] < 0.005)
