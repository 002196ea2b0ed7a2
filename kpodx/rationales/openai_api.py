"""A teacher behind an OpenAI-compatible API, asked through the official client.

Many requests are under way at a time. Each is sent again, with growing pauses, after errors that pass: limits, overload, 5xx,
timeouts, broken connections, answers that are not JSON. A parameter that the server refuses is sent in another form. The phase
stops at once after errors that concern all requests: key, credit, model, address. Nothing is sent that could break the budget.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import itertools
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kpodx.errors import (
    KpodxError,
    TeacherError,
    TeacherRefusedError,
)
from kpodx.rationales.access import Access, new_client, require_openai
from kpodx.rationales.aside import MOST_IN_A_ROW, Aside, SetAside
from kpodx.rationales.config import OpenAIConfig
from kpodx.rationales.dialect import Dialect
from kpodx.rationales.faults import Fault, read_fault
from kpodx.rationales.pacing import Clock, MonotonicClock, Pace
from kpodx.rationales.replicas import Replica, Replicas
from kpodx.rationales.replies import Body, parse_reply
from kpodx.rationales.requests import Completion, Failure, Request, Usage
from kpodx.rationales.secrets import public_url
from kpodx.rationales.setbacks import LONGEST_GROWN_PAUSE, AdaptedError, PassingError, RefusedError, Setbacks
from kpodx.rationales.spending import Spending, raise_budget_spent
from kpodx.rationales.teachers import Outlet
from kpodx.rationales.wire import outcome_of
from kpodx.runtime import Progress

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from tenacity import RetryCallState

_FIRST_ATTEMPTS = 3
"""How often a server that has never answered is tried before the address is taken to be wrong."""
_GRACE_SECONDS = 10.0
"""How long answers under way are waited for after something else stopped the asking."""


class OpenAITeacher:
    """A model behind one or several equal servers.

    Args:
        config: the settings.
        access: addresses and key.
        spending: the log and caps of what is spent.
        clock: tells the time; replaced in tests.

    Raises:
        MissingDependencyError: the `openai` extra is not installed.
    """

    def __init__(self, config: OpenAIConfig, access: Access, spending: Spending, clock: Clock | None = None) -> None:
        require_openai()
        self.model = self.label = config.model
        self._config, self._access, self._spending = config, access, spending
        self._clock = clock or MonotonicClock()
        # For all that this teacher is asked: a second round of questions counts with the first.
        self._paces = [Pace(config.requests_per_minute, config.tokens_per_minute, self._clock) for _ in access.urls]
        self._dialect = Dialect(config)

    def ask(self, requests: Sequence[Request], outlet: Outlet, progress: Progress, description: str) -> None:
        """Ask for every request, and deliver each outcome as it comes.

        Raises:
            BudgetSpentError: the next request could break a cap.
            TeacherRefusedError: a key, model or request is refused.
            TeacherError: requests stay unanswered.
        """
        with self._access.secrets.kept_out_of_logs(), _one_error():
            asking = _Asking(
                *(self._config, self._access, self._spending, self._paces, self._dialect, self._clock, outlet, progress)
            )
            asyncio.run(asking.all(requests, description))


@contextlib.contextmanager
def _one_error() -> Iterator[None]:
    """What went wrong in one of many tasks, as itself and not as a group of one."""
    try:
        yield
    except ExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


class _Asking:
    """One call of `ask`: the workers, and why they stop."""

    def __init__(
        self,
        config: OpenAIConfig,
        access: Access,
        spending: Spending,
        paces: Sequence[Pace],
        dialect: Dialect,
        clock: Clock,
        outlet: Outlet,
        progress: Progress,
    ) -> None:
        self._config, self._access, self._spending, self._paces = config, access, spending, paces
        self._dialect, self._clock, self._outlet, self._progress = dialect, clock, outlet, progress
        self._stop: Exception | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._sending: set[asyncio.Task[None] | None] = set()
        self._busy = 0
        self._has_answered = False
        self._silent_in_a_row = 0
        self._unanswered: list[tuple[Request, str]] = []
        self._setbacks = Setbacks(config, access, dialect, progress)
        self._aside = Aside(self._deliver, was_proven=outlet.is_proven)
        self._ticks: Iterator[int] = iter(())
        self._settled = asyncio.Event()

    async def all(self, requests: Sequence[Request], description: str) -> None:
        """Send them all; what was under way when something stops the rest is waited for, since it is paid for."""
        async with contextlib.AsyncExitStack() as stack:
            replicas = []
            for url, pace in zip(self._access.urls, self._paces, strict=True):
                client = await stack.enter_async_context(new_client(url, self._access, self._config.timeout_seconds))
                replicas.append(Replica(public_url(url), client, pace))
            self._replicas = Replicas(replicas, self._clock, self._progress.note)
            waiting = iter(requests)
            self._ticks = self._progress.track(itertools.count(), total=len(requests), description=description)
            next(self._ticks)
            async with asyncio.TaskGroup() as group:
                self._workers = [
                    group.create_task(self._work(waiting)) for _ in range(min(self._config.concurrency, len(requests)))
                ]
        if self._stop:
            # Without what led to it: the client's own errors quote headers and answers.
            raise self._stop.with_traceback(None) from None
        self._raise_unanswered(len(requests))

    def _raise_unanswered(self, count: int) -> None:
        """Raise TeacherError if requests stay unanswered, or what a server that never answered is refused with."""
        for item in self._aside.close():
            if item.stop is not None:
                raise item.stop
            self._unanswered.append((item.failure.request, item.why))
        if self._unanswered:
            raise self._gone(f"{len(self._unanswered)} of {count} requests went unanswered", *self._unanswered[-1])

    def _deliver(self, outcome: Completion | Failure) -> None:
        self._outlet.deliver(outcome)
        next(self._ticks)

    async def _work(self, waiting: Iterator[Request]) -> None:
        for request in waiting:
            self._busy += 1
            try:
                # Another process may have asked meanwhile.
                outcome = self._outlet.find(request) or await self._answer(request)
                self._deliver(outcome)
                self._silent_in_a_row = 0
                self._aside.answered()
            except RefusedError as error:
                self._put_aside(error.item)
            except PassingError as error:
                self._silent(request, error)
            except (KpodxError, OSError) as error:
                self._halt(error)
            finally:
                self._busy -= 1
                self._settled.set()
            await self._wait_for_proof()
            if self._stop:
                return

    async def _wait_for_proof(self) -> None:
        """Send nothing more to a server that has answered badly, until another request shows whether it can do better."""
        while self._aside.is_unproven and self._busy and not self._stop:
            self._settled.clear()
            await self._settled.wait()

    def _put_aside(self, item: SetAside) -> None:
        blamed = self._aside.put(item)
        if blamed is not None:
            what = f"{MOST_IN_A_ROW} requests in a row went unanswered"
            self._halt(blamed.stop or self._gone(what, blamed.failure.request, blamed.why))

    def _halt(self, error: Exception) -> None:
        """Let nothing more be sent; only what is under way goes on to its end."""
        self._stop = self._stop or error
        for worker in self._workers:
            if worker not in self._sending and worker is not asyncio.current_task():
                worker.cancel()
        asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """Wait no longer for what is under way; it stays in the log of the spending at its bound."""
        for worker in self._workers:
            worker.cancel()

    def _silent(self, request: Request, error: PassingError) -> None:
        """Note that a request stays unanswered; if nothing is answered any more, the rest is not even tried."""
        if error.failure is not None:
            stop = None if error.is_down else self._blame(request, error)
            self._put_aside(SetAside(error.failure, error.why, stop))
            return
        self._unanswered.append((request, error.why))
        self._silent_in_a_row += 1
        if not self._has_answered and not error.is_answer:
            self._halt(self._no_api(error.why))
        elif self._silent_in_a_row >= MOST_IN_A_ROW:
            self._halt(self._gone(f"{MOST_IN_A_ROW} requests in a row went unanswered", request, error.why))

    def _blame(self, request: Request, error: PassingError) -> KpodxError:
        """Return what the phase stops with if no request gets a better answer than this one."""
        return self._gone("no usable answer", request, error.why) if error.is_answer else self._no_api(error.why)

    def _no_api(self, why: str) -> TeacherRefusedError:
        where = ", ".join(map(public_url, self._access.urls))
        return TeacherRefusedError(
            f"{where} does not answer as an OpenAI-compatible API does: {why}.",
            hint="Check the address (rationales.openai.base_urls or OPENAI_BASE_URL; it usually ends with /v1), and "
            "that the server runs.",
        )

    def _gone(self, what: str, request: Request, why: str) -> TeacherError:
        return TeacherError(
            f"{self._config.model}: {what}, sent up to {self._config.max_attempts} times each; the last, about question "
            f"{request.question_id}: {why.rstrip('.')}.",
            hint="What was answered is kept: run the same command again to ask for the rest.",
        )

    async def _answer(self, request: Request) -> Completion | Failure:
        """Return the outcome of one request, sent as often as needed; PassingError if that was not enough."""
        from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

        growing = wait_random_exponential(multiplier=0.5, max=LONGEST_GROWN_PAUSE)

        def wait(state: RetryCallState) -> float:
            asked = _passing(state).wait_seconds
            # What the server asks for, and a little more, so that not all come back at the same moment.
            return growing(state) if asked is None else asked + min(growing(state), 1.0)

        def enough(state: RetryCallState) -> bool:
            is_new = not self._has_answered and not _passing(state).is_answer
            first = 1 if self._aside.is_unproven else _FIRST_ATTEMPTS
            attempts = min(first, self._config.max_attempts) if is_new else self._config.max_attempts
            return self._stop is not None or state.attempt_number >= attempts

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(PassingError), wait=wait, stop=enough, sleep=self._clock.sleep, reraise=True
        )
        return await retrying(self._send, request)

    async def _send(self, request: Request) -> Completion | Failure:
        """Send until the server takes the request's parameters."""
        while True:
            with contextlib.suppress(AdaptedError):
                return await self._send_once(request)

    async def _send_once(self, request: Request) -> Completion | Failure:
        """Send once, when a server is free, its pace allows it and the budget holds it."""
        with self._replicas.one() as replica:
            number = await self._reserve(request)
            try:
                entry = await replica.pace.acquire(request.max_prompt_tokens + request.max_tokens)
            except BaseException:
                self._spending.settle(number, Usage(0, 0))
                self._settled.set()
                raise
            worker = asyncio.current_task()
            self._sending.add(worker)
            try:
                outcome = await self._exchange(request, replica, number)
            finally:
                self._sending.discard(worker)
                self._settled.set()
            self._has_answered = True
            self._replicas.succeeded(replica)
            if outcome.usage:
                replica.pace.correct(entry, outcome.usage.prompt_tokens + outcome.usage.completion_tokens)
            return outcome

    async def _reserve(self, request: Request) -> int:
        """Wait until the request may be paid for: what is under way may turn out to cost less than its bound."""
        while True:
            if not self._spending.wants_patience:
                number = self._spending.reserve(request)
                if number is not None:
                    return number
                if self._spending.under_way == 0:
                    raise_budget_spent(self._spending)
            self._settled.clear()
            await self._settled.wait()

    async def _exchange(self, request: Request, replica: Replica, number: int) -> Completion | Failure:
        """One request and its answer; what it cost is settled, at its bound where nobody can know."""
        import openai

        begun = time.monotonic()
        sent = self._dialect.body(request)
        adapted = self._dialect.adapted(request)
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                content, headers = await self._post(sent, replica.client)
        except openai.APIStatusError as error:
            headers = {name.lower(): value for name, value in error.response.headers.items()}
            fault = read_fault(error.status_code, error.response.content)
            self._spending.settle(number, _usage_of(dataclasses.replace(fault, statuses=(error.status_code,))))
            return await self._treat(request, replica, fault, sent, headers, None)
        except (openai.APITimeoutError, TimeoutError):
            self._spending.settle(number, None)
            self._replicas.failed(replica, unreachable=False)
            raise PassingError(f"no answer within {self._config.timeout_seconds:g} seconds", is_answer=False) from None
        except openai.APIConnectionError as error:
            self._spending.settle(number, Usage(0, 0) if _was_not_sent(error) else None)
            _raise_tls(error, replica.url)
            self._replicas.failed(replica, unreachable=True)
            raise PassingError(
                f"no connection to {replica.url} ({self._words(error.__cause__ or error)})", is_answer=False
            ) from None
        except _transport_errors() as error:
            self._spending.settle(number, None)
            self._replicas.failed(replica, unreachable=False)
            raise PassingError(f"the answer broke off ({self._words(error)})", is_answer=False) from None
        except _TooLargeError:
            self._spending.settle(number, None)
            return Failure(request, "answer_too_large")
        replica.pace.learn(headers)
        seconds = time.monotonic() - begun
        try:
            reply = parse_reply(content, headers.get("content-type", ""), self._access.secrets)
        except ValueError as error:
            self._spending.settle(number, None)
            self._replicas.failed(replica, unreachable=False)
            beginning = self._access.secrets.hide(content[:10_000].decode("utf-8", "replace"))
            failure = Failure(request, "broken_answer", beginning)
            raise PassingError(str(error), is_answer=False, failure=failure) from None
        if reply.fault is not None:
            self._spending.settle(number, reply.body.usage or _usage_of(reply.fault))
            return await self._treat(request, replica, reply.fault, sent, headers, reply.body)
        self._spending.settle(number, reply.body.usage)
        return self._outcome(reply.body, request, replica.url, seconds, adapted)

    def _outcome(self, body: Body, request: Request, url: str, seconds: float, adapted: str) -> Completion | Failure:
        """Return what an answer means; PassingError if the provider broke it off."""
        outcome = outcome_of(body, request, self._access.secrets, url, seconds, adapted)
        if isinstance(outcome, Failure) and outcome.reason == "server_error":
            raise PassingError(f"{url} broke off with finish reason {outcome.finish_reason!r}", failure=outcome)
        return outcome

    async def _treat(
        self,
        request: Request,
        replica: Replica,
        fault: Fault,
        sent: Mapping[str, Any],
        headers: Mapping[str, str],
        body: Body | None,
    ) -> Failure:
        if fault.status >= 500:
            self._replicas.failed(replica, unreachable=False)
        is_proven = self._aside.is_proven
        return await self._setbacks.treat(request, replica, fault, sent, headers, body, is_proven=is_proven)

    def _beginning(self, content: bytes) -> str:
        return self._access.secrets.hide(content[:10_000].decode("utf-8", "replace"))

    def _words(self, error: BaseException) -> str:
        return self._access.secrets.hide(str(error).strip().rstrip(".")) or type(error).__name__

    async def _post(self, body: dict[str, Any], client: AsyncOpenAI) -> tuple[bytes, dict[str, str]]:
        """Send, and read the answer up to the limit."""
        resource: Any = client.chat.completions if self._config.api == "chat" else client.completions
        limit = int(self._config.max_answer_mib * 2**20)
        received = bytearray()
        async with resource.with_streaming_response.create(**body, extra_body=self._config.extra or None) as response:
            async for chunk in response.iter_bytes():
                received += chunk
                if len(received) > limit:
                    raise _TooLargeError
            headers = {name.lower(): value for name, value in response.headers.items()}
        return bytes(received), headers


