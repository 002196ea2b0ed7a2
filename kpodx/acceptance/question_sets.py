"""Question sets that a package is examined on besides its run's test questions, and what the student says to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kpodx.artifacts import hash_json, hash_model, load_predictions, load_questions, save_predictions
from kpodx.dataset.config import DatasetConfig
from kpodx.errors import UsageError
from kpodx.runs import Run
from kpodx.runtime import Progress
from kpodx.schema import Prediction, Question, Split
from kpodx.storage import storing

STAGES = "stages"
STAGE_QUESTIONS, MOST_STEPS, STAGE_SEED = 50, 8, 1
"""Seed 0 made the quickstart's own stories."""
FILES = (".jsonl", ".json", ".csv", ".parquet")
MOST_BYTES = 2**28
"""Of a questions file: beyond, it is hardly questions."""


def run_questions(run: Run, limit: int | None = None) -> tuple[list[Question], list[Prediction]]:
    """A run's test questions, the first `limit` of them, with the student's answers of its evaluation.

    Raises:
        UsageError: there are none.
    """
    questions = {q.id: q for q in load_questions(run.folder("dataset")) if q.split is Split.TEST}
    predictions = (
        load_predictions(run.folder("evaluation"), f"predictions-{Split.TEST.value}.jsonl") if questions else []
    )
    paired = [(questions[p.question_id], p) for p in predictions if p.question_id in questions][:limit]
    if not paired:
        raise UsageError(
            f"The run {run.path} has no test questions.",
            hint="Set dataset.test_fraction, name a test file, or ask other questions: kpodx evaluate --set",
        )
    return [question for question, _ in paired], [prediction for _, prediction in paired]


def load_question_set(name: str, progress: Progress) -> tuple[str, list[Question]]:
    """Test questions of a recipe, questions of a file, or the generator's, staged by their number of steps.

    Args:
        name: of a shipped recipe or a recipe's file, of which the test questions are taken; a JSONL, JSON, CSV or Parquet file
            with columns `question` and `answer`, a number; or "stages": stories of 1 to 8 steps, 50 of each.
        progress: where it is told that questions were left out.

    Returns:
        The set's name, and its questions.

    Raises:
        UsageError: it is none of these, has no test questions, or is too large.
        DataError: the file's content.
    """
    from kpodx.dataset.phase import build_questions

    if name == STAGES:
        return name, _stages()
    config, split = _config(name)
    built, dropped = build_questions(config)
    for reason, count in dropped.items():
        progress.note(f"--set {name}: {count} questions dropped: {reason.replace('_', ' ')}")
    questions = [question for question in built if question.split is split]
    if not questions:
        raise UsageError(f"--set {name}: it has no test questions.", hint="Set dataset.test_fraction in a copy of it.")
    return Path(name).stem if Path(name).suffix else name, questions


def _stages() -> list[Question]:
    """As many stories of each number of steps, in turns, so that the first few are of all of them."""
    from kpodx.dataset.embedded import generate_questions

    stages = [
        generate_questions(
            Split.TEST, STAGE_QUESTIONS, seed=STAGE_SEED, min_steps=steps, max_steps=steps, level="basic"
        )
        for steps in range(1, MOST_STEPS + 1)
    ]
    return [
        replace(question, id=f"stage-{question.num_steps}-{question.id}")
        for questions in zip(*stages, strict=True)
        for question in questions
    ]


def _config(name: str) -> tuple[DatasetConfig, Split]:
    """Settings of the questions, and the split that is asked."""
    path = Path(name)
    if path.suffix.lower() in FILES:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise UsageError(
                f"--set {name}: it has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}.",
                hint="Give a file of the questions that are to be asked.",
            )
        settings = {"format": "columns", "answer_kind": "number", "files": {"train": str(path.resolve())}}
        return DatasetConfig.model_validate(settings), Split.TRAIN
    from kpodx.recipe import load_recipe, shipped_recipes

    if path.suffix != ".toml" and name not in shipped_recipes():
        raise UsageError(
            f"--set {name}: expected a recipe, a file ending in {', '.join(FILES)}, or {STAGES}.",
            hint="`kpodx recipes ls` lists the recipes that ship.",
        )
    return load_recipe(name).recipe.dataset, Split.TEST


def student_answers(
    student: Path, questions: Sequence[Question], folder: Path, max_new_tokens: int, progress: Progress
) -> list[Prediction]:
    """What the student itself says, in PyTorch; answers that are kept in `folder` from before are taken.

    Args:
        student: its folder, in the hub's layout.
        questions: what it is asked.
        folder: where its answers are kept.
        max_new_tokens: longest answer.
        progress: where progress is shown.
    """
    key = hash_json([hash_model(student), [[q.id, q.question, q.choices, q.answer] for q in questions], max_new_tokens])
    name = f"student-{key[:12]}.jsonl"
    if (folder / name).is_file():
        return load_predictions(folder, name)
    from kpodx.modeling.generation import answer_questions
    from kpodx.modeling.loading import load_with_tokenizer

    model, tokenizer = load_with_tokenizer(str(student))
    said = answer_questions(
        model, tokenizer, questions, max_new_tokens=max_new_tokens, batch_size=32, progress=progress
    )
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_predictions(folder, said, name)
    return said
