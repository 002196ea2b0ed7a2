"""The page's parts on training: what was given when, losses and accuracy on the way, and accuracy in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kpodx.reporting.axes import Axis, linear_axis, share_axis
from kpodx.reporting.charts import Interval, Point, Series, interval_chart, line_chart
from kpodx.reporting.markup import Markup, table, tag
from kpodx.reporting.words import count, figure, figure_of, section, share, source, with_interval
from kpodx.text.figures import percent, show_seconds

FEW_EPOCHS = 12
"""Up to so many, their table is open from the start."""


def schedule_section(part: Mapping[str, Any], folder: str) -> Markup:
    """The schedule as it was planned, and as the solver could fill it."""
    stages = part["stages"]
    words = (
        f"At first the student is given leading steps of a rationale and writes the rest; stage by stage it is given less. "
        f"The stages' budgets are shares of the whole difficulty, {figure_of(part['total_difficulty'], 4)} nats over "
        f"{count(part['num_steps'])} steps. Stage 0 is the first epoch; after the last stage nothing is given."
    )
    words += _remeasured(part["remeasured"])
    return section(
        "schedule",
        "What came when: planned and done",
        tag("p", words),
        tag("div", _stages(stages, folder), class_="figures"),
    )


def _remeasured(measurements: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence about the measurements during training; nothing if there were none."""
    if not measurements:
        return ""
    stages = ", ".join(str(row["stage"]) for row in measurements)
    tokens = count(sum(row["target_tokens"] for row in measurements))
    seconds = show_seconds(sum(row["seconds"] for row in measurements))
    return (
        f" The difficulties were measured again with the student in training, and the rest of the schedule solved with them, "
        f"before stage {stages}: {tokens} target tokens scored in {seconds}. What is shown of a stage is the schedule it ran on."
    )


def _stages(stages: Sequence[Mapping[str, Any]], folder: str) -> Markup:
    x = _whole_axis("stage", len(stages) - 1)
    says = (
        "Share of all difficulty that the student writes itself, as the budget planned it and as the schedule did it, and the share of "
        "all steps that it is given."
    )
    series = [
        Series("planned", [Point(row["stage"], row["planned"]) for row in stages], 2, "square", "dashed"),
        Series("done", [Point(row["stage"], row["done"]) for row in stages], 1),
        Series("given", [Point(row["stage"], row["given_share"]) for row in stages], 3, "diamond"),
    ]
    return figure(
        line_chart("stages", "The schedule by stage", says, series, x, share_axis("share")),
        "The schedule by stage",
        says,
        [f"{folder}/stages.json", f"{folder}/schedule.safetensors"],
        ("stage", "planned", "done", "steps given", "rationales that grew", "rationales written whole"),
        [
            (
                str(row["stage"]),
                share(row["planned"]),
                share(row["done"]),
                share(row["given_share"]),
                count(row["selected"]),
                share(row["share_released"]),
            )
            for row in stages
        ],
    )


