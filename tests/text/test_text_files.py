"""The one reader of text files: what it reads, what it refuses, and its twin in the runners."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kpodx.errors import ConfigError, DataError
from kpodx.text.files import decode_lines, parse_json, read_lines, read_text

MARKS = {"utf-8": b"", "utf-8-sig": b"\xef\xbb\xbf"}
TEXTS = st.text(st.characters(blacklist_characters="\0\r\ufeff", blacklist_categories=["Cs"]), max_size=60)
SEPARATORS = "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e"
"""What str.splitlines takes for the end of a line, and no text file means as one."""


@pytest.fixture(scope="module")
def runner(repository: Path) -> ModuleType:
    """The runners' shared program, which cannot import kpodx."""
    spec = importlib.util.spec_from_file_location("command_line", repository / "export/runners/command_line.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # A runner finds the modules beside it, as a program does.
        patch.syspath_prepend(str(repository / "export" / "runners"))
        spec.loader.exec_module(module)
    return module


def write(folder: Path, content: bytes) -> Path:
    path = folder / "a.txt"
    path.write_bytes(content)
    return path


@settings(deadline=None, max_examples=200)
@given(TEXTS, st.sampled_from(list(MARKS)), st.sampled_from(["\n", "\r\n", "\r"]))
@example(f"a{SEPARATORS}b\nc", "utf-8", "\r\n")
@example("", "utf-8-sig", "\n")
def test_any_text_comes_back(text: str, encoding: str, end: str) -> None:
    content = text.replace("\n", end).encode(encoding)
    assert "".join(decode_lines(io.BytesIO(content), "x")) == text


@settings(deadline=None, max_examples=200)
@given(TEXTS.filter(str.strip), st.sampled_from(["utf-16", "utf-32"]))
def test_text_in_utf_16_and_utf_32_with_its_mark_is_named(text: str, encoding: str) -> None:
    name = encoding.upper()
    with pytest.raises(DataError, match=rf"line 1: expected UTF-8 text, got {name} text") as caught:
        list(decode_lines(io.BytesIO(text.encode(encoding)), "x"))
    assert f"iconv -f {name} -t UTF-8" in str(caught.value.hint)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_text_in_utf_16_and_utf_32_without_a_mark_is_named(encoding: str) -> None:
    content = '{"question": "Wie viele Äpfel?"}\n'.encode(encoding)
    with pytest.raises(DataError, match=f"got {encoding[:6].upper()} text"):
        list(decode_lines(io.BytesIO(content), "x"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ab\nc\xe4d", r"line 2: expected UTF-8 text, got the byte 0xe4 at column 2 \(byte 5 of the file\)\."),
        (b"\xef\xbb\xbfa\xff", r"line 1: .* byte 0xff at column 2 \(byte 5 of the file\)"),
        (b"a\rb\r\n\xff", r"line 3: .* byte 0xff at column 1 \(byte 6 of the file\)"),
        (b"a\nb\xe2\x82", r"line 2: .* byte 0xe2 at column 2 \(byte 4 of the file\)"),
        (b"a\n\xed\xa0\x80", r"line 2: .* byte 0xed at column 1"),
        (b"abc\nab\0cdefgh", r"line 2: .* a NUL byte \(byte 7 of the file\)"),
        (b"abc\n\0\0\0\0", r"line 2: .* a NUL byte \(byte 5 of the file\)"),
        (b"\0\0\0\0", r"line 1: .* a NUL byte \(byte 1 of the file\)"),
        (b"\x1f\x8b\x08\0\0", "line 1: .* a gzip file"),
        (b"PK\x03\x04\x14\0", "line 1: .* a zip file"),
    ],
)
def test_what_is_not_utf_8_is_named_with_its_place_and_a_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=message) as caught:
        read_text(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there_is_an_error_of_the_type_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_text(tmp_path / "none", ConfigError)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_text(tmp_path)


def test_lines_are_read_one_by_one(tmp_path: Path) -> None:
    lines = read_lines(write(tmp_path, b"a\nb\n\xff"))
    assert [next(lines), next(lines)] == ["a\n", "b\n"]
    with pytest.raises(DataError, match="line 3"):
        next(lines)


@pytest.mark.parametrize("text", [r'"\ud83d"', r'{"a": ["\uDE00x"]}', r'{"\ud800": 1}', r'"\ude00\ud83d"'])
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl, line 3: a text holds half of a surrogate pair"):
        parse_json(text, "a.jsonl, line 3")


@pytest.mark.parametrize("text", [r'"\ud83d\ude00"', r'"\\ud83d"', '"😀"'])
def test_whole_pairs_and_backslashes_are_read(text: str) -> None:
    assert parse_json(text, "x") in ("😀", r"\ud83d")


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\0", b"\xff", b"\xfe", b"\xef\xbb\xbf", "ä\u2028".encode()])))
def test_the_runners_twin_reads_and_refuses_the_same(runner: ModuleType, pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    try:
        expected: object = list(decode_lines(io.BytesIO(content), "x"))
    except DataError as error:
        expected = f"{error.message.removeprefix('x, ')} {error.hint}"
    try:
        found: object = list(runner.read_lines(io.BytesIO(content)))
    except runner.RunnerError as error:
        found = str(error)
    assert found == expected


def test_the_runners_read_questions_from_any_text_file(runner: ModuleType) -> None:
    content = b'\xef\xbb\xbfHow many?\r\n{"question": "a\xe2\x80\xa8b", "id": 1}\r\rLast?'
    assert list(runner.read_questions(io.BytesIO(content))) == [
        ("How many?", {}),
        ("a\u2028b", {"id": 1}),
        ("Last?", {}),
    ]


def test_the_runners_refuse_a_line_that_would_take_all_memory(runner: ModuleType) -> None:
    for character, count in ((b"a", runner.MOST_LINE + 1), (b"\xff", 4 * runner.MOST_LINE + 1)):
        with pytest.raises(runner.RunnerError, match="line 2 has more than 1,048,576 characters"):
            list(runner.read_questions(io.BytesIO(b"a\n" + character * count)))
