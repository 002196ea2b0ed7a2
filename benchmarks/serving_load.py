"""The service under load: concurrent streaming clients, every answer compared with run.py's; its memory; a full queue; a killed worker.

    python benchmarks/serving_load.py PACKAGE --model q8
    python benchmarks/serving_load.py PACKAGE --model Q8_0 --clients 16 --seconds 30 --output load.json

Three parts, one service: clients that ask again and again; more requests than the queue holds, while the worker is held back; the first
part again, shorter, with the worker killed in its middle. The exit code is 1 if an answer was wrong or lost, or no request got a 429.
The slope of the memory is a least-squares line over the last three quarters: the first one holds what is set up once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from kpodx.cli.export import generated_questions
from kpodx.serving.catalogue import ServedModel, served_models

SECONDS_WITH_A_KILL = 10.0


def main() -> int:
    """Load the service, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("--model", required=True, help="model or quantisation")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--questions", type=int, default=200, help="different questions")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-queue", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    (model,) = served_models([arguments.package], [arguments.model], arguments.threads)
    expected = said_by_run_py(model, generated_questions(arguments.questions), arguments.threads)
    command = [
        sys.executable,
        "-m",
        "kpodx",
        "serve",
        str(arguments.package),
        "--model",
        arguments.model,
        "--port",
        "0",
    ]
    for name in ("batch_size", "max_queue", "threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        try:
            found = asyncio.run(load(service, model.id, expected, arguments))
        finally:
            service.terminate()
            service.communicate()
    found["exit_code"] = service.returncode
    report(found, arguments)
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1))
    outcomes = [found[part]["outcomes"] for part in ("load", "burst", "kill")]
    is_bad = any(outcome.get("wrong") or outcome.get("lost") for outcome in outcomes)
    return int(is_bad or not outcomes[1].get("429") or found["exit_code"] != 0)


def said_by_run_py(model: ServedModel, questions: list[str], threads: int) -> dict[str, tuple[str, int]]:
    """Text and number of tokens of run.py's answer to each question, asked one by one."""
    command = [sys.executable, str(model.runner), "--model", str(model.path), "--threads", str(threads)]
    if model.context_tokens:
        command += ["--context-tokens", str(model.context_tokens)]
    lines = "".join(json.dumps({"question": question}) + "\n" for question in questions)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, encoding="utf-8")
    records = map(json.loads, done.stdout.removesuffix("\n").split("\n"))
    return {record["question"]: (record["output"], len(record["tokens"])) for record in records}


