"""The whole phase: from settings to questions.jsonl."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kpodx.artifacts import QUESTIONS, load_questions
from kpodx.config import build_config
from kpodx.dataset import embedded
from kpodx.dataset.config import DatasetConfig
from kpodx.dataset.phase import DROPPED, build_questions, run
from kpodx.errors import DataError, MissingDependencyError
from kpodx.runtime import PhaseContext, SilentProgress
from kpodx.schema import AnswerKind, Question, Split


class Notes(SilentProgress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def make_context(output: Path, **values: Any) -> PhaseContext:
    recipe = SimpleNamespace(dataset=build_config(DatasetConfig, values))
    return PhaseContext(recipe=recipe, inputs={}, output=output, seed=0, progress=Notes())


def write_gsm8k(path: Path, *rows: tuple[str, str]) -> str:
    path.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows), encoding="utf-8")
    return str(path)


def counts(questions: list[Question]) -> list[int]:
    return [sum(question.split is split for question in questions) for split in Split]


def build(**values: Any) -> tuple[list[Question], dict[str, int]]:
    return build_questions(build_config(DatasetConfig, values))


def test_mathematics_needs_its_package_before_anything_is_paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "format": "columns",
        "answer_kind": "math",
        "files": {"train": write_gsm8k(tmp_path / "m.jsonl", ("Factor 2k + 2.", "$2(k+1)$"))},
    }
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert [question.answer for question in build(**values)[0]] == ["2(k+1)"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="math-verify"):
        build(**values)
    assert len(build(**{**values, "answer_kind": "text"})[0]) == 1


def test_files_become_questions_and_a_summary(tmp_path: Path) -> None:
    files = {
        "train": [
            write_gsm8k(tmp_path / "a.jsonl", ("One?", "1 = <<1=1>>1.\n#### 1"), ("one? ", "#### 1")),
            write_gsm8k(
                tmp_path / "b.jsonl", ("Two?", "1+1 = <<1+1=2>>2.\n2 = <<2=2>>2.\n#### 2"), ("Three?", "#### 3")
            ),
        ],
        "test": write_gsm8k(tmp_path / "t.jsonl", ("Four?", "#### unknown"), ("Five?", "#### 5")),
    }
    context = make_context(tmp_path / "out", format="gsm8k", files=files, limit={"train": 2}, on_unreadable="drop")
    summary = run(context)
    assert [(q.id, q.split.value, q.answer) for q in load_questions(tmp_path / "out")] == [
        ("gsm8k-train-0", "train", "1"),
        ("gsm8k-train-2", "train", "2"),
        ("gsm8k-test-1", "test", "5"),
    ]
    assert summary == {
        "questions": {"train": 2, "validation": 0, "test": 1},
        "answer_kinds": {"number": 3},
        "num_steps": {"train": {"1": 1, "2": 1}, "validation": {}, "test": {"unknown": 1}},
        "dropped": {"unreadable_answer": 1, "repeated_in_its_split": 1, "over_the_limit": 1},
    }
    assert json.loads(json.dumps(summary)) == summary
    assert isinstance(context.progress, Notes)
    assert (
        "dataset: 1 questions dropped: unreadable answer (gsm8k-test-0; all are in dropped.jsonl)"
        in context.progress.lines
    )


def test_an_unreadable_answer_stops_before_anything_is_written(tmp_path: Path) -> None:
    path = write_gsm8k(tmp_path / "a.jsonl", ("One?", "#### 1"), ("Two?", "#### unknown"))
    with pytest.raises(DataError, match=r"a.jsonl, line 2: expected a number.*got ' unknown'") as caught:
        run(make_context(tmp_path / "out", format="gsm8k", files={"train": path}))
    assert "on_unreadable=drop" in str(caught.value.hint)
    assert not (tmp_path / "out" / QUESTIONS).exists()


def test_a_question_in_two_splits_stops_or_is_dropped_from_train(tmp_path: Path) -> None:
    files = {
        "train": write_gsm8k(tmp_path / "a.jsonl", ("One?", "#### 1"), ("Two?", "#### 2")),
        "test": write_gsm8k(tmp_path / "t.jsonl", ("ONE?", "#### 1")),
    }
    with pytest.raises(DataError, match="train gsm8k-train-0 = test gsm8k-test-0"):
        build(format="gsm8k", files=files)
    questions, dropped = build(format="gsm8k", files=files, on_duplicate="drop_from_train")
    assert [question.id for question in questions] == ["gsm8k-train-1", "gsm8k-test-0"]
    assert dropped == {"also_in_another_split": 1}


def test_without_training_questions_there_is_nothing_to_do(tmp_path: Path) -> None:
    path = write_gsm8k(tmp_path / "t.jsonl", ("One?", "#### 1"))
    with pytest.raises(DataError, match=r"no question to train on; the splits have .*'test': 1"):
        build(format="gsm8k", files={"test": path})


def test_gsm8k_ids_count_the_lines_of_the_test_file(tmp_path: Path) -> None:
    files = {
        "train": write_gsm8k(tmp_path / "a.jsonl", ("A?", "#### 1")),
        "test": write_gsm8k(tmp_path / "t.jsonl", *((f"{n}?", f"#### {n}") for n in range(4))),
    }
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps({"GSM8K": {"dev": [3, 0], "test": [1]}}), encoding="utf-8")
    questions, dropped = build(format="gsm8k", files=files, split_ids={"file": str(ids), "set": "GSM8K"})
    assert [(q.split.value, q.answer) for q in questions] == [
        ("train", "1"),
        ("validation", "0"),
        ("validation", "3"),
        ("test", "1"),
    ]
    assert dropped == {"not_in_split_ids": 1}
    ids.write_text(json.dumps({"GSM8K": {"test": [4]}}), encoding="utf-8")
    with pytest.raises(DataError, match=r"1 of 1 ids are not in the source: \['gsm8k-test-4'\]"):
        build(format="gsm8k", files=files, split_ids={"file": str(ids), "set": "GSM8K"})


def test_asdiv_ids_may_name_problems_that_have_no_number(tmp_path: Path) -> None:
    problem = '<Problem ID="{}"><Body>b {}.</Body><Question>q?</Question><Answer>{}</Answer></Problem>'
    answers = {"n1": "2 (pens)", "n2": "2:3", "n3": "4", "n4": "5"}
    xml = tmp_path / "ASDiv.xml"
    xml.write_text("<P>" + "".join(problem.format(n, n, a) for n, a in answers.items()) + "</P>", encoding="utf-8")
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps({"ASDiv": {"dev": ["n2", "n3"], "test": ["n4"]}}), encoding="utf-8")
    values = {"format": "asdiv", "files": {"train": str(xml)}, "split_ids": {"file": str(ids), "set": "ASDiv"}}
    questions, dropped = build(**values)
    assert [(q.id, q.split.value) for q in questions] == [("n1", "train"), ("n3", "validation"), ("n4", "test")]
    assert dropped == {"answer_not_a_number": 1}


def test_what_was_dropped_is_named_with_place_and_reason(tmp_path: Path) -> None:
    problem = '<Problem ID="{}"><Body>b {}.</Body><Question>q?</Question><Answer>{}</Answer></Problem>'
    answers = {"n1": "2 (pens)", "n2": "1st", "n3": "4", "n4": "Tom", "n5": "5"}
    problems = [problem.format(n, n, a) for n, a in answers.items()] + [problem.format("n6", "n1", 2)]
    xml = tmp_path / "ASDiv.xml"
    xml.write_text("<P>" + "".join(problems) + "</P>", encoding="utf-8")
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps({"ASDiv": {"dev": ["n3"], "test": ["n2", "n5"]}}), encoding="utf-8")
    values = {"format": "asdiv", "files": {"train": str(xml)}, "split_ids": {"file": str(ids), "set": "ASDiv"}}
    context = make_context(tmp_path / "out", **values)
    summary = run(context)
    assert summary["dropped"] == {"answer_not_a_number": 2, "repeated_in_its_split": 1}
    assert summary["listed_but_dropped"] == {"test": ["n2"]}
    lines = (tmp_path / "out" / DROPPED).read_text(encoding="utf-8").strip().split("\n")
    found = [(item["id"], item["reason"], item["detail"]) for item in map(json.loads, lines)]
    assert found == [
        ("n2", "answer_not_a_number", "the answer is '1st'"),
        ("n4", "answer_not_a_number", "the answer is 'Tom'"),
        ("n6", "repeated_in_its_split", "a copy of train question n1"),
    ]
    assert json.loads(lines[0])["place"] == f"{xml}, problem 2"
    assert isinstance(context.progress, Notes)
    assert "dataset: 1 of the listed test questions dropped: n2 (the answer is '1st')" in context.progress.lines


def test_sizes_are_exact_though_copies_are_dropped(tmp_path: Path) -> None:
    rows = [(f"{n}?", f"#### {n}") for n in range(20)]
    files = {
        "train": write_gsm8k(tmp_path / "a.jsonl", *rows, *rows[:4]),
        "test": write_gsm8k(tmp_path / "t.jsonl", *rows[:3], ("other?", "#### 9")),
    }
    values = {"format": "gsm8k", "files": files, "on_duplicate": "drop_from_train"}
    questions, dropped = build(**values, validation_count=7)
    assert (counts(questions), dropped) == ([10, 7, 4], {"repeated_in_its_split": 4, "also_in_another_split": 3})
    assert len({question.question.casefold() for question in questions}) == len(questions)


def test_csv_columns_are_carved_whatever_their_order(tmp_path: Path) -> None:
    lines = [f'"How many is {n}, please?",{n},{n % 3}' for n in range(100)]
    path = tmp_path / "a.csv"
    values = {
        "format": "columns",
        "files": {"train": str(path)},
        "answer_kind": "number",
        "columns": {"question": "ask", "answer": "say", "num_steps": "n"},
        "validation_fraction": 0.2,
        "test_fraction": 0.2,
    }
    path.write_text("\n".join(["ask,say,n", *lines]), encoding="utf-8")
    forward, _ = build(**values)
    path.write_text("\n".join(["ask,say,n", *reversed(lines)]), encoding="utf-8")
    backward, _ = build(**values)
    assert sorted(forward, key=lambda q: q.id) == sorted(backward, key=lambda q: q.id)
    assert all(count > 0 for count in counts(forward))
    assert sum(counts(forward)) == 100


def test_embedded_questions_are_generated_in_the_numbers_asked_for(tmp_path: Path) -> None:
    table = {"train": 30, "validation": 4, "test": 5, "min_steps": 2, "max_steps": 3, "seed": 7}
    summary = run(make_context(tmp_path / "one", format="embedded", embedded=table))
    assert summary["questions"] == {"train": 30, "validation": 4, "test": 5}
    assert summary["dropped"] == {}
    questions = load_questions(tmp_path / "one")
    assert {question.num_steps for question in questions} <= {2, 3}
    run(make_context(tmp_path / "two", format="embedded", embedded=table))
    assert (tmp_path / "one" / QUESTIONS).read_bytes() == (tmp_path / "two" / QUESTIONS).read_bytes()


def test_the_generator_is_given_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def generate(split: Split, count: int, **settings: object) -> Iterator[Question]:
        calls.append((split, count, settings))
        return iter([Question(f"{split}-{n}", split, f"{split} {n}?", "1") for n in range(count)])

    monkeypatch.setattr(embedded, "generate_questions", generate)
    questions, _ = build(
        format="embedded", embedded={"train": 2, "validation": 0, "test": 1, "max_steps": 4, "seed": 9}
    )
    assert counts(questions) == [2, 0, 1]
    assert calls == [
        (split, count, {"seed": 9, "min_steps": 2, "max_steps": 4, "level": "full"})
        for split, count in ((Split.TRAIN, 2), (Split.VALIDATION, 0), (Split.TEST, 1))
    ]


def gsm8k_files(data: Path) -> dict[str, str]:
    return {"train": str(data / "gsm8k/train.jsonl"), "test": str(data / "gsm8k/test.jsonl")}


def published(data: Path, name: str) -> dict[str, str]:
    return {"file": str(data / "splits/kpod_split_ids.json"), "set": name}


def test_real_gsm8k_is_read_whole_and_split_as_published(shared_data: Path) -> None:
    questions, dropped = build(format="gsm8k", files=gsm8k_files(shared_data))
    assert (counts(questions), dropped) == ([7473, 0, 1319], {})
    first = questions[0]
    assert (first.answer, first.num_steps) == ("72", 2)
    assert first.gold_rationales[0].startswith("Natalia sold 48/2 = 24 clips in May.\n")
    assert not [q.id for q in questions if "<<" in q.gold_rationales[0] or "####" in q.gold_rationales[0]]
    split, dropped = build(format="gsm8k", files=gsm8k_files(shared_data), split_ids=published(shared_data, "GSM8K"))
    assert (counts(split), dropped) == ([7473, 660, 659], {})
    ids = json.loads((shared_data / "splits/kpod_split_ids.json").read_text(encoding="utf-8"))["GSM8K"]
    lines = (shared_data / "gsm8k/test.jsonl").read_text(encoding="utf-8").split("\n")
    wanted = {json.loads(lines[line])["question"].strip() for line in ids["test"]}
    assert {q.question for q in split if q.split is Split.TEST} == wanted


def test_real_svamp_is_split_as_published_and_matches_teacher_records(shared_data: Path) -> None:
    files = {"train": str(shared_data / "svamp/SVAMP.json")}
    questions, dropped = build(format="svamp", files=files, split_ids=published(shared_data, "SVAMP"))
    assert (counts(questions), dropped) == ([700, 150, 150], {})
    folder = shared_data / "teacher_records"
    texts = [(folder / f"svamp_{name}.palm540b.jsonl").read_text(encoding="utf-8") for name in ("train", "test")]
    records = [json.loads(line) for text in texts for line in text.splitlines()]
    assert {question.question for question in questions} == {record["question"] for record in records}


def test_real_svamp_is_carved_in_the_papers_sizes(shared_data: Path) -> None:
    files = {"train": str(shared_data / "svamp/SVAMP.json")}
    questions, dropped = build(format="svamp", files=files, validation_fraction=0.15, test_fraction=0.15)
    assert (counts(questions), dropped) == ([700, 150, 150], {})


def test_real_gsm8k_is_carved_in_the_papers_sizes(shared_data: Path) -> None:
    values = {"format": "gsm8k", "files": gsm8k_files(shared_data), "carve_from": "test"}
    for size in ({"validation_fraction": 0.5}, {"validation_count": 660}):
        questions, dropped = build(**values, **size)
        assert (counts(questions), dropped) == ([7473, 660, 659], {})


def test_real_commonsense_qa_has_the_papers_sizes_in_any_order(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "commonsenseqa"
    train = (folder / "train_rand_split.jsonl").read_text(encoding="utf-8")
    other = tmp_path / "train.jsonl"
    other.write_text("\n".join(reversed(train.strip().split("\n"))), encoding="utf-8")
    members = []
    for path in (folder / "train_rand_split.jsonl", other):
        files = {"train": str(path), "test": str(folder / "dev_rand_split.jsonl")}
        questions, dropped = build(format="commonsense_qa", files=files, validation_count=1221)
        assert (counts(questions), dropped) == ([8520, 1221, 1221], {})
        assert {(len(q.choices), q.answer_kind) for q in questions} == {(5, AnswerKind.CHOICE)}
        members.append({q.id for q in questions if q.split is Split.VALIDATION})
    assert members[0] == members[1]


def test_published_ids_of_another_set_are_told(shared_data: Path) -> None:
    with pytest.raises(DataError, match="1000 of 1000 ids are not in the source"):
        build(format="gsm8k", files=gsm8k_files(shared_data), split_ids=published(shared_data, "SVAMP"))
