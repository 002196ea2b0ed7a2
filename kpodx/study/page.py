"""A study's page: intervals, learning curves and sensitivity curves, each also an SVG file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import kpodx.reporting.page
from kpodx.reporting.axes import linear_axis
from kpodx.reporting.charts import Interval, Mark, Point, Series, interval_chart, line_chart
from kpodx.reporting.markup import Markup, join, table, tag
from kpodx.reporting.page import POLICY
from kpodx.reporting.words import section
from kpodx.study import tables
from kpodx.study.results import StudyResult, VariantResult
from kpodx.text.figures import percent

NUM_COLORS = 4
MARKS: tuple[Mark, ...] = ("circle", "square", "diamond", "none")


@dataclass(frozen=True)
class Chart:
    """A chart, the name of its file, and what it shows in words."""

    name: str
    title: str
    description: str
    drawing: Markup


def charts(result: StudyResult) -> list[Chart]:
    """Return all charts that the results allow."""
    found = [_accuracies(result)]
    if any(variant.difference for variant in result.variants):
        found.append(_differences(result))
    if any(len(variant.learning) > 1 for variant in result.variants):
        found.append(_learning(result))
    settings = dict.fromkeys(variant.axis[0] for variant in result.variants if variant.axis)
    return [*found, *(chart for setting in settings if (chart := _sensitivity(result, setting)) is not None)]


def _accuracies(result: StudyResult) -> Chart:
    axis = linear_axis(
        "accuracy, %", [100 * accuracy for v in result.variants for accuracy in v.accuracies], zero=False
    )
    rows = [
        Interval(
            variant.name,
            100 * variant.mean,
            100 * min(variant.accuracies),
            100 * max(variant.accuracies),
            f"{percent(variant.mean)} %",
        )
        for variant in result.variants
    ]
    title = "Accuracy by variant"
    description = "Mean accuracy of each variant over its seeds; whiskers reach from the lowest seed to the highest."
    return Chart("accuracy", title, description, interval_chart("accuracy", title, description, rows, axis))


def _differences(result: StudyResult) -> Chart:
    compared = [(variant.name, variant.difference) for variant in result.variants if variant.difference]
    ends = [100 * end for _, difference in compared for end in (difference.low, difference.high)]
    axis = linear_axis(f"points over {result.baseline}", [*ends, 0.0], zero=False)
    rows = [
        Interval(
            name,
            100 * d.mean,
            100 * d.low,
            100 * d.high,
            f"{100 * d.mean:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]",
        )
        for name, d in compared
    ]
    title = f"Difference to {result.baseline}"
    description = "Paired difference in points, with its 95 % interval over seeds and questions; 0 means no difference."
    return Chart("difference", title, description, interval_chart("difference", title, description, rows, axis, [0.0]))


def _learning(result: StudyResult) -> Chart:
    shown = [variant for variant in result.variants if len(variant.learning) > 1 and variant.axis is None][:NUM_COLORS]
    shown = shown or [variant for variant in result.variants if len(variant.learning) > 1][:NUM_COLORS]
    series = [
        Series(variant.name, [Point(epoch, 100 * accuracy) for epoch, accuracy in variant.learning], number, "none")
        for number, variant in enumerate(shown, start=1)
    ]
    x = linear_axis("epoch", [point.x for one in series for point in one.points])
    y = linear_axis("validation accuracy, %", [point.y for one in series for point in one.points])
    title = "Learning curves"
    description = (
        "Validation accuracy by epoch, mean over seeds, of the first four variants that are not part of a grid."
    )
    return Chart("learning", title, description, line_chart("learning", title, description, series, x, y))


def _sensitivity(result: StudyResult, setting: str) -> Chart | None:
    points = (
        sorted(
            (float(variant.axis[1]), variant)
            for variant in result.variants
            if variant.axis and variant.axis[0] == setting and _is_number(variant.axis[1])
        )
        if _all_numbers(result.variants, setting)
        else []
    )
    if len(points) < 2:
        return None
    line = [
        Point(value, 100 * variant.mean, 100 * min(variant.accuracies), 100 * max(variant.accuracies))
        for value, variant in points
    ]
    x = linear_axis(setting, [point.x for point in line], zero=False)
    y = linear_axis(
        "accuracy, %", [end for point in line for end in (point.low, point.high) if end is not None], zero=False
    )
    title = f"Sensitivity to {setting}"
    description = "Mean accuracy over seeds at each value; whiskers reach from the lowest seed to the highest."
    name = "sensitivity-" + setting.replace(".", "-").replace("_", "-")
    return Chart(name, title, description, line_chart(name, title, description, [Series("", line)], x, y))


def _all_numbers(variants: list[VariantResult], setting: str) -> bool:
    return all(_is_number(variant.axis[1]) for variant in variants if variant.axis and variant.axis[0] == setting)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def render_study_page(result: StudyResult) -> str:
    """Return the study as one HTML page that loads nothing."""
    title = f"Study {result.name}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(_style())),
    )
    figures = [
        tag("figure", tag("h3", chart.title), chart.drawing, tag("figcaption", chart.description))
        for chart in charts(result)
    ]
    settings = [
        (variant.name, ", ".join(f"{key} = {value}" for key, value in variant.settings.items()) or "the recipe itself")
        for variant in result.variants
    ]
    main = tag(
        "main",
        section("result", "Result", table(tables.columns(result), tables.rows(result))),
        section("figures", "Figures", tag("div", figures, class_="figures")),
        section("settings", "Settings of each variant", table(("variant", "settings"), settings)),
    )
    header = tag(
        "header",
        tag("h1", title),
        tag("p", result.description, class_="quiet") if result.description else None,
        tag("p", tables.how_made(result)),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", header, main), lang="en") + "\n"


def standalone_svg(chart: Chart) -> str:
    """Return a chart as an SVG file, its style inside."""
    style = tag("style", Markup(_style()))
    opening, rest = chart.drawing.split(">", 1)
    return join([Markup(f'{opening} xmlns="http://www.w3.org/2000/svg">'), style, Markup(rest)]) + "\n"


def _style() -> str:
    return Path(kpodx.reporting.page.__file__).with_name("page.css").read_text(encoding="utf-8")
