"""GSM8K (Cobbe et al. 2021): `question`, and `answer` with human steps, `<<48/2=24>>` marks and `#### 72`."""

from __future__ import annotations

from kpodx.dataset.rows import Row, Unusable, read_answer, text_field
from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Question
from kpodx.text.completions import remove_calculator_marks

ANSWER_MARK = "####"
CALCULATION_MARK = "<<"


def parse_row(row: Row) -> Question | Unusable:
    """One GSM8K row as a question with its human rationale.

    The id is gsm8k-<source split>-<0-based row>, as published splits count. The number of steps is that of the
    calculator marks, or of the lines where there are none.
    """
    question_id = f"gsm8k-{row.split.value}-{row.index}"
    written = text_field(row, "answer")
    rationale, mark, raw = written.rpartition(ANSWER_MARK)
    if not mark:
        error = DataError(
            f"{row.place}: expected an answer that ends with '{ANSWER_MARK} 72', got {written[-60:]!r}.",
            hint="Set dataset.format='columns' for files whose answer column holds the answer alone.",
        )
        return Unusable(question_id, "unreadable_answer", error)
    answer = read_answer(row, question_id, raw, AnswerKind.NUMBER)
    if isinstance(answer, Unusable):
        return answer
    text = remove_calculator_marks(rationale).strip()
    return Question(
        id=question_id,
        split=row.split,
        question=text_field(row, "question"),
        answer=answer,
        gold_rationales=(text,) if text else (),
        num_steps=rationale.count(CALCULATION_MARK) or sum(1 for line in text.splitlines() if line.strip()) or None,
    )
