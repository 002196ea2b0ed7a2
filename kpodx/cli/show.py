"""`kpodx show`: one question, its rationale, and which of its tokens are keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpodx.cli import terminal
from kpodx.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

RUNS = Path("runs")


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
    from kpodx.reporting.questions import describe_question
    from kpodx.runs import load_run, newest_run, understood

    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold}: expected a token weight between 0 and 1.")
    opened = load_run(run) if run else newest_run(RUNS)
    with understood(opened):
        document = describe_question(opened, question, threshold)
    if json:
        terminal.print_json(document)
    else:
        _print(document)


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
