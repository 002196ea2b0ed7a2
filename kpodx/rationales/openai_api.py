"""A teacher behind an OpenAI-compatible API, asked through the official client.

Many requests are under way at a time; each is sent again after errors that pass (408, 409, 429, 5xx, timeouts, broken
connections, answers that are no JSON), with growing pauses, and the phase stops at once after errors that do not (400, 401, 403,
404). Nothing is sent that could break the budget.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import itertools
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kpodx.config import nearest
from kpodx.errors import (
    KpodxError,
    TeacherError,
    TeacherRefusedError,
)
from kpodx.rationales.access import Access, new_client, require_openai
from kpodx.rationales.config import OpenAIConfig
from kpodx.rationales.pacing import Clock, MonotonicClock, Pace, retry_after
from kpodx.rationales.replicas import Replica, Replicas
from kpodx.rationales.requests import Completion, Failure, Request, Usage
from kpodx.rationales.secrets import Secrets, public_url
from kpodx.rationales.spending import Spending, raise_budget_spent
from kpodx.rationales.teachers import Outlet
from kpodx.rationales.wire import item_reason, outcome_of, parse_body, request_body
from kpodx.runtime import Progress

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from tenacity import RetryCallState

_FIRST_ATTEMPTS = 3
"""How often a server that has never answered is tried before the address is taken to be wrong."""
_SILENT_REQUESTS = 10
"""How many requests in a row may go unanswered before the teacher counts as gone."""
_LONGEST_PAUSE_SECONDS = 60.0
_GRACE_SECONDS = 10.0
"""How long answers under way are waited for after something else stopped the asking."""


class PassingError(Exception):
    """An error after which the request is sent again.

    Args:
        why: what went wrong, for people, without secrets.
        wait_seconds: how long the server wants peace, None where it does not say.
        is_answer: whether the server was reached and speaks the API, so that the address is right.
    """

    def __init__(self, why: str, wait_seconds: float | None = None, *, is_answer: bool = True) -> None:
        super().__init__(why)
        self.why, self.wait_seconds, self.is_answer = why, wait_seconds, is_answer


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

    def ask(self, requests: Sequence[Request], outlet: Outlet, progress: Progress, description: str) -> None:
        """Ask for every request, and deliver each outcome as it comes.

        Raises:
            BudgetSpentError: the next request could break a cap.
            TeacherRefusedError: a key, model or request is refused.
            TeacherError: requests stay unanswered.
        """
        with self._access.secrets.kept_out_of_logs(), _one_error():
            asking = _Asking(self._config, self._access, self._spending, self._paces, self._clock, outlet, progress)
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
        clock: Clock,
        outlet: Outlet,
        progress: Progress,
    ) -> None:
        self._config, self._access, self._spending, self._paces = config, access, spending, paces
        self._clock, self._outlet, self._progress = clock, outlet, progress
        self._stop: Exception | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._sending: set[asyncio.Task[None] | None] = set()
        self._has_answered = False
        self._silent_in_a_row = 0
        self._unanswered: list[tuple[Request, str]] = []
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
            ticks = self._progress.track(itertools.count(), total=len(requests), description=description)
            next(ticks)
            async with asyncio.TaskGroup() as group:
                self._workers = [
                    group.create_task(self._work(waiting, ticks))
                    for _ in range(min(self._config.concurrency, len(requests)))
                ]
        if self._stop:
            # Without what led to it: the client's own errors quote headers and answers.
            raise self._stop.with_traceback(None) from None
        if self._unanswered:
            raise self._gone(f"{len(self._unanswered)} of {len(requests)} requests went unanswered")

    async def _work(self, waiting: Iterator[Request], ticks: Iterator[int]) -> None:
        for request in waiting:
            try:
                # Another process may have asked meanwhile.
                self._outlet.deliver(self._outlet.find(request) or await self._answer(request))
            except PassingError as error:
                self._silent(request, error)
            except (KpodxError, OSError) as error:
                self._halt(error)
            else:
                self._silent_in_a_row = 0
                next(ticks)
            if self._stop:
                return

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
        """A request stays unanswered; where nothing is answered any more, the rest is not even tried."""
        self._unanswered.append((request, error.why))
        self._silent_in_a_row += 1
        if not self._has_answered and not error.is_answer:
            where = ", ".join(map(public_url, self._access.urls))
            self._halt(
                TeacherRefusedError(
                    f"{where} does not answer as an OpenAI-compatible API does: {error.why}.",
                    hint="Check the address (rationales.openai.base_urls or OPENAI_BASE_URL; it usually ends with /v1), and "
                    "that the server runs.",
                )
            )
        elif self._silent_in_a_row >= _SILENT_REQUESTS:
            self._halt(self._gone(f"{_SILENT_REQUESTS} requests in a row went unanswered"))

    def _gone(self, what: str) -> TeacherError:
        request, why = self._unanswered[-1]
        return TeacherError(
            f"{self._config.model}: {what}, sent up to {self._config.max_attempts} times each; the last, about question "
            f"{request.question_id}: {why}.",
            hint="What was answered is kept: run the same command again to ask for the rest.",
        )

    async def _answer(self, request: Request) -> Completion | Failure:
        """The outcome of one request, sent as often as needed; PassingError where that was not enough."""
        from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

        growing = wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE_SECONDS)

        def wait(state: RetryCallState) -> float:
            asked = _passing(state).wait_seconds
            # What the server asks for, and a little more, so that not all come back at the same moment.
            return growing(state) if asked is None else asked + min(growing(state), 1.0)

        def enough(state: RetryCallState) -> bool:
            is_new = not self._has_answered and not _passing(state).is_answer
            attempts = min(_FIRST_ATTEMPTS, self._config.max_attempts) if is_new else self._config.max_attempts
            return self._stop is not None or state.attempt_number >= attempts

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(PassingError), wait=wait, stop=enough, sleep=self._clock.sleep, reraise=True
        )
        return await retrying(self._send, request)

    async def _send(self, request: Request) -> Completion | Failure:
        """Send once, when a server is free, its pace allows it and the budget holds it."""
        with self._replicas.one() as replica:
            number = await self._reserve(request)
            try:
                entry = await replica.pace.acquire(request.max_prompt_tokens + request.max_tokens)
            except BaseException:
                self._spending.settle(number, Usage(0, 0))
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
        while (number := self._spending.reserve(request)) is None:
            if self._spending.under_way == 0:
                raise_budget_spent(self._spending)
            self._settled.clear()
            await self._settled.wait()
        return number

    async def _exchange(self, request: Request, replica: Replica, number: int) -> Completion | Failure:
        """One request and its answer; what it cost is settled, at its bound where nobody can know."""
        import openai

        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                content, headers = await self._post(request, replica.client)
        except openai.APIStatusError as error:
            # A gateway may have given up on an answer that was written, and is paid for, all the same.
            is_unknown = error.status_code == 408 or error.status_code >= 500
            self._spending.settle(number, None if is_unknown else Usage(0, 0))
            return await self._refused(request, replica, error)
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
        return self._read(request, replica, number, content, headers, time.monotonic() - begun)

    def _words(self, error: BaseException) -> str:
        return self._access.secrets.hide(str(error).strip().rstrip(".")) or type(error).__name__

    async def _post(self, request: Request, client: AsyncOpenAI) -> tuple[bytes, dict[str, str]]:
        """Send, and read the answer up to the limit."""
        resource: Any = client.chat.completions if self._config.api == "chat" else client.completions
        body = request_body(request, self._config)
        limit = int(self._config.max_answer_mib * 2**20)
        received = bytearray()
        async with resource.with_streaming_response.create(**body, extra_body=self._config.extra or None) as response:
            async for chunk in response.iter_bytes():
                received += chunk
                if len(received) > limit:
                    raise _TooLargeError
            headers = {name.lower(): value for name, value in response.headers.items()}
        return bytes(received), headers

    def _read(
        self,
        request: Request,
        replica: Replica,
        number: int,
        content: bytes,
        headers: Mapping[str, str],
        seconds: float,
    ) -> Completion | Failure:
        try:
            body = parse_body(content, headers.get("content-type", ""), self._access.secrets)
        except ValueError as error:
            self._spending.settle(number, None)
            self._replicas.failed(replica, unreachable=False)
            raise PassingError(str(error), is_answer=False) from None
        self._spending.settle(number, body.usage)
        return outcome_of(body, request, self._access.secrets, replica.url, seconds)

    async def _refused(self, request: Request, replica: Replica, error: Any) -> Failure:
        """What to do about an answer with an error's status."""
        status, said = int(error.status_code), _said(error, self._access.secrets)
        headers = {name.lower(): value for name, value in error.response.headers.items()}
        code = str(getattr(error, "code", None) or "")
        if status in (400, 413, 422) and (reason := item_reason(code, said)):
            return Failure(request, reason)
        if status in (408, 409, 425) or (status == 429 and code != "insufficient_quota") or status >= 500:
            wait = retry_after(headers, time.time())
            if status == 429 or wait is not None:
                replica.pace.rest(wait if wait is not None else 1.0)
                replica.pace.learn(headers)
            if wait is not None and wait > _LONGEST_PAUSE_SECONDS:
                self._progress.note(f"{replica.url} wants {wait:.0f} seconds of rest.")
            if status >= 500:
                self._replicas.failed(replica, unreachable=False)
            speaks_the_api = isinstance(error.body, dict)
            raise PassingError(f"{replica.url} answered {status}: {said}", wait, is_answer=speaks_the_api)
        raise await self._refusal(status, said, request, replica)

    async def _refusal(self, status: int, said: str, request: Request, replica: Replica) -> TeacherRefusedError:
        hints = {
            401: f"Check the key in {self._config.api_key_env}.",
            403: f"The key in {self._config.api_key_env} may not use this model or server.",
            429: "The account's quota is used up: see its billing page.",
        }
        hint = hints.get(
            status,
            f"The request about question {request.question_id} was refused; see rationales.openai and rationales.sampling.",
        )
        if status == 404:
            hint = await self._known_models(replica)
        raise TeacherRefusedError(
            f"{replica.url} answered {status} for model {self._config.model!r}: {said}", hint=hint
        )

    async def _known_models(self, replica: Replica) -> str:
        """What the server says that it has."""
        import openai

        names: list[str] = []
        with contextlib.suppress(openai.OpenAIError, TimeoutError, AttributeError, TypeError, ValueError):
            async with asyncio.timeout(10):
                names = [str(model.id) for model in (await replica.client.models.list()).data]
        if not names:
            return "Check the address, which usually ends with /v1, and the model's name."
        guess = nearest(self._config.model, names)
        shown = self._access.secrets.hide(", ".join(names[:8]))
        return (f"Did you mean {guess!r}? " if guess else "") + f"The server has: {shown}."


class _TooLargeError(Exception):
    """The answer is larger than the limit."""


def _passing(state: RetryCallState) -> PassingError:
    """The error of the attempt that tenacity asks about."""
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, PassingError)
    return error


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


def _said(error: Any, secrets: Secrets) -> str:
    """The server's own words, in one line, without secrets."""
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    # Hidden first: a cut would leave part of a key that nothing recognises.
    text = secrets.hide(" ".join(str(message or error.response.text or "no words").split()))
    return text if len(text) <= 300 else text[:300] + "…"


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