class _TooLargeError(Exception):
    """The answer is larger than the limit."""


def _passing(state: RetryCallState) -> PassingError:
    """The error of the attempt that tenacity asks about."""
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, PassingError)
    return error


def _usage_of(fault: Fault) -> Usage | None:
    """Return what an error without a usage cost: nothing, or None if nobody can know."""
    # A gateway may have given up on an answer that was written, and is paid for, all the same.
    is_unknown = fault.status in (0, 408) or fault.status >= 500
    return None if is_unknown else Usage(0, 0)


@functools.cache
def _transport_errors() -> tuple[type[Exception], ...]:
    """What a connection that breaks while an answer is read raises: the errors of whichever library the client stands on."""
    found: list[type[Exception]] = [OSError, EOFError]
    for name in ("httpx", "httpx2"):
        with contextlib.suppress(ImportError):
            library = importlib.import_module(name)
            found += [library.HTTPError, library.StreamError, library.InvalidURL]
    return tuple(found)


def _was_not_sent(error: BaseException) -> bool:
    """Whether the connection failed before anything was sent, so that nothing can have been paid for."""
    return type(error.__cause__).__name__.startswith(("Connect", "Pool", "Unsupported"))


def _raise_tls(error: BaseException, url: str) -> None:
    """TeacherRefusedError where the connection failed over its encryption."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(cause) or "[SSL" in str(cause):
            raise TeacherRefusedError(
                f"No encrypted connection to {url}: {cause}.",
                hint="Check that the address takes https, and that its certificate is trusted (SSL_CERT_FILE names more).",
            ) from None
        cause = cause.__cause__ or cause.__context__
