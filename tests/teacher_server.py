"""A server that speaks OpenAI's API, badly on request; also a program, for tests that need a second process.

    python tests/teacher_server.py --port 0 --log requests.jsonl --fault-share 0.2

Every request is a line of its log: the prompt, what was done with it, and the tokens that it is charged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import queue
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

PASSING = ("408", "409", "429", "429-after", "500", "503", "reset", "cut", "garbage", "hang", "html")
"""Faults after which a request is sent again."""

FAILURES = ("length", "content_filter", "empty", "refusal")
"""Answers that hold no rationale."""

Plan = Callable[[str, int], str]
"""What to do with a prompt that comes for the n-th time (from 0): "ok", a fault's name, "text:…" for an answer, or the name of one
of the server's `replies`."""


@dataclass(frozen=True)
class Raw:
    """An answer, byte for byte."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    tokens: int = 0


def solve(prompt: str) -> str:
    """A right answer to "What is 3 plus 4?", and 5 for anything else."""
    numbers = re.findall(r"What is (\d+) plus (\d+)", prompt)
    if not numbers:
        return "It is 5. Therefore, the answer is 5."
    one, other = map(int, numbers[-1])
    return f"We add. {one} + {other} = {one + other}. Therefore, the answer is {one + other}."


@dataclass
class Log:
    """What the server did; kept in a file too where there is one."""

    path: Path | None = None
    entries: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **entry: Any) -> None:
        self.entries.append(entry)
        if self.path:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["done"] == kind]

    @property
    def tokens(self) -> int:
        """All tokens that were charged."""
        return sum(entry["tokens"] for entry in self.entries)


class Batches:
    """The Batch API: every batch is done at the third look at it.

    Attributes:
        outcome: what becomes of a line: "ok", an HTTP status with a code ("400:content_filter"), "ok:broken" or "lost".
        refuses_body: answers the body of a line itself, if it refuses it.
        status: how batches end.
    """

    def __init__(self) -> None:
        self.outcome: Callable[[str], str] = lambda _prompt: "ok"
        self.refuses: dict[str, int] = {}
        self.refuses_body: Callable[[dict[str, Any]], Raw | None] = lambda _body: None
        self.status = "completed"
        self.files: dict[str, bytes] = {}
        self.made: dict[str, dict[str, Any]] = {}
        self.looks: dict[str, int] = {}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """(status, body) of one request; `refuses` gives what is posted ("files", "batches") a status, although it is done."""
        result = self._answer(method, path, body)
        status = self.refuses.get(path.rsplit("/", 1)[-1]) if method == "POST" else None
        return (status, b'{"error": {"message": "refused"}}') if status else result

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if method == "POST" and path.endswith("/files"):
            boundary = body.split(b"\r\n", 1)[0]
            parts = [part for part in body.split(boundary) if b"filename=" in part]
            name = f"file-{len(self.files)}"
            self.files[name] = parts[0].split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            return 200, json.dumps({"id": name, "object": "file"}).encode()
        if method == "POST":
            request = json.loads(body)
            name = f"batch-{len(self.made)}"
            self.made[name] = {"id": name, "object": "batch", "status": "validating", **request}
            return 200, json.dumps(self.made[name]).encode()
        last = path.split("?")[0].rsplit("/", 1)[-1]
        if last == "batches":
            return 200, json.dumps({"object": "list", "data": list(self.made.values()), "has_more": False}).encode()
        if last == "content":
            return 200, self.files[path.rsplit("/", 2)[-2]]
        self.looks[last] = self.looks.get(last, 0) + 1
        if self.looks[last] == 3:
            self._finish(self.made[last])
        return 200, json.dumps(self.made[last]).encode()

    def _finish(self, batch: dict[str, Any]) -> None:
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].decode().splitlines():
            request = json.loads(line)
            prompt = request["body"]["messages"][-1]["content"]
            what = self.outcome(prompt)
            refused = self.refuses_body(request["body"])
            status, _, code = what.partition(":") if refused is None else (str(refused.status), "", "")
            body: dict[str, Any] = {"error": {"message": what, "code": code}}
            if refused is not None:
                body = json.loads(refused.body)
            elif what == "ok:broken":
                what, status, body = "ok", "200", {"hello": "world"}
            elif what == "ok":
                message = {"role": "assistant", "content": solve(prompt)}
                usage = {"prompt_tokens": 9, "completion_tokens": 12}
                body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
            number = int(status) if status.isdigit() else 200 if what == "ok" else 500
            response = {"status_code": number, "body": body}
            if what != "lost":
                (good if number == 200 else bad).append(
                    json.dumps({"custom_id": request["custom_id"], "response": response})
                )
        batch["status"] = self.status
        for key, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                batch[key] = f"{batch['id']}-{key}"
                self.files[batch[key]] = "\n".join(lines).encode()


class TeacherServer:
    """Answers each request as `plan` says; `delay` is how long a good answer takes, in seconds."""

    def __init__(self, plan: Plan = lambda _prompt, _count: "ok", delay: float = 0.0, log: Path | None = None) -> None:
        self.plan, self.delay, self.log = plan, delay, Log(log)
        self.models = ["tiny-teacher"]
        self.seen: dict[str, int] = {}
        self.headers: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.under_way = self.most_under_way = 0
        self.url = ""
        self.batches = Batches()
        self.hidden_prompt = 0
        self.replies: dict[str, Raw] = {}
        self.refuses: Callable[[dict[str, Any]], Raw | None] = lambda _body: None
        self.writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=512)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                while await self._one(reader, writer):
                    pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = head.split(" ")[1]
        self.headers.append(headers)
        if path.endswith("/models"):
            document = {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
            return await self._write(writer, 200, json.dumps(document).encode())
        if "/batches" in path or "/files" in path:
            return await self._write(writer, *self.batches.answer(head.split(" ")[0], path, body))
        request = json.loads(body)
        self.bodies.append(request)
        if not path.endswith("/completions"):
            return await self._error(writer, 404, f"there is no {path}")
        if request["model"] not in self.models:
            return await self._error(writer, 404, f"The model {request['model']} does not exist", "model_not_found")
        prompt = request.get("prompt") or "\n".join(message["content"] for message in request["messages"])
        count = self.seen.get(prompt, 0)
        self.seen[prompt] = count + 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._do(self.plan(prompt, count), prompt, request, writer)
        finally:
            self.under_way -= 1

    async def _do(self, what: str, prompt: str, request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        raw = self.refuses(request) or self.replies.get(what)
        if raw is not None:
            await asyncio.sleep(self.delay)
            self.log.add(prompt=prompt, done=what, tokens=raw.tokens)
            return await self._write(writer, raw.status, raw.body, headers=raw.headers)
        if what in ("ok", *FAILURES) or what.startswith("text:"):
            await asyncio.sleep(self.delay)
            return await self._answer(what, prompt, request, writer)
        charged = self._charge(prompt, request) if what in ("cut", "reset", "hang", "garbage", "html", "huge") else 0
        self.log.add(prompt=prompt, done=what, tokens=charged)
        if what.startswith("say:"):
            _, status, words = what.split(":", 2)
            # As vLLM has it: the code is the status once more.
            return await self._error(writer, int(status), words, status)
        if what.startswith("raw:"):
            return await self._write(writer, 200, what[4:].encode())
        if what.startswith("echo"):
            return await self._error(writer, int(what[4:]), f"bad key {self.headers[-1].get('authorization')}")
        if what[:3].isdigit():
            extra = {"retry-after-ms": "20"} if what == "429-after" else {}
            return await self._error(writer, int(what[:3]), f"fault {what}", what[4:] or None, extra)
        if what == "hang":
            await asyncio.sleep(3600)
        if what == "cut":
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"choices"')
            await writer.drain()
        if what == "garbage":
            return await self._write(writer, 200, b'{"choices": [{"message": {"content": "\xff\xfe"}}]}')
        if what == "html":
            return await self._write(writer, 200, b"<html><body>Welcome</body></html>", "text/html")
        if what == "huge":
            return await self._write(
                writer, 200, b'{"choices": [{"message": {"content": "' + b"x" * 50_000_000 + b'"}}]}'
            )
        writer.transport.abort()
        return False

    def _charge(self, prompt: str, request: dict[str, Any]) -> int:
        return len(prompt.split()) + int(request.get("max_tokens") or request["max_completion_tokens"])

    async def _answer(self, what: str, prompt: str, request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        text = {"empty": "", "refusal": "", "content_filter": ""}.get(what, solve(prompt))
        text = what[5:] if what.startswith("text:") else text
        reason = what if what in ("length", "content_filter") else "stop"
        usage = {"prompt_tokens": self.hidden_prompt + len(prompt.split()), "completion_tokens": len(text.split())}
        message = {"role": "assistant", "content": text, "refusal": "I cannot." if what == "refusal" else None}
        choice = {"message": message} if "messages" in request else {"text": text}
        document = {"choices": [{"index": 0, "finish_reason": reason, **choice}], "usage": usage, "object": "x"}
        # Written down before it leaves: what the log lacks was never paid for.
        self.log.add(prompt=prompt, done=what, tokens=sum(usage.values()))
        return await self._write(writer, 200, json.dumps(document).encode())

    async def _error(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        words: str,
        code: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        body = json.dumps({"error": {"message": words, "code": code, "type": "fault"}}).encode()
        return await self._write(writer, status, body, headers=headers)

    async def _write(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        body: bytes,
        kind: str = "application/json",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        given = {"content-type": kind, "content-length": str(len(body)), **headers}
        lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in given.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        return True


@contextlib.contextmanager
def serving(*servers: TeacherServer) -> Iterator[None]:
    """Run servers in a thread of their own while the block runs; each then has its `url`."""
    ready: queue.Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def host() -> None:
        stop = asyncio.Event()
        started = [await server.start() for server in servers]
        ready.put((asyncio.get_running_loop(), stop))
        await stop.wait()
        for listener, server in zip(started, servers, strict=True):
            listener.close()
            for writer in list(server.writers):
                writer.transport.abort()
        await asyncio.sleep(0.02)

    thread = threading.Thread(target=asyncio.run, args=(host(),))
    thread.start()
    loop, stop = ready.get()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def faulty(share: float, seed: int, faults: tuple[str, ...] = PASSING) -> Plan:
    """A plan that gives each attempt one of `faults` with probability `share`, the same for equal prompts and attempts."""

    def plan(prompt: str, count: int) -> str:
        rng = random.Random(f"{seed} {count} {prompt}")
        return rng.choice(faults) if rng.random() < share else "ok"

    return plan


def main() -> None:
    """Serve until killed; the address is the first line of stdout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--fault-share", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    arguments = parser.parse_args()
    server = TeacherServer(faulty(arguments.fault_share, arguments.seed), arguments.delay, arguments.log)

    async def serve() -> None:
        started = await server.start(arguments.port)
        print(server.url, flush=True)
        async with started:
            await started.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


if __name__ == "__main__":
    sys.exit(main())
