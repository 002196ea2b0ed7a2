"""Recorded completions: reading the files of a teacher's outputs and matching them to questions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpodx.errors import DataError
from kpodx.schema import Question


@dataclass(frozen=True)
class RecordedCompletion:
    """One completion in a file; `question_id` and `question` are None where the record lacks them.

    `thought` is what the teacher thought, if the record has it in a field of its own.
    """

    completion: str
    question_id: str | None
    question: str | None
    thought: str = ""


@dataclass(frozen=True)
class RecordKeys:
    """The keys that a record holds the question's id, its text, and the completion under."""

    id: str = "id"
    question: str = "question"
    completion: str = "completion"


def normalise_question(text: str) -> str:
    """A question's text without regard to case and spacing: what records are matched by.

    >>> normalise_question("How  many\\nEggs? ")
    'how many eggs?'
    """
    return " ".join(text.split()).casefold()


def load_recorded(path: Path, keys: RecordKeys) -> list[RecordedCompletion]:
    """Every completion of a JSONL file, in order; a record with a list of completions gives several.

    Raises:
        DataError: the file is missing, empty or not UTF-8, or a line is no JSON object or lacks a key; named with its line.
    """
    records = read_records(path, "rationales.files")
    completions = [item for number, record in records for item in _completions(record, keys, path, number)]
    if not completions:
        raise DataError(f"{path} holds no records; expected one JSON object a line.", hint="Check rationales.files.")
    return completions


def read_records(path: Path, setting: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) of each line of a user's JSONL file, empty ones left out.

    Args:
        path: the file.
        setting: the setting that names it.

    Raises:
        DataError: the file is missing or not UTF-8, or a line holds no object; named with its line.
    """
    hint = f"Check {setting}."
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, _parse_line(line, path, number)
    except FileNotFoundError as error:
        raise DataError(f"No file {path}; expected a JSONL file.", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}", hint=hint) from error


def _parse_line(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            f"{path}, line {number}: expected a JSON object, got {line.strip()[:60]!r} ({error}).",
            hint="The file may be cut off or not be JSONL; write one JSON object a line.",
        ) from error
    if not isinstance(record, dict):
        raise DataError(
            f"{path}, line {number}: expected a JSON object, got {type(record).__name__}.",
            hint="Write one JSON object a line.",
        )
    return record


def _completions(record: Mapping[str, Any], keys: RecordKeys, path: Path, number: int) -> Iterator[RecordedCompletion]:
    found = ", ".join(map(repr, sorted(record))) or "none"
    if keys.completion not in record:
        raise DataError(
            f"{path}, line {number}: expected the key {keys.completion!r}, found {found}.",
            hint="Set rationales.completion_key to the key that holds the teacher's text.",
        )
    question_id, question = record.get(keys.id), record.get(keys.question)
    if question_id is None and question is None:
        raise DataError(
            f"{path}, line {number}: expected the key {keys.id!r} or {keys.question!r}, found {found}.",
            hint="Set rationales.id_key or rationales.question_key.",
        )
    value = record[keys.completion]
    thoughts = thoughts_of(record, keys.completion)
    for row, text in enumerate(value if isinstance(value, list) else [value]):
        if not isinstance(text, str):
            raise DataError(
                f"{path}, line {number}: expected {keys.completion!r} to hold text, got {type(text).__name__}.",
                hint="A completion is a text or a list of texts.",
            )
        yield RecordedCompletion(
            text,
            None if question_id is None else str(question_id),
            None if question is None else str(question),
            thoughts[row] if row < len(thoughts) else "",
        )


THOUGHT_KEYS = ("thought", "reasoning_content", "reasoning")
"""Keys of a record that hold the teacher's thought: kpodx's own, and those of OpenAI-compatible servers."""


def thoughts_of(record: Mapping[str, Any], completion_key: str) -> list[str]:
    """Return the thoughts of a record's completions, in order; anything but a text counts as none."""
    values = [record.get(key) for key in THOUGHT_KEYS if key != completion_key]
    value = next((value for value in values if value), "")
    items = value if isinstance(value, list) else [value]
    return [item if isinstance(item, str) else "" for item in items]


class QuestionIndex:
    """Finds questions by id, else by the text of the question."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._by_id = {question.id: question for question in questions}
        self._by_text: dict[str, Question] = {}
        for question in questions:
            self._by_text.setdefault(normalise_question(question.question), question)

    def find(self, record: RecordedCompletion) -> Question | None:
        """The question that `record` answers, or None.

        An id whose own question reads differently from the record's (ids counted from 0 in two different sets) is
        passed over for the text.
        """
        text = None if record.question is None else normalise_question(record.question)
        by_id = self._by_id.get(record.question_id) if record.question_id is not None else None
        if by_id is not None and (text is None or normalise_question(by_id.question) == text):
            return by_id
        return None if text is None else self._by_text.get(text)
