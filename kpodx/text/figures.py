"""Figures as people read them."""

from __future__ import annotations

from typing import Any


def show_seconds(seconds: float) -> str:
    """A duration for people.

    >>> show_seconds(0.21), show_seconds(75), show_seconds(7260)
    ('0.2 s', '1 min 15 s', '2 h 01 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def percent(value: Any) -> str:
    """A share as a percentage with one digit, "-" where there is none."""
    return "-" if value is None else f"{100 * float(value):.1f}"
