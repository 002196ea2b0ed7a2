"""Are a model's answers right?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kpodx.schema import AnswerKind, Prediction, Question
from kpodx.text.answers import answers_equal, extract_answer
from kpodx.text.mathematics import compare_ahead


def judge(questions: Sequence[Question], outputs: Sequence[str]) -> Iterator[Prediction]:
    """Read the answer off each output and compare it with the reference."""
    kinds = [AnswerKind(question.answer_kind) for question in questions]
    answers = [
        extract_answer(output, kind, question.choices)
        for question, output, kind in zip(questions, outputs, kinds, strict=True)
    ]
    if AnswerKind.MATH in kinds:
        rows = zip(questions, answers, kinds, strict=True)
        compare_ahead((answer, q.answer) for q, answer, kind in rows if kind is AnswerKind.MATH and answer is not None)
    for question, output, predicted, kind in zip(questions, outputs, answers, kinds, strict=True):
        correct = answers_equal(predicted, question.answer, kind)
        yield Prediction(question.id, output, predicted, correct, question.num_steps)
