"""Files to rows: JSONL, JSON, CSV, Parquet and blocks of text, one row at a time, every mistake with its place."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kpodx.dataset.nesting import Placed, describe, unfold
from kpodx.errors import DataError
from kpodx.text.files import parse_json, read_lines, read_text

_LABELLED = re.compile(r"([A-Za-z]\w{0,20}(?: \w{1,20}){0,2}):\s+(\S.*)")


def read_rows(path: Path, rows: str | None = None) -> Iterator[Placed]:
    """Yield (place, values) for each row of a file.

    Args:
        path: the file; the end of its name says how it is read.
        rows: the path of keys that the rows stand under, such as "examples", or None for rows at the top.

    Raises:
        DataError: a missing or empty file, an unknown suffix, invalid UTF-8, or a damaged row, with its line.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: expected a file ending in {', '.join(READERS)}, got {path.suffix or 'no suffix'!r}.")
    require_file(path)
    empty = True
    for placed in reader(path, rows):
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


def unfold_rows(placed: Iterator[Placed], rows: str | None) -> Iterator[Placed]:
    """Yield the rows that stand under a path of keys in each record, or the records themselves without a path."""
    for place, values in placed:
        if rows is None:
            yield place, values
        else:
            yield from unfold(place, values, rows)


def _record(place: str, value: object) -> Placed:
    if not isinstance(value, dict):
        raise DataError(f"{place}: expected a JSON object of columns, got {type(value).__name__}.")
    return place, value


def _read_jsonl(path: Path, rows: str | None) -> Iterator[Placed]:
    return unfold_rows(_records(path), rows)


def _records(path: Path) -> Iterator[Placed]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        hint = "A .jsonl file holds one object per line; a file with one array of objects ends in .json."
        yield _record(place, parse_json(line, place, "one JSON object", hint=hint))


def _read_json(path: Path, rows: str | None) -> Iterator[Placed]:
    """Rows of one JSON document, or of one object per line, which some sets keep in a .json file."""
    text = read_text(path)
    if _is_one_object_per_line(text):
        yield from _read_jsonl(path, rows)
        return
    document = parse_json(text, str(path), "a JSON array of objects", hint="Was its download cut off?")
    if rows is not None:
        yield from unfold(str(path), document, rows)
        return
    if not isinstance(document, list):
        raise DataError(
            f"{path}: expected a JSON array of objects, got {describe(document)}.", hint=_hint_for_rows(document)
        )
    for number, item in enumerate(document, start=1):
        yield _record(f"{path}, item {number}", item)


def _is_one_object_per_line(text: str) -> bool:
    """Return whether the first line with text is a JSON object by itself, and others follow."""
    first, _, rest = text.lstrip("\ufeff \n\t").partition("\n")
    if not first.startswith("{") or not rest.strip():
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _hint_for_rows(document: Any) -> str:
    """Return which key the rows probably stand under."""
    items = document.items() if isinstance(document, dict) else ()
    found = [key for key, value in items if isinstance(value, list) and value and isinstance(value[0], dict)]
    example = found[0] if found else "examples"
    return (
        f"With format 'columns', set dataset.columns.rows to the key that the rows stand under, such as {example!r}; "
        "'*' stands for every key."
    )


def _read_blocks(path: Path, rows: str | None) -> Iterator[Placed]:
    """Blocks of lines with empty lines between them: columns "line 1", "line 2", …, and `Q` for a line "Q: …"."""
    block: list[str] = []
    number = 0
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            block.append(line.strip())
        elif block:
            yield _block(path, number - len(block), block, rows)
            block = []
    if block:
        yield _block(path, number - len(block) + 1, block, rows)


def _block(path: Path, number: int, block: list[str], rows: str | None) -> Placed:
    place = f"{path}, line {number}"
    if rows is not None:
        raise DataError(f"{place}: a text file has no keys.", hint="Remove dataset.columns.rows.")
    labelled = [(found[1], found[2]) for line in block if (found := _LABELLED.match(line))]
    numbered = {f"line {n}": line for n, line in enumerate(block, start=1)}
    return place, {**dict(reversed(labelled)), **numbered}


def _read_csv(path: Path, rows: str | None) -> Iterator[Placed]:
    return unfold_rows(_csv_records(path), rows)


def _csv_records(path: Path) -> Iterator[Placed]:
    reader = csv.reader(read_lines(path), strict=True, delimiter=_delimiter(path))
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


def _delimiter(path: Path) -> str:
    """Return what separates the cells; spreadsheets of many countries write ";" into a .csv file."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = next(read_lines(path), "")
    return next((mark for mark in (";", "\t") if mark in header and "," not in header), ",")


def _header(place: str, cells: list[str]) -> list[str]:
    if len(set(cells)) != len(cells) or "" in cells:
        raise DataError(f"{place}: expected a header of different column names, got {cells}.")
    return cells


def _read_parquet(path: Path, rows: str | None) -> Iterator[Placed]:
    return unfold_rows(_parquet_records(path), rows)


def _parquet_records(path: Path) -> Iterator[Placed]:
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


READERS: dict[str, Callable[[Path, str | None], Iterator[Placed]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_blocks,
    ".parquet": _read_parquet,
}
"""The reader of each file name's end."""
