"""Settings in layers: a TOML file, then the environment, then the command line; each value remembers its source."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpodx.errors import ConfigError
from kpodx.text.files import read_text

ENVIRONMENT_PREFIX = "KPODX__"

_HEADER = re.compile(r"^\s*\[\s*([A-Za-z0-9_.\"' -]+?)\s*\]\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(r"^\s*([A-Za-z0-9_\"'-]+(?:\s*\.\s*[A-Za-z0-9_\"'-]+)*)\s*=")


@dataclass(frozen=True)
class Assignment:
    """One value given to one dotted key.

    Attributes:
        key: the path of names, outermost first.
        value: the value as Python sees it.
        source: where it came from, for people to read.
        base: the folder that relative paths in it are read from.
        text: the value as it was typed; empty for values of a file.
    """

    key: tuple[str, ...]
    value: Any
    source: str
    base: Path
    text: str = ""


@dataclass
class Layers:
    """Nested values merged from assignments, later ones winning.

    Attributes:
        values: the nested tables.
        sources: where each dotted key's value came from; tables have the source of the first value in them.
        bases: the folder that relative paths of each dotted key are read from.
        texts: how a dotted key's value was typed, for keys that were typed.
        problems: one line for each assignment that could not be made.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    bases: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def assign(self, item: Assignment) -> None:
        """Set one key, replacing what an earlier layer said of it."""
        dotted = ".".join(item.key)
        table = self.values
        for depth, name in enumerate(item.key[:-1], start=1):
            parent = ".".join(item.key[:depth])
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                self.problems.append(
                    f"{dotted} ({item.source}): {parent} is a value ({self.sources[parent]}), not a table"
                )
                return
            self.sources.setdefault(parent, item.source)
        if isinstance(item.value, dict) and isinstance(table.get(item.key[-1]), dict):
            for name, value in item.value.items():
                self.assign(Assignment((*item.key, name), value, item.source, item.base))
            return
        table[item.key[-1]] = item.value
        self.sources[dotted] = item.source
        self.bases[dotted] = item.base
        self.texts.pop(dotted, None)
        if item.text:
            self.texts[dotted] = item.text


def parse_value(text: str) -> Any:
    """A value as typed on a command line: a TOML literal, `null` for no value, and anything else is text.

    >>> parse_value("0.5"), parse_value("[1, 2]"), parse_value("std-cot"), parse_value("null")
    (0.5, [1, 2], 'std-cot', None)
    """
    if text == "null":
        return None
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = document.get("value")
    is_date = isinstance(value, datetime.date | datetime.time)
    return text if is_date or len(document) != 1 else value


def parse_override(text: str, base: Path) -> Assignment:
    """Read "a.b=value"; ConfigError where there is no key or no "="."""
    key, equals, value = text.partition("=")
    names = tuple(name.strip() for name in key.split("."))
    if not equals or not all(names):
        raise ConfigError(f"{text!r} (command line): expected key=value, such as distillation.epochs=3")
    return Assignment(names, parse_value(value.strip()), "command line", base, value.strip())


def environment_assignments(environment: Mapping[str, str], base: Path) -> list[Assignment]:
    """The settings in the variables KPODX__A__B, which set a.b, in the order of their names."""
    return [
        Assignment(
            tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")),
            parse_value(environment[name]),
            f"environment variable {name}",
            base,
            environment[name],
        )
        for name in sorted(environment)
        if name.startswith(ENVIRONMENT_PREFIX)
    ]


def load_toml(path: Path) -> list[Assignment]:
    """The settings in a TOML file, each with its line; ConfigError with the line of a syntax error."""
    try:
        text = read_text(path, ConfigError)
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path} is not valid TOML: {error}", hint="Text needs quotes; a table begins with [name]."
        ) from error
    lines = dict(key_lines(text))
    base = path.resolve().parent
    found = []
    for key, value in leaves(document):
        line = next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), None)
        found.append(Assignment(key, value, f"{path}:{line}" if line else str(path), base))
    return found


def leaves(table: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(key path, value) of everything in nested tables that is not itself a table with something in it."""
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*prefix, name))
        else:
            yield (*prefix, name), value


def key_lines(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """(key path, line number from 1) of the tables and keys of a TOML text; text between triple quotes is skipped.

    >>> list(key_lines("seed = 1\\n[student]\\nmodel = 'm'"))
    [(('seed',), 1), (('student',), 2), (('student', 'model'), 3)]
    """
    table: tuple[str, ...] = ()
    quote = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not quote:
            if header := _HEADER.match(line):
                table = _names(header[1])
                yield table, number
            elif assignment := _ASSIGNMENT.match(line):
                yield (*table, *_names(assignment[1])), number
        quote = _open_quote(line, quote)


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip().strip("\"'") for name in dotted.split("."))


def _open_quote(line: str, quote: str) -> str:
    """Which triple quote is open after `line`, "" for none, if `quote` was open before it."""
    for mark in re.findall(r'"""|\'\'\'', line):
        quote = "" if mark == quote else (quote or mark)
    return quote


def merge(*layers: Iterable[Assignment]) -> Layers:
    """Merge layers, the first the weakest."""
    merged = Layers()
    for layer in layers:
        for item in layer:
            merged.assign(item)
    return merged
