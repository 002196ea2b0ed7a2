"""Files and hub data sets of one's own: the settings say which column holds what."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from kpodx.dataset.commonsense_qa import read_choices
from kpodx.dataset.config import ColumnsConfig
from kpodx.dataset.rows import Row, Unusable, checked_text, field, read_answer, text_field
from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Question


def parse_row(row: Row, columns: ColumnsConfig, kind: AnswerKind) -> Question | Unusable:
    """One row as a question, by the names in `columns`.

    Without an id column the id is a hash of the question and its choices, so it does not depend on the row's place.
    """
    question = text_field(row, columns.question)
    choices = _choices(row, columns.choices)
    question_id = _id(row, columns.id, question, choices)
    answer = read_answer(row, question_id, field(row, columns.answer), kind, choices)
    if isinstance(answer, Unusable):
        return answer
    return Question(
        id=question_id,
        split=row.split,
        question=question,
        answer=answer,
        answer_kind=kind,
        choices=choices,
        gold_rationales=_rationales(row, columns.rationale),
        num_steps=_num_steps(row, columns.num_steps),
    )


def _id(row: Row, column: str | None, question: str, choices: tuple[str, ...]) -> str:
    if column is None:
        return "q-" + hashlib.sha256("\x1f".join((question, *choices)).encode()).hexdigest()[:16]
    value = field(row, column)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else checked_text(row, column, value)


def _choices(row: Row, column: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if column is None:
        return ()
    if isinstance(column, tuple):
        return read_choices(row, [field(row, name) for name in column])
    return read_choices(row, _listed(field(row, column)))


def _listed(value: Any) -> Any:
    """A CSV cell that holds a JSON list, as that list; anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _rationales(row: Row, column: str | None) -> tuple[str, ...]:
    value = [] if column is None else field(row, column)
    several = value if isinstance(value, list) else [value]
    return tuple(checked_text(row, str(column), text) for text in several if text not in (None, ""))


def _num_steps(row: Row, column: str | None) -> int | None:
    value = None if column is None else field(row, column)
    if value in (None, ""):
        return None
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = -1
    if count < 0 or str(count) != str(value).strip():
        raise DataError(f"{row.place}: expected a whole number of steps in column {column!r}, got {value!r}.")
    return count
