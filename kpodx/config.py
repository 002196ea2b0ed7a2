"""The base of every settings class, and how their mistakes are told."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from kpodx.errors import ConfigError

C = TypeVar("C", bound="Config")


class Config(BaseModel):
    """Frozen settings that refuse unknown keys. Each field's docstring is one sentence with the unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)


def nearest(word: str, words: list[str]) -> str | None:
    """The entry of `words` that looks most like `word`, or None where nothing is near."""
    found = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return found[0] if found else None


def _model_at(model: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The settings class that `location` (the path of keys to a table) leads to."""
    for key in location:
        field = model.model_fields.get(str(key))
        if field is None:
            return None
        candidates = [field.annotation, *get_args(field.annotation)]
        models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not models:
            return None
        model = models[0]
    return model


def describe_problems(error: ValidationError, model: type[BaseModel], sources: Mapping[str, str]) -> list[str]:
    """One line for each mistake in a pydantic error: where, expected, got, and the nearest name of an unknown key.

    Args:
        error: what pydantic raised.
        model: the settings class that was being built.
        sources: where each dotted key's value came from (a file, the command line, an environment variable).
    """
    lines = []
    for problem in error.errors():
        location = problem["loc"]
        key = ".".join(str(part) for part in location)
        source = f" ({sources[key]})" if key in sources else ""
        if problem["type"] == "extra_forbidden":
            parent = _model_at(model, location[:-1])
            guess = nearest(str(location[-1]), list(parent.model_fields)) if parent else None
            lines.append(f"{key}{source}: unknown key" + (f"; did you mean {guess!r}?" if guess else ""))
            continue
        got = problem.get("input")
        shown = "" if problem["type"] == "missing" or isinstance(got, dict) else f", got {got!r}"
        lines.append(f"{key or 'recipe'}{source}: {problem['msg'][0].lower()}{problem['msg'][1:]}{shown}")
    return lines


def build_config(model: type[C], values: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> C:
    """Build settings from plain values; all mistakes are raised at once as one ConfigError."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = describe_problems(error, model, sources or {})
        what = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        raise ConfigError(
            f"{what} in the settings:\n" + "\n".join(f"  - {line}" for line in lines),
            hint="`kpodx recipes show quickstart` prints a complete recipe.",
        ) from error


def resolve_path(path: str, base: Path) -> Path:
    """`path` made absolute: `~` expanded, relative paths read from `base`."""
    return (base / Path(path).expanduser()).resolve()
