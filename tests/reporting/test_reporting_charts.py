"""Axes and charts: round ticks, values where they belong, words that keep apart, drawings that are whole."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpodx.reporting.axes import linear_axis, log_axis, nice_step, share_axis
from kpodx.reporting.charts import (
    WIDTH,
    Interval,
    Point,
    Series,
    bar_chart,
    histogram,
    interval_chart,
    line_chart,
    scatter_chart,
)
from kpodx.reporting.labels import Box, first_free, spread_labels

VALUES = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 6)), min_size=1, max_size=20)


def drawn(markup: str) -> ElementTree.Element:
    """A chart as a tree; it fails where the markup is not well formed."""
    return ElementTree.fromstring(markup)


def words(markup: str) -> list[str]:
    """The words of a chart in the order of drawing."""
    return [str(element.text) for element in drawn(markup).iter("text")]


@given(VALUES)
def test_a_linear_axis_holds_its_values_between_few_round_ticks(values: list[float]) -> None:
    axis = linear_axis("x", values, zero=False)
    slack = 1e-8 * (axis.high - axis.low)
    assert axis.low <= min(values) + slack
    assert axis.high >= max(values) - slack
    assert 2 <= len(axis.ticks) <= 8
    assert all(0.0 <= axis.share(value) <= 1.0 for value in values)


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=20))
def test_a_logarithmic_axis_holds_its_values(values: list[float]) -> None:
    axis = log_axis("x", values)
    assert axis.low < min(values)
    assert axis.high > max(values)
    assert len(axis.ticks) >= 1
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)


def test_equal_factors_are_equal_distances() -> None:
    axis = log_axis("MiB", [1.5, 60.0])
    assert axis.ticks == (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)[: len(axis.ticks)]
    assert math.isclose(axis.share(20.0) - axis.share(10.0), axis.share(10.0) - axis.share(5.0))


def test_axes_of_nothing_much() -> None:
    assert log_axis("MiB", [0.0]).share(0.0) == 0.0
    assert linear_axis("x", [0.0]).ticks[0] == 0.0
    assert linear_axis("x", [0.0]).high == 1.0
    assert share_axis("x").show(0.25) == "25 %"
    assert [nice_step(width) for width in (0.05, 1, 7.4, 50)] == [0.01, 0.2, 2.0, 10.0]


def test_bars_are_as_long_as_their_values() -> None:
    chart = bar_chart("a", "t", "d", [("x", 0.5, "0.50"), ("y", 1.0, "1.00")], linear_axis("w", [1.0]))
    bars = [float(bar.attrib["width"]) for bar in drawn(chart).iter("rect")]
    assert bars[1] == pytest.approx(2 * bars[0], abs=0.02)
    assert {"x", "0.50", "y", "1.00", "w"} <= set(words(chart))


def test_a_histogram_has_a_bar_a_count() -> None:
    x, y = linear_axis("d", [0, 2]), linear_axis("n", [4])
    heights = [
        float(bar.attrib["height"]) for bar in drawn(histogram("a", "t", "d", [0, 1, 2], [1, 4], x, y)).iter("rect")
    ]
    assert heights[1] == pytest.approx(4 * heights[0], abs=0.05)


def test_whiskers_are_where_the_interval_ends() -> None:
    axis = share_axis("right")
    chart = interval_chart("a", "t", "d", [Interval("row", 0.5, 0.25, 0.75, "50 %")], axis, [0.5])
    whiskers = [line for line in drawn(chart).iter("line") if "whisker" in line.attrib["class"]]
    left, right = float(whiskers[0].attrib["x1"]), float(whiskers[0].attrib["x2"])
    mark = next(drawn(chart).iter("circle"))
    assert float(mark.attrib["cx"]) == pytest.approx((left + right) / 2)
    reference = next(line for line in drawn(chart).iter("line") if line.attrib["class"] == "reference")
    assert reference.attrib["x1"] == mark.attrib["cx"]


def test_a_line_chart_names_its_series_and_draws_single_points() -> None:
    series = [Series("one", [Point(0, 1), Point(1, 2)]), Series("two", [Point(1, 2, 1.5, 2.5)], 2, "none", "dashed")]
    chart = line_chart(
        "a", "t", "d", series, linear_axis("x", [1]), linear_axis("y", [2.5]), [(0.0, "begin"), (0.1, "then")]
    )
    assert {"one", "two", "begin", "then"} <= set(words(chart))
    assert len(list(drawn(chart).iter("circle"))) == 3, "a series of one point is a mark, though it has none"
    heights = {element.text: float(element.attrib["y"]) for element in drawn(chart).iter("text")}
    assert abs(heights["one"] - heights["two"]) >= 14
    assert abs(heights["begin"] - heights["then"]) >= 14, "words that would overlap stand below one another"


@given(st.lists(st.floats(0, 200), min_size=1, max_size=10))
def test_labels_stay_apart_and_in_order(wanted: list[float]) -> None:
    places = spread_labels(wanted, 0.0, 200.0)
    ranked = [place for _, place in sorted(zip(wanted, places, strict=True))]
    assert all(later - earlier >= 14.9 for earlier, later in itertools.pairwise(ranked))
    assert max(places) <= 200.0 + 1e-9


def test_a_free_place_is_taken_first() -> None:
    first, second = Box(0, 0, 10), Box(0, 20, 10)
    assert first_free([first, second], []) == first
    assert first_free([first, second], [Box(5, 3, 10)]) == second
    assert first_free([first], [first]) == first


@pytest.mark.parametrize("count", [1, 2, 6])
def test_words_of_a_scatter_chart_stay_inside(count: int) -> None:
    points = [(f"model {n} · 91.4 % · undecided", 1.0 + 0.01 * n, 100.0 + n, 1, "diamond") for n in range(count)]
    x, y = log_axis("MiB", [1.0, 1.1]), linear_axis("speed", [110.0])
    chart = scatter_chart("a", "t", "d", points, x, y)  # type: ignore[arg-type]
    labels = [element for element in drawn(chart).iter("text") if str(element.text).startswith("model")]
    assert len(labels) == count
    assert all(0 <= float(label.attrib["x"]) < WIDTH / 2 for label in labels)
    heights = sorted(float(label.attrib["y"]) for label in labels)
    assert all(later - earlier >= 13.9 for earlier, later in itertools.pairwise(heights))
