"""Figures and figures' frames as the page shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kpodx.reporting.markup import Markup, table, tag
from kpodx.text.figures import percent

NONE = "–"


def share(value: float | None) -> str:
    """A share in percent.

    >>> share(0.924), share(None)
    ('92.4 %', '–')
    """
    return NONE if value is None else f"{percent(value)} %"


def with_interval(part: Mapping[str, Any] | None) -> str:
    """An accuracy with its interval, in percent.

    >>> with_interval({"accuracy": 0.5, "low": 0.25, "high": 0.75})
    '50.0 % [25.0, 75.0]'
    """
    return NONE if not part else f"{share(part['accuracy'])} [{percent(part['low'])}, {percent(part['high'])}]"


def points(value: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return f"{100 * value:+.1f}"


def count(value: float | None) -> str:
    """A whole number in groups of three."""
    return NONE if value is None else f"{value:,.0f}"


def figure_of(value: float | None, digits: int = 3) -> str:
    """A number with so many digits that count; whole from a hundred on.

    >>> figure_of(0.123456), figure_of(3711.065), figure_of(4.0), figure_of(384), figure_of(0), figure_of(None)
    ('0.123', '3,711', '4.00', '384', '0', '–')
    """
    if value is None:
        return NONE
    if value == 0 or isinstance(value, int) or abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def figure(
    chart: Markup,
    title: str,
    says: str,
    sources: Sequence[str],
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
) -> Markup:
    """A chart with its title, one sentence on what it shows, the files that it comes from, and its figures as a table."""
    return tag(
        "figure",
        tag("h3", title),
        chart,
        tag("figcaption", says, source(sources)),
        tag("details", tag("summary", "The same as a table"), table(columns, rows, title)),
    )


def source(files: Sequence[str]) -> Markup:
    """From which files of the run figures come."""
    named: list[object] = []
    for file in files:
        named += [", " if named else "From ", tag("code", file)]
    return tag("span", named, class_="source")


def section(name: str, title: str, *children: object) -> Markup:
    """A part of the page."""
    return tag("section", tag("h2", title), *children, id=name)


def facts(rows: Iterable[tuple[str, object]], caption: str) -> Markup:
    """A table of two columns, without what is not known."""
    return table(("what", "value"), [(name, value) for name, value in rows if value not in (None, "", [])], caption)
