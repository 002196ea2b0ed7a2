"""`kpodx distill`: a recipe becomes a student."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpodx.cli import terminal
from kpodx.errors import UsageError
from kpodx.layers import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from rich.console import Console

    from kpodx.launch import Launch
    from kpodx.pipeline import Choice, PipelineResult, PlannedPhase
    from kpodx.rationales.spending import Estimate
    from kpodx.recipe import Recipe, ResolvedRecipe


def distill(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or the name of a shipped recipe.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the recipe's: distillation.epochs=3."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME of the recipe by default.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="PHASE", help="Refuse to run any phase before this one.")
    ] = None,
    stop: Annotated[str | None, typer.Option("--to", metavar="PHASE", help="Stop after this phase.")] = None,
    force: Annotated[
        list[str] | None,
        typer.Option(metavar="PHASE", help="Run this phase again although it is finished; repeatable."),
    ] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Take equal finished phases over from this run; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show which phases would run, and run none.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Distil a student as a recipe says; run it again to go on after a stop."""
    from kpodx.launch import Launch
    from kpodx.pipeline import Choice
    from kpodx.recipe import load_recipe

    if run == Path() and "" in sys.argv:
        raise UsageError("--run is empty, expected a folder.")
    launch = Launch.from_environment(os.environ)
    console = terminal.stderr_console()
    terminal.set_up_logging(console, quiet=launch.follows)
    resolved = load_recipe(recipe, settings or (), os.environ)
    run = run or Path("runs") / resolved.recipe.name
    choice = Choice(start, stop, tuple(force or ()), tuple(reuse or ()))
    if dry_run:
        _show_plan(resolved, run, choice, as_json=json)
        return
    result = _run(resolved, run, choice, launch, console)
    if launch.follows:
        return
    if json:
        terminal.print_json(result_document(result))
    else:
        from kpodx.cli.summary import print_summary

        print_summary(result)


def _run(resolved: ResolvedRecipe, run: Path, choice: Choice, launch: Launch, console: Console) -> PipelineResult:
    from kpodx.pipeline import run_pipeline

    current: list[str] = []

    def on_phase(planned: PlannedPhase, cached: bool) -> None:
        current[:] = [planned.name]
        console.print(f"{planned.name}: {'finished before' if cached else 'running'}", style="bold", markup=False)

    try:
        # Libraries that print must not end up in the result.
        with terminal.terminate_as_interrupt(), contextlib.redirect_stdout(sys.stderr):
            return run_pipeline(
                resolved, run, choice, progress=terminal.TerminalProgress(console), on_phase=on_phase, launch=launch
            )
    except KeyboardInterrupt:
        where = f" in {current[0]}" if current else ""
        command = resume_command(sys.argv, os.environ)
        terminal.say(f"interrupted{where}; what is finished is kept in {run}. Go on with:\n  {command}")
        raise typer.Exit(130) from None


def resume_command(arguments: list[str], environment: Mapping[str, str]) -> str:
    """The command that goes on: the same, with the variables that set something, and without --force, whose phases were put
    aside already."""
    settings = sorted(name for name in environment if name.startswith(ENVIRONMENT_PREFIX))
    kept, skip = [*(f"{name}={environment[name]}" for name in settings), "kpodx"], False
    for argument in arguments[1:]:
        if skip or argument.startswith("--force="):
            skip = False
        elif argument == "--force":
            skip = True
        else:
            kept.append(argument)
    return shlex.join(kept)


def result_document(result: PipelineResult) -> dict[str, Any]:
    """What `--json` writes: the run, its phases, and the accuracies if the evaluation was part of it."""
    evaluation = result.summary("evaluation")
    return {
        "run": str(result.run),
        "phases": [
            {"name": p.name, "seconds": p.seconds, "cached": p.cached, "folder": str(p.folder)} for p in result.phases
        ],
        "validation": evaluation.get("validation"),
        "test": evaluation.get("test"),
    }


def _show_plan(resolved: ResolvedRecipe, run: Path, choice: Choice, *, as_json: bool) -> None:
    from kpodx.fingerprints import Revisions
    from kpodx.pipeline import check_choice, finished_phases
    from kpodx.runs import MANIFEST, load_run, refuse_foreign

    check_choice(choice)
    refuse_foreign(run)
    pins = load_run(run).manifest.get("revisions", {}) if (run / MANIFEST).is_file() else {}
    found = finished_phases(resolved, run, choice, Revisions(dict(pins)))
    rows = [
        {"name": planned.name, "folder": str(run / planned.folder), "cached": done, "seed": planned.seed}
        for planned, done in found
    ]
    cost = _teacher_estimate(resolved, run, found)
    if as_json:
        terminal.print_json({"run": str(run), "phases": rows, "teacher": cost and dataclasses.asdict(cost)})
        return
    terminal.print_table(
        f"{resolved.recipe.name} in {run}",
        ("phase", "would", "folder"),
        [(str(row["name"]), "be used again" if row["cached"] else "run", str(row["folder"])) for row in rows],
    )
    if any(planned.name == "distillation" and not done for planned, done in found):
        _announce_remeasuring(resolved.recipe)
    if cost:
        terminal.print_table(
            "the teacher, if no request fails",
            ("", "likely", "at most"),
            [
                ("requests", f"{cost.requests:,}", f"{cost.max_requests:,}"),
                ("cached", f"{cost.cached:,}", ""),
                ("tokens", f"{cost.tokens:,}", f"{cost.max_tokens:,}"),
                *([("US dollars", f"{cost.usd:.2f}", f"{cost.max_usd:.2f}")] if cost.has_prices else []),
            ],
        )
        if not cost.has_prices:
            terminal.say("Without prices in rationales.cost there is no estimate in US dollars.")


def _announce_remeasuring(recipe: Recipe) -> None:
    """Say when step difficulties would be measured again during training, and what each time takes."""
    stages = recipe.curriculum.remeasured_stages(recipe.distillation.epochs)
    if stages and recipe.distillation.uses_schedule:
        shown = ", ".join(map(str, stages))
        terminal.say(
            f"Distillation measures the step difficulties again before stage {shown}, while steps are given: "
            "each time is one forward pass over all rationales."
        )


def _teacher_estimate(
    resolved: ResolvedRecipe, run: Path, found: Sequence[tuple[PlannedPhase, bool]]
) -> Estimate | None:
    """What asking the teacher would take; None where it is not asked, or costs nothing."""
    state = {planned.name: (planned, done) for planned, done in found}
    if resolved.recipe.rationales.teacher != "openai" or "rationales" not in state or state["rationales"][1]:
        return None
    from kpodx.artifacts import load_questions
    from kpodx.dataset.phase import build_questions
    from kpodx.rationales.asking import estimate_cost
    from kpodx.schema import Split

    planned, is_done = state["dataset"]
    folder = run / planned.folder
    questions = load_questions(folder) if is_done and folder.is_dir() else build_questions(resolved.recipe.dataset)[0]
    train = [question for question in questions if question.split is Split.TRAIN]
    return estimate_cost(train, resolved.recipe.rationales, os.environ)
