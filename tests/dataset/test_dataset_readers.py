"""Files to rows, and the place of every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from kpodx.dataset.readers import read_rows
from kpodx.errors import DataError

ROWS = [{"question": "Wie viele Äpfel, „genau“?", "answer": "3"}, {"question": 'two\nlines, "quoted"', "answer": "4"}]
CSV = 'question,answer\r\n"Wie viele Äpfel, „genau“?",3\r\n\r\n"two\nlines, ""quoted""",4\r\n'


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def make_rows(folder: Path, suffix: str) -> Path:
    path = folder / f"data{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        return path
    text = {
        ".jsonl": "\n\n".join(map(json.dumps, ROWS)),
        ".json": json.dumps(ROWS, indent=1),
        ".csv": CSV,
        ".tsv": CSV.replace("question,answer", "question\tanswer").replace('",', '"\t'),
    }[suffix]
    return write(path, text)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    assert [values for _, values in read_rows(make_rows(tmp_path, suffix))] == ROWS


@pytest.mark.parametrize(
    ("suffix", "places"),
    [
        (".jsonl", ["line 1", "line 3"]),
        (".json", ["item 1", "item 2"]),
        (".csv", ["line 2", "line 5"]),
        (".parquet", ["row 1", "row 2"]),
    ],
)
def test_places_name_the_file_and_the_row(tmp_path: Path, suffix: str, places: list[str]) -> None:
    path = make_rows(tmp_path, suffix)
    assert [place for place, _ in read_rows(path)] == [f"{path}, {place}" for place in places]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_a_byte_order_mark_is_dropped(tmp_path: Path, suffix: str) -> None:
    path = make_rows(tmp_path, suffix)
    write(path, b"\xef\xbb\xbf" + path.read_bytes())
    assert [values for _, values in read_rows(path)] == ROWS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.doc", "x", r"expected a file ending in \.jsonl, .*got '\.doc'"),
        ("a", "x", "got 'no suffix'"),
        ("a.jsonl", "", "got an empty file"),
        ("a.jsonl", "\n \n", "at least one question, got none"),
        ("a.csv", "question,answer\n", "at least one question, got none"),
        ("a.json", "[]", "at least one question, got none"),
        ("a.jsonl", '{"a": 1}\n{"a": ', "line 2: expected one JSON object"),
        ("a.jsonl", "[" * 100_000, "line 1: expected one JSON object"),
        ("a.jsonl", '{"a": ' + "9" * 5000 + "}", "line 1: expected one JSON object"),
        ("a.jsonl", "[1]", "line 1: expected a JSON object of columns, got list"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}', "line 2: expected UTF-8 text, got the byte 0xff at column 8"),
        ("a.json", '{"a": 1}', r"expected a JSON array of objects, got an object with the keys \['a'\]"),
        ("a.json", '[{"a": 1},', "expected a JSON array of objects"),
        ("a.json", '[{"a": 1}, 2]', "item 2: expected a JSON object of columns, got int"),
        ("a.csv", "a,b\n1,2\n3\n", r"line 3: expected 2 cells for the columns \['a', 'b'\], got 1"),
        ("a.csv", "a,a\n1,2\n", "line 1: expected a header of different column names"),
        ("a.csv", 'a,b\n"1" 2,3\n', "line 2: damaged CSV"),
        ("a.csv", b"a,b\n1,\xe4\n", "line 2: expected UTF-8 text"),
        ("a.parquet", b"PAR1 cut off", "damaged Parquet file"),
    ],
)
def test_damage_is_told_with_its_place(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=message) as caught:
        list(read_rows(path))
    assert str(path) in caught.value.message


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match="found a folder"):
        list(read_rows(tmp_path / "folder.jsonl"))
    with pytest.raises(DataError, match="found nothing"):
        list(read_rows(tmp_path / "none.jsonl"))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["question", "answer", "id"]), st.text() | st.integers(), min_size=1),
        min_size=1,
    )
)
def test_jsonl_gives_back_any_text(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    write(path, "\n".join(json.dumps(row) for row in rows))
    assert [values for _, values in read_rows(path)] == rows


def test_large_files_are_read_row_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": 1}\n' * 5 + "damaged")
    rows = read_rows(path)
    assert [next(rows)[1] for _ in range(5)] == [{"a": 1}] * 5
    with pytest.raises(DataError, match="line 6"):
        next(rows)
