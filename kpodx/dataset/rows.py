"""One row of a source, and what its fields must be to become a question."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Split
from kpodx.text.answers import canonical_answer
from kpodx.text.symbolic import is_symbolic

EXPECTED = {
    AnswerKind.NUMBER: "a number such as 72, -3.5 or 1,080",
    AnswerKind.CHOICE: "the letter or the text of one of the choices",
    AnswerKind.YES_NO: "yes or no",
    AnswerKind.TEXT: "a text",
    AnswerKind.MATH: r"mathematics in at most 400 characters such as 2k+2, \sqrt{51} or (2, \infty)",
}

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Row:
    """One row as a reader found it.

    `place` says where it is, for messages; `split` and `index` (0-based, over all files of the split) number it.
    """

    values: Mapping[str, Any]
    place: str
    split: Split
    index: int


@dataclass(frozen=True)
class Unusable:
    """A row that gives no question: its id, why in one word for the counts, and the error unless it is expected."""

    id: str
    reason: str
    error: DataError | None


def field(row: Row, name: str) -> Any:
    """The value in column `name`; DataError with the columns found where there is none."""
    if name not in row.values:
        raise DataError(
            f"{row.place}: expected a column {name!r}, got the columns {sorted(map(str, row.values))}.",
            hint="Check dataset.format; for files of your own use format='columns' and name them in [dataset.columns].",
        )
    return row.values[name]


def text_field(row: Row, name: str) -> str:
    """The text in column `name`, without space around it; DataError where it is empty or no text."""
    return checked_text(row, name, field(row, name))


def checked_text(row: Row, name: str, value: object) -> str:
    """`value` without space around it; DataError naming column `name` where it is empty, no text, or not Unicode."""
    if not isinstance(value, str) or not value.strip():
        got = "nothing" if value is None or value == "" else repr(value)[:80]
        raise DataError(f"{row.place}: expected text in column {name!r}, got {got}.")
    if _SURROGATE.search(value):
        raise DataError(
            f"{row.place}: the text in column {name!r} holds half of a surrogate pair, which is no Unicode character.",
            hint="Write the file again as UTF-8.",
        )
    return value.strip()


def read_answer(row: Row, id: str, raw: object, kind: AnswerKind, choices: tuple[str, ...] = ()) -> str | Unusable:
    """The canonical form of a reference answer, or Unusable ("unreadable_answer") where it cannot be read.

    Args:
        row: where it stands.
        id: the question's id.
        raw: text, number or truth value as the file has it.
        kind: how it is read.
        choices: texts of options A, B, …, for kind choice.
    """
    if isinstance(raw, bool) and kind is AnswerKind.YES_NO:
        return "yes" if raw else "no"
    is_plain = isinstance(raw, int | float | str) and not isinstance(raw, bool) and not _SURROGATE.search(str(raw))
    answer = canonical_answer(str(raw).strip(), kind, choices) if is_plain else None
    if answer is not None:
        return answer
    hint = "Correct the row, or set dataset.on_unreadable=drop to leave such questions out."
    if kind is AnswerKind.NUMBER and is_plain and is_symbolic(str(raw)):
        hint = f'Set answer_kind = "math" if the answers are mathematics, not single numbers. {hint}'
    error = DataError(f"{row.place}: expected {EXPECTED[kind]} as the answer, got {raw!r}.", hint=hint)
    return Unusable(id, "unreadable_answer", error)


def count_operators(formula: object) -> int | None:
    """Number of arithmetic operators in a formula, None where it has none or is no text.

    >>> count_operators("( ( 76.0 - 25.0 ) * 2.0 )"), count_operators("5-8=-3"), count_operators("8.0")
    (2, 1, None)
    """
    return len(re.findall(r"[\w)%]\s*[-+*/]", formula)) or None if isinstance(formula, str) else None
