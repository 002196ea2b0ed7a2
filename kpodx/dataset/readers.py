"""Files to rows: JSONL, JSON, CSV and Parquet, one row at a time, every mistake with its place."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kpodx.errors import DataError

Placed = tuple[str, dict[str, Any]]
"""Where a row is, for messages, and its values by column."""


def read_rows(path: Path) -> Iterator[Placed]:
    """Yield (place, values) for each row of a file.

    Raises:
        DataError: a missing or empty file, an unknown suffix, invalid UTF-8, or a damaged row, with its line.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: expected a file ending in {', '.join(READERS)}, got {path.suffix or 'no suffix'!r}.")
    require_file(path)
    empty = True
    for placed in reader(path):
        empty = False
        yield placed
    if empty:
        raise DataError(f"{path}: expected at least one question, got none.", hint="The file holds no rows.")


def require_file(path: Path) -> None:
    """Raise DataError unless `path` is a file with something in it."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise DataError(
            f"{path}: expected a file, found {what}.",
            hint="A path in a recipe is read from the recipe's folder, one on the command line from where you are.",
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: expected questions, got an empty file.", hint="Was its download cut off?")


def _lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file, ends kept, a byte order mark dropped."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {number}: expected UTF-8 text, got the byte {line[error.start]:#04x} "
                    f"at column {error.start + 1}.",
                    hint="Write the file again as UTF-8.",
                ) from error


def _record(place: str, value: object) -> Placed:
    if not isinstance(value, dict):
        raise DataError(f"{place}: expected a JSON object of columns, got {type(value).__name__}.")
    return place, value


def _read_jsonl(path: Path) -> Iterator[Placed]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{place}: expected one JSON object, got {line.strip()[:60]!r}: {error}.",
                hint="A .jsonl file holds one object a line; a file with one array of objects ends in .json.",
            ) from error
        yield _record(place, value)


def _read_json(path: Path) -> Iterator[Placed]:
    try:
        items = json.loads("".join(_lines(path)))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: expected a JSON array of objects: {error}.",
            hint="A file with one object a line ends in .jsonl.",
        ) from error
    if not isinstance(items, list):
        raise DataError(f"{path}: expected a JSON array of objects, got {type(items).__name__}.")
    for number, item in enumerate(items, start=1):
        yield _record(f"{path}, item {number}", item)


def _read_csv(path: Path) -> Iterator[Placed]:
    reader = csv.reader(_lines(path), strict=True, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    header: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            place = f"{path}, line {reader.line_num}"
            if header is None:
                header = _header(place, cells)
            elif len(cells) != len(header):
                raise DataError(f"{place}: expected {len(header)} cells for the columns {header}, got {len(cells)}.")
            else:
                yield place, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: damaged CSV: {error}.",
            hint='Cells with commas or quotes are written "…".',
        ) from error


def _header(place: str, cells: list[str]) -> list[str]:
    if len(set(cells)) != len(cells) or "" in cells:
        raise DataError(f"{place}: expected a header of different column names, got {cells}.")
    return cells


def _read_parquet(path: Path) -> Iterator[Placed]:
    from pyarrow import ArrowException  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for record in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", record
    except (ArrowException, UnicodeDecodeError, OSError) as error:
        raise DataError(
            f"{path}, after row {number}: damaged Parquet file: {error}.", hint="Was its download cut off?"
        ) from error


READERS: dict[str, Callable[[Path], Iterator[Placed]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}
"""The reader of each file name's end."""
