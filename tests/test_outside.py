"""JSON from strangers: a value, or one ValueError in one line; and text from strangers, which no terminal obeys."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx import outside
from kpodx.config import shipped

RUNNERS = shipped("export") / "runners"

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=10), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(VALUES)
def test_what_json_writes_comes_back_equal(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert outside.parse_json(text) == value
        assert outside.parse_json(text.encode()) == value
        assert outside.parse_json(b"\xef\xbb\xbf" + text.encode()) == value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"size": ' + b"9" * 5000 + b"}", "a number of 5,000 characters"),
        (b"-" + b"1" * 41, "a number of 42 characters"),
        (b"0." + b"3" * 100_000, "a number of 100,002 characters"),
        (b"[1e999]", "1e999, which is too large"),
        (b"-1e400", "-1e400, which is too large"),
        (b"NaN", "NaN, which is not a number of JSON"),
        (b"[Infinity]", "Infinity, which is not a number of JSON"),
        (b"-Infinity", "-Infinity, which is not"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 deep"),
        (b'{"a":' * 80 + b"1" + b"}" * 80, "nested more than 64 deep"),
        (b"[" * 1_000_000, "nested more than 64 deep"),
        (b'{"a":' * 500_000, "nested more than 64 deep"),
        (b'"' + b"n" * 200_000 + b'"', "a text of 200,000 characters"),
        (b'{"' + b"n" * 200_000 + b'": 1}', "a text of 200,000 characters"),
        (b'{"name": "\\ud800"}', "half a character"),
        (b'{"\\udfff": 1}', "half a character"),
        (b'["\\ud83d x"]', "half a character"),
        (b"\xff\xfe[\0]\0", "not UTF-8"),
        (b'"\xc3(', "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1] [2]", "not JSON"),
        (b"\0" * 50, "not JSON"),
        (b'"a\x01b"', "not JSON"),
        (b"[" + b"1," * 2**23 + b"1]", "more than 16,777,216 bytes"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_beyond_a_limit_is_one_line(content: bytes, words: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ValueError) as caught:
        outside.parse_json(content)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert time.monotonic() - begun < 10


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_value_or_a_value_error(content: bytes) -> None:
    try:
        found = outside.parse_json(content)
    except ValueError:
        return
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


@given(VALUES, st.randoms())
def test_a_mutated_document_is_a_value_or_a_value_error(value: Any, rng: Any) -> None:
    content = bytearray(json.dumps({"models": [value], "name": "x"}).encode())
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(content))
        content[place : place + rng.randrange(3)] = rng.choice(
            [b"", b"[", b"9" * 50, b"1e999", b"\\ud800", b"\xff", b"{"]
        )
    try:
        found = outside.parse_json(bytes(content))
    except ValueError:
        return
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


def test_limits_can_be_named() -> None:
    assert math.isnan(outside.parse_json("NaN", **outside.OWN))
    assert outside.parse_json("[[1]]", most_depth=2) == [[1]]
    with pytest.raises(ValueError, match="more than 1 deep"):
        outside.parse_json("[[1]]", most_depth=1)
    with pytest.raises(ValueError, match="more than 3 bytes"):
        outside.parse_json(b"[10]", most_bytes=3)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(ValueError, match="not a regular file"):
            outside.read_json(path)
    (tmp_path / "large").write_bytes(b"[" + b" " * 100 + b"]")
    with pytest.raises(ValueError, match="more than 50 bytes"):
        outside.read_json(tmp_path / "large", most_bytes=50)
    with pytest.raises(FileNotFoundError):
        outside.read_json(tmp_path / "none")


@pytest.mark.parametrize("name", ["model.gguf", "onnx/model.onnx", "a/b/c", "größe", "a b", "...", "x" * 255])
def test_names_of_files_inside(name: str) -> None:
    assert outside.is_inside(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "./x", "a/.", "x/", "/", "a\\..\\x", "C:\\x"),
        *("a\0b", "a\nb", "\x1b[2Jx", "\ud800", "x" * 256, "ü" * 200, "x" * 5000, "a/" * 600 + "a", None, 3, ["x"], {}),
    ],
)
def test_names_of_files_elsewhere(name: object) -> None:
    assert not outside.is_inside(name)


# Shown text

OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b]52;c;cHduZWQ=\x1b\\", "\\x1b]52;c;cHduZWQ=\\x1b\\"),
        ("\x9b2J", "\\x9b2J"),
        ("safe\rhidden", "safe\\rhidden"),
        ("a\bb\x7f", "a\\x08b\\x7f"),
        ("exe.\u202etxt", "exe.\\u202etxt"),
        ("\u2066x\u2069\u200f", "\\u2066x\\u2069\\u200f"),
        ("half \ud800", "half \\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("line\u2028end", "line\\u2028end"),
        ("tab\tline\nkept ½ 数 👨‍👩‍👧 é", "tab\tline\nkept ½ 数 👨‍👩‍👧 é"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert outside.clean(text) == shown


@given(st.text(st.characters(), max_size=100))
def test_nothing_that_is_shown_is_obeyed(text: str) -> None:
    assert not OBEYED.search(outside.clean(text))
    assert outside.clean(outside.clean(text)) == outside.clean(text)
    line = outside.clean_line(text)
    assert not OBEYED.search(line)
    assert "\n" not in line


@given(VALUES)
def test_json_for_a_terminal_means_the_same(value: Any) -> None:
    shown = outside.escape_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value
    assert not OBEYED.search(shown)


@settings(max_examples=20)
@given(st.integers(0, 3000))
def test_a_line_is_not_longer_than_asked(length: int) -> None:
    assert len(outside.clean_line("x" * length, 100)) == min(length, 100)


def test_the_modules_need_python_alone() -> None:
    """They run on devices without numpy, and beside no module of ours."""
    for name in ("outside_json", "shown_text", "machine"):
        code = f"import sys; sys.path.insert(0, {str(RUNNERS)!r}); import {name}; print('numpy' in sys.modules)"
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "False\n"
