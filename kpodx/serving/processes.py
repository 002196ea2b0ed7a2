"""A worker's process, seen from outside: started, asked, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, NoReturn

from kpodx.errors import WorkerError
from kpodx.runtime import died_of
from kpodx.serving.catalogue import ServedModel
from kpodx.serving.jobs import Done, Event, Failed, Job, Started, Text

LONGEST_LINE = 2**24
"""Bytes of a worker's longest message."""
SECONDS_TO_END = 2.0
TOKEN_VARIABLE = "KPODX_SERVE_TOKEN"


class WorkerProcess:
    """A process that holds one model; use `start` to make one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._last_words = ""
        self._errors = asyncio.create_task(self._read_errors())
        self.facts: dict[str, Any] = {}

    @classmethod
    async def start(cls, model: ServedModel) -> WorkerProcess:
        """A process with the model loaded.

        Raises:
            WorkerError: it cannot be loaded.
        """
        arguments = [str(model.runner), str(model.path), str(model.threads or 0), str(model.context_tokens or 0)]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                # Else a module of the current directory, which may be a foreign package, would come before ours.
                "-P",
                "-m",
                "kpodx.serving.worker",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
                env=_environment(model),
                # Ctrl-C is for us: a worker finishes what it has begun.
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerError(f"its process cannot be started: {error.strerror or error}") from error
        worker = cls(process)
        try:
            _, *content = await worker._read()
            with _understood():
                worker.facts = dict(*content)
        except BaseException:
            await worker.stop()
            raise
        return worker

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    async def watch(self, when_dead: Callable[[], None]) -> None:
        """Wait for the process to end, and call a function then."""
        await self._process.wait()
        when_dead()

    async def answer(self, jobs: Sequence[Job], stall_seconds: float) -> AsyncGenerator[tuple[Job, Event]]:
        """Let the worker answer a batch, and yield what happens to each job.

        Raises:
            WorkerError: the process ended, or said nothing for too long.
        """
        by_number = {job.number: job for job in jobs}
        batch: list[dict[str, Any]] | None = [job.wire() for job in jobs]
        while True:
            try:
                async with asyncio.timeout(stall_seconds):
                    if batch is not None:
                        await self._write("batch", batch)
                        batch = None
                    kind, *content = await self._read()
            except TimeoutError:
                self._kill()
                raise WorkerError(f"it said nothing for {stall_seconds:g} seconds, and was killed") from None
            if kind == "idle":
                return
            if kind != "alive":
                with _understood():
                    happened = by_number[content[0]], _event(kind, *content[1:])
                yield happened

    async def cancel(self, job: Job) -> None:
        """Let the worker leave a job that it has begun."""
        with contextlib.suppress(WorkerError):
            await self._write("cancel", job.number)

    async def leave(self, job: Job) -> None:
        """Drop a batch of one job whose events nobody reads any more; the worker can be asked again then.

        Raises:
            WorkerError: the process ended.
        """
        await self.cancel(job)
        while (await self._read())[0] != "idle":
            pass

    async def stop(self) -> None:
        """End the process: its input ends, and where that is not enough, it is killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(SECONDS_TO_END):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            await self._process.wait()
        await self._errors

    async def raise_death(self) -> NoReturn:
        """Wait for the process to end, and raise what it died of."""
        raise await self._death()

    def _kill(self) -> None:
        # It may have ended in the meantime.
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _write(self, kind: str, content: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([kind, content]).encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise await self._death() from None

    async def _read(self) -> list[Any]:
        assert self._process.stdout is not None
        with _understood():
            line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise await self._death()
        with _understood():
            message: list[Any] = json.loads(line)
            # Of something else nothing could be told.
            message[0]
        return message

    async def _death(self) -> WorkerError:
        """What the process died of, in its own words where it left some."""
        status = await self._process.wait()
        await self._errors
        said = self._last_words.removeprefix("error: ")
        return WorkerError(said if said and status > 0 else died_of(status))

    async def _read_errors(self) -> None:
        """Keep the last line of the process's errors; a pipe that nobody reads would stop it."""
        assert self._process.stderr is not None
        rest = b""
        while piece := await self._process.stderr.read(4096):
            lines = [line for line in (rest + piece).splitlines() if line.strip()] or [b""]
            rest = lines[-1][-1000:]
            self._last_words = rest.decode("utf-8", "replace").strip()[:300]


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """WorkerError where a worker's message is too long, or none that it could have written."""
    try:
        yield
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise WorkerError(f"its message cannot be understood: {error}") from error


def _environment(model: ServedModel) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    environment["TOKENIZERS_PARALLELISM"] = "false"
    if model.threads:
        environment["OMP_NUM_THREADS"] = str(model.threads)
    return environment


def _event(kind: str, *content: Any) -> Event:
    """A worker's message about one job."""
    if kind == "started":
        return Started(*content)
    if kind == "text":
        return Text(*content)
    if kind == "done":
        return Done(*content)
    if kind == "refused":
        code, message = content
        return Failed("refused", message, code)
    return Failed("failed", *content)
