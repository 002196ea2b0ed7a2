"""HTML that is safe by construction: text is escaped unless it was made here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

VOID = frozenset({"meta", "br"})
LONG = 48
"""Letters from which a cell breaks its lines."""
_FIGURE = re.compile(r"–|[-+]?[\d.,]+(e-?\d+)?( %)?( \[[-+\d., ]+\])?( / \d+)?")


class Markup(str):
    """Text that is markup already; all other text is escaped."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """One element; children that are no `Markup` are escaped, None is left out, lists are taken one by one.

    Attributes: `class_` is class, `stroke_width` is stroke-width; None and False are left out.

    >>> tag("p", "1 < 2", tag("b", "so"), class_="note")
    '<p class="note">1 &lt; 2<b>so</b></p>'
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{name}{shown}>" if name in VOID else f"<{name}{shown}>{join(children)}</{name}>")


def join(children: Iterable[object]) -> Markup:
    """Children one after the other, as `tag` takes them."""
    return Markup("".join(_inner(child) for child in children))


def _inner(child: object) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return join(child) if isinstance(child, list | tuple) else html.escape(str(child))


def _short(value: object) -> str:
    """A number of a drawing with two digits behind the point at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str | None = None) -> Markup:
    """A table that scrolls in its own box, its caption above; the first cell of a row is its heading, figures stand to the right."""
    lines = [list(row) for row in rows]
    classes = ["num" if _is_numeric([line[place] for line in lines]) else None for place in range(len(columns))]
    heads = [tag("th", name, scope="col", class_=kind) for name, kind in zip(columns, classes, strict=True)]
    body = [
        tag("tr", tag("th", line[0], scope="row"), [_cell(*pair) for pair in zip(line[1:], classes[1:], strict=True)])
        for line in lines
    ]
    drawn = tag("table", tag("thead", tag("tr", heads)), tag("tbody", body))
    # A box that scrolls must be reached by keyboard, too.
    box = tag("div", drawn, class_="scroll", tabindex="0", role="region", aria_label=caption or columns[0])
    return join([tag("p", caption, class_="caption") if caption else None, box])


def _is_numeric(cells: Sequence[object]) -> bool:
    return bool(cells) and all(_FIGURE.fullmatch(str(cell)) for cell in cells)


def _cell(value: object, kind: str | None) -> Markup:
    return tag("td", value, class_=kind or ("long" if len(str(value)) > LONG else None))
