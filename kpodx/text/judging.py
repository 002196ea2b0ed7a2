"""Are a model's answers right?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kpodx.schema import AnswerKind, Prediction, Question
from kpodx.text.answers import answers_equal, read_answer
from kpodx.text.mathematics import compare_ahead


def judge(questions: Sequence[Question], outputs: Sequence[str]) -> Iterator[Prediction]:
    """Read the answer off each output and compare it with the reference."""
    kinds = [AnswerKind(question.answer_kind) for question in questions]
    readings = [
        read_answer(output, kind, question.choices, question.question)
        for question, output, kind in zip(questions, outputs, kinds, strict=True)
    ]
    if AnswerKind.MATH in kinds:
        rows = zip(questions, readings, kinds, strict=True)
        compare_ahead((found.answer, q.answer) for q, found, kind in rows if kind is AnswerKind.MATH and found.answer)
    for question, output, found, kind in zip(questions, outputs, readings, kinds, strict=True):
        correct = answers_equal(found.answer, question.answer, kind)
        yield Prediction(question.id, output, found.answer, correct, question.num_steps, found.source)
