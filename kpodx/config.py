"""The base of every settings class, and how their mistakes are told."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kpodx.errors import ConfigError

C = TypeVar("C", bound="Config")

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""The type of a seed: what every generator of random numbers takes."""

FilePath = Annotated[str, Field(min_length=1), "path"]
"""The type of a field that names a file or folder; a relative one is read from the folder of its recipe."""

UNSHOWN = "unshown"
"""Marks a field whose refused value is not repeated: somebody may have put a key there."""


class Config(BaseModel):
    """Frozen settings that refuse unknown keys. Each field's docstring is one sentence with the unit."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    outside_fingerprint: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how the work is done (speed, place, price) and never what comes out of it."""

    @property
    def unread(self) -> frozenset[str]:
        """Fields that count for nothing beside the others' values."""
        return frozenset()

    @property
    def also_uses(self) -> tuple[str, ...]:
        """Tables of the recipe that decide the result of the phase with these settings, beside those it always uses."""
        return ()

    def deciding_settings(self) -> dict[str, Any]:
        """What decides the result, as plain values: all fields but those outside the fingerprint and the unread ones."""
        left_out = self.outside_fingerprint | self.unread
        values = self.model_dump(mode="json", exclude=set(left_out))
        return {
            name: field.deciding_settings() if isinstance(field := getattr(self, name), Config) else value
            for name, value in values.items()
        }


def _names_paths(annotation: object, metadata: list[Any] | tuple[Any, ...] = ()) -> bool:
    """Whether a field's type holds FilePath, directly, in a union or in a list."""
    if "path" in metadata or "path" in getattr(annotation, "__metadata__", ()):
        return True
    return any(_names_paths(part) for part in get_args(annotation))


def _texts(value: object) -> list[str]:
    """The texts in a path field's value: one, several of a list, or none."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


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


def _is_unshown(model: type[BaseModel], location: tuple[str | int, ...]) -> bool:
    """Whether `location`, or a part of it, is a field that is marked so."""
    for depth in range(1, len(location) + 1):
        parent = _model_at(model, location[: depth - 1])
        field = parent.model_fields.get(str(location[depth - 1])) if parent else None
        if field is not None and UNSHOWN in field.metadata:
            return True
    return False


def _prefixes(location: tuple[str | int, ...]) -> list[str]:
    """The dotted key and those of the tables around it, innermost first."""
    return [".".join(str(part) for part in location[:depth]) for depth in range(len(location), 0, -1)]


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
        source = next((f" ({sources[k]})" for k in _prefixes(location) if k in sources), "")
        if problem["type"] == "extra_forbidden":
            parent = _model_at(model, location[:-1])
            guess = nearest(str(location[-1]), list(parent.model_fields)) if parent else None
            guess = guess or (_key_elsewhere(str(location[-1]), model) if len(location) == 1 else None)
            lines.append(f"{key}{source}: unknown key" + (f"; did you mean {guess!r}?" if guess else ""))
            continue
        got = problem.get("input")
        quiet = problem["type"] == "missing" or isinstance(got, dict) or _is_unshown(model, location)
        shown = "" if quiet else f", got {got!r}"
        lines.append(f"{key or 'recipe'}{source}: {_in_words(problem)}{shown}")
    return lines


_WORDS = {
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a table",
    "model_type": "expected a table",
    "string_type": "expected a text",
    "string_too_short": "expected a text that is not empty",
    "finite_number": "expected a finite number",
}


def _in_words(problem: Mapping[str, Any]) -> str:
    """What is wrong, without the names of Python's types."""
    words = _WORDS.get(problem["type"]) or str(problem["msg"]).removeprefix("Value error, ")
    return words[0].lower() + words[1:]


def _key_elsewhere(name: str, model: type[BaseModel], prefix: str = "") -> str | None:
    """The dotted key of a setting that looks like `name` but stands in a table: "distillation.epochs" for "epochs"."""
    keys = dict(_leaf_keys(model, prefix))
    guess = name if name in keys else nearest(name, list(keys))
    return keys[guess] if guess else None


def _leaf_keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        tables = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)]
        inner = next((t for t in tables if issubclass(t, BaseModel)), None)
        if inner:
            yield from _leaf_keys(inner, f"{prefix}{name}.")
        else:
            yield name, f"{prefix}{name}"


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


def shipped(name: str) -> Path:
    """A folder that comes with kpodx, "recipes" or "export": inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "_shipped" / name
    return inside if inside.is_dir() else package.parent / name


def setting(config: Any, key: str) -> Any:
    """The value at a dotted key, None where there is no such setting."""
    for name in key.split("."):
        config = getattr(config, name, None)
    return config


def resolve_path(path: str, base: Path) -> Path:
    """`path` made absolute: `~` expanded, relative paths read from `base`."""
    return (base / Path(path).expanduser()).resolve()


def path_settings(config: Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, path) of every FilePath in these settings and in the tables below them."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            yield from path_settings(value, f"{prefix}{name}.")
        elif _names_paths(field.annotation, field.metadata):
            yield from ((prefix + name, path) for path in _texts(value))


def resolve_paths(config: C, base_of: Callable[[str], Path], prefix: str = "") -> C:
    """The same settings with every FilePath absolute; `base_of` tells from which folder a dotted key's path is read."""
    changes: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        key, value = prefix + name, getattr(config, name)
        if isinstance(value, Config):
            changes[name] = resolve_paths(value, base_of, f"{key}.")
        elif _names_paths(field.annotation, field.metadata) and isinstance(value, str):
            changes[name] = str(resolve_path(value, base_of(key)))
        elif _names_paths(field.annotation, field.metadata) and isinstance(value, list | tuple):
            changes[name] = type(value)(str(resolve_path(path, base_of(key))) for path in value)
    return config.model_copy(update=changes)
