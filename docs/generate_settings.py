"""Write docs/settings.md from the settings classes; with --check, fail where the file is out of date."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Sequence
from enum import EnumType
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from kpodx.config import Config
from kpodx.recipe import Recipe

PAGE = Path(__file__).with_name("settings.md")

HEAD = """# Settings

Every key of a recipe. A table such as `[dataset.hub]` is one section here; on the command line its keys are written
`dataset.hub.id=…`, in the environment `KPODX__DATASET__HUB__ID=…`. A key without a default must be given; `none` means
that it may be left out (`null` on the command line, "None" in the meanings). Unknown keys are refused.
What each phase does with its settings is on [the phase's own page](index.md).
"""

PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false"}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def tables(model: type[Config], name: str = "") -> Iterator[tuple[str, type[Config]]]:
    """Every table of the recipe, outermost first, with its dotted name."""
    yield name, model
    for key, field in model.model_fields.items():
        if inner := inner_table(field):
            yield from tables(inner, f"{name}.{key}".lstrip("."))


def inner_table(field: FieldInfo) -> type[Config] | None:
    """The settings class of a field that is a table."""
    candidates = [field.annotation, *get_args(field.annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, Config)), None)


def kind(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type in words, such as "whole number", "path or list of paths", or the values of a choice."""
    if "path" in metadata:
        return "path"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(arguments[0], annotation.__metadata__)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(part) for part in arguments if part is not type(None)))
    if origin is dict:
        return "table"
    if origin is tuple:
        return f"list of {kind(arguments[0])}s"
    if isinstance(annotation, EnumType):
        return ", ".join(f"`{member.value}`" for member in annotation)  # type: ignore[var-annotated]
    return PLAIN[annotation]


def bounds(field: FieldInfo) -> str:
    """The bounds of a number, such as " ≥ 1", and nothing where it has none."""
    nested = [m for part in get_args(field.annotation) for m in getattr(part, "__metadata__", ())]
    limits = [m for item in (*field.metadata, *nested) for m in (item, *getattr(item, "metadata", ()))]
    found = {name: getattr(limit, name) for limit in limits for name in SIGNS if hasattr(limit, name)}
    return "".join(f", {SIGNS[name]} {value:g}" for name, value in found.items())


def default(field: FieldInfo) -> str:
    """The default as TOML would have it; empty where the key must be given."""
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is None or value == {} or isinstance(value, Config):
        return "none"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def section(name: str, model: type[Config]) -> str:
    """One table of the recipe as Markdown."""
    title = f"`[{name}]`" if name else "Top of the file"
    about = " ".join((model.__doc__ or "").split())
    rows = [
        f"| `{key}` | {kind(field.annotation, field.metadata)}{bounds(field)} | {default(field)} | {meaning(field)} |"
        for key, field in model.model_fields.items()
        if inner_table(field) is None
    ]
    return "\n".join([f"## {title}\n\n{about}\n\n| key | value | default | meaning |\n|---|---|---|---|", *rows, ""])


def meaning(field: FieldInfo) -> str:
    """The field's docstring on one line, safe inside a table."""
    return " ".join((field.description or "").split()).replace("|", "\\|")


def page() -> str:
    """The whole page."""
    return "\n".join((HEAD, *(section(name, model) for name, model in tables(Recipe))))


def main() -> int:
    """Write the page, or compare it."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{PAGE} is out of date: run `make docs`.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
