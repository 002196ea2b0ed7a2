"""Settings in layers: parsing, lines, precedence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.errors import ConfigError
from kpodx.layers import environment_assignments, key_lines, load_toml, merge, parse_override, parse_value

HERE = Path("/somewhere")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ("{rank = 4}", {"rank": 4}),
        ('"3"', "3"),
        ("std-cot", "std-cot"),
        ("google/flan-t5-small", "google/flan-t5-small"),
        ("none", "none"),
        ("null", None),
        ("", ""),
        ("2024-05-26", "2024-05-26"),
        ("1\nother = 2", "1\nother = 2"),
        ("a = b", "a = b"),
    ],
)
def test_values_are_toml_or_bare_text(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@settings(deadline=None, max_examples=100)
@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_numbers_come_back_as_they_are(value: float) -> None:
    assert parse_value(str(value).lower()) == value


@settings(deadline=None, max_examples=200)
@given(st.text())
def test_any_text_is_some_value(text: str) -> None:
    parse_value(text)


@pytest.mark.parametrize("text", ["epochs", "=3", "a..b=3", ".a=1"])
def test_a_setting_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        parse_override(text, HERE)


def test_a_setting_may_hold_equals_signs() -> None:
    assert parse_override("a.b=x=y", HERE).value == "x=y"


def test_later_layers_win_and_say_so() -> None:
    first = parse_override("a.b=1", HERE)
    variable = environment_assignments({"KPODX__A__B": "2", "KPODX__A__C": "x", "HOME": "/root"}, HERE)
    merged = merge([first], variable, [parse_override("a.d=3", HERE)])
    assert merged.values == {"a": {"b": 2, "c": "x", "d": 3}}
    assert merged.sources["a.b"] == "environment variable KPODX__A__B"
    assert merged.sources["a.d"] == "command line"


def test_an_inline_table_adds_to_a_table() -> None:
    merged = merge([parse_override("a.b=1", HERE)], [parse_override("a={c = 2}", HERE)])
    assert merged.values == {"a": {"b": 1, "c": 2}}


def test_a_key_below_a_value_is_a_problem_not_a_crash() -> None:
    merged = merge([parse_override("seed=1", HERE), parse_override("seed.x=2", HERE)])
    assert merged.values == {"seed": 1}
    assert merged.problems == ["seed.x (command line): seed is a value (command line), not a table"]


def test_each_value_of_a_file_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(
        'seed = 1  # a remark\n\n[about]\nlines = """\nseed = 9\n[dataset]\n"""\n[dataset]\nformat = "gsm8k"\n'
        'limit.train = 5\n[dataset.files]\ntrain = [\n  "a",\n]\n[student]\nlora = {rank = 4}\n'
    )
    lines = {".".join(item.key): item.source.rpartition(":")[2] for item in load_toml(file)}
    assert lines == {
        "seed": "1",
        "about.lines": "4",
        "dataset.format": "9",
        "dataset.limit.train": "10",
        "dataset.files.train": "12",
        "student.lora.rank": "16",
    }


def test_quoted_and_spaced_headers_have_lines() -> None:
    text = "[ \"a\" . b ]\nx = 1\n'f' = 2"
    assert list(key_lines(text)) == [(("a", "b"), 1), (("a", "b", "x"), 2), (("a", "b", "f"), 3)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed = 1\nname = quickstart\n", r"recipe\.toml is not valid TOML: .*line 2"),
        (b"name = '\xff'", "line 1: expected UTF-8 text"),
    ],
)
def test_a_file_that_is_not_toml_is_told_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_toml(file)


def test_a_recipe_may_come_from_any_editor(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_bytes(b"\xef\xbb\xbf# a\xe2\x80\xa8b\r\nseed = 1\r\n[student]\r\nmodel = 'm'\r\n")
    found = load_toml(file)
    assert [(item.key, item.value, item.source) for item in found] == [
        (("seed",), 1, f"{file}:2"),
        (("student", "model"), "m", f"{file}:4"),
    ]
