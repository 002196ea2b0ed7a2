"""Files and hub data sets of one's own: the settings say which column holds what."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from kpodx.dataset.config import ColumnsConfig, ReadAs
from kpodx.dataset.nesting import describe
from kpodx.dataset.options import Options, choose, choose_flagged, read_option_columns, read_options, split_question
from kpodx.dataset.reference import Several, first_filled, is_empty, single_answer
from kpodx.dataset.rows import Row, Unusable, checked_text, field, read_answer, yes_or_no
from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Question
from kpodx.text.answers import canonical_answer

Names = str | tuple[str, ...]

TRUTH_AS_NUMBER = "1_or_0_read_as_yes_or_no"
_TRUTH = ("yes", "no", "true", "false")
_YES_NO_QUESTION = re.compile(
    r"(?:\A|[.!?]\s+)(?:is|are|was|were|am|do|does|did|can|could|will|would|shall|should|may|might|must|has|have|had)"
    r"\b[^.!?]*\?\s*\Z",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?\$?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:e[-+]?\d+)?\s?%?(?<=[\d%])", re.IGNORECASE)


def parse_row(row: Row, columns: ColumnsConfig, kind: ReadAs) -> Question | Unusable:
    """Return one row as a question, by the names in `columns`.

    Without an id column the id is a hash of the question and its choices, so it does not depend on the row's place.
    """
    question, options = _question_and_options(row, columns)
    question_id = _id(row, columns.id, question, options.texts)
    column, raw = first_filled({name: field(row, name) for name in _names(columns.answer)})
    written = choose_flagged(raw, options) or single_answer(raw)
    read_as = _kind_of(row, question, written) if kind == "mixed" else kind
    asked = Asked(question_id, read_as, options, columns.first_choice, column)
    answer = _answer(row, written, asked)
    if isinstance(answer, Unusable):
        return answer
    steps = _texts(row, columns.rationale)
    joins = columns.rationale_list == "steps" and bool(steps)
    return Question(
        id=question_id,
        split=row.split,
        question=question,
        answer=answer,
        answer_kind=read_as,
        choices=options.texts,
        gold_rationales=("\n".join(steps),) if joins else steps,
        num_steps=_num_steps(row, columns.num_steps) or (len(steps) if joins else None),
    )


def _names(names: Names | None) -> tuple[str, ...]:
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else names


def _question_and_options(row: Row, columns: ColumnsConfig) -> tuple[str, Options]:
    """Return both; options that stand at the end of the question are cut off it."""
    question = _question(row, columns.question)
    if columns.choices is None or columns.choices != columns.question:
        return question, _options(row, columns.choices)
    stem, options = split_question(question)
    if not options:
        raise DataError(f"{row.place}: expected options such as (A) … (B) … at the end of the question, found none.")
    return stem, read_options(row, options)


def _question(row: Row, names: Names) -> str:
    """Return the text of the question column, or of several in order, empty ones left out."""
    if isinstance(names, str):
        return checked_text(row, names, field(row, names))
    parts = {name: field(row, name) for name in names}
    texts = [checked_text(row, name, value) for name, value in parts.items() if not is_empty(value)]
    if not texts:
        raise DataError(f"{row.place}: expected text in one of the columns {list(names)}, got nothing.")
    return " ".join(texts)


def _kind_of(row: Row, question: str, written: Any) -> AnswerKind:
    """Return how an answer of a set with answers of several kinds is read.

    1 and 0 are yes and no if the question is one that is answered so; each is counted, since nothing in the row says it.
    """
    if isinstance(written, bool) or (isinstance(written, str) and written.strip(" .").lower() in _TRUTH):
        return AnswerKind.YES_NO
    if str(written).strip() in ("0", "1") and _YES_NO_QUESTION.search(question):
        row.remarks[TRUTH_AS_NUMBER] += 1
        return AnswerKind.YES_NO
    is_number = _NUMBER.fullmatch(str(written).strip()) is not None
    return AnswerKind.NUMBER if is_number else AnswerKind.TEXT


@dataclass(frozen=True)
class Asked:
    """What an answer is read for: its question's id, its kind, the options, the number of option A, and its column."""

    id: str
    kind: AnswerKind
    options: Options
    first: int | None
    column: str


