"""The one reader of text files that a user gives: UTF-8 with any line ends, and a clear error for anything else.

`export/runners/command_line.py` has a twin of `decode_lines`, because it cannot import kpodx; a test holds the two equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kpodx.errors import DataError, UsageError

MARK = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8, which says nothing and is left out."""
FOREIGN = (
    (b"\xff\xfe\x00\x00", "UTF-32 text", "Convert it: iconv -f UTF-32 -t UTF-8 OLD > NEW"),
    (b"\x00\x00\xfe\xff", "UTF-32 text", "Convert it: iconv -f UTF-32 -t UTF-8 OLD > NEW"),
    (b"\xff\xfe", "UTF-16 text", "Convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    (b"\xfe\xff", "UTF-16 text", "Convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    (b"\x1f\x8b", "a gzip file", "Unpack it: gunzip FILE"),
    (b"PK\x03\x04", "a zip file", "Unpack it: unzip FILE"),
)
"""How files begin that are often taken for UTF-8 text: their first bytes, their name, and what to do."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_lines(path: Path, error: type[UsageError] = DataError) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 file, each with its end, which is always "\n".

    LF, CR LF and a lone CR end a line; nothing else does, U+2028 and form feeds included. A byte order mark is left out.

    Raises:
        UsageError: of the type `error`, if the file cannot be read, or is not UTF-8, with its line and byte.
    """
    try:
        with path.open("rb") as stream:
            yield from decode_lines(stream, str(path), error)
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror or problem}.") from problem


def read_text(path: Path, error: type[UsageError] = DataError) -> str:
    r"""Return the text of a UTF-8 file with "\n" as line ends; see `read_lines`."""
    return "".join(read_lines(path, error))


def decode_lines(stream: Iterable[bytes], name: str, error: type[UsageError] = DataError) -> Iterator[str]:
    r"""Yield the lines of a binary stream as text, each with its end, which is always "\n".

    Args:
        stream: pieces that end with LF or are the last one, as a file opened in binary mode gives them.
        name: what the stream is called in messages.
        error: type of the error.

    >>> list(decode_lines([b"\xef\xbb\xbfa\r\n", b"b\rc"], "x"))
    ['a\n', 'b\n', 'c']
    """
    number = offset = 0
    for piece in stream:
        for line in piece.splitlines(keepends=True):
            number += 1
            try:
                yield decode_line(line, offset)
            except ForeignTextError as problem:
                place = f"{name}, line {number}"
                raise error(f"{place}: expected UTF-8 text, got {problem.what}.", hint=problem.hint) from None
            offset += len(line)


class ForeignTextError(ValueError):
    """A line is not UTF-8 text: what it is, and what to do about it."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def decode_line(line: bytes, offset: int) -> str:
    r"""Return a line as text that ends with "\n" or nothing.

    Args:
        line: its bytes, with the line end.
        offset: bytes of the file before it.

    Raises:
        ForeignTextError: it is not UTF-8, or holds a NUL byte.
    """
    if offset == 0:
        _refuse_foreign(line)
    skipped = len(MARK) if offset == 0 and line.startswith(MARK) else 0
    body = line[skipped:].rstrip(b"\r\n")
    if 0 in body:
        raise _nul_error(body, offset + skipped + body.index(0) + 1, is_first=offset == 0)
    try:
        return body.decode() + ("\n" if len(body) + skipped < len(line) else "")
    except UnicodeDecodeError as problem:
        column, place = problem.start + 1, offset + skipped + problem.start + 1
        raise ForeignTextError(
            f"the byte {body[problem.start]:#04x} at column {column} (byte {place} of the file)",
            "If it is Windows text, convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW",
        ) from None


def _refuse_foreign(start: bytes) -> None:
    for mark, what, hint in FOREIGN:
        if start.startswith(mark):
            raise ForeignTextError(what, hint)


def _nul_error(body: bytes, place: int, *, is_first: bool) -> ForeignTextError:
    """Return what a line with a NUL byte is: in UTF-16 and UTF-32, half or more of the bytes of Latin text are NUL."""
    odd, even = body[1::2].count(0), body[::2].count(0)
    if is_first and len(body) * 6 < (odd + even) * 10 < len(body) * 10:
        return ForeignTextError("UTF-32 text", "Convert it: iconv -f UTF-32LE -t UTF-8 OLD > NEW (or UTF-32BE)")
    if is_first and odd + even < len(body) < max(odd, even) * 3:
        name = "UTF-16LE" if odd > even else "UTF-16BE"
        return ForeignTextError("UTF-16 text", f"Convert it: iconv -f {name} -t UTF-8 OLD > NEW")
    return ForeignTextError(
        f"a NUL byte (byte {place} of the file)", "The file is damaged or is not text; write it again as UTF-8."
    )


def parse_json(
    text: str, place: str, expected: str = "JSON", *, hint: str | None = None, allow_half_pairs: bool = False
) -> Any:
    r"""Return the value of a JSON text.

    Args:
        text: the JSON document, or one line of a JSONL file.
        place: where it stands, for messages.
        expected: what should stand there.
        hint: what to do about text that is not JSON.
        allow_half_pairs: whether half of a surrogate pair is let through.

    Raises:
        DataError: it is not JSON, is nested too deeply, or holds half of a surrogate pair ("\ud83d").
    """
    try:
        value = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        shown = text.strip()[:60]
        raise DataError(f"{place}: expected {expected}, got {shown!r}: {error}.", hint=hint) from error
    if not allow_half_pairs and _ESCAPED_SURROGATE.search(text) and holds_half_a_pair(value):
        raise DataError(
            f"{place}: a text holds half of a surrogate pair, which is not a Unicode character.",
            hint=r"Correct the escape: characters beyond U+FFFF are written as two, such as \ud83d\ude00.",
        )
    return value


def holds_half_a_pair(value: object) -> bool:
    r"""Return whether a text anywhere in a JSON value holds a surrogate without its other half.

    >>> holds_half_a_pair({"a": ["\ud83d"]}), holds_half_a_pair("\U0001f600")
    (True, False)
    """
    return bool(_SURROGATE.search(json.dumps(value, ensure_ascii=False)))
