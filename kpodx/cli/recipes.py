"""`kpodx recipes`: the recipes that come with kpodx."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kpodx.cli import terminal

app = typer.Typer(help="List, show and copy the recipes that come with kpodx.", no_args_is_help=True)


@app.command("ls")
def list_recipes(
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """List the shipped recipes."""
    from kpodx.recipe import load_recipe, shipped_recipes

    rows = []
    for name, path in shipped_recipes().items():
        recipe = load_recipe(str(path)).recipe
        student = recipe.student.model
        beside = Path(student).is_relative_to(path.resolve().parent)
        student = f"./{Path(student).relative_to(path.resolve().parent).as_posix()}" if beside else student
        rows.append({"name": name, "student": student, "cost": recipe.about.cost, "about": recipe.description})
    if json:
        terminal.print_json(rows)
    else:
        terminal.print_table("", ("recipe", "student", "cost", "about"), [tuple(row.values()) for row in rows])


@app.command("show")
def show_recipe(name: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a file.")]) -> None:
    """Print a recipe."""
    from kpodx.recipe import find_recipe

    terminal.write(find_recipe(name).read_text(encoding="utf-8"))


@app.command("copy")
def copy(
    name: Annotated[str, typer.Argument(help="Name of a shipped recipe.")],
    target: Annotated[Path, typer.Argument(help="File to write, or a folder that exists.")] = Path(),
) -> None:
    """Copy a shipped recipe and the model beside it, to change them."""
    from kpodx.recipe import copy_recipe

    for path in copy_recipe(name, target):
        typer.echo(str(path))
