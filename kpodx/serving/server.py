"""The running service: a socket, uvicorn, the workers, and how all of it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import h11
import uvicorn
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from kpodx.serving.access import LARGEST_HEAD, Guard, error_response, head_too_large
from kpodx.serving.addresses import address_of, check_access, is_loopback, open_socket
from kpodx.serving.app import PATHS, Service, create_app
from kpodx.serving.catalogue import ServedModel
from kpodx.serving.limits import Limits
from kpodx.serving.metrics import Metrics
from kpodx.serving.scheduler import Scheduler

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75
"""An idle connection is closed after so long: longer than clients keep one (httpx 5 s), else a request may meet the closing and be lost."""
SECONDS_TO_SEND = 2
"""Clients that do not read the rest of their answer are left so many seconds after the last answer is ready."""


@dataclass(frozen=True)
class Settings:
    """How a service runs.

    Attributes:
        models: to serve.
        limits: of requests.
        host: address or name to listen on.
        port: 0 takes a free one.
        token: that requests must bear; None wants none. `repr` does not show it.
        origins: web pages that may ask.
        workers: processes of each model.
    """

    models: Sequence[ServedModel]
    limits: Limits = field(default_factory=Limits)
    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = field(default=None, repr=False)
    origins: Sequence[str] = ()
    workers: int = 1


class Server:
    """A service from its start to its end.

    Args:
        settings: of the service.
        listener: a socket of `open_socket`; it is closed at the end.
    """

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings, self._listener = settings, listener
        self._stopping = asyncio.Event()
        self._is_forced = False

    def stop(self) -> None:
        """Take no more requests, finish those that came, and end; a second call leaves them."""
        self._is_forced = self._stopping.is_set()
        self._stopping.set()

    async def run(self, *, catches_signals: bool = True) -> bool:
        """Serve until SIGINT, SIGTERM or `stop`; whether all requests were finished then.

        Raises:
            KpodxError: a model cannot be loaded.
        """
        settings, metrics = self._settings, Metrics()
        async with Scheduler(settings.models, settings.limits, metrics, settings.workers) as scheduler:
            http = _Uvicorn(self._uvicorn_config(scheduler, metrics))
            serving = asyncio.create_task(http.serve(sockets=[self._listener]))
            waiting = asyncio.create_task(self._stopping.wait())
            with self._signals() if catches_signals else contextlib.nullcontext():
                causes: set[asyncio.Future[Any]] = {serving, waiting, scheduler.failure}
                await asyncio.wait(causes, return_when=asyncio.FIRST_COMPLETED)
                is_finished = await self._finish(scheduler)
                http.should_exit, http.force_exit = True, self._is_forced
                await serving
            waiting.cancel()
        if scheduler.failure.done():
            raise scheduler.failure.result()
        return is_finished

    async def _finish(self, scheduler: Scheduler) -> bool:
        """Let what was begun come to its end, as long as that may take; whether it did."""
        scheduler.close()
        if scheduler.num_waiting or scheduler.num_running:
            logger.info("%d requests are being finished.", scheduler.num_waiting + scheduler.num_running)
        end = time.monotonic() + self._settings.limits.stop_seconds
        while (scheduler.num_waiting or scheduler.num_running) and not scheduler.failure.done():
            if self._is_forced or time.monotonic() > end:
                scheduler.abandon()
                return False
            await asyncio.sleep(0.02)
        return True

    def _uvicorn_config(self, scheduler: Scheduler, metrics: Metrics) -> uvicorn.Config:
        settings = self._settings
        app: ASGIApp = create_app(Service(scheduler, settings.limits, metrics))
        if settings.origins:
            app = CORSMiddleware(app, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"])
        guard = Guard(
            app,
            token=settings.token,
            origins=settings.origins,
            # Elsewhere the machine may have any name, and the token keeps web pages out.
            checks_host=is_loopback(settings.host),
            paths=PATHS,
            metrics=metrics,
        )
        return uvicorn.Config(
            guard,
            http=_protocol(settings.limits.header_seconds),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=LARGEST_HEAD,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SECONDS_TO_SEND,
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


class _Uvicorn(uvicorn.Server):
    """Leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Catch none."""
        yield


def _protocol(header_seconds: float) -> type[H11Protocol]:
    """uvicorn's HTTP, which closes a connection whose request's head does not come in time."""

    class Protocol(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._head_timer = self.loop.call_later(header_seconds, self._close_if_headless)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if not self._is_headless():
                self._stop_timer()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(header_seconds, self._close_if_headless)

        def send_400_response(self, msg: str) -> None:
            """Refuse what is not HTTP; a head that is too large is refused as the app refuses one that came whole."""
            if getattr(sys.exc_info()[1], "error_status_hint", 400) != 431:
                super().send_400_response(msg)
                return
            refusal = error_response(head_too_large())
            head = h11.Response(status_code=refusal.status_code, headers=refusal.raw_headers, reason=b"")
            for event in (head, h11.Data(data=bytes(refusal.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
            self._head_timer = None

        def _is_headless(self) -> bool:
            """Whether a request's head is waited for, or the rest of a body that was refused."""
            return self.cycle is None or self.cycle.response_complete

        def _close_if_headless(self) -> None:
            self._head_timer = None
            if self._is_headless():
                self.transport.close()

    return Protocol


def serve(settings: Settings, on_start: Callable[[str], None]) -> bool:
    """Run a service in this process until it is told to stop; whether all requests were finished then.

    Args:
        settings: of the service.
        on_start: told the address once it can be asked there.

    Raises:
        UsageError: the address cannot be used, or must not be without a token.
        KpodxError: a model cannot be loaded.
    """
    check_access(settings.host, settings.token)
    listener = open_socket(settings.host, settings.port)

    async def run() -> bool:
        on_start(address_of(listener))
        return await Server(settings, listener).run()

    try:
        return asyncio.run(run())
    finally:
        listener.close()
