"""A teacher behind OpenAI's Batch API (/v1/batches): half the price at OpenAI, and done within a day.

The requests go up as one file; what was sent is written down first, so that a killed phase finds its batch again and does not pay
for a second one. Results are read by their custom id, which is the request's key.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpodx.artifacts import read_json, write_json
from kpodx.errors import TeacherError, TeacherRefusedError
from kpodx.rationales.config import OpenAIConfig
from kpodx.rationales.openai_api import (
    ITEM_CODES,
    Access,
    new_client,
    outcome_of,
    parse_body,
    raise_budget_spent,
    request_body,
    require_openai,
)
from kpodx.rationales.pacing import Clock, MonotonicClock
from kpodx.rationales.requests import Failure, Request, Usage
from kpodx.rationales.secrets import public_url
from kpodx.rationales.spending import Spending
from kpodx.rationales.teachers import Deliver
from kpodx.runtime import Progress

if TYPE_CHECKING:
    from openai import AsyncOpenAI

STATE = "batch.json"
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
        folder: where the batch under way is written down.
        clock: waits between two looks; replaced in tests.
    """

    def __init__(
        self, config: OpenAIConfig, access: Access, spending: Spending, folder: Path, clock: Clock | None = None
    ) -> None:
        require_openai()
        self.model = self.label = config.model
        self._config, self._access, self._spending = config, access, spending
        self._state, self._clock = folder / STATE, clock or MonotonicClock()

    def ask(self, requests: Sequence[Request], deliver: Deliver, progress: Progress, description: str) -> None:
        """Send what the budget holds in batches, wait for each, and deliver its outcomes.

        Raises:
            BudgetSpentError: the budget does not hold all requests; those that it held are done.
            TeacherError: the batch failed, or left requests unanswered.
        """
        with self._access.secrets.kept_out_of_logs():
            asyncio.run(self._all(requests, deliver, progress, description))

    async def _all(self, requests: Sequence[Request], deliver: Deliver, progress: Progress, description: str) -> None:
        import openai

        waiting = {request.key: request for request in requests}
        url = self._access.urls[0]
        try:
            async with new_client(url, self._access, self._config.timeout_seconds, max_retries=5) as client:
                if self._state.is_file():
                    await self._resume(client, waiting, deliver, progress, description)
                while waiting:
                    state = await self._submit(client, waiting)
                    await self._finish(client, state, waiting, deliver, progress, description)
        except openai.OpenAIError as error:
            words = " ".join(self._access.secrets.hide(str(error)).split())[:300]
            status = getattr(error, "status_code", None)
            kind = TeacherRefusedError if status in (400, 401, 403, 404) else TeacherError
            raise kind(
                f"The Batch API of {public_url(url)} failed: {words}",
                hint="Run the same command again to go on; without a Batch API set rationales.openai.batch=false.",
            ) from None

    async def _resume(
        self, client: AsyncOpenAI, waiting: dict[str, Request], deliver: Deliver, progress: Progress, description: str
    ) -> None:
        """Go on with the batch that an earlier process wrote down; one that never reached the server is forgotten."""
        state = read_json(self._state)
        if state["batch"] is None:
            found = [batch.id async for batch in client.batches.list(limit=100) if _tag_of(batch) == state["tag"]]
            if not found:
                self._forget(state["requests"])
                return
            state["batch"] = found[0]
        await self._finish(client, state, waiting, deliver, progress, description)

    def _forget(self, reserved: Mapping[str, int]) -> None:
        """Nothing of a batch is under way any more, and what was reserved for it was not spent."""
        for number in reserved.values():
            self._spending.settle_if_open(number, Usage(0, 0))
        self._state.unlink()

    async def _submit(self, client: AsyncOpenAI, waiting: Mapping[str, Request]) -> dict[str, Any]:
        """Send one batch of what the budget holds. It is written down before, with a tag that finds it again at the server."""
        path = "/v1/chat/completions" if self._config.api == "chat" else "/v1/completions"
        reserved: dict[str, int] = {}
        content = bytearray()
        for key, request in waiting.items():
            body = {**request_body(request, self._config), **self._config.extra}
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
        state = {"tag": uuid.uuid4().hex, "batch": None, "requests": reserved}
        write_json(self._state, state)
        uploaded = await client.files.create(file=("requests.jsonl", bytes(content)), purpose="batch")
        batch = await client.batches.create(
            input_file_id=uploaded.id,
            endpoint=path,  # type: ignore[arg-type]
            completion_window="24h",
            metadata={_TAG: str(state["tag"])},
        )
        state["batch"] = batch.id
        write_json(self._state, state)
        return state

    async def _finish(
        self,
        client: AsyncOpenAI,
        state: Mapping[str, Any],
        waiting: dict[str, Request],
        deliver: Deliver,
        progress: Progress,
        description: str,
    ) -> None:
        """Wait for a batch, and deliver what it holds; its requests are no longer waiting."""
        total = len(state["requests"])
        batch = await client.batches.retrieve(state["batch"])
        with _counting(progress, total, f"{description} (batch {batch.id})") as count:
            while batch.status not in _ENDED:
                count(batch.request_counts.completed if batch.request_counts else 0)
                await self._clock.sleep(self._config.batch_poll_seconds)
                batch = await client.batches.retrieve(batch.id)
        answered = set()
        for file in (batch.output_file_id, batch.error_file_id):
            content = (await client.files.content(file)).content if file else b""
            for record in _lines(content):
                request = waiting.get(str(record.get("custom_id")))
                if request and self._deliver(record, request, state["requests"].get(request.key), deliver):
                    answered.add(request.key)
        self._forget(state["requests"])
        for key in answered:
            del waiting[key]
        if len(answered) < total:
            raise TeacherError(
                f"The batch {batch.id} ended as {batch.status} with {total - len(answered)} of {total} requests unanswered"
                f"{self._why(batch)}.",
                hint="What was answered is kept: run the same command again to ask for the rest.",
            )

    def _deliver(self, record: Mapping[str, Any], request: Request, number: int | None, deliver: Deliver) -> bool:
        """Deliver one line of the output or of the errors; False where the request has to be sent again."""
        response = record.get("response") or {}
        document = response.get("body") or {}
        if response.get("status_code") != 200:
            code = str(((document.get("error") if isinstance(document, dict) else None) or {}).get("code"))
            if code in ITEM_CODES:
                deliver(Failure(request, ITEM_CODES[code]))
            return code in ITEM_CODES
        try:
            body = parse_body(json.dumps(document).encode(), "application/json")
        except ValueError:
            return False
        if number is not None:
            self._spending.settle_if_open(number, body.usage)
        deliver(outcome_of(body, request, self._access, public_url(self._access.urls[0]), 0.0))
        return True

    def _why(self, batch: Any) -> str:
        errors = getattr(batch.errors, "data", None) or []
        return self._access.secrets.hide(f": {errors[0].message}") if errors else ""


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
