"""Charts as inline SVG, 360 units wide: on a phone a unit is about a pixel, so that words stay legible.

Series differ by mark and dash as well as by colour; every chart has a title and a description for who cannot see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kpodx.reporting.axes import Axis
from kpodx.reporting.labels import LETTER, Box, first_free, spread_labels
from kpodx.reporting.markup import Markup, tag

WIDTH = 360.0

Mark = Literal["circle", "square", "diamond", "none"]


@dataclass(frozen=True)
class Point:
    """A value with its interval, if it has one, along the axis of values."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points of one name, from left to right.

    Attributes:
        name: short, written at its last point.
        points: at least one.
        colour: number of a colour, from 1 to 4.
        mark: drawn at each point.
        line: whether points are joined; "dashed" or "solid".
    """

    name: str
    points: Sequence[Point]
    colour: int = 1
    mark: Mark = "circle"
    line: Literal["solid", "dashed"] | None = "solid"


@dataclass(frozen=True)
class Interval:
    """A row of an interval chart: a label above, a value with its ends below."""

    label: str
    value: float
    low: float
    high: float
    text: str
    colour: int = 1
    mark: Mark = "circle"


def svg(name: str, height: float, title: str, description: str, *children: object) -> Markup:
    """The frame of a chart.

    Args:
        name: unique on the page.
        height: in units.
        title: what it is.
        description: what it shows, in words.
        children: what is drawn.
    """
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", description, id=f"{name}-desc"),
        *children,
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", class_: str | None = None) -> Markup:
    """Words at a place."""
    return tag("text", words, x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def mark_at(x: float, y: float, mark: Mark, colour: int) -> Markup | None:
    """A mark around a place."""
    style = f"mark c{colour}"
    if mark == "circle":
        return tag("circle", cx=x, cy=y, r=4.0, class_=style)
    if mark == "square":
        return tag("rect", x=x - 3.7, y=y - 3.7, width=7.4, height=7.4, class_=style)
    if mark == "diamond":
        return tag("path", d=f"M{x:.2f} {y - 5.2:.2f}l5.2 5.2-5.2 5.2-5.2-5.2z", class_=style)
    return None


def across(
    axis: Axis, left: float, right: float, top: float, bottom: float, references: Sequence[float] = ()
) -> list[Markup]:
    """The horizontal axis below a plot: grid, ticks, label; `references` are drawn as heavier lines."""
    drawn = []
    room = (right - left) / max(1, len(axis.ticks) - 1)
    widest = max(len(axis.show(tick)) for tick in axis.ticks) * LETTER + 6
    every = max(1, -(-int(widest) // max(1, int(room))))
    for number, tick in enumerate(axis.ticks):
        x = left + axis.share(tick) * (right - left)
        drawn.append(line(x, top, x, bottom, "grid"))
        if number % every == 0:
            drawn.append(text(x, bottom + 15, axis.show(tick), anchor="middle", class_="tick"))
    for value in references:
        x = left + axis.share(value) * (right - left)
        drawn.append(line(x, top, x, bottom, "reference"))
    return [*drawn, text((left + right) / 2, bottom + 33, axis.label, anchor="middle", class_="label")]


def upward(axis: Axis, left: float, right: float, top: float, bottom: float) -> list[Markup]:
    """The vertical axis at the left of a plot; its label stands above it, where it can be read without turning the head."""
    drawn = [text(0.0, top - 10, axis.label, class_="label")]
    for tick in axis.ticks:
        y = bottom - axis.share(tick) * (bottom - top)
        drawn += [line(left, y, right, y, "grid"), text(left - 5, y + 4, axis.show(tick), anchor="end", class_="tick")]
    return drawn


def bar_chart(name: str, title: str, description: str, rows: Sequence[tuple[str, float, str]], axis: Axis) -> Markup:
    """Horizontal bars: (label, value, value as written) of each row."""
    left = max(len(label) for label, _, _ in rows) * LETTER + 12
    right = WIDTH - max(len(words) for _, _, words in rows) * LETTER - 10
    bottom = 4 + 28.0 * len(rows)
    drawn: list[object] = [*across(axis, left, right, 4, bottom)]
    for number, (label, value, words) in enumerate(rows):
        y, width = 8 + 28.0 * number, axis.share(value) * (right - left)
        drawn += [
            text(left - 7, y + 14.5, label, anchor="end"),
            tag("rect", x=left, y=y, width=width, height=20.0, class_="bar c1"),
            text(left + width + 6, y + 14.5, words, class_="value"),
        ]
    return svg(name, bottom + 42, title, description, drawn)


def histogram(
    name: str, title: str, description: str, edges: Sequence[float], counts: Sequence[int], x: Axis, y: Axis
) -> Markup:
    """Upright bars between edges."""
    left, right, top, bottom = _frame(y, 190.0)
    bars = []
    for start, stop, count in zip(edges[:-1], edges[1:], counts, strict=True):
        a, b = (left + x.share(edge) * (right - left) for edge in (start, stop))
        high = y.share(count) * (bottom - top)
        bars.append(tag("rect", x=a + 0.5, y=bottom - high, width=max(0.5, b - a - 1), height=high, class_="bar c1"))
    return svg(
        name,
        bottom + 42,
        title,
        description,
        upward(y, left, right, top, bottom),
        across(x, left, right, top, bottom),
        bars,
    )


def _frame(y: Axis, bottom: float, room: float = 10.0) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of a plot with a vertical axis, and `room` at its right."""
    return max(len(y.show(tick)) for tick in y.ticks) * LETTER + 9, WIDTH - room, 30.0, bottom


