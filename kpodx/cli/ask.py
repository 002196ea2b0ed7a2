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
        str | None, typer.Option(help="Model of the package, such as student-Q8_0.gguf or Q8_0; its first by default.")
    ] = None,
) -> None:
    """Ask an exported reasoner, through the same program that runs on a device."""
    from kpodx.export.manifest import models_of, newest_package, read_manifest, shipped_runner

    if not question.strip():
        raise UsageError("The question is empty.")
    folder = package or newest_package(RUNS)
    models = models_of(folder)
    manifest = read_manifest(folder)
    # `Q8_0` or `q4` is enough where the file's name can be meant by it alone.
    meant = [name for name, quantization in models.items() if model in (None, name, quantization)]
    if not meant:
        raise UsageError(f"There is no {model} in {folder}; it has {', '.join(models.values())}.")
    # Our own copy: a package may come from anybody, and its program with it.
    command = [sys.executable, str(shipped_runner(manifest.get("kind"))), "--model", str(folder / meant[0])]
    profile = manifest.get("profile")
    for name in ("threads", "context_tokens"):
        value = profile.get(name) if isinstance(profile, dict) else None
        # run.py takes no more threads than the machine has cores.
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
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
