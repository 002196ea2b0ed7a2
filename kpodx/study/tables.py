"""A study's table for the terminal, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, fields

from kpodx.study.keypoints import KeypointFigures, mean_figures
from kpodx.study.results import Difference, StudyResult, VariantResult
from kpodx.text.figures import percent

NONE = "–"


def columns(result: StudyResult) -> list[str]:
    """Return the headings of the table."""
    return [
        "variant",
        "accuracy, mean ± sd",
        "each seed",
        *(f"{steps} steps" for steps in _steps(result)),
        f"points over {result.baseline} [95 %]",
        "p (Holm)",
        *_keypoint_columns(result),
        "updates",
        "target tokens",
        "seconds",
    ]


def rows(result: StudyResult) -> list[list[str]]:
    """Return one row per variant, accuracies in percent."""
    steps = _steps(result)
    return [
        [
            variant.name,
            _mean(variant),
            " ".join(percent(accuracy) for accuracy in variant.accuracies),
            *(percent(variant.by_steps.get(name)) for name in steps),
            _points(variant.difference),
            _p_value(variant.difference),
            *_keypoint_cells(result, variant),
            f"{variant.updates:,}",
            f"{variant.target_tokens:,}",
            f"{variant.training_seconds:,.0f}",
        ]
        for variant in result.variants
    ]


def markdown(result: StudyResult) -> str:
    """Return the table in Markdown, with a sentence on how it was made."""
    head = columns(result)
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [f"| {' | '.join(_escaped(row))} |" for row in rows(result)]
    return "\n".join(["", how_made(result), "", *lines, ""]).lstrip("\n")


def how_made(result: StudyResult) -> str:
    """Return one sentence on questions, seeds and intervals."""
    seeds = sorted({run.seed for run in result.runs})
    return (
        f"Study {result.name} on recipe {result.recipe}, kpodx {result.kpodx_version}: {result.num_questions} {result.split} questions, "
        f"seeds {', '.join(map(str, seeds))} of {result.seed_setting}; differences are paired by seed and question, with a bootstrap "
        f"interval over both and Holm's correction.{_how_keypoints_are_known(result)}"
    )


_CSV = ("variant", "seed", "accuracy", "validation_accuracy", "updates", "target_tokens", "training_seconds")


def comma_separated(result: StudyResult) -> str:
    """Return one line per run as CSV: plain numbers, accuracies in [0, 1]."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [*_CSV, *(field.name if field.name != "source" else "keypoints" for field in fields(KeypointFigures))]
    )
    for run in result.runs:
        figures = astuple(run.keypoints) if run.keypoints else (None,) * len(fields(KeypointFigures))
        # The writer leaves a cell empty for None.
        writer.writerow([*(getattr(run, name) for name in _CSV), *figures])
    return stream.getvalue()


def latex(result: StudyResult) -> str:
    """Return the table as a LaTeX tabular (package booktabs), without the columns of cost."""
    steps = _steps(result)
    head = ["Variant", "Accuracy", *(f"{name} steps" for name in steps), f"$\\Delta$ {result.baseline}", "$p$"]
    head += map(str.capitalize, _keypoint_columns(result))
    body = [
        [
            _tex(variant.name),
            _mean(variant).replace("±", "$\\pm$"),
            *(percent(variant.by_steps.get(name)) for name in steps),
            _points(variant.difference).replace("−", "$-$").replace(NONE, "--"),
            _p_value(variant.difference).replace("<", "$<$").replace(NONE, "--"),
            *(cell.replace(NONE, "--") for cell in _keypoint_cells(result, variant)),
        ]
        for variant in result.variants
    ]
    lines = [
        f"% {how_made(result)}",
        f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        "\\toprule",
        " & ".join(map(_head, head)) + " \\\\",
        "\\midrule",
        *(" & ".join(cells) + " \\\\" for cells in body),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _steps(result: StudyResult) -> list[str]:
    found = {steps for variant in result.variants for steps in variant.by_steps}
    return sorted(found, key=lambda steps: (len(steps), steps))


def _keypoint_columns(result: StudyResult) -> list[str]:
    """Return the headings of keypoint mimicry if any run measured it."""
    measured = any(variant.keypoints for variant in result.variants)
    return ["keypoint loss", "keypoints right", "other loss", "others right"] if measured else []


def _keypoint_cells(result: StudyResult, variant: VariantResult) -> list[str]:
    """Return a variant's cells below `_keypoint_columns`: losses in nats per token, shares in percent."""
    columns, found = _keypoint_columns(result), variant.keypoints
    if found is None:
        return [NONE] * len(columns)
    return [
        _nats(found.keypoint_nll),
        percent(found.keypoint_accuracy),
        _nats(found.other_nll),
        percent(found.other_accuracy),
    ]


def _nats(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _how_keypoints_are_known(result: StudyResult) -> str:
    known = mean_figures([variant.keypoints for variant in result.variants])
    if known is None:
        return ""
    return (
        " Keypoint figures are means over seeds, per token of the gold rationales of test questions, in nats and percent; "
        f"keypoints are known by {known.source}."
    )


def _mean(variant: VariantResult) -> str:
    spread = "" if variant.sd is None else f" ± {percent(variant.sd)}"
    return percent(variant.mean) + spread


def _points(difference: Difference | None) -> str:
    if difference is None:
        return NONE
    return f"{_signed(difference.mean)} [{_signed(difference.low)}, {_signed(difference.high)}]"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _p_value(difference: Difference | None) -> str:
    if difference is None:
        return NONE
    return f"{difference.holm_p_value:.3f}" if difference.holm_p_value >= 0.001 else "< 0.001"


def _escaped(row: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in row]


def _head(words: str) -> str:
    return words if words.startswith("$") else _tex(words)


def _tex(words: str) -> str:
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in words)
