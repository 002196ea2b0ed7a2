"""Make text that comes from elsewhere safe to show on a terminal. It needs Python and nothing else.

A name in a package, an answer of a model or a server's error may hold escape sequences, which a terminal obeys: they move the
cursor, set the window's title, paste into the clipboard, or hide a line. Marks of direction make a name read as another.
"""

from __future__ import annotations

import json
import re

HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks of direction
    "\u2028\u2029"  # further ends of a line
    "\ud800-\udfff"  # halves of characters
    "\U000e0000-\U000e007f]"  # tags, which nothing shows
)
"""Characters that a terminal obeys, or that change how others are shown."""


def clean(text):
    r"""Return a text with each harmful character in the form in which Python writes it.

    >>> clean("\x1b[2J cheap\u202e")
    '\\x1b[2J cheap\\u202e'
    """
    return HARMFUL.sub(lambda found: ascii(found[0])[1:-1], str(text))


def clean_line(text, most=2000):
    r"""Return a text in one line of at most `most` characters, cleaned.

    >>> clean_line("one\n\ttwo\x07")
    'one two\\x07'
    """
    line = " ".join(clean(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def escape_json(document):
    """Return a JSON document that means the same, and in which a terminal finds nothing to obey."""
    return HARMFUL.sub(lambda found: json.dumps(found[0])[1:-1], document)


def json_line(value):
    r"""Return a value as JSON in one line; what a terminal would obey is an escape there, which means the same.

    >>> json_line({"output": "½\x9b"})
    '{"output": "½\\u009b"}'
    """
    return escape_json(json.dumps(value, ensure_ascii=False))
