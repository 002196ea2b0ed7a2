"""Where a run stands, phase by phase."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kpodx.errors import RunError
from kpodx.runs import DONE, Run, lock_holder, read_done


def _state_of(folder: Path) -> tuple[str, float | None]:
    """Return "finished", "damaged" (it will be repeated) or "waiting", and the seconds that a finished phase took."""
    if not (folder / DONE).is_file():
        return "waiting", None
    try:
        return "finished", float(read_done(folder)["seconds"])
    except RunError:
        return "damaged", None


def status_document(run: Run) -> dict[str, Any]:
    """The state of a run and of each phase of its plan."""
    holder = lock_holder(run.path)
    state = run.state
    if holder is None and state == "running":
        state = "stopped (its process was killed)"
    phases = []
    for entry in run.manifest.get("plan", []):
        running = run.manifest.get("running") == entry["name"]
        word, seconds = _state_of(run.path / entry["folder"])
        if word == "waiting" and running:
            word = "running" if holder else "partial"
        phases.append({"name": entry["name"], "state": word, "seconds": seconds, "folder": entry["folder"]})
    return {
        "run": str(run.path),
        "state": state,
        "error": run.manifest.get("error"),
        "pid": holder,
        "updated": run.manifest.get("updated"),
        "phases": phases,
    }
