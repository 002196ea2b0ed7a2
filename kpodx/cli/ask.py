"""`kpodx ask`: one question to an exported reasoner, its steps shown as they come."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from kpodx.cli.export import RUNS
from kpodx.errors import RunError, UsageError


def ask(
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    package: Annotated[Path | None, typer.Option(help="Package folder; the newest below runs/ by default.")] = None,
    model: Annotated[
        str | None, typer.Option(help="File of the package, such as student-Q8_0.gguf; its first by default.")
    ] = None,
) -> None:
    """Ask an exported reasoner, through the same program that runs on a device."""
    folder = package or newest_package(RUNS)
    file = folder / (model or first_model(folder))
    if not file.is_file():
        names = ", ".join(sorted(path.name for path in folder.glob("*.gguf"))) or "no model"
        raise UsageError(f"There is no {file.name} in {folder}; it has {names}.")
    raise typer.Exit(
        subprocess.run([sys.executable, str(folder / "run.py"), "--model", str(file), question], check=False).returncode
    )


def newest_package(runs: Path) -> Path:
    """The package below `runs` that was written last; RunError where there is none."""
    from kpodx.export.manifest import PACKAGE

    found = sorted(runs.glob(f"*/export/*/{PACKAGE}"), key=lambda path: (path.stat().st_mtime, str(path)))
    if not found:
        raise RunError(f"There is no package below {runs}.", hint="Make one: kpodx export --format gguf")
    return found[-1].parent


def first_model(folder: Path) -> str:
    """The first model that a package's manifest names; RunError where the folder is no package."""
    from kpodx.artifacts import read_json
    from kpodx.export.manifest import PACKAGE

    if not (folder / PACKAGE).is_file():
        raise RunError(f"{folder} is no package: it has no {PACKAGE}.", hint="Make one: kpodx export --format gguf")
    return str(read_json(folder / PACKAGE)["models"][0]["name"])
