"""A console on which text from elsewhere is safe; apart, since rich takes a while to load."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from kpodx.outside import clean


class SafeConsole(Console):
    """A console that obeys nothing in what it prints: no escape sequences, no markup in brackets, no :names: of pictures.

    Args:
        settings: as of rich's console.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print objects; texts among them are cleaned."""
        super().print(*map(_cleaned, objects), **settings)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    return clean_text(value) if isinstance(value, Text) else value


def clean_text(text: Text) -> Text:
    """Return a styled text with escapes such as \\x1b in place of what a terminal would obey; styles stay where they were."""
    if clean(text.plain) == text.plain:
        return text
    found = Text(style=text.style, justify=text.justify, overflow=text.overflow)
    for piece in text.divide(range(1, len(text.plain))):
        piece.plain = clean(piece.plain)
        found.append_text(piece)
    return found
