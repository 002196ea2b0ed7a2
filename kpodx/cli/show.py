"""`kpodx show`: one question, its rationale, and which of its tokens are keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpodx.cli import terminal
from kpodx.errors import DataError, RunError, UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from kpodx.runs import Run
    from kpodx.schema import Question, Rationale, StepSpan

RUNS = Path("runs")
QUANTILE = 0.75


def show(
    run: Annotated[Path | None, typer.Argument(help="Run folder; the newest finished one in runs/ by default.")] = None,
    question: Annotated[
        str, typer.Option(help="Id of a question, or its number from 1 among those with a rationale.")
    ] = "1",
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Token weight from which a token is a keypoint; the run's upper quarter by default."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Show a question, its rationales with their keypoints, and what the student answered."""
    from kpodx.runs import load_run, newest_run

    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold}: expected a token weight between 0 and 1.")
    document = describe_question(load_run(run) if run else newest_run(RUNS), question, threshold)
    if json:
        terminal.print_json(document)
    else:
        _print(document)


def describe_question(run: Run, wanted: str, threshold: float | None) -> dict[str, Any]:
    """The question, its rationales with (text, token weight) pairs, and its predictions, as plain values."""
    from kpodx.artifacts import load_questions, load_rationales

    questions = {question.id: question for question in load_questions(run.folder("dataset"))}
    rationales = load_rationales(run.folder("rationales"))
    question = find_question(wanted, questions, rationales)
    mine = [rationale for rationale in rationales if rationale.question_id == question.id]
    weighted = "weighting" in run.manifest["phases"]
    tokens, threshold = _token_weights(run, mine, threshold) if weighted and mine else ([None] * len(mine), threshold)
    return {
        "id": question.id,
        "split": question.split.value,
        "question": question.question,
        "answer": question.answer,
        "threshold": threshold if weighted else None,
        "rationales": [
            {"id": r.id, "teacher": r.teacher, "text": r.text, "tokens": pairs}
            for r, pairs in zip(mine, tokens, strict=True)
        ],
        "predictions": _predictions(run, question.id),
    }


def find_question(wanted: str, questions: dict[str, Question], rationales: Sequence[Rationale]) -> Question:
    """The question of an id, or of a number from 1 among those with a rationale; DataError with the nearest id."""
    from kpodx.config import nearest

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


def _token_weights(
    run: Run, rationales: Sequence[Rationale], threshold: float | None
) -> tuple[list[list[dict[str, Any]]], float]:
    """Text and weight of each token of the rationales, and the threshold of a keypoint."""
    import numpy as np

    from kpodx.artifacts import load_token_weights
    from kpodx.fingerprints import Revisions
    from kpodx.modeling.loading import load_tokenizer
    from kpodx.modeling.tokenization import rationale_token_spans, tokenizer_hash
    from kpodx.recipe import Recipe

    recipe = Recipe.model_validate(run.manifest["recipe"])
    pins = Revisions(run.manifest.get("revisions", {})).by_model(recipe)
    tokenizer = load_tokenizer(recipe.student.model, pins)
    weights = load_token_weights(run.folder("weighting"))
    if tokenizer_hash(tokenizer) != weights.tokenizer_hash:
        raise RunError(
            f"The tokenizer of {recipe.student.model} is not the one that the token weights in {run.path} belong to.",
            hint="The model changed since: run the recipe again.",
        )
    if threshold is None:
        threshold = float(np.quantile(weights.token_weight, QUANTILE))
    rows = {name: row for row, name in enumerate(weights.rationale_ids)}
    shown = []
    for rationale in rationales:
        if rationale.id not in rows:
            raise UsageError(f"The rationale {rationale.id} has no token weights.", hint="Run the recipe again.")
        spans = rationale_token_spans(tokenizer, rationale.text)
        shown.append(cut(rationale.text, spans, weights.of(rows[rationale.id]).tolist()))
    return shown, threshold


def cut(text: str, spans: Sequence[StepSpan], weights: Sequence[float]) -> list[dict[str, Any]]:
    """The text in pieces, each with the weight of its token; characters between tokens go with None."""
    pieces: list[dict[str, Any]] = []
    position = 0
    for span, weight in zip(spans, weights, strict=True):
        start = max(span.start, position)
        if start > position:
            pieces.append({"text": text[position:start], "weight": None})
        if span.stop > start:
            pieces.append({"text": text[start : span.stop], "weight": round(float(weight), 4)})
        position = max(position, span.stop)
    if position < len(text):
        pieces.append({"text": text[position:], "weight": None})
    return pieces


def _predictions(run: Run, question_id: str) -> list[dict[str, Any]]:
    from kpodx.artifacts import load_predictions

    if "evaluation" not in run.manifest["phases"]:
        return []
    folder = run.folder("evaluation")
    found = [p for file in sorted(folder.glob("predictions*.jsonl")) for p in load_predictions(folder, file.name)]
    return [
        {"output": p.output, "predicted": p.predicted, "correct": p.correct}
        for p in found
        if p.question_id == question_id
    ]


def _print(document: dict[str, Any]) -> None:
    console = terminal.stdout_console()
    console.print(f"{document['id']} ({document['split']})\n{document['question']}", markup=False)
    for rationale in document["rationales"]:
        console.print(f"\nrationale {rationale['id']}, by {rationale['teacher']}:", style="bold", markup=False)
        if rationale["tokens"] is None:
            console.print(rationale["text"], markup=False)
        else:
            console.print(paint(rationale["tokens"], document["threshold"], console.color_system))
    if document["threshold"] is not None:
        mark = "marked" if console.color_system else "in [brackets]"
        meaning = f"token weight of at least {document['threshold']:.3f}"
        console.print(f"\nkeypoints {mark}: {meaning}; darker is higher", style="dim", markup=False)
    console.print(f"\nanswer: {document['answer']}", markup=False)
    for prediction in document["predictions"]:
        word = "right" if prediction["correct"] else "wrong"
        console.print(f"\nstudent ({word}, read as {prediction['predicted']}):\n{prediction['output']}", markup=False)


def paint(tokens: Sequence[dict[str, Any]], threshold: float, colours: str | None) -> Text:
    """The rationale with keypoints bold on green, darker for higher weights; in brackets where there is no colour.

    Args:
        tokens: pieces of the text with their weights, as `cut` makes them.
        threshold: token weight from which a token is a keypoint.
        colours: what the terminal can show, in rich's words ("standard", "256", "truecolor"), None for no colour.
    """
    from rich.text import Text

    text = Text()
    for token in tokens:
        piece, weight = token["text"], token["weight"]
        keypoint = weight is not None and weight >= threshold
        if colours is None:
            text.append(f"[{piece}]" if keypoint else piece)
        elif weight is None or colours == "standard":
            text.append(piece, style="bold black on green" if keypoint else "")
        else:
            dark, pale = round(235 - 145 * weight), round(255 - 60 * weight)
            text.append(
                piece, style=f"bold black on rgb({dark},235,{dark})" if keypoint else f"black on rgb(255,255,{pale})"
            )
    return text
