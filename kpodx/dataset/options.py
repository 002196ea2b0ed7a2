"""The options of a multiple-choice question: every layout they come in, and the labels that stand inside them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from kpodx.dataset.nesting import describe
from kpodx.dataset.rows import Row, checked_text
from kpodx.errors import DataError

LABELS_STRIPPED = "labels_inside_options_stripped"
OPTIONS_LEFT_OUT = "empty_last_options_left_out"

_LETTER = r"[A-Za-z]\s?[).:\]）．：、]|[A-Za-z]\s-(?=\s)"
_NUMBER = r"[0-9]{1,2}\s?[)\]）、]|[0-9]{1,2}\s?[.:](?=\s)"
_LABEL = re.compile(rf"\s*[(\[（]?\s?((?:{_LETTER}|{_NUMBER}))\s*(?=\S)")
_INSIDE = re.compile(rf"(?:(?<=\s)|(?<=[,;|])|\A)[(\[（]?({_LETTER}|{_NUMBER})")
_ANNOUNCED = re.compile(r"\s*(?:answer\s)?(?:options|choices)\s?:\s*\Z", re.IGNORECASE)
_LABEL_KEYS = ("label", "key", "letter", "id", "option_id")
_TEXT_KEYS = ("text", "value", "content", "option", "choice", "answer")
"""Keys that sets have the label and the text of an option under."""


@dataclass(frozen=True)
class Options:
    """The options of one question.

    Attributes:
        texts: of options A, B, … in order, without labels.
        written: the same as the source has them, labels included.
        labels: what the source calls them ("A" or "1"), empty if it does not.
        are_numbers: whether the source has JSON numbers instead of texts.
    """

    texts: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    are_numbers: bool = False


def read_options(row: Row, value: Any) -> Options:
    """Return the options that a field holds.

    Layouts: a list of texts or numbers; [{label, text}, …]; {label: […], text: […]}; {"A": text, …}; {text: score, …}; a
    text that holds one of these as JSON, or options with labels one after the other.

    Raises:
        DataError: fewer than two options, more than there are letters, or labels that are not A, B, … or 1, 2, … in order.
    """
    labels, texts = _labels_and_texts(row, unquoted_list(value))
    if not 2 <= len(texts) <= len(ascii_uppercase):
        raise DataError(f"{row.place}: expected 2 to {len(ascii_uppercase)} choices, got {len(texts)}.")
    known = () if labels is None else tuple(_plain_label(label) for label in labels)
    if labels is not None and not _in_order(known):
        raise DataError(f"{row.place}: expected the choices' labels A, B, … in order, or 1, 2, …, got {labels}.")
    numbers = [isinstance(text, int | float) and not isinstance(text, bool) for text in texts]
    written = tuple(
        str(text) if is_number else checked_text(row, "choices", text)
        for text, is_number in zip(texts, numbers, strict=True)
    )
    stripped = split_labels(written)
    if stripped is None:
        return Options(written, written, known, all(numbers))
    row.remarks[LABELS_STRIPPED] += 1
    return Options(stripped[1], written, known or stripped[0])


def read_option_columns(row: Row, values: Sequence[Any]) -> Options:
    """Return the options that stand in columns of their own; empty ones at the end are left out and counted."""
    filled = list(values)
    while filled and filled[-1] in (None, ""):
        filled.pop()
    if len(filled) < len(values):
        row.remarks[OPTIONS_LEFT_OUT] += 1
    return read_options(row, filled)


def unquoted_list(value: Any) -> Any:
    """Return what a text holds that is a list or object in the notation of JSON or Python; anything else as it is.

    >>> unquoted_list('["a", "b"]'), unquoted_list("['a', 'b']"), unquoted_list("[a")
    (['a', 'b'], ['a', 'b'], '[a')
    """
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value.strip()) if len(value) < _LONGEST_LITERAL else value
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return value


_LONGEST_LITERAL = 100_000


def _labels_and_texts(row: Row, value: Any) -> tuple[list[Any] | None, list[Any]]:
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        labels = value.get("label")
        if isinstance(labels, list) and len(labels) != len(value["text"]):
            raise DataError(
                f"{row.place}: expected a label for each choice, got {len(labels)} for {len(value['text'])}."
            )
        return labels if isinstance(labels, list) else None, value["text"]
    if isinstance(value, Mapping) and value:
        scored = all(isinstance(score, int | float) for score in value.values())
        return (None, list(value)) if scored else (list(value), list(value.values()))
    if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        labels = [_first_of(item, _LABEL_KEYS) for item in value]
        return labels if _in_order([_plain_label(label) for label in labels]) or "label" in value[0] else None, [
            _first_of(item, _TEXT_KEYS) for item in value
        ]
    if isinstance(value, list | tuple):
        return None, list(value)
    if isinstance(value, str) and (parts := split_text(value)):
        return None, parts
    raise DataError(f"{row.place}: expected a list of choices, got {describe(value)}.")


def _first_of(item: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if key in item), None)


def split_question(text: str) -> tuple[str, list[str]]:
    """Return the question and the options of a text that ends with its options; no options if it has none.

    >>> split_question("Which is hot? Options: (A) ice (B) fire")
    ('Which is hot?', ['(A) ice', '(B) fire'])
    """
    for labels in _ORDERS:
        starts = _starts(text, labels)
        if len(starts) >= 2 and text[: starts[0]].strip():
            return _ANNOUNCED.sub("", text[: starts[0]]).strip(), _cut(text, starts)
    return text, []


def split_text(text: str) -> list[str]:
    """Return the options that stand one after the other in a text, labels kept; none if there are fewer than two.

    The labels are A, B, … or 1, 2, … in this order; without any, each line is an option.

    >>> split_text("a ) 38 , b ) 27.5 , c ) none of these")
    ['a ) 38', 'b ) 27.5', 'c ) none of these']
    """
    for labels in _ORDERS:
        starts = _starts(text, labels)
        if len(starts) >= 2 and not text[: starts[0]].strip():
            return _cut(text, starts)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return lines if len(lines) > 1 else []


_ORDERS: tuple[Sequence[str], ...] = (ascii_uppercase, [str(number) for number in range(1, 27)])


def _cut(text: str, starts: Sequence[int]) -> list[str]:
    stops = [*starts[1:], len(text)]
    return [text[start:stop].strip().rstrip(",;| ") for start, stop in zip(starts, stops, strict=True)]


def _starts(text: str, labels: Sequence[str]) -> list[int]:
    """Return where each label begins that is the next in order."""
    starts: list[int] = []
    for found in _INSIDE.finditer(text):
        if len(starts) < len(labels) and _plain_label(found[1]) == labels[len(starts)]:
            starts.append(found.start())
    return starts


def split_labels(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return labels and texts of options that all begin with the right label in order, else None.

    >>> split_labels(["A)50", "(B) 5", "c. y"])
    (('A', 'B', 'C'), ('50', '5', 'y'))
    >>> split_labels(["1.5", "2.5"]), split_labels(["A. b", "C. d"])
    (None, None)
    """
    found = [_LABEL.match(text) for text in texts]
    labels = tuple(_plain_label(match[1]) if match else "" for match in found)
    if not _in_order(labels) or labels[0] == "0":
        return None
    return labels, tuple(text[match.end() :].strip() for text, match in zip(texts, found, strict=True) if match)


