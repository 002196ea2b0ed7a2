"""The one screen at the end of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpodx.cli import terminal
from kpodx.reporting.headlines import headline

if TYPE_CHECKING:
    from kpodx.pipeline import PipelineResult


def print_summary(result: PipelineResult) -> None:
    """Print phases with times, what each found, the accuracies, and the next command."""
    rows = [
        (
            phase.name,
            "used again" if phase.cached else terminal.show_seconds(phase.seconds),
            headline(phase.name, phase.summary),
        )
        for phase in result.phases
    ]
    terminal.print_table(f"run {show_path(result.run)}", ("phase", "time", "found"), rows)
    evaluation = result.summary("evaluation")
    accuracies = [(split, evaluation[split]) for split in ("validation", "test") if evaluation.get(split)]
    if accuracies:
        lines = [(split, accuracy(part), str(part["n"]), by_steps(part)) for split, part in accuracies]
        terminal.print_table("", ("split", "accuracy %", "questions", "by steps"), lines)
    names = {phase.name for phase in result.phases}
    follow = "show" if "evaluation" in names else "status"
    extra = " --question 1" if follow == "show" else ""
    terminal.stdout_console().print(f"next: kpodx {follow} {shlex.quote(show_path(result.run))}{extra}", markup=False)


def show_path(path: Path) -> str:
    """A path as short as it can be from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def accuracy(part: Mapping[str, Any]) -> str:
    """Accuracy and its interval in percent."""
    return f"{terminal.percent(part['accuracy'])} [{terminal.percent(part['low'])}, {terminal.percent(part['high'])}]"


def by_steps(part: Mapping[str, Any]) -> str:
    """Accuracy in percent at each number of reference steps."""
    shown = []
    for steps, value in (part.get("by_steps") or {}).items():
        share = value["accuracy"] if isinstance(value, Mapping) else value
        shown.append(f"{steps}: {terminal.percent(share)}")
    return "  ".join(shown) or "-"
