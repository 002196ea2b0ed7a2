"""Where a run stands, phase by phase."""

from __future__ import annotations

from typing import Any

from kpodx.artifacts import read_json
from kpodx.runs import DONE, Run, lock_holder


def status_document(run: Run) -> dict[str, Any]:
    """The state of a run and of each phase of its plan."""
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
