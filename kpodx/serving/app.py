"""The service's pages, on FastAPI."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

import kpodx
from kpodx.serving import openai_api
from kpodx.serving.access import error_response
from kpodx.serving.catalogue import ServedModel
from kpodx.serving.jobs import Done, Event, Failed, Job, Started, Text
from kpodx.serving.limits import Limits
from kpodx.serving.metrics import Metrics
from kpodx.serving.openai_api import ApiError
from kpodx.serving.scheduler import QueueFullError, Scheduler, StoppingError

T = TypeVar("T")

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics")

Parse = Callable[[dict[str, Any], int], openai_api.Request]


class Service:
    """What the pages do.

    Args:
        scheduler: of the workers.
        limits: of bodies and tokens.
        metrics: where it counts.
    """

    def __init__(self, scheduler: Scheduler, limits: Limits, metrics: Metrics) -> None:
        self.scheduler, self.limits, self.metrics = scheduler, limits, metrics

    @property
    def models(self) -> list[ServedModel]:
        """All that are served."""
        return [lane.model for lane in self.scheduler.lanes.values()]

    def model(self, name: str) -> ServedModel:
        """The model of an id; ApiError where there is none."""
        lane = self.scheduler.lanes.get(name)
        if lane is None:
            known = ", ".join(self.scheduler.lanes)
            said = f"There is no model {name[:100]!r}; there are {known}."
            raise ApiError(404, said, code="model_not_found", param="model")
        return lane.model

    async def answer(self, http: HttpRequest, parse: Parse) -> Response:
        """Answer a request for a completion, of either kind."""
        begun = time.perf_counter()
        try:
            request = parse(openai_api.parse_json(await self._body(http)), self.limits.tokens)
        except ClientDisconnect:
            return Response(status_code=499)
        model = self.model(request.model)
        job = self._submit(model, request)
        headers = {"kpodx-unread-messages": str(request.unread)} if request.unread else {}
        try:
            if request.ask.stream:
                started = await _unless_gone(http, self._started(job))
                stream = self._stream(request, model, job, started, begun)
                return AnswerStream(stream, lambda: self._leave(job), headers)
            prompt_tokens, done = await _unless_gone(http, self._whole(job))
        except BaseException as error:
            self._leave(job)
            if isinstance(error, ClientDisconnect):
                return Response(status_code=499)
            raise
        self.metrics.prompt_tokens.add(model.id, amount=prompt_tokens)
        return JSONResponse(openai_api.answer_document(request, model, prompt_tokens, done), headers=headers)

    def _submit(self, model: ServedModel, request: openai_api.Request) -> Job:
        try:
            return self.scheduler.submit(model.id, request.ask)
        except StoppingError:
            raise openai_api.stopping() from None
        except QueueFullError as error:
            headers = {"Retry-After": str(error.retry_after)}
            raise ApiError(429, f"{error}.", "rate_limit_error", code="queue_full", headers=headers) from None

    def _leave(self, job: Job) -> None:
        """Nobody waits for a job any more."""
        if not job.is_over:
            self.metrics.hung_up.add()
            self.scheduler.cancel(job)

    async def _body(self, http: HttpRequest) -> bytes:
        """The body, within the limits of size and time; what is left of a refused one is read by uvicorn, and thrown away."""
        content, said = bytearray(), http.headers.get("content-length", "")
        most, seconds = self.limits.body_bytes, self.limits.body_seconds
        too_large = ApiError(413, f"The body has more than {most:,} bytes.", code="body_too_large")
        if said.isdecimal() and int(said) > most:
            raise too_large
        try:
            async with asyncio.timeout(seconds):
                async for piece in http.stream():
                    content += piece
                    if len(content) > most:
                        raise too_large
        except TimeoutError:
            message = f"The body did not come within {seconds:g} seconds."
            raise ApiError(408, message, code="body_timeout", headers={"Connection": "close"}) from None
        return bytes(content)

    async def _started(self, job: Job) -> Started:
        event = await job.events.get()
        if isinstance(event, Failed):
            raise openai_api.error_of(event)
        assert isinstance(event, Started)
        return event

    async def _whole(self, job: Job) -> tuple[int, Done]:
        """Tokens of the prompt, and the answer."""
        started = await self._started(job)
        while not isinstance(event := await job.events.get(), Done):
            if isinstance(event, Failed):
                raise openai_api.error_of(event)
        return started.prompt_tokens, event

    async def _stream(
        self, request: openai_api.Request, model: ServedModel, job: Job, started: Started, begun: float
    ) -> AsyncIterator[bytes]:
        """The answer as server-sent events; what goes wrong on the way is an event as well, and the last."""
        yield _lines(openai_api.first_chunk(request, model))
        is_first = True
        while True:
            text, event = await _next(job)
            if text:
                if is_first:
                    self.metrics.first_text_seconds.observe(time.perf_counter() - begun)
                is_first = False
                yield _lines([openai_api.text_chunk(request, model, text)])
            if isinstance(event, Failed):
                yield _lines([openai_api.error_of(event).document()])
                return
            if isinstance(event, Done):
                break
        self.metrics.prompt_tokens.add(model.id, amount=started.prompt_tokens)
        yield _lines(openai_api.last_chunks(request, model, started.prompt_tokens, event)) + b"data: [DONE]\n\n"

    def page_of_metrics(self) -> str:
        """For Prometheus."""
        gauges: list[tuple[str, str, dict[str, str], float]] = [
            ("kpodx_queue_length", "Requests that wait.", {}, self.scheduler.num_waiting),
            ("kpodx_running", "Requests that workers have.", {}, self.scheduler.num_running),
        ]
        for lane in self.scheduler.lanes.values():
            about = "Workers that hold the model."
            gauges.append(("kpodx_workers_ready", about, {"model": lane.model.id}, len(lane.ready)))
        return self.metrics.text(gauges)

    def health(self) -> tuple[int, Mapping[str, Any]]:
        """Status and document: whether all models have a worker."""
        scheduler = self.scheduler
        word = "ready" if scheduler.is_ready else "loading" if scheduler.is_open else "stopping"
        models = {name: len(lane.ready) for name, lane in scheduler.lanes.items()}
        return 200 if scheduler.is_ready else 503, {"status": word, "workers": models, "kpodx": kpodx.__version__}


class AnswerStream(StreamingResponse):
    """Server-sent events; however the response ends, the job is left.

    Args:
        content: the events.
        leave: called at the end.
        headers: further ones.
    """

    def __init__(self, content: AsyncIterator[bytes], leave: Callable[[], None], headers: Mapping[str, str]) -> None:
        super().__init__(content, headers={"Cache-Control": "no-store", **headers}, media_type="text/event-stream")
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


def create_app(service: Service) -> FastAPI:
    """The pages; none of them is for people, so that no scripts of others are loaded."""
    app = FastAPI(title="kpodx", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/v1/chat/completions")
    async def chat(http: HttpRequest) -> Response:
        return await service.answer(http, openai_api.parse_chat)

    @app.post("/v1/completions")
    async def complete(http: HttpRequest) -> Response:
        return await service.answer(http, openai_api.parse_completion)

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [openai_api.model_document(item) for item in service.models]})

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        return JSONResponse(openai_api.model_document(service.model(name)))

    @app.get("/health")
    async def health() -> Response:
        status, document = service.health()
        return JSONResponse(document, status)

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(service.page_of_metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(ApiError)
    async def refuse(_http: HttpRequest, error: ApiError) -> Response:
        return error_response(error)

    @app.exception_handler(HTTPException)
    async def refuse_path(http: HttpRequest, error: HTTPException) -> Response:
        said = f"{http.method} {http.url.path[:100]}: {error.detail}."
        return error_response(ApiError(error.status_code, said, headers=error.headers))

    return app


def _lines(documents: list[dict[str, Any]]) -> bytes:
    """Server-sent events."""
    return b"".join(b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n" for document in documents)


async def _next(job: Job) -> tuple[str, Event]:
    """The text that has come since, as one, and the event behind it."""
    text, event = "", await job.events.get()
    while isinstance(event, Text):
        text += event.text
        if job.events.empty():
            break
        event = job.events.get_nowait()
    return text, event


async def _unless_gone(http: HttpRequest, work: Coroutine[Any, Any, T]) -> T:
    """What some work gives; ClientDisconnect where the client leaves before."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_until_gone(http))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ApiError):
                await task


async def _until_gone(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
