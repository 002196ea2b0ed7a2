"""`kpodx status`: where does a run stand?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpodx.cli import terminal

if TYPE_CHECKING:
    from kpodx.runs import Run

RUNS = Path("runs")


def status(
    run: Annotated[Path | None, typer.Argument(help="Run folder; the newest in runs/ by default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Show where a run stands, phase by phase."""
    from kpodx.runs import load_run, newest_run

    document = status_document(load_run(run) if run else newest_run(RUNS, finished=False))
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


def status_document(run: Run) -> dict[str, Any]:
    """The state of a run and of each phase of its plan."""
    from kpodx.artifacts import read_json
    from kpodx.runs import DONE, lock_holder

    holder = lock_holder(run.path)
    state = run.state
    if holder is None and state == "running":
        state = "stopped (its process was killed)"
    phases = []
    for entry in run.manifest.get("plan", []):
        done = run.path / entry["folder"] / DONE
        is_done = done.is_file()
        running = run.manifest.get("running") == entry["name"]
        word = "finished" if is_done else ("running" if holder else "partial") if running else "waiting"
        seconds = float(read_json(done)["seconds"]) if is_done else None
        phases.append({"name": entry["name"], "state": word, "seconds": seconds, "folder": entry["folder"]})
    return {
        "run": str(run.path),
        "state": state,
        "error": run.manifest.get("error"),
        "pid": holder,
        "updated": run.manifest.get("updated"),
        "phases": phases,
    }
