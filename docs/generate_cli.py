"""Write docs/cli.md from the command line itself; with --check, fail where the file is out of date."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from kpodx.cli import app

PAGE = Path(__file__).with_name("cli.md")

HEAD = """# Command line

Results go to stdout: a table, or exactly one JSON document with `--json`. Logs and progress go to stderr.
`kpodx --debug COMMAND` shows the traceback of an error. Colour is used on a terminal only, and never with `NO_COLOR`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the work failed |
| 2 | the command, a recipe, a data file, a model or a run folder cannot be used |
| 3 | a gate was not held: accuracy or a device budget |
| 4 | the teacher's budget is spent; the same command goes on when it is raised |
| 5 | an optional package is missing |
| 130 | interrupted; the state is saved, the same command goes on |

Settings: a recipe is the weakest, then variables `KPODX__TABLE__KEY=value`, then `table.key=value` on the command
line. Values are TOML literals or bare text; `null` is no value.

Several GPUs: `torchrun --nproc-per-node 2 -m -- kpodx distill RECIPE` (the lone `--` keeps torchrun from reading our
options). Process 0 owns the run; the others join it in the distillation.
"""


def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below `command` that does something itself, with its words."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from commands(child, (*path, name))


def describe(path: tuple[str, ...], command: Any) -> str:
    """One command as Markdown."""
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option"]
    usage = " ".join((*path, *map(usage_of, arguments), "[OPTIONS]"))
    rows = [(f"`{usage_of(item)}`", item.help or "") for item in arguments]
    rows += [(f"`{option_of(item)}`", item.help or "") for item in options]
    table = "\n".join(f"| {name} | {meaning} |" for name, meaning in rows)
    about = (command.help or "").strip().replace("\n", " ")
    body = f"\n\n| | |\n|---|---|\n{table}" if rows else ""
    return f"## {' '.join(path)}\n\n{about}\n\n    {usage}{body}\n"


def usage_of(argument: Any) -> str:
    """How an argument is written: NAME, [NAME] where it may be left out, NAME... where it repeats."""
    name = argument.metavar or argument.name.upper()
    if name.startswith("[") or name.endswith("..."):
        return str(name)
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def option_of(option: Any) -> str:
    """How an option is written, with the kind of its value."""
    if option.is_flag:
        return ", ".join(option.opts)
    kind = option.type_descriptor.annotation
    return f"{', '.join(option.opts)} {option.metavar or kind.__name__.upper()}"


def page() -> str:
    """The whole page."""
    found = commands(typer.main.get_command(app), ("kpodx",))
    return "\n".join((HEAD, *(describe(path, command) for path, command in found)))


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
