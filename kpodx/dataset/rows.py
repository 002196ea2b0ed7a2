"""One row of a source, and what its fields must be to become a question."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from kpodx.dataset.nesting import describe, value_at
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

    `place` says where it is, for messages; `split` and `index` (0-based, over all files of the split) number it. `remarks`
    counts what a reader changed in a row; all rows of a source share it.
    """

    values: Mapping[str, Any]
    place: str
    split: Split
    index: int
    remarks: Counter[str] = dataclass_field(default_factory=Counter, compare=False)


@dataclass(frozen=True)
class Unusable:
    """A row that gives no question.

    Attributes:
        id: of the question that it would have been.
        reason: why, in one word for the counts.
        error: what stops the phase unless such rows are dropped, or None if the set is known to have them.
        detail: what is wrong, for people.
    """

    id: str
    reason: str
    error: DataError | None
    detail: str = ""


def field(row: Row, name: str) -> Any:
    """Return the value in column `name`, which may be a dotted path; DataError with the names found if there is none."""
    try:
        return value_at(row.values, name)
    except KeyError as error:
        place, found = error.args
    if place:
        raise DataError(
            f"{row.place}: expected a column {name!r}, but {place!r} is {found}.",
            hint="Check the names in [dataset.columns]; a dot leads into an object.",
        )
    raise DataError(
        f"{row.place}: expected a column {name!r}, got the columns {sorted(map(str, row.values))}.",
        hint="Check dataset.format; for files of your own use format='columns' and name them in [dataset.columns].",
    )


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


def read_answer(
    row: Row, id: str, raw: object, kind: AnswerKind, choices: tuple[str, ...] = (), *, column: str = "answer"
) -> str | Unusable:
    """The canonical form of a reference answer, or Unusable ("unreadable_answer") where it cannot be read.

    Args:
        row: where it stands.
        id: the question's id.
        raw: text, number or truth value as the file has it.
        kind: how it is read.
        choices: texts of options A, B, …, for kind choice.
        column: where it stands, for messages.
    """
    if kind is AnswerKind.YES_NO and (answer := yes_or_no(raw)):
        return answer
    is_plain = isinstance(raw, int | float | str) and not isinstance(raw, bool) and not _SURROGATE.search(str(raw))
    is_expression = kind is AnswerKind.NUMBER and is_plain and is_symbolic(str(raw))
    answer = canonical_answer(str(raw).strip(), kind, choices) if is_plain and not is_expression else None
    if answer is not None:
        return answer
    shown = repr(raw) if is_plain else describe(raw)
    expected = EXPECTED[kind]
    hint = "Correct the row, or set dataset.on_unreadable=drop to leave such questions out."
    if is_expression:
        hint = f"Set dataset.answer_kind=math, which reads expressions. {hint}"
    error = DataError(f"{row.place}: expected {expected} as the answer in column {column!r}, got {shown}.", hint=hint)
    return Unusable(id, "unreadable_answer", error, f"expected {expected}, got {shown}"[:_MOST_DETAIL])


def yes_or_no(raw: object) -> str | None:
    """Return "yes" or "no" for a truth value or for 1 and 0, also as text; None for anything else.

    >>> yes_or_no(False), yes_or_no(1), yes_or_no("0"), yes_or_no("yes")
    ('no', 'yes', 'no', None)
    """
    truth = {
        **dict.fromkeys(("1", "1.0", "true", "t", "y"), "yes"),
        **dict.fromkeys(("0", "0.0", "false", "f", "n"), "no"),
    }
    return truth.get(str(raw).strip().lower()) if isinstance(raw, bool | int | float | str) else None


_MOST_DETAIL = 300


def count_operators(formula: object) -> int | None:
    """Number of arithmetic operators in a formula, None where it has none or is no text.

    >>> count_operators("( ( 76.0 - 25.0 ) * 2.0 )"), count_operators("5-8=-3"), count_operators("8.0")
    (2, 1, None)
    """
    return len(re.findall(r"[\w)%]\s*[-+*/]", formula)) or None if isinstance(formula, str) else None
