"""A study's table for the terminal, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

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
        "interval over both and Holm's correction."
    )


def comma_separated(result: StudyResult) -> str:
    """Return one line per run as CSV: plain numbers, accuracies in [0, 1]."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["variant", "seed", "accuracy", "validation_accuracy", "updates", "target_tokens", "training_seconds"]
    )
    for run in result.runs:
        validation = "" if run.validation_accuracy is None else run.validation_accuracy
        writer.writerow(
            [run.variant, run.seed, run.accuracy, validation, run.updates, run.target_tokens, run.training_seconds]
        )
    return stream.getvalue()


def latex(result: StudyResult) -> str:
    """Return the table as a LaTeX tabular (package booktabs), without the columns of cost."""
    steps = _steps(result)
    head = ["Variant", "Accuracy", *(f"{name} steps" for name in steps), f"$\\Delta$ {result.baseline}", "$p$"]
    body = [
        [
            _tex(variant.name),
            _mean(variant).replace("±", "$\\pm$"),
            *(percent(variant.by_steps.get(name)) for name in steps),
            _points(variant.difference).replace("−", "$-$").replace(NONE, "--"),
            _p_value(variant.difference).replace("<", "$<$").replace(NONE, "--"),
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
