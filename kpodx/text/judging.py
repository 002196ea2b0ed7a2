"""Are a model's answers right?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kpodx.schema import AnswerKind, Prediction, Question
from kpodx.text.answers import answers_equal, read_answer


def judge(questions: Sequence[Question], outputs: Sequence[str]) -> Iterator[Prediction]:
    """Read the answer off each output and compare it with the reference."""
    for question, output in zip(questions, outputs, strict=True):
        kind = AnswerKind(question.answer_kind)
        found = read_answer(output, kind, question.choices, question.question)
        correct = answers_equal(found.answer, question.answer, kind)
        yield Prediction(question.id, output, found.answer, correct, question.num_steps, found.source)
