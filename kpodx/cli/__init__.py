"""The command line, `kpodx COMMAND`: one file a command; heavy packages are imported only by what needs them."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

import kpodx
from kpodx.cli import (
    ask,
    chat,
    compare,
    distill,
    doctor,
    evaluate,
    export,
    rationales,
    recipes,
    report,
    serve,
    show,
    status,
    study,
    validate,
)
from kpodx.cli.terminal import print_error, set_up_logging, stderr_console
from kpodx.errors import KpodxError
from kpodx.storage import storing

app = typer.Typer(
    name="kpodx",
    help="Distil a large model's step-by-step reasoning into a small model, and prove that it survived.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    distill.distill,
    export.export,
    evaluate.evaluate,
    ask.ask,
    chat.chat,
    serve.serve,
    validate.validate,
    status.status,
    compare.compare,
    study.study,
    show.show,
    report.report,
    doctor.doctor,
):
    app.command()(_command)
app.add_typer(recipes.app, name="recipes")
app.add_typer(rationales.app, name="rationales")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kpodx {kpodx.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line; an expected error is one line and a hint, its traceback comes with --debug only."""
    # Read when torch loads. A thread that spins while it waits takes the core from whatever else runs on the machine:
    # beside busy processes, training with spinning threads is several times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    set_up_logging(stderr_console())
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a character gets its escape.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with storing(None):
            app([argument for argument in arguments if argument != "--debug"])
    except KpodxError as error:
        if debug:
            raise
        print_error(error)
        sys.exit(error.exit_code)
