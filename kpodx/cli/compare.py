"""`kpodx compare`: two runs or more, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpodx.cli import terminal
from kpodx.cli.summary import accuracy, by_steps
from kpodx.errors import RunError, UsageError

if TYPE_CHECKING:
    from kpodx.runs import Run


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Finished run folders; the first is the yardstick.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Compare finished runs: accuracy with its interval, a paired exact test, cost, and what was set differently."""
    from kpodx.runs import load_run

    if len(runs) < 2:
        raise UsageError(f"Got {len(runs)} run, expected two or more.", hint="kpodx compare runs/first runs/second")
    opened = [load_run(path) for path in runs]
    document = comparison([(str(path), run) for path, run in zip(runs, opened, strict=True)])
    for pair in document["paired"]:
        if pair["n"] == 0:
            terminal.say(
                f"{pair['second']} and {pair['first']} have no test question in common: nothing to compare by pairs."
            )
    if json:
        terminal.print_json(document)
    else:
        _print(document)


def comparison(runs: list[tuple[str, Run]]) -> dict[str, Any]:
    """All that `compare` tells, as plain values: each run, each later one against the first, and differing settings."""
    from kpodx.runs import understood

    correct, figures = [], []
    for label, run in runs:
        with understood(run):
            correct.append(correct_by_question(run))
            figures.append({"run": label, **_figures(run)})
    return {
        "runs": figures,
        "paired": [
            {"first": runs[0][0], "second": label, **paired(correct[0], other)}
            for (label, _), other in zip(runs[1:], correct[1:], strict=True)
        ],
        "settings": differing_settings([run.manifest.get("recipe", {}) for _, run in runs]),
    }


def _figures(run: Run) -> dict[str, Any]:
    distillation, evaluation = run.summary("distillation"), run.summary("evaluation")
    phases = run.manifest["phases"].values()
    return {
        "test": evaluation.get("test"),
        "validation": evaluation.get("validation"),
        "keypoint_mimicry": evaluation.get("keypoint_mimicry"),
        "target_tokens": distillation.get("target_tokens"),
        "seconds": round(sum(float(phase["seconds"]) for phase in phases), 1),
        "distillation_seconds": run.manifest["phases"]["distillation"]["seconds"],
    }


def correct_by_question(run: Run) -> dict[str, bool]:
    """Whether each test question was answered rightly, by question id."""
    from kpodx.artifacts import load_predictions, load_questions
    from kpodx.phase_folders import missing_files
    from kpodx.runs import read_done
    from kpodx.schema import Split

    test = {question.id for question in load_questions(run.folder("dataset")) if question.split is Split.TEST}
    folder = run.folder("evaluation")
    if missing := missing_files(folder, read_done(folder)):
        raise RunError(
            f"{folder / missing[0]} is missing or of another size than when its phase was finished.",
            hint="Run the recipe again: the phase is repeated.",
        )
    predictions = [p for file in sorted(folder.glob("predictions*.jsonl")) for p in load_predictions(folder, file.name)]
    return {p.question_id: p.correct for p in predictions if p.question_id in test}


def paired(first: Mapping[str, bool], second: Mapping[str, bool]) -> dict[str, Any]:
    """Questions that only one of two runs answered rightly, and the exact McNemar p-value; over common questions."""
    from kpodx.statistics import exact_mcnemar

    common = first.keys() & second.keys()
    only_first = sum(first[name] and not second[name] for name in common)
    only_second = sum(second[name] and not first[name] for name in common)
    p_value = float(exact_mcnemar(only_first, only_second)) if common else None
    return {"n": len(common), "only_first": only_first, "only_second": only_second, "p_value": p_value}


def differing_settings(recipes: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Value in each recipe of the dotted keys whose values are not all equal; names and remarks are left out."""
    from kpodx.layers import leaves

    flat = [{".".join(key): value for key, value in leaves(recipe)} for recipe in recipes]
    keys = sorted({key for values in flat for key in values})
    passed_over = ("name", "description", "about.")
    return {
        key: [values.get(key) for values in flat]
        for key in keys
        if not key.startswith(passed_over) and any(values.get(key) != flat[0].get(key) for values in flat)
    }


def _print(document: Mapping[str, Any]) -> None:
    rows = [
        (
            run["run"],
            accuracy(run["test"]) if run["test"] else "-",
            by_steps(run["test"] or {}),
            "-" if run["target_tokens"] is None else f"{run['target_tokens']:,}",
            terminal.show_seconds(run["seconds"]),
        )
        for run in document["runs"]
    ]
    terminal.print_table("", ("run", "test accuracy %", "by steps", "target tokens", "time"), rows)
    print_mimicry(document["runs"])
    pairs = [
        (
            pair["second"],
            pair["first"],
            str(pair["n"]),
            str(pair["only_first"]),
            str(pair["only_second"]),
            _p(pair["p_value"]),
        )
        for pair in document["paired"]
    ]
    columns = ("run", "against", "pairs", "only against right", "only run right", "exact McNemar p")
    terminal.print_table("\npaired on test questions", columns, pairs)
    settings = [(key, *map(repr, values)) for key, values in document["settings"].items()]
    if settings:
        terminal.print_table("\ndiffering settings", ("setting", *(run["run"] for run in document["runs"])), settings)


def print_mimicry(runs: Sequence[Mapping[str, Any]]) -> None:
    """Print what each run makes of keypoints and of other tokens, if any run measured it."""
    measured = [(run["run"], run["keypoint_mimicry"]) for run in runs if run["keypoint_mimicry"]]
    if not measured:
        return
    rows = [
        (label, found["keypoints"], *_scores(found["on_keypoints"]), *_scores(found["on_others"]))
        for label, found in measured
    ]
    columns = ("run", "keypoints by", "keypoint loss", "keypoints right %", "other loss", "others right %")
    terminal.print_table("\ntokens of held-out rationales, losses in nats per token", columns, rows)


def _scores(score: Mapping[str, Any]) -> tuple[str, str]:
    loss = "-" if score["nll"] is None else f"{score['nll']:.3f}"
    return loss, terminal.percent(score["accuracy"])


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"
