"""`kpodx serve`: packages behind OpenAI's API, on this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from kpodx.cli import terminal
from kpodx.cli.export import RUNS
from kpodx.errors import MissingDependencyError


def serve(
    package: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PACKAGE", help="Folders of packages; the newest below runs/ by default."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model or quantisation to serve, such as q8; repeatable; all by default.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than this machine's own only with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of each worker; the profile's, or half of the machine's.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes of each model.")] = 1,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Most questions that a worker answers side by side; int8 models take one.")
    ] = 8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Most requests that wait; one more is answered with 429.")
    ] = 128,
    max_body_bytes: Annotated[int, typer.Option(min=1024, help="Largest body of a request.")] = 262_144,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="KPODX_SERVE_TOKEN",
            help="Token that every request must bear; rather set the variable, which other users do not see.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Web page that may ask, such as http://localhost:3000; repeatable; none by default."),
    ] = None,
) -> None:
    """Answer requests in OpenAI's API with exported reasoners, until Ctrl-C or SIGTERM."""
    require_serving()
    from kpodx.export.manifest import newest_package
    from kpodx.serving.addresses import check_access
    from kpodx.serving.catalogue import served_models
    from kpodx.serving.limits import Limits
    from kpodx.serving.server import Settings
    from kpodx.serving.server import serve as run

    check_access(host, token)
    models = served_models(package or [newest_package(RUNS)], model or (), threads)
    limits = Limits(body_bytes=max_body_bytes, tokens=max_tokens, queue=max_queue, batch_size=batch_size)

    def on_start(address: str) -> None:
        terminal.say(f"listening on {address}/v1 for {', '.join(item.id for item in models)}; Ctrl-C stops")

    if not run(Settings(models, limits, host, port, token, allow_origin or (), workers), on_start):
        terminal.say("stopped, and left requests unanswered")
        raise typer.Exit(130)


def require_serving() -> None:
    """MissingDependencyError where FastAPI or uvicorn is not installed."""
    for name in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(f"kpodx serve needs the package {name}.", hint="pip install 'kpodx[serve]'")
