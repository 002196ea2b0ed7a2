"""`kpodx evaluate`: do a package's models still reason as well as the student, within what their device can bear?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpodx.cli import terminal
from kpodx.cli.ask import newest_package
from kpodx.cli.export import RUNS
from kpodx.errors import GateError, RunError, UsageError

if TYPE_CHECKING:
    from kpodx.acceptance.evaluate import Examination
    from kpodx.runs import Run


def evaluate(
    package: Annotated[
        Path | None, typer.Argument(metavar="PACKAGE", help="Folder of a package; the newest below runs/ by default.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Run that the package comes from; the one that it lies in by default.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model or quantisation, such as q8; repeatable; all by default.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most test questions; all by default.")] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            min=0.0001, max=0.9999, help="Accuracy that may be lost; the recipe's by default, 0.02 = two points."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; the profile's, or half of the machine's.")
    ] = None,
    memory: Annotated[int | None, typer.Option(min=16, help="Most memory in MiB; the profile's by default.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions at a time; times are taken one by one.")] = 1,
    cost_questions: Annotated[int, typer.Option(min=1, help="Answers that times are taken of.")] = 20,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the result; evaluation/NAME in the run, or beside the package, by default."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Earlier result.json; exit 3 where accuracy, size or answer time fell beyond tolerance."),
    ] = None,
    tolerate_accuracy: Annotated[
        float, typer.Option(min=0, help="Accuracy that may fall against the baseline.")
    ] = 0.01,
    tolerate_size: Annotated[float, typer.Option(min=0, help="Share that files may grow.")] = 0.05,
    tolerate_latency: Annotated[float, typer.Option(min=0, help="Share that answers may become slower.")] = 0.25,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Compare a package's models with the student question by question; exit 3 where accuracy or a budget is lost."""
    from kpodx.acceptance.device import Device
    from kpodx.acceptance.evaluate import evaluate_package, failures, load_package, read_result
    from kpodx.acceptance.regression import Tolerances, regressions

    before = read_result(baseline) if baseline else None
    folder = (package or newest_package(RUNS)).resolve()
    profile = load_package(folder).get("profile") or {}
    source = _run_of(folder, run)
    examination = _examination(source, limit, margin, cost_questions)
    device = Device(
        threads=threads or profile.get("threads") or max(1, (os.cpu_count() or 2) // 2),
        memory_mib=memory or profile.get("memory_mib"),
        context_tokens=profile.get("context_tokens"),
        batch_size=batch_size,
        max_new_tokens=source.manifest["recipe"]["evaluation"]["max_new_tokens"],
    )
    target = output or source.path / "acceptance" / folder.name
    progress = terminal.TerminalProgress(terminal.stderr_console())
    document = evaluate_package(folder, target, examination, device, progress, model or ())
    if json:
        terminal.print_json(document)
    else:
        _print(document, target)
    failed = failures(document)
    if before is not None:
        fallen, unknown = regressions(document, before, Tolerances(tolerate_accuracy, tolerate_size, tolerate_latency))
        for line in unknown:
            terminal.say(f"not compared with the baseline: {line}")
        failed += [f"against the baseline, {line}" for line in fallen]
    if failed:
        raise GateError("\n".join(failed), hint=f"{target} has every answer.")


def _run_of(folder: Path, run: Path | None) -> Run:
    from kpodx.runs import MANIFEST, load_run

    if run is not None:
        return load_run(run)
    above = next((parent for parent in folder.parents if (parent / MANIFEST).is_file()), None)
    if above is None:
        raise RunError(f"{folder} lies in no run.", hint="Name the run with --run: its test questions are asked.")
    return load_run(above)


def _examination(run: Run, limit: int | None, margin: float | None, cost_questions: int) -> Examination:
    """The run's test questions with the student's own answers to them."""
    from kpodx.acceptance.evaluate import Examination
    from kpodx.artifacts import load_predictions, load_questions
    from kpodx.schema import Split

    questions = {q.id: q for q in load_questions(run.folder("dataset")) if q.split is Split.TEST}
    predictions = (
        load_predictions(run.folder("evaluation"), f"predictions-{Split.TEST.value}.jsonl") if questions else []
    )
    paired = [(questions[p.question_id], p) for p in predictions if p.question_id in questions][:limit]
    if not paired:
        raise UsageError(
            f"The run {run.path} has no test questions.", hint="Set dataset.test_fraction, or name a test file."
        )
    settings: dict[str, Any] = run.manifest["recipe"]["evaluation"]
    return Examination(
        [question for question, _ in paired],
        [prediction for _, prediction in paired],
        f"{run.manifest.get('recipe_name') or run.name}, test",
        margin or settings.get("margin", 0.02),
        settings["confidence"],
        cost_questions,
    )


def _print(document: dict[str, Any], target: Path) -> None:
    student = document["student"]
    terminal.say(f"student: {terminal.percent(student['accuracy'])} % of {student['n']} questions")
    rows = []
    for model in document["models"]:
        cost, verdict = model["cost"], model["verdict"]
        if verdict is None:
            rows.append((model["quantization"], model["ending"], *["-"] * 6))
            continue
        word = verdict["word"]
        if verdict["more_questions"]:
            word += f": about {verdict['more_questions']:,} more questions"
        rows.append(
            (
                model["quantization"],
                word,
                terminal.percent(model["accuracy"]["accuracy"]),
                f"{100 * verdict['difference']:+.1f} [{100 * verdict['low']:+.1f}, {100 * verdict['high']:+.1f}]",
                f"{verdict['lost']}/{verdict['gained']}",
                f"{cost['first_token_ms']['p50']:.0f} / {cost['answer_ms']['p50']:.0f}",
                f"{cost['tokens_per_second']['p50']:.0f}",
                f"{cost['peak_mib']:.0f} / {cost['size_mib']:.1f}",
            )
        )
    columns = (
        "model",
        "verdict",
        "accuracy %",
        "difference, points",
        "lost/gained",
        "first token / answer ms",
        "tokens/s",
        "peak / file MiB",
    )
    terminal.print_table(str(target), columns, rows)
