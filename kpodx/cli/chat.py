"""`kpodx chat`: questions to an exported reasoner one after the other; the model stays loaded."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kpodx.cli import terminal
from kpodx.cli.export import RUNS
from kpodx.errors import KpodxError, ModelError, UsageError, WorkerError

if TYPE_CHECKING:
    from kpodx.serving.catalogue import ServedModel
    from kpodx.serving.processes import WorkerProcess

SECONDS_OF_SILENCE = 300.0


def chat(
    package: Annotated[
        Path | None, typer.Argument(metavar="PACKAGE", help="Folder of a package; the newest below runs/ by default.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model or quantisation, such as q8; the package's first by default.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; the profile's, or half of the machine's.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
) -> None:
    """Ask an exported reasoner question after question; each stands alone, since a student was trained on single ones."""
    from kpodx.export.manifest import newest_package
    from kpodx.serving.catalogue import served_models

    found = served_models([package or newest_package(RUNS)], [model] if model else (), threads)[0]
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        terminal.say(f"{found.id}: one question a line, each stands alone. Ctrl-C stops an answer, Ctrl-D ends.")
    with asyncio.Runner() as runner:
        conversation = Conversation(found, max_tokens, runner)
        try:
            conversation.load()
            for question in _questions(is_terminal):
                if not conversation.ask(question) and not is_terminal:
                    raise typer.Exit(130)
        finally:
            conversation.close()
    if conversation.failures and not is_terminal:
        raise KpodxError(f"{conversation.failures} questions were not answered.")


class Conversation:
    """A worker that is asked one question at a time.

    Args:
        model: what it holds.
        max_tokens: longest answer.
        runner: of the event loop.
    """

    def __init__(self, model: ServedModel, max_tokens: int, runner: asyncio.Runner) -> None:
        self._model, self._max_tokens, self._runner = model, max_tokens, runner
        self._worker: WorkerProcess | None = None
        self.failures = 0

    def load(self) -> None:
        """Start the worker; ModelError where the model cannot be loaded."""
        from kpodx.serving.processes import WorkerProcess

        try:
            self._worker = self._runner.run(WorkerProcess.start(self._model))
        except WorkerError as error:
            hint = "Export it again: the file may be damaged."
            raise ModelError(f"{self._model.path} cannot be loaded: {error.message}", hint=hint) from None

    def ask(self, question: str) -> bool:
        """Print the answer while it comes; False where Ctrl-C stopped it."""
        try:
            self._runner.run(self._answer(question))
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            terminal.say("stopped")
            return False
        except WorkerError as error:
            sys.stdout.write("\n")
            self.failures += 1
            terminal.say(f"The process of the model ended: {error.message}. It is loaded again.", "yellow")
            self.close()
            self.load()
        return True

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._runner.run(self._worker.stop())
            self._worker = None

    async def _answer(self, question: str) -> None:
        from kpodx.serving.jobs import Ask, Failed, Job, Text

        assert self._worker is not None
        job = Job(self._model.id, Ask(question, max_tokens=self._max_tokens, stream=True))
        events = self._worker.answer([job], SECONDS_OF_SILENCE)
        try:
            async for _, event in events:
                if isinstance(event, Text):
                    terminal.write(event.text)
                elif isinstance(event, Failed):
                    self.failures += 1
                    terminal.say(event.message, "yellow")
        except asyncio.CancelledError:
            # The worker says "idle" when it has left the answer; only then it can be asked again.
            await self._worker.leave(job)
            raise
        terminal.write("\n")


def _questions(is_terminal: bool) -> Iterator[str]:
    """What is typed, line by line, or comes through a pipe; until its end.

    Raises:
        UsageError: a line is not UTF-8.
    """
    if is_terminal:
        # Arrow keys and the history work where it is there.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
    while True:
        try:
            line = input("\n> ") if is_terminal else sys.stdin.readline()
        except KeyboardInterrupt:
            # It drops what was typed: one that comes just after an answer ends nothing.
            terminal.write("\n")
            if not is_terminal:
                return
            continue
        except EOFError:
            terminal.write("\n")
            return
        if not is_terminal and not line:
            return
        try:
            # Bytes that are not UTF-8 come as lone surrogates.
            line.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"A question is not UTF-8 text: {line.strip()[:40]!r}.") from error
        if line.strip():
            yield line.strip()
