"""The files of a bundle, which may come from anywhere: read within limits, and checked. It is copied beside bundle.py."""

from __future__ import annotations

import os

import outside_json
from machine import MOST_ROWS
from shown_text import json_line

MOST_BUNDLE, MOST_RECORD, MOST_RESULTS = 2**24, 2**22, 2**30
"""Bytes of the largest bundle.json, of the longest line, and of the largest file of questions or results."""
MOST_TEXT = 2**20
TIMES = ("prompt_tokens", "first_token_seconds", "seconds", "tokens_per_second")


class BundleError(Exception):
    """The bundle is not whole."""


def read_bundle(path):
    """Return what bundle.json says; BundleError if it is not a bundle's."""
    try:
        bundle = outside_json.read(path, MOST_BUNDLE)
        check_bundle(bundle)
    except (outside_json.JsonError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} does not describe a bundle: {in_words(error)}") from None
    return bundle


def check_bundle(bundle):
    """Raise KeyError, TypeError or JsonError if bundle.json lacks something, or has another kind of value."""
    for name, least, most in (("batch_size", 1, MOST_ROWS), ("cost_questions", 0, 10**9), ("max_new_tokens", 1, 10**9)):
        check_number(bundle, name, least, most)
    for name, most in (("threads", 1024), ("memory_mib", 10**9), ("context_tokens", 2**31 - 1)):
        if bundle[name] is not None:
            check_number(bundle, name, 1, most)
    check_texts(bundle["questions"], "file_sha256")
    check_texts(bundle["programs"], "run.py")
    for model in bundle["models"]:
        check_texts(model, "name", "answers_key", "cost_key")
        for name in (model["name"], *model["files"].keys()):
            if not outside_json.is_inside(name):
                raise outside_json.JsonError(f"it names a file outside the package: {name[:100]!r}")


def check_number(record, name, least, most):
    """Raise TypeError or JsonError if a value is not a whole number from `least` to `most`."""
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {str(value)[:40]!r}")
    if not least <= value <= most:
        raise outside_json.JsonError(f"{name} is {value}, expected {least} to {most}")


def check_texts(record, *names):
    """Raise KeyError or TypeError if a value is missing, or not a text."""
    for name in names:
        if not isinstance(record[name], str):
            raise TypeError(f"{name} is {str(record[name])[:40]!r}")


def check_question(record):
    """Raise KeyError or TypeError if a line is not a question."""
    check_texts(record, "id", "question")


def check_record(record):
    """Raise KeyError or TypeError if a line of results lacks what is read of it."""
    check_texts(record, "part")
    if record["part"] == "answer":
        check_texts(record, "id", "key")
    if record["part"] == "cost":
        check_texts(record, "key", "ending")


def check_answer(record):
    """Raise KeyError or TypeError if what a runner printed is not an answer."""
    check_texts(record, "id", "output")
    for name in TIMES:
        if isinstance(record[name], bool) or not isinstance(record[name], (int, float)):
            raise TypeError(f"{name} is {str(record[name])[:40]!r}")


def parsed(line, where, check):
    """Return the object in a line of JSON; BundleError if `check` refuses it.

    Args:
        line: text or bytes.
        where: the line is, for the message.
        check: raises KeyError or TypeError.
    """
    try:
        record = outside_json.parse(line, MOST_RECORD, most_text=MOST_TEXT)
        check(record)
    except (outside_json.JsonError, KeyError, TypeError) as error:
        raise BundleError(f"{where} cannot be used: {in_words(error)}") from None
    return record


def in_words(error):
    """Return what an error says; a KeyError says only the name that is missing."""
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def read_lines(path, check):
    """Return the objects of a JSONL file; characters that only Python takes for the end of a line stay in it."""
    lines = read_bytes(path).split(b"\n")
    return [parsed(line, f"{path}, line {number}", check) for number, line in enumerate(lines, start=1) if line]


def read_bytes(path):
    """Return the content of a file; BundleError if it is too large to be what it should be."""
    if path.stat().st_size > MOST_RESULTS:
        raise BundleError(f"{path} has more than {MOST_RESULTS:,} bytes")
    return path.read_bytes()


def write_questions(path, questions):
    """Write the questions for one run of a model; a file that is cut off would look like fewer questions."""
    try:
        with path.open("w", encoding="utf-8") as stream:
            stream.writelines(json_line(question) + "\n" for question in questions)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def whole_records(path):
    """Records of a file that may end in the middle of a line; such a line is cut off."""
    if not path.is_file():
        return []
    content = read_bytes(path)
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        # Cut, not written again: a full disk must not take the answers that are there.
        os.truncate(path, whole)
    return read_lines(path, check_record)