def interval_chart(
    name: str, title: str, description: str, rows: Sequence[Interval], axis: Axis, references: Sequence[float] = ()
) -> Markup:
    """Values with whiskers, one row each, the row's words above it."""
    left, right, height = 14.0, WIDTH - 14, 38.0
    bottom = 4 + height * len(rows)
    drawn: list[object] = [*across(axis, left, right, 4, bottom, references)]
    for number, row in enumerate(rows):
        top, y = 4 + height * number, 4 + height * number + 27
        low, at, high = (left + axis.share(value) * (right - left) for value in (row.low, row.value, row.high))
        drawn += [
            # Words stand on paper: lines that are looked up from below end under them.
            tag("rect", x=0, y=top, width=WIDTH, height=19.0, class_="paper"),
            text(left, top + 14, row.label),
            text(right, top + 14, row.text, anchor="end", class_="value"),
            *whisker(low, y, high, y, row.colour),
            mark_at(at, y, row.mark, row.colour),
        ]
    return svg(name, bottom + 42, title, description, drawn)


def whisker(x1: float, y1: float, x2: float, y2: float, colour: int) -> list[Markup]:
    """An interval as a line with caps, level or upright."""
    a, b = (0.0, 4.0) if y1 == y2 else (4.0, 0.0)
    style = f"whisker c{colour}"
    return [
        line(x1, y1, x2, y2, style),
        *(line(x - a, y - b, x + a, y + b, style) for x, y in ((x1, y1), (x2, y2))),
    ]


def line_chart(
    name: str,
    title: str,
    description: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    notes: Sequence[tuple[float, str]] = (),
    *,
    notes_below: bool = False,
) -> Markup:
    """Series over a common axis, each named at its end.

    Args:
        name: unique on the page.
        title: what it is.
        description: what it shows, in words.
        series: what is drawn.
        x: the common axis.
        y: the axis of values.
        notes: (x, words) of upright lines.
        notes_below: write them at the lower end, where the values are high.
    """
    named = [one.name for one in series if one.name]
    left, right, top, bottom = _frame(y, 210.0, max((len(words) for words in named), default=0) * LETTER + 14)

    def place(point: Point, value: float | None = None) -> tuple[float, float]:
        height = y.share(point.y if value is None else value) * (bottom - top)
        return left + x.share(point.x) * (right - left), bottom - height

    drawn: list[object] = [upward(y, left, right, top, bottom), across(x, left, right, top, bottom)]
    taken: list[Box] = []
    for at, words in notes:
        here = left + x.share(at) * (right - left)
        bases = [bottom - 6 - 15.0 * row if notes_below else top + 11 + 15.0 * row for row in range(len(notes))]
        box = first_free([Box.of(here + 3, base, words) for base in bases], taken)
        taken.append(box)
        drawn += [line(here, top, here, bottom, "note"), text(box.left, box.base, words, class_="tick halo")]
    for one in series:
        drawn.append(_drawn(one, [place(point) for point in one.points]))
        for point in one.points:
            if point.low is not None and point.high is not None:
                drawn.append(whisker(*place(point, point.low), *place(point, point.high), one.colour))
    ends = spread_labels([place(one.points[-1])[1] for one in series], top, bottom)
    drawn += [
        text(right + 7, end + 4, one.name, class_=f"name c{one.colour}")
        for one, end in zip(series, ends, strict=True)
        if one.name
    ]
    return svg(name, bottom + 42, title, description, drawn)


def _drawn(series: Series, places: Sequence[tuple[float, float]]) -> list[Markup | None]:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    style = f"line c{series.colour}{' dashed' if series.line == 'dashed' else ''}"
    joined = tag("path", d=path, class_=style) if series.line and len(places) > 1 else None
    mark: Mark = "circle" if series.mark == "none" and len(places) == 1 else series.mark
    return [joined, *(mark_at(x, y, mark, series.colour) for x, y in places)]


def scatter_chart(
    name: str, title: str, description: str, points: Sequence[tuple[str, float, float, int, Mark]], x: Axis, y: Axis
) -> Markup:
    """Named points: (words, x, y, colour, mark); words stand beside, below or above their point, where there is room."""
    left, right, top, bottom = _frame(y, 230.0)
    places = [(left + x.share(a) * (right - left), bottom - y.share(b) * (bottom - top)) for _, a, b, _, _ in points]
    taken = [Box(at - 5, level + 4, 10.0) for at, level in places]
    drawn: list[object] = [upward(y, left, right, top, bottom), across(x, left, right, top, bottom)]
    words_drawn: list[object] = []
    for (words, _, _, colour, mark), (at, level) in zip(points, places, strict=True):
        wide = len(words) * LETTER
        middle = min(max(at - wide / 2, left), WIDTH - wide)
        rows = [level + 4 + sign * 18.0 * row for row in range(1, 2 + len(points)) for sign in (1, -1)]
        beside = [Box(at + 10, level + 4, wide)] if at + 10 + wide < WIDTH else []
        before = [Box(at - 10 - wide, level + 4, wide)] if at - 10 - wide > left else []
        above_or_below = [Box(middle, base, wide) for base in rows if top < base < bottom]
        box = first_free([*beside, *before, *above_or_below], taken)
        taken.append(box)
        if abs(box.base - 4 - level) > 20:
            drawn.append(line(at, level, middle + wide / 2, box.base - 4, "leader"))
        drawn.append(mark_at(at, level, mark, colour))
        words_drawn.append(text(box.left, box.base, words, class_="halo"))
    return svg(name, bottom + 42, title, description, drawn, words_drawn)
