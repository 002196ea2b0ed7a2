"""The page's parts on rationales: keypoints on the text, weights by kind of token, difficulties of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kpodx.reporting.axes import linear_axis
from kpodx.reporting.charts import Interval, Point, Series, bar_chart, histogram, interval_chart, line_chart
from kpodx.reporting.markup import Markup, join, table, tag
from kpodx.reporting.words import count, figure, figure_of, section, share, source

SHADES = 8
MASKS = {
    "all": "the whole rationale",
    "none": "nothing of it",
    "learnt": "the tokens of highest weight",
    "random": "as many tokens at random",
}


def examples_section(part: Mapping[str, Any], files: Mapping[str, str]) -> Markup:
    """Three rationales in colour."""
    scale = part["scale"]
    how = "in the order of their difficulty" if part["chosen_by"] == "difficulty" else "in the order of their length"
    read = [name for name in ("rationales", "weighting", "difficulty", "curriculum") if name in files]
    return section(
        "examples",
        "Keypoints on real rationales",
        tag(
            "p",
            f"Three of the teacher's rationales, {how}: at a tenth, in the middle and at nine tenths of all.",
            " The colour of a token is its learnt weight: how much the answer needs it."
            if scale
            else " They carry no colour, as no token weights were learnt in this run.",
        ),
        legend(scale) if scale else None,
        [_example(example, scale) for example in part["examples"]],
        tag("p", source([files[name] for name in read])),
    )


def legend(scale: Mapping[str, float]) -> Markup:
    """What the colours mean."""
    ramp = tag("span", [tag("span", class_=f"w{shade}") for shade in range(SHADES)], class_="ramp")
    return tag(
        "p",
        tag("span", f"weight {scale['least']:.2f} ", ramp, f" {scale['greatest']:.2f}", class_="together"),
        tag(
            "span",
            tag("b", "bold and underlined"),
            f": a keypoint, in the upper quarter of all tokens (from {scale['upper_quarter']:.2f})",
        ),
        class_="legend",
    )


def _example(example: Mapping[str, Any], scale: Mapping[str, float] | None) -> Markup:
    total = example["total_difficulty"]
    told = f", difficulty {figure_of(total)} in all" if total is not None else ""
    return tag(
        "div",
        tag("h3", f"{example['place'].capitalize()}: ", tag("code", example["question_id"]), told),
        tag("p", example["question"], class_="question"),
        tag("ol", [_step(step, scale) for step in example["steps"]], class_="steps"),
        tag("p", f"Answer: {example['answer']}. Teacher: {example['teacher']}.", class_="quiet"),
        class_="example",
    )


def _step(step: Mapping[str, Any], scale: Mapping[str, float] | None) -> Markup:
    said = []
    if step["difficulty"] is not None:
        said.append(f"difficulty {figure_of(step['difficulty'])}")
    given = step["written_from_stage"]
    if given is not None:
        said.append(
            f"given until epoch {given}, then written by the student"
            if given
            else "written by the student from the first epoch on"
        )
    pieces = [paint(piece, scale) for piece in trim(step["pieces"])]
    told = tag("span", " · ".join(said), class_="source") if said else None
    return tag("li", tag("span", pieces, class_="tokens"), told)


def trim(pieces: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Pieces of a step without the white space around it, which the list has already."""
    shown = [dict(piece) for piece in pieces]
    for end, strip in ((0, str.lstrip), (-1, str.rstrip)):
        while shown and not (kept := strip(shown[end]["text"])):
            shown.pop(end)
        if shown:
            shown[end]["text"] = kept
    return shown


def paint(piece: Mapping[str, Any], scale: Mapping[str, float] | None) -> Markup:
    """A piece of text in the colour of its weight, but not the space before it; bold and underlined in the upper quarter."""
    text, weight = piece["text"], piece["weight"]
    word = text.lstrip()
    if weight is None or scale is None or not word:
        return join([text])
    width = scale["greatest"] - scale["least"]
    shade = min(SHADES - 1, int(SHADES * (weight - scale["least"]) / width)) if width > 0 else 0
    name = "b" if weight >= scale["upper_quarter"] else "span"
    return join([text[: len(text) - len(word)], tag(name, word, class_=f"w{shade}", title=f"{weight:.2f}")])


