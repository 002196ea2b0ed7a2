"""`kpodx study`: variants of a recipe over several seeds, compared question by question."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kpodx.cli import terminal
from kpodx.errors import KpodxError, UsageError

if TYPE_CHECKING:
    from kpodx.study.config import StudyConfig
    from kpodx.study.plan import StudyPlan
    from kpodx.study.results import StudyResult
    from kpodx.study.running import Outcome


def study(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="Study file, or the name of a shipped study.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings for every run: distillation.epochs=3."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Folder of the study; runs/study-NAME by default.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds instead of the study's: 0,1,2 or 5-9.")] = None,
    split: Annotated[str | None, typer.Option(help="Questions that are compared: test or validation.")] = None,
    variants: Annotated[str | None, typer.Option(help="Run these variants only: std-cot,kpod.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; the cores are shared among them.")] = 1,
    devices: Annotated[str, typer.Option(help="CUDA devices that the runs take in turn: cuda:0,cuda:1.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would run, and run nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Run every variant of a study with every seed and compare them; run it again to resume after a stop."""
    from kpodx.study.config import load_study
    from kpodx.study.plan import plan_study
    from kpodx.study.running import StudyRunner
    from kpodx.study.writing import summarize_and_write

    config, path = load_study(name)
    config = change_study(config, seeds=seeds, split=split, variants=variants)
    folder = folder or Path("runs") / f"study-{config.name}"
    plan = plan_study(config, path, folder, settings or ())
    if dry_run:
        _show_plan(plan, as_json=json)
        return

    standing = _Standing(plan, config.split)
    runner = StudyRunner(plan, folder, jobs, tuple(filter(None, devices.split(","))), standing.report)
    try:
        with terminal.terminate_as_interrupt():
            outcomes = runner.run()
    except KeyboardInterrupt:
        terminal.say(f"interrupted; what is finished is kept in {folder}. The same command resumes.")
        raise typer.Exit(130) from None

    result = summarize_and_write(config, plan, folder)
    if json:
        terminal.print_json(result.document())
    else:
        _print(result, folder)
    if failed := [outcome for outcome in outcomes if outcome.exit_code]:
        raise KpodxError(
            f"{len(failed)} of {len(plan.tasks)} tasks failed, the first with exit code {failed[0].exit_code}: "
            f"{failed[0].task.run.folder.name}, {failed[0].task.phase}.",
            hint=f"See {failed[0].log}. The table holds the runs that finished; the same command resumes.",
        )


def change_study(config: StudyConfig, *, seeds: str | None, split: str | None, variants: str | None) -> StudyConfig:
    """Return the study with the seeds, split and variants of the command line; raise UsageError if one is unknown."""
    from kpodx.study.config import variant_names

    changes: dict[str, object] = {}
    if seeds is not None:
        changes["seeds"] = parse_seeds(seeds)
    if split is not None:
        if split not in ("test", "validation"):
            raise UsageError(f"--split {split!r}: expected test or validation.")
        changes["split"] = split
    if variants is not None:
        names = variants.split(",")
        known = variant_names(config)
        if unknown := [name for name in names if name not in known]:
            raise UsageError(
                f"--variants: the study {config.name} has no {unknown[0]!r}; expected some of {', '.join(known)}."
            )
        changes["only"] = tuple(names)
    return config.model_copy(update=changes)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read "0,1,2" or "5-9".

    >>> parse_seeds("5-7"), parse_seeds("0,2")
    ((5, 6, 7), (0, 2))
    """
    first, dash, last = text.partition("-")
    with contextlib.suppress(ValueError):
        seeds = range(int(first), int(last) + 1) if dash else map(int, text.split(","))
        if found := tuple(seeds):
            return found
    raise UsageError(f"--seeds {text!r}: expected numbers such as 0,1,2, or a range such as 5-9.")


class _Standing:
    """Prints a line after each task: what is done, how long the rest may take, and the accuracies so far."""

    def __init__(self, plan: StudyPlan, split: str) -> None:
        self._plan = plan
        self._split = split
        self._done = 0
        self._worked: dict[str, list[float]] = {}

    def report(self, outcome: Outcome, left: int) -> None:
        """Print the line of one finished task."""
        self._done += 1
        task = outcome.task
        if not outcome.cached:
            self._worked.setdefault(task.phase, []).append(outcome.seconds)
        state = "failed" if outcome.exit_code else f"{terminal.show_seconds(outcome.seconds)}"
        state = "finished before" if outcome.cached else state
        words = f"[{self._done}/{len(self._plan.tasks)}] {task.run.folder.name}: {task.phase}, {state}"
        if left and self._worked:
            every = [seconds for found in self._worked.values() for seconds in found]
            words += f"; about {terminal.show_seconds(left * sum(every) / len(every))} of work left"
        terminal.say(words)
        if task.is_last and not outcome.exit_code:
            terminal.say(f"  so far: {self._accuracies()}")

    def _accuracies(self) -> str:
        from kpodx.schema import Split
        from kpodx.study.results import read_run

        found: dict[str, list[float]] = {}
        for run in self._plan.runs:
            if (result := read_run(run, Split(self._split))) is not None:
                found.setdefault(result.variant, []).append(result.accuracy)
        return ", ".join(f"{name} {_mean_percent(values)} ({len(values)})" for name, values in found.items())


def _mean_percent(values: list[float]) -> str:
    return f"{terminal.percent(sum(values) / len(values))} %"


def _show_plan(plan: StudyPlan, *, as_json: bool) -> None:
    rows: list[Mapping[str, str]] = [
        {"run": task.run.folder.name, "phase": task.phase, "settings": " ".join(task.run.overrides)}
        for task in plan.tasks
    ]
    if as_json:
        terminal.print_json({"runs": len(plan.runs), "tasks": rows})
        return
    table = [(row["run"], row["phase"], row["settings"] if row["phase"] == "evaluation" else "") for row in rows]
    terminal.print_table(f"{len(plan.runs)} runs, {len(plan.tasks)} tasks", ("run", "phase", "settings"), table)


def _print(result: StudyResult, folder: Path) -> None:
    from kpodx.study import tables

    terminal.print_table("", tables.columns(result), tables.rows(result))
    sys.stdout.write(f"\n{tables.how_made(result)}\n")
    terminal.say(f"wrote study.md, study.csv, study.tex, study.json, study.html and figures/ to {folder}")
