"""`kpodx evaluate`: do a package's models still reason as well as the student, within what their device can bear?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpodx.cli import terminal
from kpodx.cli.export import RUNS
from kpodx.errors import GateError, RunError, UsageError
from kpodx.outside import understood

if TYPE_CHECKING:
    from kpodx.acceptance.device import Remote
    from kpodx.acceptance.evaluate import Examination
    from kpodx.acceptance.results import Results
    from kpodx.runs import Run
    from kpodx.runtime import Progress

RESULT_OF, AGAIN = "a result of `kpodx evaluate`", "Evaluate the baseline's package again."


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
    question_set: Annotated[
        str | None,
        typer.Option(
            "--set",
            help="Other questions than the run's: a recipe, whose test questions are asked; a file with columns question and answer; "
            "or stages, stories of 1 to 8 steps.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device that answers, ssh://user@host; this machine by default.")
    ] = None,
    device_python: Annotated[
        str, typer.Option(help="Python on the device, with onnxruntime and tokenizers, or llama-cpp-python.")
    ] = "python3",
    results: Annotated[
        Path | None,
        typer.Option("--import", help="results.jsonl that a bundle's run.py wrote on a device: score it."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the result; acceptance/NAME in the run by default.")
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
    from kpodx.acceptance.bundle import device_of
    from kpodx.acceptance.device import parse_url
    from kpodx.acceptance.evaluate import asked_records, evaluate_package, failures, import_results, read_result
    from kpodx.acceptance.package import choose_models, load_package
    from kpodx.acceptance.regression import Tolerances, check_comparable, regressions
    from kpodx.acceptance.results import read_results
    from kpodx.artifacts import hash_json
    from kpodx.export.manifest import newest_package

    if results is not None and (device or question_set or model):
        raise UsageError("--import scores what was asked already: --device, --set and --model do not go with it.")
    remote = parse_url(device, device_python) if device else None
    before = read_result(baseline) if baseline else None
    answered = read_results(results) if results else None
    folder = (package or (_package_of(answered) if answered else newest_package(RUNS))).resolve()
    manifest = load_package(folder)
    chosen = [item["quantization"] for item in choose_models(manifest, model or ())]
    source = _run_of(folder, run)
    _check_student(source, manifest, folder)
    progress = terminal.TerminalProgress(terminal.stderr_console())
    target = output or source.path / "acceptance" / _label(
        folder, question_set, remote, limit, is_import=bool(answered)
    )
    if target.exists() and not target.is_dir():
        raise UsageError(f"--output {target}: expected a folder, found a file.")
    if baseline and baseline.resolve() == (target / "result.json").resolve():
        raise UsageError(
            f"--baseline {baseline} is where this result will be written.", hint="Copy it elsewhere, or set --output."
        )
    examination = _examination(source, question_set, target, limit, margin, cost_questions, progress)
    if answered:
        document = import_results(folder, target, examination, answered)
    else:
        if before is not None:
            asked = asked_records(examination.questions)
            questions = {"name": examination.name, "n": len(asked), "sha256": hash_json(asked)}
            with understood(Path(str(baseline)), RESULT_OF, AGAIN):
                check_comparable(questions, chosen, before)
        tokens = source.manifest["recipe"]["evaluation"]["max_new_tokens"]
        bounds = device_of(manifest, threads=threads, memory_mib=memory, batch_size=batch_size, max_new_tokens=tokens)
        document = evaluate_package(folder, target, examination, bounds, progress, chosen, remote)
    if json:
        terminal.print_json(document)
    else:
        _print(document, target)
    failed = failures(document)
    if before is not None:
        tolerances = Tolerances(tolerate_accuracy, tolerate_size, tolerate_latency)
        with understood(Path(str(baseline)), RESULT_OF, AGAIN):
            fallen, unknown = regressions(document, before, tolerances)
        for line in unknown:
            terminal.say(f"not compared with the baseline: {line}")
        failed += [f"against the baseline, {line}" for line in fallen]
    if failed:
        raise GateError("\n".join(failed), hint=f"{target} has the answers that were given.")


def _run_of(folder: Path, run: Path | None) -> Run:
    from kpodx.runs import MANIFEST, load_run

    if run is not None:
        return load_run(run)
    above = next((parent for parent in folder.parents if (parent / MANIFEST).is_file()), None)
    if above is None:
        raise RunError(f"{folder} lies in no run.", hint="Name the run with --run: its test questions are asked.")
    return load_run(above)


def _check_student(run: Run, manifest: dict[str, Any], folder: Path) -> None:
    """DataError where a package was made of another student than the run has now: the two would be compared."""
    from kpodx.artifacts import STUDENT, hash_model
    from kpodx.errors import DataError

    made_of = (manifest.get("origin") or {}).get("student")
    if made_of and made_of != hash_model(run.folder("distillation") / STUDENT):
        raise DataError(
            f"{folder} was exported from another student than that of {run.path}.",
            hint="Export the run's student again, or name the package's own run with --run.",
        )


def _label(folder: Path, question_set: str | None, remote: Remote | None, limit: int | None, *, is_import: bool) -> str:
    """Name of the result's folder: what was not asked for by default is told apart, so that no result takes another's place."""
    from kpodx.artifacts import hash_path

    words = [folder.name]
    if question_set:
        path = Path(question_set)
        # Two files may have the same name.
        words += [path.stem, *([hash_path(path)[:6]] if path.is_file() else [])]
    words += [f"first-{limit}"] if limit else []
    words += [remote.host] if remote else []
    return "-".join([*words, *(["imported"] if is_import else [])])


def _package_of(results: Results) -> Path:
    """The package below `runs/` that results were made with."""
    from kpodx.artifacts import hash_path
    from kpodx.export.manifest import PACKAGE

    for path in sorted(RUNS.glob(f"*/export/*/{PACKAGE}")):
        if hash_path(path) == results.bundle["package"]:
            return path.parent
    raise RunError(
        f"No package below {RUNS} is the one that {results.path} was made with.",
        hint="Name its folder, and the run with --run.",
    )


def _examination(
    run: Run,
    question_set: str | None,
    folder: Path,
    limit: int | None,
    margin: float | None,
    cost_questions: int,
    progress: Progress,
) -> Examination:
    """The run's test questions, or another set's, with the student's own answers to them."""
    from kpodx.acceptance.evaluate import Examination
    from kpodx.acceptance.question_sets import load_question_set, run_questions, student_answers
    from kpodx.artifacts import STUDENT

    settings: dict[str, Any] = run.manifest["recipe"]["evaluation"]
    if question_set is None:
        name = f"{run.manifest.get('recipe_name') or run.name}, test"
        asked, said = run_questions(run, limit)
    else:
        name, asked = load_question_set(question_set, progress)
        asked = asked[:limit]
        student = run.folder("distillation") / STUDENT
        said = student_answers(student, asked, folder, settings["max_new_tokens"], progress)
    return Examination(
        asked, said, name, margin or settings.get("margin", 0.02), settings["confidence"], cost_questions
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
                f"{'-' if cost['peak_mib'] is None else round(cost['peak_mib'])} / {cost['size_mib']:.1f}",
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
    answered = [model for model in document["models"] if model["verdict"]]
    accuracies = [("student", student), *((model["quantization"], model["accuracy"]) for model in answered)]
    if len(student["by_steps"]) > 1:
        lines = [
            (name, *(terminal.percent(group["accuracy"]) for group in its["by_steps"].values()))
            for name, its in accuracies
        ]
        counts = [f"{steps} ({group['n']})" for steps, group in student["by_steps"].items()]
        terminal.print_table("accuracy %, by number of steps (questions)", ("model", *counts), lines)