def weights_section(part: Mapping[str, Any], folder: str) -> Markup:
    """Which kinds of tokens weigh most, whether the mask beats chance, and how it was learnt."""
    findings = f"{folder}/findings.json"
    drawn = [_kinds(part["kinds"], findings)] if part["kinds"] else []
    if part["history"]:
        drawn.append(_history(part, findings))
    mean = part["mean_token_weight"]
    said = [_separations(part), _frequency(part["frequency"]), _known_keypoints(part.get("known_keypoints"))]
    said += [f"The mean weight of {count(part['num_tokens'])} tokens is {figure_of(mean)}."] if mean is not None else []
    words = " ".join(filter(None, said))
    return section(
        "weights",
        "Which tokens matter",
        tag("p", words),
        tag("div", drawn, class_="figures"),
        _masks(part["masks"], findings) if part["masks"] else None,
    )


def _separations(part: Mapping[str, Any]) -> str:
    """Say how surely digits and operators outweigh other tokens."""
    others = (
        ("keypoints_over_others", "a random other token"),
        ("keypoints_over_function_words", "a random function word"),
    )
    said = [f"{name} with probability {figure_of(part[key])}" for key, name in others if part.get(key) is not None]
    return f"A random digit or operator outweighs {' and '.join(said)}; 0.5 is chance." if said else ""


def _frequency(found: Mapping[str, Any] | None) -> str:
    """Say whether frequent tokens weigh more."""
    if found is None or found.get("rank_correlation") is None:
        return ""
    return f"The rank correlation of a token's mean weight with how often it occurs is {figure_of(found['rank_correlation'])}."


def _known_keypoints(found: Mapping[str, Any] | None) -> str:
    """Say how surely marked keypoints outweigh other tokens, beside weights that know the types of tokens alone."""
    if not found:
        return ""
    own, table = found["separation"], found["token_type_separation"]
    pairs = (("over_all", "a random other token"), ("among_numbers", "a random other number if it is one itself"))
    said = [
        f"{words} with probability {figure_of(own[key])} (by its type alone: {figure_of(table[key])})"
        for key, words in pairs
        if own[key] is not None
    ]
    correlation = (found["frequency"] or {}).get("rank_correlation")
    sentences = [f"A token marked as a keypoint outweighs {' and '.join(said)}."] if said else []
    if correlation is not None:
        sentences.append(f"Among marked keypoints alone, weight and frequency correlate at {figure_of(correlation)}.")
    return " ".join(sentences)


def _kinds(kinds: Sequence[Mapping[str, Any]], file: str) -> Markup:
    rows = [(kind["kind"].replace("_", " "), kind["mean"], f"{kind['mean']:.2f}") for kind in kinds]
    says = "Mean learnt weight of the tokens of each kind, over all kept rationales."
    axis = linear_axis("mean token weight", [kind["mean"] for kind in kinds])
    return figure(
        bar_chart("kinds", "Mean token weight by kind of token", says, rows, axis),
        "Mean weight by kind of token",
        says,
        [file],
        ("kind", "mean weight", "tokens"),
        [(name, f"{kind['mean']:.4f}", count(kind["count"])) for (name, _, _), kind in zip(rows, kinds, strict=True)],
    )


def _history(part: Mapping[str, Any], file: str) -> Markup:
    history = part["history"]
    whole = [Point(entry["update"], entry["answer_nll"]) for entry in history]
    masked = [
        Point(entry["update"], entry["answer_nll_learnt_mask"])
        for entry in history
        if "answer_nll_learnt_mask" in entry
    ]
    series = [Series("all rows", whole)]
    if masked:
        series.append(Series("learnt mask", masked, 2, "square", "dashed"))
    notes, begun = [], 0
    for name, words in (("warmup", "whole"), ("random_mask", "random masks"), ("mask", "learnt mask")):
        if part["parts"].get(name):
            notes.append((float(begun), words))
            begun += part["parts"][name]
    says = (
        "The target's loss while the mask was learnt: first on whole rationales, then under random masks, then under the learnt one. "
        "Each point is a single batch, so it jumps."
    )
    return figure(
        line_chart(
            "mask-losses",
            "Losses of mask learning",
            says,
            series,
            linear_axis("update", [point.x for point in whole]),
            linear_axis("target's loss, nats", [point.y for point in (*whole, *masked)]),
            notes,
        ),
        "Losses of mask learning",
        says,
        [file],
        ("update", "loss in all", "target's loss", "of rows with the learnt mask", "share kept"),
        [
            (
                count(entry["update"]),
                figure_of(entry["loss"]),
                figure_of(entry["answer_nll"]),
                figure_of(entry.get("answer_nll_learnt_mask")),
                share(entry.get("keep_share")),
            )
            for entry in history
        ],
    )


