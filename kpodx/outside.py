"""JSON and text that come from elsewhere: read within limits, cleaned before they are shown.

The work is done by two modules that are copied onto devices beside the runners, and that need Python alone.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from kpodx.errors import DataError

OWN: dict[str, int] = {
    "most_bytes": 2**30,
    "most_depth": 200,
    "most_digits": 400,
    "most_text": 2**28,
    "only_finite": False,
}
"""Limits for what kpodx and the libraries it uses write: they keep a damaged file from harm, and no sound one out."""


@contextlib.contextmanager
def understood(path: Path, what: str, hint: str | None = None) -> Iterator[None]:
    """Turn what a file of another shape raises while it is used into an error of the file.

    Args:
        path: of the file or folder that may come from anywhere.
        what: it should be, such as "a result of `kpodx evaluate`".
        hint: what to do about it.

    Raises:
        DataError: it is something else.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError) as error:
        said = clean_line(error, 200)
        raise DataError(f"{path} is not {what}: {type(error).__name__} {said}".rstrip() + ".", hint=hint) from error


@functools.cache
def _module(name: str) -> ModuleType:
    from kpodx.config import shipped

    path = shipped("export") / "runners" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"kpodx._runners.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse_json(content: bytes | str, **limits: int) -> Any:
    """Return the value that a JSON document holds.

    Args:
        content: the document.
        limits: most_bytes, most_depth, most_digits, most_text, only_finite; those of a package's manifest by default.

    Raises:
        ValueError: it is not JSON, or beyond a limit.
    """
    return _module("outside_json").parse(content, **limits)


def read_json(path: Path, **limits: int) -> Any:
    """Return the value in a JSON file, as `parse_json`.

    Raises:
        ValueError: it is not JSON, beyond a limit, or not a regular file.
        OSError: it cannot be read.
    """
    return _module("outside_json").read(path, **limits)


def is_inside(name: object) -> bool:
    """Return whether `name` is the relative path of a file that can exist in a folder, and cannot lead out of it."""
    return bool(_module("outside_json").is_inside(name))


def clean(text: str) -> str:
    r"""Return a text with escapes such as \\x1b in place of characters that a terminal would obey."""
    return str(_module("shown_text").clean(text))


def clean_line(text: object, most: int = 2000) -> str:
    """Return a text in one line of at most `most` characters, cleaned."""
    return str(_module("shown_text").clean_line(text, most))


def escape_json(document: str) -> str:
    """Return a JSON document that means the same, and in which a terminal finds nothing to obey."""
    return str(_module("shown_text").escape_json(document))
