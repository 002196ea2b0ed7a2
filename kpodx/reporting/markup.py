"""HTML that is safe by construction: text is escaped unless it was made here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

VOID = frozenset({"meta", "br"})


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
    """A table that scrolls in its own box; the first cell of a row is its heading."""
    head = tag("thead", tag("tr", [tag("th", name, scope="col") for name in columns]))
    body = tag(
        "tbody",
        [tag("tr", tag("th", row[0], scope="row"), [tag("td", cell) for cell in row[1:]]) for row in rows],
    )
    words = tag("caption", caption) if caption else None
    # A box that scrolls must be reached by keyboard, too.
    return tag(
        "div",
        tag("table", words, head, body),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption or columns[0],
    )
