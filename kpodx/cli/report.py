"""`kpodx report`: one page of all that a run found, and the same figures as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kpodx.cli import terminal
from kpodx.cli.export import RUNS


def report(
    run: Annotated[Path | None, typer.Argument(help="Run folder; the newest finished one in runs/ by default.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="The page; RUN/report.html by default. Its figures go beside it, as .json.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout, too.")] = False,
) -> None:
    """Write one self-contained page of all that a run found: keypoints, schedule, losses, accuracy, packages, provenance."""
    from kpodx.reporting.document import build_document
    from kpodx.reporting.writing import PAGE, check_output, write_report
    from kpodx.runs import load_run, newest_run, understood

    opened = load_run(run) if run else newest_run(RUNS)
    page = output or opened.path / PAGE
    check_output(page)
    with understood(opened):
        document = build_document(opened)
    figures = write_report(document, page)
    terminal.say(f"wrote {page} ({page.stat().st_size / 1000:.0f} kB) and {figures.name}")
    for part, reason in document["absent"].items():
        terminal.say(f"absent: {part.replace('_', ' ')} ({reason})")
    if json:
        terminal.print_json(document)
