"""`kpodx status`: where does a run stand?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kpodx.cli import terminal

RUNS = Path("runs")


def status(
    run: Annotated[Path | None, typer.Argument(help="Run folder; the newest in runs/ by default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Show where a run stands, phase by phase."""
    from kpodx.reporting.state import status_document
    from kpodx.runs import load_run, newest_run, understood

    opened = load_run(run) if run else newest_run(RUNS, finished=False)
    with understood(opened):
        document = status_document(opened)
    if json:
        terminal.print_json(document)
        return
    rows = [
        (
            phase["name"],
            phase["state"],
            "" if phase["seconds"] is None else terminal.show_seconds(phase["seconds"]),
            phase["folder"],
        )
        for phase in document["phases"]
    ]
    title = f"{document['run']}: {document['state']}"
    terminal.print_table(title, ("phase", "state", "time", "folder"), rows)
    if document["error"]:
        terminal.say(document["error"])