def _plain_label(label: object) -> str:
    return str(label).strip(" \t().:[]-（）．：、").upper()


def _in_order(labels: Sequence[str]) -> bool:
    """Return whether labels are A, B, … or 1, 2, … or 0, 1, …"""
    count = len(labels)
    orders = (tuple(ascii_uppercase[:count]), tuple(map(str, range(1, count + 1))), tuple(map(str, range(count))))
    return tuple(labels) in orders


def choose_flagged(raw: object, options: Options) -> str | None:
    """Return the letter of the one option that a list of marks, as long as the options, marks as right.

    >>> choose_flagged([0, 1, 0], Options(("x", "y", "z"))), choose_flagged([True, True], Options(("x", "y")))
    ('B', None)
    """
    if not isinstance(raw, list) or len(raw) != len(options.texts):
        return None
    flags = [str(flag).lower() for flag in raw]
    if not set(flags) <= {"0", "1", "0.0", "1.0", "true", "false"}:
        return None
    right = [index for index, flag in enumerate(flags) if flag in ("1", "1.0", "true")]
    return ascii_uppercase[right[0]] if len(right) == 1 else None


def choose(raw: object, options: Options, first: int | None) -> str | None:
    """Return the letter of the option that an answer names, or None if it does not name one by label, number or text.

    Args:
        raw: the answer as the source has it.
        options: of the question.
        first: the number that means option A, if answers are numbers.
    """
    plain = str(raw).strip()
    if isinstance(raw, bool) or not plain:
        return None
    if first is not None:
        index = int(plain) - first if re.fullmatch(r"[0-9]{1,2}", plain) else -1
        return ascii_uppercase[index] if 0 <= index < len(options.texts) else None
    if _plain_label(plain) in options.labels:
        return ascii_uppercase[options.labels.index(_plain_label(plain))]
    if isinstance(raw, int | float) and not options.are_numbers:
        return None
    for texts in (options.written, options.texts):
        if texts.count(plain) == 1:
            return ascii_uppercase[texts.index(plain)]
    return None