def _answer(row: Row, written: Any, asked: Asked) -> str | Unusable:
    """Return the reference answer in canonical form, or why there is none."""
    if isinstance(written, Several):
        return _agreed(row, written, asked)
    if asked.kind is not AnswerKind.CHOICE:
        return read_answer(row, asked.id, written, asked.kind, column=asked.column)
    chosen = choose(written, asked.options, asked.first)
    if chosen is not None:
        return chosen
    if asked.first is not None or (isinstance(written, int | float) and not isinstance(written, bool)):
        return _unknown_number(row, written, asked)
    answer = read_answer(row, asked.id, written, asked.kind, asked.options.texts, column=asked.column)
    if isinstance(answer, Unusable) and str(written).strip().isdecimal():
        # A number may be text: in a CSV file all are.
        return _unknown_number(row, written, asked)
    return answer


def _agreed(row: Row, written: Several, asked: Asked) -> str | Unusable:
    """Return the answer that all of several are, or why there is none."""
    agreed = {_canonical(value, asked.kind, asked.options) for value in written.values}
    if len(agreed) == 1 and None not in agreed:
        return str(agreed.pop())
    shown = f"{len(written.values)} answers: {str(list(written.values))[:80]}"
    error = DataError(
        f"{row.place}: expected one answer in column {asked.column!r}, got {shown}.",
        hint=f"Name one in dataset.columns.answer, such as '{asked.column}.0', or set dataset.on_unreadable=drop to "
        "leave such questions out.",
    )
    return Unusable(asked.id, "several_answers", error, shown)


def _canonical(value: Any, kind: AnswerKind, options: Options) -> str | None:
    if kind is AnswerKind.YES_NO:
        return yes_or_no(value) or canonical_answer(str(value), kind)
    if kind is AnswerKind.CHOICE:
        return choose(value, options, None) or canonical_answer(str(value), kind, options.texts)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return canonical_answer(str(value), kind)


def _unknown_number(row: Row, written: Any, asked: Asked) -> Unusable:
    """Return why a number chooses no option: it is out of range, or nothing says where the counting begins."""
    expected = "one of the options' labels or texts"
    hint = "Set dataset.columns.first_choice to the number that means option A: 0 or 1."
    if asked.first is not None:
        expected = f"a number from {asked.first} to {asked.first + len(asked.options.texts) - 1}"
        hint = "Check dataset.columns.first_choice, or set dataset.on_unreadable=drop to leave such questions out."
    error = DataError(
        f"{row.place}: expected {expected} as the answer in column {asked.column!r}, got {written!r}.", hint=hint
    )
    return Unusable(asked.id, "unreadable_answer", error, f"expected {expected}, got {written!r}")


def _id(row: Row, column: str | None, question: str, choices: tuple[str, ...]) -> str:
    if column is None:
        return "q-" + hashlib.sha256("\x1f".join((question, *choices)).encode()).hexdigest()[:16]
    value = field(row, column)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else checked_text(row, column, value)


def _options(row: Row, column: Names | None) -> Options:
    if column is None:
        return Options()
    if isinstance(column, tuple):
        return read_option_columns(row, [_option(row, name) for name in column])
    return read_options(row, field(row, column))


def _option(row: Row, name: str) -> Any:
    """Return the option in a column; a block of text may have fewer lines than the longest."""
    is_line = name.startswith("line ") and "line 1" in row.values
    return row.values.get(name) if is_line else field(row, name)


def _texts(row: Row, names: Names | None) -> tuple[str, ...]:
    """Return the texts of the rationale columns, each of which holds one or a list; empty ones are left out."""
    found: list[str] = []
    for name in _names(names):
        value = field(row, name)
        several = value if isinstance(value, list) else [value]
        found += [checked_text(row, name, text) for text in several if not is_empty(text)]
    return tuple(found)


def _num_steps(row: Row, column: str | None) -> int | None:
    value = None if column is None else field(row, column)
    if value in (None, ""):
        return None
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = -1
    if count < 0 or str(count) != str(value).strip():
        raise DataError(f"{row.place}: expected a whole number of steps in column {column!r}, got {describe(value)}.")
    return count
