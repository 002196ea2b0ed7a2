"""SVAMP (Patel et al. 2021): `ID`, `Body`, `Question`, `Equation`, `Answer`."""

from __future__ import annotations

from kpodx.dataset.rows import Row, Unusable, count_operators, field, read_answer, text_field
from kpodx.schema import AnswerKind, Question


def parse_row(row: Row) -> Question | Unusable:
    """One SVAMP row as a question; its steps are the operators of the equation, None where it has none.

    Body and question are joined by one space and nothing else, though many bodies lack their full stop: published
    teacher rationales are keyed by exactly that text.
    """
    question_id = text_field(row, "ID")
    answer = read_answer(row, question_id, field(row, "Answer"), AnswerKind.NUMBER, column="Answer")
    if isinstance(answer, Unusable):
        return answer
    return Question(
        id=question_id,
        split=row.split,
        question=f"{text_field(row, 'Body')} {text_field(row, 'Question')}",
        answer=answer,
        num_steps=count_operators(field(row, "Equation")),
    )