def _whole_axis(label: str, last: int) -> Axis:
    every = max(1, -(-last // 8))
    return Axis(label, 0.0, float(max(1, last)), tuple(float(tick) for tick in range(0, last + 1, every)))


def training_section(part: Mapping[str, Any], full_stage: int | None, folder: str) -> Markup:
    """Losses and validation accuracy on the way."""
    per_epoch = part["updates_per_epoch"]
    notes: list[tuple[float, str]] = []
    if full_stage is not None and per_epoch and full_stage * per_epoch < (part["updates"] or 0):
        notes.append((float(full_stage * per_epoch), "last stage"))
    best = part["best_checkpoint_update"]
    if best is not None:
        notes.append((float(best), "kept"))
    words = [f"Method {part['method']}: {count(part['updates'])} updates, {count(part['target_tokens'])} target tokens"]
    if part["trainable_parameters"] is not None:
        words.append(f"{count(part['trainable_parameters'])} trained parameters")
    if part["training_seconds"] is not None:
        words.append(show_seconds(part["training_seconds"]))
    chosen = f" The student was chosen by {part['chosen_by']}"
    chosen += (
        f": update {count(best)}, {share(part['best_validation_accuracy'])} of the validation questions."
        if best is not None
        else "."
    )
    drawn = []
    if part["losses"]:
        drawn.append(_losses(part["losses"], notes, folder))
    if part["validation"]:
        drawn.append(_validation(part["validation"], notes, folder))
    return section(
        "training",
        "How training went",
        tag("p", ", ".join(words), ".", chosen if part["chosen_by"] else None),
        tag("div", drawn, class_="figures"),
        _epochs(part["epochs"]) if part["epochs"] else None,
    )


def _losses(losses: Sequence[Mapping[str, Any]], notes: Sequence[tuple[float, str]], folder: str) -> Markup:
    says = "The loss that is trained on, in nats a target token (weighted where the method does so), averaged since the point before."
    series = [Series("", [Point(entry["update"], entry["loss"]) for entry in losses], 1, "none")]
    x = linear_axis("update", [entry["update"] for entry in losses], lambda value: f"{value:,g}")
    y = linear_axis("loss, nats a token", [entry["loss"] for entry in losses])
    return figure(
        line_chart("losses", "Training loss", says, series, x, y, notes),
        "Training loss",
        says,
        [f"{folder}/log.jsonl"],
        ("update", "loss"),
        [(count(entry["update"]), figure_of(entry["loss"])) for entry in losses],
    )


def _validation(validation: Sequence[Mapping[str, Any]], notes: Sequence[tuple[float, str]], folder: str) -> Markup:
    says = f"Accuracy on {count(validation[0]['n'])} validation questions after each epoch that was checked, with Wilson intervals."
    marks = [Point(row["update"], row["accuracy"], row["low"], row["high"]) for row in validation]
    x = linear_axis("update", [row["update"] for row in validation], lambda value: f"{value:,g}")
    return figure(
        line_chart(
            "validation",
            "Validation accuracy",
            says,
            [Series("", marks)],
            x,
            share_axis("questions answered rightly"),
            notes,
            notes_below=True,
        ),
        "Validation accuracy",
        says,
        [f"{folder}/log.jsonl"],
        ("update", "epoch", "accuracy"),
        [(count(row["update"]), f"{row['epoch']:g}", with_interval(row)) for row in validation],
    )


def _epochs(epochs: Sequence[Mapping[str, Any]]) -> Markup:
    rows = [
        (
            str(row["epoch"]),
            share(row["given_share"]),
            share(row["written_share"]),
            figure_of(row["mean_loss"]),
            share(row["validation_accuracy"]),
        )
        for row in epochs
    ]
    return tag(
        "details",
        tag("summary", "Epoch by epoch: what was done"),
        table(("epoch", "steps given", "difficulty written", "mean of logged losses", "validation accuracy"), rows),
        open="" if len(rows) <= FEW_EPOCHS else None,
    )


def accuracy_section(part: Mapping[str, Any], folder: str) -> Markup:
    """Accuracy in the end, in all and by number of steps."""
    splits = part["splits"]
    if not splits:
        return section(
            "accuracy", "How often the student is right", tag("p", "There were no questions to ask.", class_="absent")
        )
    said = [
        f"{split}: {with_interval(found)} of {count(found['n'])} questions"
        + (f", {share(found['unreadable'])} without a readable answer" if found.get("unreadable") is not None else "")
        for split, found in splits.items()
    ]
    words = f"In brackets, and as whiskers: Wilson intervals at {percent(part['confidence']).removesuffix('.0')} % confidence."
    drawn = [_by_steps(split, found, folder) for split, found in reversed(splits.items())]
    return section(
        "accuracy",
        "How often the student is right",
        tag("p", "; ".join(said).capitalize(), ". ", words),
        tag("div", drawn, class_="figures"),
        _mimicry(part["keypoint_mimicry"], folder) if part.get("keypoint_mimicry") else None,
    )


def _mimicry(found: Mapping[str, Any], folder: str) -> Markup:
    """Show how well the student says keypoints and other tokens of held-out rationales."""
    marked = found["keypoints"] == "gold"
    known = "the tokens that the question set marks" if marked else "digits and operators, as the set marks none"
    left_out = found["num_too_long"]
    words = (
        f"On the gold rationales of {count(found['num_rationales'])} test questions, each token predicted behind the true ones "
        f"before it. Keypoints are {known}."
    )
    if left_out:
        words += f" {count(left_out)} longer rationales are left out."
    rows = [
        (name, figure_of(score["nll"]), share(score["accuracy"]), count(score["num_tokens"]))
        for name, score in (("keypoints", found["on_keypoints"]), ("all others", found["on_others"]))
    ]
    return tag(
        "div",
        tag("h3", "Keypoint mimicry"),
        tag("p", words, source([f"{folder}/done.json"])),
        table(("tokens", "loss, nats per token", "likeliest token right", "how many"), rows),
    )


def _by_steps(split: str, found: Mapping[str, Any], folder: str) -> Markup:
    rows = [("all", found), *((f"{steps} steps", value) for steps, value in (found.get("by_steps") or {}).items())]
    intervals = [
        Interval(
            f"{label} · {count(row['n'])} questions",
            row["accuracy"],
            row.get("low", row["accuracy"]),
            row.get("high", row["accuracy"]),
            share(row["accuracy"]),
            2 if label == "all" else 1,
            "square" if label == "all" else "circle",
        )
        for label, row in rows
    ]
    says = f"Accuracy on the {split} questions, in all and by the number of steps of the reference."
    return figure(
        interval_chart(
            f"accuracy-{split}",
            f"Accuracy by steps, {split}",
            says,
            intervals,
            share_axis("questions answered rightly"),
        ),
        f"By number of steps: {split}",
        says,
        [f"{folder}/done.json"],
        ("questions", "accuracy", "asked"),
        [
            (label, with_interval(row) if "low" in row else share(row["accuracy"]), count(row["n"]))
            for label, row in rows
        ],
    )
