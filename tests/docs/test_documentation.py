"""What the documentation tells a reader to type or to click exists."""

from __future__ import annotations

import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from kpodx.cli import app
from kpodx.config import Config
from kpodx.recipe import Recipe, load_recipe, shipped_recipes

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "recipes" / "README.md", ROOT / "README.md"]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())

GENERATE = runpy.run_path(str(ROOT / "docs" / "generate_settings.py"))


def setting_keys() -> dict[str, type[Config]]:
    """Every dotted key of a recipe, and the class whose field it is."""
    return {
        f"{name}.{key}".lstrip("."): model for name, model in GENERATE["tables"](Recipe) for key in model.model_fields
    }


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each `kpodx …` line in an indented or fenced block, without comments; usage lines are passed over."""
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        prefix = r"(?:KPODX__\w+=\S+ )?(?:(?:torchrun|accelerate) .*-m )?"
        found = re.match(("" if fenced else " {4,}") + prefix + r"(kpodx [a-z].*)", line)
        if found and not re.search(r"\[OPTIONS\]|RECIPE|\[KEY=VALUE\]", found[1]):
            yield shlex.split(found[1].split(">")[0], comments=True)


def test_commands_are_found_in_blocks_only() -> None:
    text = "kpodx is prose\n\n    kpodx validate a.toml  # why\n    torchrun -m kpodx doctor\n```\nkpodx status > x\n```\nkpodx too"
    assert list(commands_in(text)) == [["kpodx", "validate", "a.toml"], ["kpodx", "doctor"], ["kpodx", "status"]]


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The click command that the words name, and the words left over."""
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@every_page
def test_commands_exist(page: Path) -> None:
    for words in commands_in(page.read_text(encoding="utf-8")):
        command, rest = command_of(words)
        assert not hasattr(command, "commands"), f"{page.name}: {' '.join(words)}"
        options = {name for item in command.params for name in item.opts}
        assert {word for word in rest if word.startswith("-")} <= options, f"{page.name}: {' '.join(words)}"


@every_page
def test_settings_in_commands_are_valid_for_their_recipe(page: Path) -> None:
    for words in commands_in(page.read_text(encoding="utf-8")):
        if words[1] == "distill" and re.sub(r"^recipes/|\.toml$", "", words[2]) in shipped_recipes():
            load_recipe(words[2], [word for word in words[3:] if re.match(r"[a-z_.]+=", word)])


@every_page
def test_settings_in_the_text_exist(page: Path) -> None:
    tables = {name for name, _ in GENERATE["tables"](Recipe) if name}
    roots = {name.split(".")[0] for name in tables}
    for quoted in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:[ =][^`]*)?`", page.read_text(encoding="utf-8")):
        if quoted.split(".")[0] in roots and not quoted.endswith((".md", ".jsonl", ".json", ".csv", ".safetensors")):
            assert quoted in setting_keys(), f"{page.name}: {quoted}"


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
            assert anchor in slugs, f"{page.name}: {target}"


def test_settings_page_is_current_and_holds_every_key() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert text == GENERATE["page"](), "run `make docs`"
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    tables = {name.split(".")[-1] for name, _ in GENERATE["tables"](Recipe)}
    assert rows == {key.split(".")[-1] for key in setting_keys()} - (tables - rows)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("dataset.split_ids.file", ("path", "")),
        ("student.lora.target_modules", ("text or list of texts", '`"all-linear"`')),
        ("weighting.target_keep_share", ("number, > 0, < 1", "`0.4`")),
        ("distillation.progressive", ("true or false", "`true`")),
        ("distillation.epochs", ("whole number, ≥ 1", "`20`")),
        ("rationales.files", ("list of paths", "`[]`")),
    ],
)
def test_settings_page_describes_a_field(key: str, expected: tuple[str, str]) -> None:
    field = setting_keys()[key].model_fields[key.split(".")[-1]]
    value = GENERATE["kind"](field.annotation, field.metadata) + GENERATE["bounds"](field)
    assert (value, GENERATE["default"](field)) == expected


def test_example_of_own_data_makes_a_recipe() -> None:
    text = (ROOT / "docs" / "bring-your-own-data.md").read_text(encoding="utf-8")
    block = next(
        found for found in re.findall(r"(?:^ {4}.*\n|^\n)+", text, re.MULTILINE) if "[dataset.columns]" in found
    )
    own = tomllib.loads("\n".join(line[4:] for line in block.splitlines()))
    shipped = tomllib.loads(shipped_recipes()["flant5-small-gsm8k"].read_text(encoding="utf-8"))
    recipe = Recipe.model_validate({**shipped, **own})
    assert recipe.dataset.hub is None
    assert recipe.dataset.columns is not None
    assert recipe.dataset.columns.rationale == "solution"
