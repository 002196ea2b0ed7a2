"""Read JSON that comes from elsewhere, within limits. It needs Python and nothing else.

Python's own reader takes any depth until it raises RecursionError, any number of digits until it raises ValueError, names of any
length, infinities, and halves of characters that can be neither printed nor written again. This one refuses all of them in one line.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

MOST_BYTES = 2**24
"""Bytes of the largest document."""
MOST_DEPTH = 64
"""Objects and lists inside one another."""
MOST_DIGITS = 40
"""Characters of the longest number; Python itself writes at most 24."""
MOST_TEXT = 2**17
"""Characters of the longest text, names included; a chat template takes about 20,000."""
FILE_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,1024}")
"""What can be a relative path of a file: each part has at most 255 bytes besides."""


class JsonError(ValueError):
    """The content is not JSON, or beyond a limit."""


def read(path, most_bytes=MOST_BYTES, **limits):
    """Return the document in a file.

    Args:
        path: of the file.
        most_bytes: size of the largest file that is read.
        limits: further limits, as of `parse`.

    Raises:
        JsonError: it is not a regular file, too large, not JSON, or beyond another limit.
        OSError: it cannot be read.
    """
    path = Path(path)
    # A pipe or a device would be read for ever.
    if path.exists() and not path.is_file():
        raise JsonError("it is not a regular file")
    with path.open("rb") as stream:
        content = stream.read(most_bytes + 1)
    return parse(content, most_bytes=most_bytes, **limits)


def parse(
    content,
    most_bytes=MOST_BYTES,
    most_depth=MOST_DEPTH,
    most_digits=MOST_DIGITS,
    most_text=MOST_TEXT,
    only_finite=True,
):
    """Return the value that a JSON document holds.

    Args:
        content: bytes of UTF-8, with or without a byte order mark, or a text.
        most_bytes: bytes, or characters of a text.
        most_depth: objects and lists inside one another.
        most_digits: characters of a number.
        most_text: characters of a text or name.
        only_finite: whether NaN, Infinity and numbers as large as 1e999 are refused.

    Raises:
        JsonError: the content is not JSON, or beyond a limit.
    """
    if len(content) > most_bytes:
        raise JsonError(f"it has more than {most_bytes:,} bytes")
    number = _Numbers(most_digits, only_finite)
    try:
        text = content if isinstance(content, str) else bytes(content).decode("utf-8-sig")
        found = json.loads(text, parse_int=number.whole, parse_float=number.real, parse_constant=number.constant)
    except JsonError:
        raise
    except RecursionError:
        raise JsonError(f"it is nested more than {most_depth} deep") from None
    except UnicodeDecodeError as error:
        raise JsonError(f"it is not UTF-8 text: byte {error.start}") from None
    except ValueError as error:
        raise JsonError(f"it is not JSON: {error}") from None
    _check(found, most_depth, most_text)
    return found


class _Numbers:
    """Readers of numbers within limits."""

    def __init__(self, most_digits, only_finite):
        self.most_digits, self.only_finite = most_digits, only_finite

    def whole(self, text):
        """Return an integer; Python's own reader takes a time that grows with the square of the digits."""
        self._check_length(text)
        return int(text)

    def real(self, text):
        """Return a float."""
        self._check_length(text)
        number = float(text)
        if self.only_finite and not math.isfinite(number):
            raise JsonError(f"it holds the number {text}, which is too large")
        return number

    def constant(self, text):
        """Return NaN or an infinity, which no standard JSON has."""
        if self.only_finite:
            raise JsonError(f"it holds {text}, which is not a number of JSON")
        return float(text)

    def _check_length(self, text):
        if len(text) > self.most_digits:
            raise JsonError(f"it holds a number of {len(text):,} characters, more than {self.most_digits}")


def _check(value, most_depth, most_text):
    """Raise JsonError if a value is nested too deeply, or holds a text that is too long or half a character."""
    waiting = [(value, 1)]
    while waiting:
        found, depth = waiting.pop()
        if isinstance(found, str):
            _check_text(found, most_text)
        elif isinstance(found, (dict, list)):
            if depth > most_depth:
                raise JsonError(f"it is nested more than {most_depth} deep")
            waiting.extend((item, depth + 1) for item in found)
            if isinstance(found, dict):
                waiting.extend((item, depth + 1) for item in found.values())


def _check_text(text, most_text):
    if len(text) > most_text:
        raise JsonError(f"it holds a text of {len(text):,} characters, more than {most_text:,}")
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise JsonError(f"it holds half a character, {text[error.start]!a}") from None


def is_inside(name):
    """Whether a text is the relative path of a file that can exist in a folder: not absolute, without "..", not too long."""
    if not isinstance(name, str) or not FILE_NAME.fullmatch(name) or "\\" in name:
        return False
    parts = name.split("/")
    return all(part not in ("", ".", "..") and len(part.encode("utf-8")) <= 255 for part in parts)
