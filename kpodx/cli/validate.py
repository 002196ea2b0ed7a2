"""`kpodx validate`: are recipes right?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from kpodx.cli import terminal
from kpodx.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from kpodx.recipe import Recipe


def validate(
    recipes: Annotated[
        list[str], typer.Argument(help="Recipe files, names of shipped recipes, and KEY=VALUE settings.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Check recipes, and read the files that they name; the first mistake of each file is reported, of all recipes at once."""
    from kpodx.recipe import load_recipe

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
        problems = describe_problems(resolved.recipe)
        lines = "\n".join(f"  - {problem}" for problem in problems)
        results.append({"recipe": name, "valid": not problems, "error": lines or None})
        if problems:
            terminal.print_error(ConfigError(f"{name} names what cannot be used:\n{lines}"))
        elif not json:
            terminal.write(f"{name}: {resolved.recipe.name} is valid\n")
    if json:
        terminal.print_json(results)
    if not all(result["valid"] for result in results):
        raise typer.Exit(ConfigError.exit_code)


def describe_problems(recipe: Recipe) -> list[str]:
    """Return what is wrong with the files that a recipe names: those that are not there, and the first mistake of each."""
    from kpodx.dataset import checking as questions
    from kpodx.rationales import checking as rationales
    from kpodx.recipe import missing_paths

    missing = [f"{key}: there is no {path}" for key, path in missing_paths(recipe)]
    found = [*questions.file_problems(recipe.dataset), *rationales.file_problems(recipe.rationales)]
    wrong = [f"{key}: {error.message}" + (f" Hint: {error.hint}" if error.hint else "") for key, error in found]
    return missing + wrong
