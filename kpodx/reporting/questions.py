"""One question of a run: its rationales, which of their tokens are keypoints, and what the student answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kpodx.artifacts import load_predictions, load_questions, load_rationales
from kpodx.config import nearest
from kpodx.errors import DataError
from kpodx.reporting.keypoints import Keypoints, read_keypoints
from kpodx.runs import Run
from kpodx.schema import Question, Rationale


def describe_question(run: Run, wanted: str, threshold: float | None) -> dict[str, Any]:
    """The question, its rationales with (text, token weight) pairs, and its predictions, as plain values."""
    questions = {question.id: question for question in load_questions(run.folder("dataset"))}
    rationales = load_rationales(run.folder("rationales"))
    question = find_question(wanted, questions, rationales)
    mine = [rationale for rationale in rationales if rationale.question_id == question.id]
    keypoints = read_keypoints(run) if mine and "weighting" in run.manifest["phases"] else None
    least = threshold if keypoints is None or threshold is not None else keypoints.upper_quarter
    return {
        "id": question.id,
        "split": question.split.value,
        "question": question.question,
        "answer": question.answer,
        "threshold": least if "weighting" in run.manifest["phases"] else None,
        "rationales": [_describe_rationale(rationale, keypoints) for rationale in mine],
        "predictions": _predictions(run, question.id),
    }


def _describe_rationale(rationale: Rationale, keypoints: Keypoints | None) -> dict[str, Any]:
    tokens = None if keypoints is None else keypoints.pieces(rationale)
    return {"id": rationale.id, "teacher": rationale.teacher, "text": rationale.text, "tokens": tokens}


def find_question(wanted: str, questions: Mapping[str, Question], rationales: Sequence[Rationale]) -> Question:
    """The question of an id, or of a number from 1 among those with a rationale; DataError with the nearest id."""
    if wanted in questions:
        return questions[wanted]
    with_rationale = list(dict.fromkeys(rationale.question_id for rationale in rationales))
    if wanted.isdigit() and 1 <= int(wanted) <= len(with_rationale):
        return questions[with_rationale[int(wanted) - 1]]
    guess = nearest(wanted, list(questions))
    raise DataError(
        f"No question {wanted!r}: expected an id, or a number from 1 to {len(with_rationale)}."
        + (f" Did you mean {guess!r}?" if guess else ""),
        hint="The ids are in questions.jsonl, in the folder that `kpodx status` names for the dataset phase.",
    )


def _predictions(run: Run, question_id: str) -> list[dict[str, Any]]:
    if "evaluation" not in run.manifest["phases"]:
        return []
    folder = run.folder("evaluation")
    found = [p for file in sorted(folder.glob("predictions*.jsonl")) for p in load_predictions(folder, file.name)]
    return [
        {"output": p.output, "predicted": p.predicted, "correct": p.correct}
        for p in found
        if p.question_id == question_id
    ]