def _masks(masks: Mapping[str, Any], file: str) -> Markup:
    beats = masks.get("beats_random")
    verdict = (
        "The learnt mask reads better than a random one that keeps as much."
        if beats
        else "The learnt mask reads no better than a random one that keeps as much: these token weights carry no signal."
    )
    margin, error = masks.get("prefix_nll_under_random"), masks.get("prefix_nll_standard_error")
    if margin is not None and error is not None:
        verdict += f" Its loss is lower by {figure_of(margin)} nats per target (standard error {figure_of(error)})."
    rows = [
        (
            words,
            share(masks[name]["keep_share"]),
            share(masks[name]["whole_accuracy"]),
            figure_of(masks[name]["whole_nll"]),
            figure_of(masks[name]["prefix_nll"]),
        )
        for name, words in MASKS.items()
        if name in masks
    ]
    columns = ("the predictor reads", "tokens kept", "answers right", "answer's loss", "mean over targets")
    return tag(
        "div",
        tag("h3", "What the mask is worth on held-out rationales"),
        tag("p", verdict, source([file])),
        table(columns, rows),
    )


def difficulty_section(part: Mapping[str, Any], folder: str) -> Markup:
    """How hard the steps are for the student before it is trained."""
    file = f"{folder}/step_difficulties.safetensors"
    words = (
        f"The difficulty of a step is the weighted mean loss, in nats, that the student has on its tokens before distillation. "
        f"{count(part['steps'])} steps of {count(part['rationales'])} rationales: mean {figure_of(part['mean'])}, "
        f"median {figure_of(part['median'])}."
    )
    drawn = [_difficulty_histogram(part, file)]
    drawn.append(_by_group(part["by_position"], "by-position", "Difficulty by place in the rationale", "step", file))
    drawn.append(_by_group(part["by_num_steps"], "by-count", "Difficulty by how many steps there are", "steps", file))
    return section("difficulty", "How hard the steps are", tag("p", words), tag("div", drawn, class_="figures"))


def _difficulty_histogram(part: Mapping[str, Any], file: str) -> Markup:
    edges, counts = part["histogram"]["edges"], part["histogram"]["counts"]
    says = "How many steps have which difficulty."
    x, y = linear_axis("difficulty, nats", edges), linear_axis("steps", counts, lambda value: f"{value:,g}")
    return figure(
        histogram("difficulties", "Distribution of step difficulties", says, edges, counts, x, y),
        "All steps",
        says,
        [file],
        ("from, nats", "to", "steps"),
        [
            (figure_of(start), figure_of(stop), count(number))
            for start, stop, number in zip(edges[:-1], edges[1:], counts, strict=True)
        ],
    )


def _by_group(rows: Sequence[Mapping[str, Any]], name: str, title: str, unit: str, file: str) -> Markup:
    says = "Median (the mark and the figure) and the middle half of the steps (the whisker)."
    intervals = [
        Interval(_grouped(row, unit), row["median"], row["p25"], row["p75"], figure_of(row["median"])) for row in rows
    ]
    axis = linear_axis("difficulty, nats", [row["p75"] for row in rows])
    return figure(
        interval_chart(name, title, says, intervals, axis),
        title,
        says,
        [file],
        (unit, "steps in all", "mean", "lower quartile", "median", "upper quartile"),
        [
            (row["group"], count(row["n"]), *(figure_of(row[key]) for key in ("mean", "p25", "median", "p75")))
            for row in rows
        ],
    )


def _grouped(row: Mapping[str, Any], unit: str) -> str:
    label = f"step {row['group']}" if unit == "step" else f"rationales of {row['group']} steps"
    return f"{label} · {count(row['n'])} steps"