async def load(
    service: Any, model: str, expected: dict[str, tuple[str, int]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """All three parts."""
    address = re.findall(r"http://\S+:\d+", service.stderr.readline())[0]
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits, trust_env=False) as http:
        while (await http.get("/health")).status_code != 200:
            await asyncio.sleep(0.05)
        clients = Clients(http, model, expected)
        watching = asyncio.create_task(watch_memory(service.pid))
        found: dict[str, Any] = {"load": await clients.ask_for(arguments.clients, arguments.seconds)}
        watching.cancel()
        found["memory"] = await watching
        found["burst"] = await clients.overfill(
            arguments.max_queue + arguments.batch_size + 100, worker_of(service.pid)
        )
        killing = asyncio.create_task(kill_worker(service.pid, SECONDS_WITH_A_KILL / 2))
        found["kill"] = await clients.ask_for(arguments.clients, SECONDS_WITH_A_KILL)
        await killing
        found["metrics"] = (await http.get("/metrics")).text
    return found


class Clients:
    """Clients that know the right answers."""

    def __init__(self, http: httpx.AsyncClient, model: str, expected: dict[str, tuple[str, int]]) -> None:
        self._http, self._model, self._expected, self._questions = http, model, expected, list(expected)
        self._next = 0

    async def ask_for(self, clients: int, seconds: float) -> dict[str, Any]:
        """Let clients ask, each its next question when it has its answer, until the time is up and all have theirs."""
        outcomes: Counter[str] = Counter()
        times: list[float] = []
        firsts: list[float] = []
        tokens, begun = 0, time.perf_counter()

        async def client() -> None:
            nonlocal tokens
            while time.perf_counter() - begun < seconds:
                asked = time.perf_counter()
                outcome, first, length = await self.ask()
                outcomes[outcome] += 1
                if outcome == "right":
                    times.append(time.perf_counter() - asked)
                    firsts.append(first - asked)
                    tokens += length

        await asyncio.gather(*(client() for _ in range(clients)))
        spent = time.perf_counter() - begun
        return {
            "outcomes": dict(outcomes),
            "seconds": spent,
            "answers_per_second": outcomes["right"] / spent,
            "tokens_per_second": tokens / spent,
            "first_text_seconds": quantiles(firsts),
            "answer_seconds": quantiles(times),
        }

    async def overfill(self, count: int, worker: psutil.Process) -> dict[str, Any]:
        """So many requests at the same time, to a worker that goes on when the first of them was refused."""
        worker.suspend()
        asked = [asyncio.create_task(self.ask()) for _ in range(count)]
        await asyncio.wait(asked, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        worker.resume()
        found = await asyncio.gather(*asked)
        return {"requests": count, "outcomes": dict(Counter(outcome for outcome, *_ in found))}

    async def ask(self) -> tuple[str, float, int]:
        """One streamed answer: "right", "wrong", "lost" without a word, "told" of an error in the stream, or a status; times; tokens."""
        question = self._questions[self._next % len(self._questions)]
        self._next += 1
        messages = [{"role": "user", "content": question}]
        body = {"model": self._model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        text, tokens, first, is_done = "", -1, 0.0, False
        try:
            async with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code != 200:
                    return str(response.status_code), 0.0, 0
                async for line in response.aiter_lines():
                    if line == "data: [DONE]":
                        is_done = True
                    elif line:
                        event = json.loads(line.removeprefix("data: "))
                        if "error" in event:
                            return "told", 0.0, 0
                        text += "".join(choice["delta"].get("content", "") for choice in event["choices"])
                        first = first or (time.perf_counter() if text else 0.0)
                        tokens = event["usage"]["completion_tokens"] if event.get("usage") else tokens
        except httpx.HTTPError as error:
            print(f"lost: {error!r}", file=sys.stderr)
            return "lost", 0.0, 0
        if not is_done:
            print("lost: the stream was cut", file=sys.stderr)
            return "lost", 0.0, 0
        return "right" if (text, tokens) == self._expected[question] else "wrong", first, tokens


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    found = np.quantile(seconds, [0.5, 0.95]) if seconds else [0.0, 0.0]
    return {"p50": round(float(found[0]), 3), "p95": round(float(found[1]), 3)}


async def watch_memory(pid: int) -> dict[str, list[tuple[float, int]]]:
    """(seconds, KiB) of the server and of its worker, every second until it is cancelled."""
    server, readings = psutil.Process(pid), dict[str, list[tuple[float, int]]]()
    (worker,) = server.children()
    worker, begun = worker_of(pid), time.perf_counter()
    try:
        while True:
            for name, process in (("server", psutil.Process(pid)), ("worker", worker)):
                readings.setdefault(name, []).append((time.perf_counter() - begun, process.memory_info().rss // 1024))
            await asyncio.sleep(1)
    except asyncio.CancelledError:
        return readings


async def kill_worker(pid: int, seconds: float) -> None:
    """kill -9 in a while."""
    await asyncio.sleep(seconds)
    worker_of(pid).kill()


def worker_of(pid: int) -> psutil.Process:
    """The only worker of a service."""
    (worker,) = psutil.Process(pid).children()
    return worker


def slope(readings: list[tuple[float, int]]) -> float:
    """KiB a minute of a least-squares line.

    >>> slope([(0, 10), (60, 20), (120, 30)])
    10.0
    """
    seconds, sizes = np.array(readings, float).T
    return round(float(np.polyfit(seconds / 60, sizes, 1)[0]), 1) if len(readings) > 1 else 0.0


def report(found: dict[str, Any], arguments: argparse.Namespace) -> None:
    """For people."""
    part = found["load"]
    print(
        f"{arguments.clients} clients, {part['seconds']:.0f} s: {part['outcomes']}; {part['answers_per_second']:.1f} answers and "
        f"{part['tokens_per_second']:,.0f} tokens a second; first text {part['first_text_seconds']}, answers {part['answer_seconds']} s"
    )
    for name, readings in found["memory"].items():
        later = readings[len(readings) // 4 :]
        sizes = [size for _, size in readings]
        print(
            f"memory of the {name}: {sizes[0]:,} KiB first, {sizes[-1]:,} last, {max(sizes):,} at most; "
            f"slope over the last three quarters {slope(later):+,.1f} KiB a minute"
        )
    print(
        f"{found['burst']['requests']} requests at once, a queue of {arguments.max_queue}: {found['burst']['outcomes']}"
    )
    print(f"the worker killed in the middle of {SECONDS_WITH_A_KILL:.0f} s: {found['kill']['outcomes']}")
    print(f"exit code of the service after SIGTERM: {found['exit_code']}")


if __name__ == "__main__":
    sys.exit(main())
