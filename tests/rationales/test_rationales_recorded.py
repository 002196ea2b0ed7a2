"""Reading recorded completions: good files, and every bad one with the file, the line and the keys in the message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kpodx.errors import DataError
from kpodx.rationales.recorded import QuestionIndex, RecordedCompletion, RecordKeys, load_recorded
from kpodx.schema import Question, Split


def write(folder: Path, *lines: object) -> Path:
    path = folder / "records.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_records_with_one_or_several_completions(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"id": 7, "question": "How?", "completion": "a"},
        "",
        {"question": "Why?", "completion": ["b", "c"]},
        {"id": "9", "completion": []},
    )
    assert load_recorded(path, RecordKeys()) == [
        RecordedCompletion("a", "7", "How?"),
        RecordedCompletion("b", None, "Why?"),
        RecordedCompletion("c", None, "Why?"),
    ]


def test_other_keys(tmp_path: Path) -> None:
    path = write(tmp_path, {"qid": "q1", "text": "How?", "output": "a"})
    assert load_recorded(path, RecordKeys("qid", "text", "output")) == [RecordedCompletion("a", "q1", "How?")]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No file .*none\.jsonl") as caught:
        load_recorded(tmp_path / "none.jsonl", RecordKeys())
    assert caught.value.hint == "Check rationales.files."


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_recorded(tmp_path, RecordKeys())


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"records\.jsonl holds no records"):
        load_recorded(write(tmp_path, content), RecordKeys())


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        load_recorded(path, RecordKeys())


GOOD = {"id": "q1", "completion": "a"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"id": "q2", "compl', r"line 2: expected a JSON object, got '\{\"id\""),
        ("[1, 2]", "line 2: expected a JSON object, got list"),
        ("12", "line 2: expected a JSON object, got int"),
        ("[" * 100_000, "line 2: expected a JSON object"),
        ({"id": "q2", "output": "a"}, "line 2: expected the key 'completion', found 'id', 'output'"),
        ({"completion": "a", "n": 1}, "line 2: expected the key 'id' or 'question', found 'completion', 'n'"),
        ({"id": None, "completion": "a"}, "line 2: expected the key 'id' or 'question'"),
        ({"id": "q2", "completion": 5}, "line 2: expected 'completion' to hold text, got int"),
        ({"id": "q2", "completion": None}, "line 2: expected 'completion' to hold text, got NoneType"),
        ({"id": "q2", "completion": ["a", {}]}, "line 2: expected 'completion' to hold text, got dict"),
        ({}, "line 2: expected the key 'completion', found none"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, bad: object, message: str) -> None:
    with pytest.raises(DataError, match=r"records\.jsonl, " + message) as caught:
        load_recorded(write(tmp_path, GOOD, bad), RecordKeys())
    assert caught.value.hint


class TestQuestionIndex:
    FIRST = Question("q1", Split.TRAIN, "How many Eggs?", "5")
    SECOND = Question("q2", Split.TRAIN, "How many pens?", "6")
    INDEX = QuestionIndex([FIRST, SECOND])

    def test_by_id(self) -> None:
        assert self.INDEX.find(RecordedCompletion("", "q2", None)) is self.SECOND

    def test_by_text_whatever_the_case_and_spacing(self) -> None:
        assert self.INDEX.find(RecordedCompletion("", None, " how MANY\n eggs?")) is self.FIRST

    def test_an_id_of_another_numbering_yields_to_the_text(self) -> None:
        assert self.INDEX.find(RecordedCompletion("", "q2", "How many eggs?")) is self.FIRST

    def test_an_id_with_a_foreign_text_is_not_believed(self) -> None:
        assert self.INDEX.find(RecordedCompletion("", "q2", "How many cats?")) is None

    def test_nothing_known(self) -> None:
        assert self.INDEX.find(RecordedCompletion("", "q9", None)) is None
