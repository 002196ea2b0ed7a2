"""The one screen at the end of a run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpodx.cli import terminal

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


def headline(phase: str, summary: Mapping[str, Any]) -> str:
    """What a phase found, in one line; the first plain figures of its summary where there is nothing better to say."""
    find = _HEADLINES.get(phase)
    known = find(summary) if find else []
    plain = [
        f"{key.replace('_', ' ')} {_short(value)}"
        for key, value in summary.items()
        if isinstance(value, int | float | str)
    ]
    return " · ".join(known or plain[:5])


def _short(value: object) -> str:
    """A figure for people: whole numbers in groups of three, others with four digits that count."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _figures(summary: Mapping[str, Any], *formats: tuple[str, str]) -> list[str]:
    """ "{}" of each format filled with the value of its key, for keys that have one."""
    return [text.format(_short(summary[key])) for key, text in formats if summary.get(key) is not None]


def _dataset(summary: Mapping[str, Any]) -> list[str]:
    return [f"{count:,} {split}" for split, count in (summary.get("questions") or {}).items() if count]


def _rationales(summary: Mapping[str, Any]) -> list[str]:
    rejected = {reason.replace("_", " "): count for reason, count in (summary.get("rejected") or {}).items() if count}
    return [
        *filter(None, [" of ".join(_figures(summary, ("kept", "kept {}"), ("completions", "{}")))]),
        *(f"{reason} {_short(count)}" for reason, count in rejected.items()),
    ]


def _weighting(summary: Mapping[str, Any]) -> list[str]:
    kinds = {kind: value for kind, value in (summary.get("token_types") or {}).items() if isinstance(value, Mapping)}
    ranked = sorted(kinds.items(), key=lambda item: -item[1]["mean"])
    shown = [f"{kind.replace('_', ' ')} {value['mean']:.2f}" for kind, value in ranked]
    separation = (summary.get("token_types") or {}).get("keypoints_over_function_words")
    surely = [f"digits and operators over function words {separation:.2f}"] if separation is not None else []
    return [*_figures(summary, ("mean_token_weight", "mean weight {}")), *shown, *surely]


def _difficulty(summary: Mapping[str, Any]) -> list[str]:
    formats = (
        ("num_steps", "{} steps"),
        ("steps_per_rationale", "{} a rationale"),
        ("mean_step_difficulty", "mean {} nats"),
    )
    return _figures(summary, *formats)


def _curriculum(summary: Mapping[str, Any]) -> list[str]:
    return _figures(
        summary, ("strategy", "{}"), ("num_steps", "{} steps"), ("full_stage", "everything released by stage {}")
    )


def _distillation(summary: Mapping[str, Any]) -> list[str]:
    best = summary.get("best_validation_accuracy")
    validation = [] if best is None else [f"best validation {terminal.percent(best)} %"]
    return [
        *_figures(summary, ("method", "{}"), ("updates", "{} updates"), ("target_tokens", "{} target tokens")),
        *validation,
    ]


def _evaluation(summary: Mapping[str, Any]) -> list[str]:
    parts = {split: summary.get(split) or {} for split in ("validation", "test")}
    return [f"{split}: {part['n']:,} answered" for split, part in parts.items() if part]


_HEADLINES: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "dataset": _dataset,
    "rationales": _rationales,
    "weighting": _weighting,
    "difficulty": _difficulty,
    "curriculum": _curriculum,
    "distillation": _distillation,
    "evaluation": _evaluation,
}
