"""An easy, a middle and a hard rationale: their tokens' weights, their steps' difficulties, and what was given when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kpodx.artifacts import (
    load_questions,
    load_rationales,
    load_schedule,
    load_step_difficulties,
)
from kpodx.reporting.keypoints import Keypoints, read_keypoints
from kpodx.reporting.learning import schedule_phase
from kpodx.runs import Run
from kpodx.schema import Rationale, Schedule, StepDifficulties
from kpodx.text.steps import step_bounds

PLACES = {"easy": 0.1, "middle": 0.5, "hard": 0.9}
"""What is shown, and where it stands among all rationales in the order of their difficulty."""


def describe_examples(run: Run) -> dict[str, Any]:
    """Three rationales of a run, chosen by their difficulty, or by their length where no difficulty was measured."""
    phases = run.manifest["phases"]
    questions = {question.id: question for question in load_questions(run.folder("dataset"))}
    rationales = load_rationales(run.folder("rationales"))
    keypoints = read_keypoints(run) if "weighting" in phases else None
    difficulties = load_step_difficulties(run.folder("difficulty")) if "difficulty" in phases else None
    schedule = load_schedule(run.folder(schedule_phase(run))) if "curriculum" in phases else None
    sizes = total_difficulties(difficulties) if difficulties else {r.id: float(len(r.text)) for r in rationales}
    shown = []
    for place, rationale in choose(rationales, sizes):
        question = questions[rationale.question_id]
        shown.append(
            {
                "place": place,
                "question_id": question.id,
                "question": question.question,
                "answer": question.answer,
                "rationale_id": rationale.id,
                "teacher": rationale.teacher,
                "total_difficulty": sizes[rationale.id] if difficulties else None,
                "steps": describe_steps(rationale, keypoints, difficulties, schedule),
            }
        )
    return {
        "chosen_by": "difficulty" if difficulties else "length",
        "scale": None if keypoints is None else _scale(keypoints),
        "examples": shown,
    }


def total_difficulties(difficulties: StepDifficulties) -> dict[str, float]:
    """Σ_k d_k of each rationale, in nats."""
    return {name: float(difficulties.of(row).sum()) for row, name in enumerate(difficulties.rationale_ids)}


def choose(rationales: Sequence[Rationale], sizes: dict[str, float]) -> list[tuple[str, Rationale]]:
    """One rationale for each of PLACES, fewer where there are not so many; ties go by id, so that the choice is always the same."""
    ranked = sorted((r for r in rationales if r.id in sizes), key=lambda r: (sizes[r.id], r.id))
    ranks = {round(share * (len(ranked) - 1)): place for place, share in PLACES.items()} if ranked else {}
    return [(place, ranked[rank]) for rank, place in sorted(ranks.items())]


def describe_steps(
    rationale: Rationale, keypoints: Keypoints | None, difficulties: StepDifficulties | None, schedule: Schedule | None
) -> list[dict[str, Any]]:
    """Each step's pieces of text with weights, its difficulty, and the stage from which the student has to write it itself."""
    text = rationale.text
    pieces = (
        keypoints.pieces(rationale)
        if keypoints
        else [{"text": text[a:b], "weight": None} for a, b in step_bounds(text)]
    )
    steps: list[dict[str, Any]] = [
        {"pieces": part, "difficulty": None, "written_from_stage": None}
        for part in split_pieces(pieces, [stop for _, stop in step_bounds(text)])
    ]
    if difficulties and rationale.id in difficulties.rationale_ids:
        values = difficulties.of(difficulties.rationale_ids.index(rationale.id)).tolist()
        # A step without a token of its own has no difficulty; then the two lists cannot be told apart step by step.
        if len(values) == len(steps):
            for step, value in zip(steps, values, strict=True):
                step["difficulty"] = value
    if schedule and rationale.id in schedule.rationale_ids:
        given = schedule.input_steps[schedule.rationale_ids.index(rationale.id)].tolist()
        for number, step in enumerate(steps, start=1):
            step["written_from_stage"] = sum(count >= number for count in given)
    return steps


def split_pieces(pieces: Sequence[dict[str, Any]], stops: Sequence[int]) -> list[list[dict[str, Any]]]:
    """Pieces of a text by step; a piece belongs to the step in which it ends, as its token does.

    Args:
        pieces: of the whole text, in order.
        stops: where each step ends, in characters, rising, the last one the text's length.
    """
    parts: list[list[dict[str, Any]]] = [[] for _ in stops]
    number = position = 0
    for piece in pieces:
        position += len(piece["text"])
        while position > stops[number]:
            number += 1
        parts[number].append(piece)
    return parts


def _scale(keypoints: Keypoints) -> dict[str, float]:
    """What the colours mean: the run's least and greatest token weight, and the weight that a quarter of all tokens reaches."""
    weights = keypoints.weights.token_weight
    return {
        "least": round(float(weights.min()), 4),
        "greatest": round(float(weights.max()), 4),
        "upper_quarter": round(keypoints.upper_quarter, 4),
    }
