"""`kpodx validate`: are recipes right?"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from kpodx.cli import terminal
from kpodx.errors import ConfigError, UsageError


def validate(
    recipes: Annotated[
        list[str], typer.Argument(help="Recipe files, names of shipped recipes, and KEY=VALUE settings.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Check recipes, and whether the files and local models that they name are there; all mistakes of all of them are told."""
    from kpodx.recipe import load_recipe, missing_paths

    settings = [text for text in recipes if "=" in text]
    names = [text for text in recipes if "=" not in text]
    if not names:
        raise UsageError("Got settings only, expected at least one recipe.", hint="kpodx validate quickstart seed=1")
    results: list[dict[str, object]] = []
    for name in names:
        try:
            resolved = load_recipe(name, settings, os.environ)
        except ConfigError as error:
            results.append({"recipe": name, "valid": False, "error": error.message})
            terminal.print_error(ConfigError(f"{name}: {error.message}", hint=error.hint))
            continue
        missing = missing_paths(resolved.recipe)
        lines = "\n".join(f"  - {key}: there is no {path}" for key, path in missing)
        results.append({"recipe": name, "valid": not missing, "error": lines or None})
        if missing:
            terminal.print_error(ConfigError(f"{name} names what is not there:\n{lines}"))
        elif not json:
            terminal.write(f"{name}: {resolved.recipe.name} is valid\n")
    if json:
        terminal.print_json(results)
    if not all(result["valid"] for result in results):
        raise typer.Exit(ConfigError.exit_code)
