"""A teacher behind OpenAI's Batch API (/v1/batches): half the price at OpenAI, and done within a day.

The requests go up as one file; all of them are written down first, with a tag that finds their batch at the server. So a stopped
run finds its batch again, whatever else of its settings changed, and does not pay for a second one.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpodx.artifacts import read_json, write_json
from kpodx.errors import TeacherError, TeacherRefusedError
from kpodx.rationales.access import Access, new_client, require_openai
from kpodx.rationales.config import OpenAIConfig
from kpodx.rationales.dialect import Dialect
from kpodx.rationales.faults import Fault, judge_fault, read_fault
from kpodx.rationales.hints import about, hint_of, parameter_hint
from kpodx.rationales.pacing import Clock, MonotonicClock
from kpodx.rationales.replies import parse_reply
from kpodx.rationales.requests import Completion, Failure, Message, Request, Usage
from kpodx.rationales.secrets import public_url
from kpodx.rationales.spending import Spending, raise_budget_spent
from kpodx.rationales.teachers import Outlet
from kpodx.rationales.wire import outcome_of
from kpodx.runtime import Progress

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MAX_REQUESTS = 50_000
"""Most requests of one batch at OpenAI."""

MAX_BYTES = 190_000_000
"""Most bytes of its file; the limit at OpenAI is 200 MB."""

_TAG = "kpodx"
_ENDED = ("completed", "failed", "expired", "cancelled")


class BatchTeacher:
    """A model behind the Batch API of the first address.

    Args:
        config: the settings.
        access: addresses and key.
        spending: the log and caps of what is spent.
        state: file where the batch under way is written down; the run's own, since phases come and go.
        clock: waits between two looks; replaced in tests.
    """

    def __init__(
        self, config: OpenAIConfig, access: Access, spending: Spending, state: Path, clock: Clock | None = None
    ) -> None:
        require_openai()
        self.model = self.label = config.model
        self._config, self._access, self._spending = config, access, spending
        self._state, self._clock = state, clock or MonotonicClock()
        self._dialect = self._sent_with = Dialect(config)
        self._last_words: list[str] = []
        self._refusal: TeacherRefusedError | None = None

    def ask(self, requests: Sequence[Request], outlet: Outlet, progress: Progress, description: str) -> None:
        """Send what the budget holds in batches, wait for each, and deliver its outcomes.

        Raises:
            BudgetSpentError: the budget does not hold all requests; those that it held are done.
            TeacherError: the batch failed, or left requests unanswered.
        """
        with self._access.secrets.kept_out_of_logs():
            asyncio.run(self._all(requests, outlet, progress, description))

    async def _all(self, requests: Sequence[Request], outlet: Outlet, progress: Progress, description: str) -> None:
        import openai

        waiting = {request.key: request for request in requests}
        url = self._access.urls[0]
        try:
            # Looking again costs nothing; making a batch again does, and is never done by the client itself.
            async with new_client(url, self._access, self._config.timeout_seconds, max_retries=5) as client:
                if self._state.is_file():
                    for key in await self._resume(client, outlet, progress, description):
                        waiting.pop(key, None)
                while waiting:
                    version = self._dialect.version
                    batch = await self._submit(client, waiting)
                    answered = await self._finish(client, batch, outlet, progress, description)
                    missing = len(batch.requests.keys() - answered)
                    if self._dialect.version != version:
                        words = self._dialect.adapted(next(iter(batch.requests.values())))
                        progress.note(f"{public_url(url)} wants other parameters: {words}.")
                    elif missing:
                        raise self._refusal or self._unanswered(missing, batch)
                    for key in answered:
                        del waiting[key]
        except openai.OpenAIError as error:
            words = self._access.secrets.hide(" ".join(str(error).split()))[:300]
            status = getattr(error, "status_code", None)
            kind = TeacherRefusedError if status in (400, 401, 403, 404) else TeacherError
            under_way = f" The batch under way is written down in {self._state}." if self._state.is_file() else ""
            raise kind(
                f"The Batch API of {public_url(url)} failed: {words}{under_way}",
                hint="Run the same command again to go on; without a Batch API set rationales.openai.batch=false.",
            ) from None

    async def _resume(self, client: AsyncOpenAI, outlet: Outlet, progress: Progress, description: str) -> set[str]:
        """Finish the batch that an earlier process wrote down, and return what it answered; what it left is asked for anew."""
        batch = load_batch(self._state)
        if batch.id is None:
            found = [made.id async for made in client.batches.list(limit=100) if _tag_of(made) == batch.tag]
            if not found:
                self._forget(batch)
                return set()
            batch = dataclasses.replace(batch, id=found[0])
        return await self._finish(client, batch, outlet, progress, description)

    def _forget(self, batch: Batch) -> None:
        """Nothing of a batch is under way any more, and what was reserved for it and has no end was not spent."""
        for number in batch.reserved.values():
            self._spending.settle_if_open(number, Usage(0, 0))
        self._state.unlink()

    async def _submit(self, client: AsyncOpenAI, waiting: Mapping[str, Request]) -> Batch:
        """Send one batch of what the budget holds, after it is written down."""
        import openai

        path = "/v1/chat/completions" if self._config.api == "chat" else "/v1/completions"
        reserved: dict[str, int] = {}
        content = bytearray()
        for key, request in waiting.items():
            body = {**self._dialect.body(request), **self._config.extra}
            record = {"custom_id": key, "method": "POST", "url": path, "body": body}
            line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
            if len(reserved) == MAX_REQUESTS or len(content) + len(line) > MAX_BYTES:
                break
            number = self._spending.reserve(request)
            if number is None:
                break
            reserved[key] = number
            content += line
        if not reserved:
            raise_budget_spent(self._spending)
        adapted = {key: self._dialect.adapted(waiting[key]) for key in reserved}
        batch = Batch(uuid.uuid4().hex, None, {key: waiting[key] for key in reserved}, reserved, adapted)
        save_batch(self._state, batch)
        try:
            uploaded = await client.files.create(file=("requests.jsonl", bytes(content)), purpose="batch")
        except openai.OpenAIError:
            # A file alone costs nothing.
            self._forget(batch)
            raise
        try:
            made = await client.with_options(max_retries=0).batches.create(
                input_file_id=uploaded.id,
                endpoint=path,  # type: ignore[arg-type]
                completion_window="24h",
                metadata={_TAG: batch.tag},
            )
        except openai.APIStatusError as error:
            if error.status_code < 500 and error.status_code != 408:
                self._forget(batch)
            raise
        batch = dataclasses.replace(batch, id=made.id)
        save_batch(self._state, batch)
        return batch

    async def _finish(
        self, client: AsyncOpenAI, batch: Batch, outlet: Outlet, progress: Progress, description: str
    ) -> set[str]:
        """Wait for a batch, deliver what it holds, and return the keys of what it answered."""
        assert batch.id is not None
        made = await client.batches.retrieve(batch.id)
        with _counting(progress, len(batch.requests), f"{description} (batch {made.id})") as count:
            while made.status not in _ENDED:
                count(made.request_counts.completed if made.request_counts else 0)
                await self._clock.sleep(self._config.batch_poll_seconds)
                made = await client.batches.retrieve(batch.id)
        errors = getattr(made.errors, "data", None) or []
        self._last_words = [f"{made.status}: {error.message}" for error in errors] or [str(made.status)]
        # What the first refused line teaches must not change what the others are known to have sent.
        self._sent_with = copy.copy(self._dialect)
        answered, doubtful = set[str](), list[_Doubtful]()
        for file in (made.output_file_id, made.error_file_id):
            content = (await client.files.content(file)).content if file else b""
            for record in _lines(content):
                key = str(record.get("custom_id"))
                if key not in batch.requests:
                    continue
                outcome = self._read(record, batch, key)
                if isinstance(outcome, Completion | Failure):
                    outlet.deliver(outcome)
                    answered.add(key)
                elif outcome is not None:
                    doubtful.append(outcome)
        for one in doubtful:
            # A server that answers others is not to blame; one that fails now may answer another run.
            if outlet.is_proven or (answered and not one.is_down):
                outlet.deliver(one.failure)
                answered.add(one.failure.request.key)
        self._forget(batch)
        return answered

    def _read(self, record: Mapping[str, Any], batch: Batch, key: str) -> Completion | Failure | _Doubtful | None:
        """Return what one line of the output or of the errors means; None if the request has to be sent again."""
        request, number = batch.requests[key], batch.reserved[key]
        response = record.get("response")
        response = response if isinstance(response, Mapping) else {}
        document, status = response.get("body"), response.get("status_code")
        if status != 200:
            said = {"error": document["error"]} if isinstance(document, Mapping) and document.get("error") else document
            content = json.dumps(said or {"error": record.get("error")}).encode()
            return self._treat(read_fault(status if isinstance(status, int) else 0, content), request)
        try:
            reply = parse_reply(json.dumps(document).encode(), "application/json", self._access.secrets)
        except ValueError as error:
            self._spending.settle_if_open(number, None)
            self._last_words.append(str(error))
            return _Doubtful(Failure(request, "broken_answer"))
        self._spending.settle_if_open(number, reply.body.usage)
        if reply.fault is not None:
            return self._treat(reply.fault, request)
        server = public_url(self._access.urls[0])
        outcome = outcome_of(reply.body, request, self._access.secrets, server, 0.0, batch.adapted.get(key, ""))
        is_broken = isinstance(outcome, Failure) and outcome.reason == "server_error"
        return _Doubtful(outcome) if isinstance(outcome, Failure) and is_broken else outcome

    def _treat(self, fault: Fault, request: Request) -> Failure | _Doubtful | None:
        """Return what an error means for its request; None if it has to be sent again."""
        self._last_words.append(f"{fault.status}: {fault.words}")
        verdict, sent = judge_fault(fault), {**self._sent_with.body(request), **self._config.extra}
        failure = Failure(request, verdict.reason or "refused_request", self._access.secrets.hide(fault.words))
        if verdict.action == "reject":
            return failure
        if verdict.action == "wait" or self._dialect.adapt(fault, sent):
            return None
        if verdict.action == "retry":
            return _Doubtful(failure, is_down=True)
        said = about(fault, public_url(self._access.urls[0]), self._config, self._access.secrets)
        hint = parameter_hint(fault, sent) or hint_of(verdict.topic, self._config, request)
        self._refusal = TeacherRefusedError(said, hint=hint)
        return _Doubtful(failure) if verdict.action == "refuse" else None

    def _unanswered(self, count: int, batch: Batch) -> TeacherError:
        words = self._access.secrets.hide(self._last_words[-1])[:200]
        return TeacherError(
            f"The batch {batch.id} ended with {count} of {len(batch.requests)} requests unanswered ({words}).",
            hint="What was answered is kept: run the same command again to ask for the rest.",
        )


@dataclass(frozen=True)
class _Doubtful:
    """A failure that may be the server's instead of the request's; `is_down` if a server that is down answers like this."""

    failure: Failure
    is_down: bool = False


@dataclass(frozen=True)
class Batch:
    """A batch as it is written down.

    Attributes:
        tag: what finds it at the server.
        id: the server's name for it, None as long as nobody knows whether it was made.
        requests: by key.
        reserved: number of each request in the log of the spending, by key.
        adapted: what was changed about each request, by key; empty for nothing.
    """

    tag: str
    id: str | None
    requests: Mapping[str, Request]
    reserved: Mapping[str, int]
    adapted: Mapping[str, str] = field(default_factory=dict)


def save_batch(path: Path, batch: Batch) -> None:
    """Write a batch down, atomically."""
    requests = []
    for request in batch.requests.values():
        fields = dataclasses.asdict(request)
        key = request.key
        requests.append({**fields, "reserved": batch.reserved[key], "adapted": batch.adapted.get(key, "")})
    write_json(path, {"tag": batch.tag, "id": batch.id, "requests": requests})


def load_batch(path: Path) -> Batch:
    """Read what `save_batch` wrote."""
    document = read_json(path)
    requests, reserved, adapted = {}, {}, {}
    for fields in document["requests"]:
        number, changes = fields.pop("reserved"), fields.pop("adapted", "")
        messages = tuple(Message(**message) for message in fields.pop("messages"))
        request = Request(messages=messages, **fields)
        requests[request.key], reserved[request.key], adapted[request.key] = request, number, changes
    return Batch(document["tag"], document["id"], requests, reserved, adapted)


def _tag_of(batch: Any) -> str | None:
    return (batch.metadata or {}).get(_TAG)


def _lines(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                yield record


@contextlib.contextmanager
def _counting(progress: Progress, total: int, description: str) -> Iterator[Any]:
    """A function that shows how many of `total` are done."""
    shown = progress.track(iter(range(total + 1)), total=total, description=description)
    position = next(shown, 0)

    def count(done: int) -> None:
        nonlocal position
        while position < done:
            position = next(shown, total)

    yield count
