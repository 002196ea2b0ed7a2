"""Values and rows inside nested objects, by dotted names: `question.stem`, rows under `data.paragraphs.qas`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kpodx.errors import DataError

Placed = tuple[str, dict[str, Any]]
"""Where a row is, for messages, and its values by column."""
EACH = "*"
"""In a path of rows: every value of an object, or every item of a list."""
KEY = "key"
"""Column that holds the key under which `*` found a row."""


def has_value(values: Mapping[str, Any], name: str) -> bool:
    """Return whether `value_at` finds something.

    >>> has_value({"a": {"b": None}}, "a.b"), has_value({"a": 1}, "a.b")
    (True, False)
    """
    try:
        value_at(values, name)
    except KeyError:
        return False
    return True


def value_at(values: Mapping[str, Any], name: str) -> Any:
    """Return the value of a column, or what a dotted name leads to; a number counts the items of a list from 0.

    A name that follows a list of objects gives the list of their values.

    Raises:
        KeyError: with the place that lacks the name, and what it has.

    >>> value_at({"a": {"b": [{"c": 1}, {"c": 2}]}}, "a.b.c"), value_at({"a": ["x", "y"]}, "a.1"), value_at({"a.b": 3}, "a.b")
    ([1, 2], 'y', 3)
    """
    if name in values:
        return values[name]
    found: Any = values
    path: list[str] = []
    for part in name.split("."):
        found = _child(found, part, ".".join(path))
        path.append(part)
    return found


def _child(value: Any, part: str, place: str) -> Any:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    if isinstance(value, list) and value and all(isinstance(item, Mapping) and part in item for item in value):
        return [item[part] for item in value]
    raise KeyError(place, describe(value))


def describe(value: object) -> str:
    """Return what a value is, in words for a message.

    >>> describe({"b": 1, "a": 2}), describe([1, 2]), describe(None)
    ("an object with the keys ['a', 'b']", 'a list of 2', 'nothing')
    """
    if isinstance(value, Mapping):
        return f"an object with the keys {sorted(map(str, value))[:30]}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "nothing" if value is None else f"{str(value)[:60]!r}"


def unfold(place: str, document: Any, path: str) -> Iterator[Placed]:
    """Yield each row that a document has under a path.

    A row inherits the fields of the objects around it, so that a passage above several questions is a column of each.

    Args:
        place: where the document stands, for messages.
        document: a JSON value.
        path: keys joined by dots; lists on the way are passed through, and `*` stands for every key.

    Raises:
        DataError: a key is missing, or there is no list of objects at the end.

    >>> [row for _, row in unfold("x", {"g": {"text": "t", "qas": [{"q": "a"}, {"q": "b"}]}}, "*.qas")]
    [{'key': 'g', 'text': 't', 'q': 'a'}, {'key': 'g', 'text': 't', 'q': 'b'}]
    """
    yield from _descend(place, document, path.split("."), {}, is_row=False)


def _descend(place: str, node: Any, parts: list[str], inherited: dict[str, Any], *, is_row: bool) -> Iterator[Placed]:
    if isinstance(node, list) and parts[:1] != [EACH]:
        for number, item in enumerate(node, start=1):
            yield from _descend(f"{place}, item {number}", item, parts, inherited, is_row=True)
    elif not parts:
        yield _row(place, node, inherited, is_row=is_row)
    elif parts[0] == EACH:
        for key, child in _members(place, node):
            named = {**inherited, KEY: key}
            yield from _descend(f"{place}, {key!r}", child, parts[1:], named, is_row=True)
    else:
        child = _require(place, node, parts[0])
        around = {**inherited, **{key: value for key, value in node.items() if key != parts[0]}}
        yield from _descend(f"{place}, {parts[0]!r}", child, parts[1:], around, is_row=False)


def _members(place: str, node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        yield from ((str(key), value) for key, value in node.items())
    elif isinstance(node, list):
        yield from ((str(number), value) for number, value in enumerate(node))
    else:
        raise DataError(f"{place}: expected an object or a list for '*', got {describe(node)}.", hint=_HINT)


def _require(place: str, node: Any, key: str) -> Any:
    if not isinstance(node, Mapping) or key not in node:
        raise DataError(f"{place}: expected the key {key!r}, got {describe(node)}.", hint=_HINT)
    return node[key]


def _row(place: str, node: Any, inherited: dict[str, Any], *, is_row: bool) -> Placed:
    if not isinstance(node, Mapping) or not is_row:
        raise DataError(f"{place}: expected a list of rows, got {describe(node)}.", hint=_HINT)
    return place, {**inherited, **node}


_HINT = "Check dataset.columns.rows; '*' in it stands for every key, as in 'data.*.questions'."
