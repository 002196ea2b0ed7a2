"""Who may ask: no web page, no stranger without the token."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kpodx.serving.addresses import host_of, is_loopback
from kpodx.serving.metrics import Metrics
from kpodx.serving.openai_api import ApiError

OPEN_PATHS = ("/health",)
"""What is told without the token."""
LARGEST_HEAD = 32_768
"""Bytes of a request's method, path and headers; browsers and proxies send a few thousand at most."""
HUNG_UP = "499"
"""Counted as the status where a client left before its answer's end."""


class Guard:
    """Refuses what may not ask, before anything of its body is read, and counts all requests.

    A web page that its visitor's browser lets talk to us says so in Origin. One whose name was turned to this machine after it
    was loaded (DNS rebinding) shows that name in Host.

    Args:
        app: what answers the others.
        token: that every request but /health must bear; None wants none.
        origins: web pages that may ask.
        checks_host: whether a request must call this machine by a name that only the machine itself uses.
        paths: that are counted by their own name.
        metrics: where they are counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        origins: Sequence[str],
        checks_host: bool,
        paths: Sequence[str],
        metrics: Metrics,
    ) -> None:
        self._app, self._origins, self._checks_host = app, frozenset(origins), checks_host
        self._token = token.encode() if token is not None else None
        self._paths, self._metrics = frozenset(paths), metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, is_whole, begun = HUNG_UP, False, time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status, is_whole
            if message["type"] == "http.response.start":
                status = str(message["status"])
            else:
                is_whole = not message.get("more_body", False)
            await send(message)

        try:
            error = self._refusal(scope)
            app = self._app if error is None else error_response(error)
            await app(scope, receive, watch)
        except asyncio.CancelledError:
            # Only uvicorn does this, to clients that do not read the rest of an answer when the service stops; it would log a traceback.
            pass
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.requests.add(path, status if is_whole else HUNG_UP)
            self._metrics.request_seconds.observe(time.perf_counter() - begun)

    def _refusal(self, scope: Scope) -> ApiError | None:
        # Only here: HTTP's parser looks at what is still incomplete, and a head may come in one piece.
        if head_bytes(scope) > LARGEST_HEAD:
            return head_too_large()
        headers = Headers(scope=scope)
        host, origin = host_of(headers.get("host", "")), headers.get("origin")
        if self._checks_host and host and not is_loopback(host):
            return ApiError(
                403, f"The service is not called {host[:100]}; use 127.0.0.1 or localhost.", code="foreign_host"
            )
        if origin is not None and origin not in self._origins:
            said = f"Web pages of {origin[:100]} may not ask this service; kpodx serve --allow-origin lets them."
            return ApiError(403, said, code="foreign_origin")
        is_preflight = scope["method"] == "OPTIONS" and origin is not None
        if self._token is None or is_preflight or scope["path"] in OPEN_PATHS:
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token):
            return None
        said = "This service wants its token: Authorization: Bearer …"
        return ApiError(
            401, said, "authentication_error", code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"}
        )


def head_too_large() -> ApiError:
    """Return the error of a request whose head is beyond the limit."""
    said = f"The head of the request has more than {LARGEST_HEAD:,} bytes."
    return ApiError(431, said, code="head_too_large", headers={"Connection": "close"})


def head_bytes(scope: Scope) -> int:
    """Return the size of a request's head as it came, about: method, path, query and headers with what separates them."""
    line = len(scope["method"]) + len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") + 12
    return line + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


def error_response(error: ApiError) -> JSONResponse:
    """An error in OpenAI's form."""
    return JSONResponse(error.document(), error.status, error.headers)
