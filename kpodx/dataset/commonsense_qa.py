"""CommonsenseQA (Talmor et al. 2019): the official nested JSONL, and the hub's flatter columns."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

from kpodx.dataset.rows import Row, Unusable, checked_text, field, read_answer, text_field
from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Question


def parse_row(row: Row) -> Question | Unusable:
    """One CommonsenseQA row as a question with its choices; rationales and steps are not known.

    Raises:
        DataError: the answer is hidden, as in the official test set, or the choices are not labelled A, B, ….
    """
    question_id = text_field(row, "id")
    key = row.values.get("answerKey")
    if key in (None, ""):
        raise DataError(
            f"{row.place}: expected the letter of the answer in 'answerKey', got none: the official CommonsenseQA test "
            "set hides its answers.",
            hint="Use the official validation (dev) split as test, and carve validation out of train.",
        )
    nested = field(row, "question")
    if isinstance(nested, dict):
        question = checked_text(row, "question.stem", nested.get("stem"))
        choices = read_choices(row, nested.get("choices"))
    else:
        question, choices = checked_text(row, "question", nested), read_choices(row, field(row, "choices"))
    answer = read_answer(row, question_id, key, AnswerKind.CHOICE, choices)
    if isinstance(answer, Unusable):
        return answer
    return Question(question_id, row.split, question, answer, AnswerKind.CHOICE, choices)


def read_choices(row: Row, value: Any) -> tuple[str, ...]:
    """Texts of the choices from [{label, text}, …], {label: […], text: […]} or a plain list of texts.

    Raises:
        DataError: fewer than two choices, more than there are letters, or labels that are not A, B, … in order.
    """
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        labels, texts = value.get("label"), value["text"]
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        labels, texts = [item.get("label") for item in value], [item.get("text") for item in value]
    elif isinstance(value, list):
        labels, texts = None, value
    else:
        raise DataError(f"{row.place}: expected a list of choices, got {str(value)[:80]!r}.")
    if not 2 <= len(texts) <= len(ascii_uppercase):
        raise DataError(f"{row.place}: expected 2 to {len(ascii_uppercase)} choices, got {len(texts)}.")
    if labels is not None and labels != list(ascii_uppercase[: len(texts)]):
        raise DataError(f"{row.place}: expected the choices' labels A, B, … in order, got {labels}.")
    return tuple(checked_text(row, "choices", text) for text in texts)
