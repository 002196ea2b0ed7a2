"""Question sets besides the run's own: recipes, files, stages, and the student's kept answers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from kpodx.acceptance.question_sets import MOST_BYTES, load_question_set, student_answers
from kpodx.config import shipped
from kpodx.errors import DataError, UsageError
from kpodx.runtime import SilentProgress


def test_stages_have_as_many_questions_of_every_number_of_steps() -> None:
    name, questions = load_question_set("stages", SilentProgress())
    counts = Counter(question.num_steps for question in questions)
    assert name == "stages"
    assert counts == dict.fromkeys(range(1, 9), 50)
    assert [question.num_steps for question in questions[:8]] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len({question.id for question in questions}) == len({question.question for question in questions}) == 400
    assert load_question_set("stages", SilentProgress())[1] == questions


def test_a_recipe_gives_its_test_questions() -> None:
    name, questions = load_question_set("quickstart", SilentProgress())
    assert (name, len(questions)) == ("quickstart", 500)
    stages = {question.question for question in load_question_set("stages", SilentProgress())[1]}
    assert len(stages & {question.question for question in questions}) < 5


def test_a_file_gives_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "2 + 3?", "answer": "5"}\n{"question": "2 * 3?", "answer": 6}\n')
    name, questions = load_question_set(str(path), SilentProgress())
    assert (name, [question.answer for question in questions]) == ("mine", ["5", "6"])


def test_what_is_no_question_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--set no-such-recipe: expected a recipe, a file ending in"):
        load_question_set("no-such-recipe", SilentProgress())
    with pytest.raises(DataError, match="found nothing"):
        load_question_set(str(tmp_path / "none.jsonl"), SilentProgress())
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{\n")
    with pytest.raises(DataError, match="line 1"):
        load_question_set(str(broken), SilentProgress())
    huge = tmp_path / "huge.jsonl"
    with huge.open("wb") as stream:
        stream.truncate(MOST_BYTES + 1)
    with pytest.raises(UsageError, match="more than 268,435,456"):
        load_question_set(str(huge), SilentProgress())


def test_the_students_answers_are_kept(tmp_path: Path) -> None:
    student = shipped("recipes") / "quickstart-student"
    questions = load_question_set("stages", SilentProgress())[1][:2]
    said = student_answers(student, questions, tmp_path, 8, SilentProgress())
    (kept,) = tmp_path.glob("student-*.jsonl")
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text(json.dumps(json.loads(lines[0]) | {"output": "kept from before"}) + "\n" + lines[1])
    again = student_answers(student, questions, tmp_path, 8, SilentProgress())
    assert [again[0].output, again[1]] == ["kept from before", said[1]]
    student_answers(student, questions[:1], tmp_path, 8, SilentProgress())
    assert len(list(tmp_path.glob("student-*.jsonl"))) == 2


def test_a_question_file_may_come_from_any_editor(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"question": "a\xe2\x80\xa8b?", "answer": "3"}\r\n{"question": "c?", "answer": 4}\r')
    name, questions = load_question_set(str(path), SilentProgress())
    assert (name, [(q.question, q.answer) for q in questions]) == ("asked", [("a\u2028b?", "3"), ("c?", "4")])
    path.write_text('{"question": "a?", "answer": 3}', encoding="utf-16")
    with pytest.raises(DataError, match="line 1: expected UTF-8 text, got UTF-16 text"):
        load_question_set(str(path), SilentProgress())
