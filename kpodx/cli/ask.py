"""`kpodx ask`: one question to an exported reasoner, its steps shown as they come."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from kpodx.artifacts import read_json
from kpodx.cli.export import RUNS
from kpodx.errors import RunError, UsageError
from kpodx.export.manifest import PACKAGE, shipped_runner


def ask(
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    package: Annotated[Path | None, typer.Option(help="Package folder; the newest below runs/ by default.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of the package, such as student-Q8_0.gguf or Q8_0; its first by default.")
    ] = None,
) -> None:
    """Ask an exported reasoner, through the same program that runs on a device."""
    folder = package or newest_package(RUNS)
    models = models_of(folder)
    manifest = read_json(folder / PACKAGE)
    # `Q8_0` or `q4` is enough where the file's name can be meant by it alone.
    meant = [name for name, quantization in models.items() if model in (None, name, quantization)]
    if not meant:
        raise UsageError(f"There is no {model} in {folder}; it has {', '.join(models)}.")
    # Our own copy: a package may come from anybody, and its program with it.
    command = [sys.executable, str(shipped_runner(manifest.get("kind"))), "--model", str(folder / meant[0])]
    profile = manifest.get("profile")
    for name in ("threads", "context_tokens"):
        value = profile.get(name) if isinstance(profile, dict) else None
        if isinstance(value, int) and value > 0:
            command += [f"--{name.replace('_', '-')}", str(value)]
    command += ["--", question]
    status = subprocess.run(command, check=False).returncode
    if status < 0:
        from kpodx.runtime import died_of

        raise RunError(
            f"run.py cannot run {meant[0]}: {died_of(status)}.",
            hint="The file is damaged: export it again.",
        )
    raise typer.Exit(status)


def newest_package(runs: Path) -> Path:
    """The package below `runs` that was written last; RunError where there is none."""
    found = sorted(runs.glob(f"*/export/*/{PACKAGE}"), key=lambda path: (path.stat().st_mtime, str(path)))
    if not found:
        raise RunError(f"There is no package below {runs}.", hint="Make one: kpodx export")
    return found[-1].parent


def models_of(folder: Path) -> dict[str, str]:
    """Quantisation by name of the models that a package's manifest names; RunError where the folder is no package that has them."""
    if not (folder / PACKAGE).is_file():
        raise RunError(f"{folder} is no package: it has no {PACKAGE}.", hint="Make one: kpodx export")
    again = "Make the package again: kpodx export"
    try:
        models = {str(model["name"]): str(model["quantization"]) for model in read_json(folder / PACKAGE)["models"]}
    except (KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{folder / PACKAGE} names no models.", hint=again) from error
    if not models:
        raise RunError(f"{folder / PACKAGE} names no models.", hint=again)
    for name in models:
        # Links stay allowed: in the hub's cache every file is one.
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise RunError(f"{folder / PACKAGE} names a model outside the package: {name!r}.", hint=again)
        if not (folder / name).is_file():
            raise RunError(f"{folder / PACKAGE} names a model that is not there: {name!r}.", hint=again)
    return models
