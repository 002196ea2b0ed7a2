"""CommonsenseQA (Talmor et al. 2019): the official nested JSONL, and the hub's flatter columns."""

from __future__ import annotations

from kpodx.dataset.options import choose, read_options
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
        options = read_options(row, nested.get("choices"))
    else:
        question, options = checked_text(row, "question", nested), read_options(row, field(row, "choices"))
    letter = choose(key, options, None)
    answer = letter or read_answer(row, question_id, key, AnswerKind.CHOICE, options.texts, column="answerKey")
    if isinstance(answer, Unusable):
        return answer
    return Question(question_id, row.split, question, answer, AnswerKind.CHOICE, options.texts)
