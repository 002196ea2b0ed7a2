"""What asking a teacher costs beside the teacher itself: the client's throughput, and the replay of cached answers.

    python benchmarks/teacher_throughput.py --requests 4000 --cached 100000

The rival is a bare loop of asyncio and the official client, against the same server, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from kpodx.artifacts import save_questions
from kpodx.config import build_config
from kpodx.rationales.asking import build_template
from kpodx.rationales.cache import AnswerCache
from kpodx.rationales.config import RationalesConfig
from kpodx.rationales.phase import run
from kpodx.rationales.prompting import rationale_requests
from kpodx.rationales.requests import Completion, Usage
from kpodx.runtime import PhaseContext
from kpodx.schema import Question, Split

CONCURRENCY = 64


async def serve(port_pipe: object) -> None:
    """Answer every request at once with the same text."""
    text = "We add 2 and 3. 2 + 3 = 5. Therefore, the answer is 5."
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
    document = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    body = json.dumps(document).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                await reader.readexactly(next(int(line[15:]) for line in lines if line.startswith(b"content-length:")))
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port_pipe.send(server.sockets[0].getsockname()[1])  # type: ignore[attr-defined]
    async with server:
        await server.serve_forever()


def start_server(port_pipe: object) -> None:
    """The server's process."""
    asyncio.run(serve(port_pipe))


def questions(count: int) -> list[Question]:
    """Different questions with the same answer."""
    return [Question(f"q{i}", Split.TRAIN, f"What is 2 plus 3, for the {i}th time?", "5") for i in range(count)]


async def bare_loop(url: str, prompts: list[str]) -> None:
    """What a user would write."""
    from openai import AsyncOpenAI

    turn = asyncio.Semaphore(CONCURRENCY)
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def one(prompt: str) -> str | None:
            async with turn:
                message = [{"role": "user", "content": prompt}]
                done = await client.chat.completions.create(model="m", messages=message, max_tokens=512, temperature=0)  # type: ignore[arg-type]
                return done.choices[0].message.content

        await asyncio.gather(*map(one, prompts))


def phase(folder: Path, url: str, asked: list[Question]) -> PhaseContext:
    """A phase that asks the server."""
    openai = {"model": "m", "base_urls": url, "concurrency": CONCURRENCY}
    config = build_config(
        RationalesConfig, {"teacher": "openai", "openai": openai, "cache": str(folder / "cache.sqlite")}
    )
    save_questions(folder / "dataset", asked)
    (folder / "rationales" / "out").mkdir(parents=True)
    recipe = SimpleNamespace(rationales=config)
    return PhaseContext(recipe, {"dataset": folder / "dataset"}, folder / "rationales" / "out", 0, environment={})


def client_ratio(url: str, count: int, rounds: int) -> None:
    """Print requests a second of both, in turns, in processor time of this process: the server has its own."""
    asked = questions(count)
    ratios = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            context = phase(Path(folder), url, asked)
            begun, wall = time.process_time(), time.perf_counter()
            run(context)
            ours, our_wall = time.process_time() - begun, time.perf_counter() - wall
        begun, wall = time.process_time(), time.perf_counter()
        asyncio.run(bare_loop(url, [question.question for question in asked]))
        theirs, their_wall = time.process_time() - begun, time.perf_counter() - wall
        ratios.append(theirs / ours)
        print(
            f"round {number}: kpodx {count / ours:.0f}/s of processor time ({count / our_wall:.0f}/s wall), "
            f"bare loop {count / theirs:.0f}/s ({count / their_wall:.0f}/s), ratio {theirs / ours:.2f}"
        )
    print(
        f"median ratio {statistics.median(ratios):.2f} (kpodx: the whole phase, cache, budget log and answer reading included)"
    )


def replay(count: int) -> None:
    """Print time and memory of a phase whose answers are all cached."""
    asked = questions(count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = phase(folder, "http://127.0.0.1:9/v1", asked)
        config = context.recipe.rationales
        text = "First we look at what is given. " * 10 + "2 + 3 = {}. Therefore, the answer is 5."
        with AnswerCache(folder / "cache.sqlite") as cache:
            requests = rationale_requests(asked, build_template(config), config.sampling, "m", {})
            cache.put(
                Completion(request, text.replace("{}", str(i)), Usage(30, 90), "2026-01-01", "http://x", 1.0)
                for i, request in enumerate(requests)
            )
            size = (folder / "cache.sqlite").stat().st_size
        del requests
        child = multiprocessing.get_context("fork").Process(target=timed, args=(context,))
        child.start()
        child.join()
        print(f"the file of answers has {size / 2**20:.0f} MiB")
        sys.exit(child.exitcode)


def timed(context: PhaseContext) -> None:
    """Run a phase; print its processor time, its wall time and this process's peak memory."""
    begun, wall = time.process_time(), time.perf_counter()
    report = run(context)
    seconds, wall_seconds = time.process_time() - begun, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{report['completions']:,} cached requests replayed in {seconds:.1f} s of processor time ({wall_seconds:.1f} s wall), "
        f"peak memory {peak:.0f} MiB"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cached", type=int, default=100_000)
    arguments = parser.parse_args()
    receiver, sender = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=start_server, args=(sender,), daemon=True)
    server.start()
    client_ratio(f"http://127.0.0.1:{receiver.recv()}/v1", arguments.requests, arguments.rounds)
    server.terminate()
    replay(arguments.cached)


if __name__ == "__main__":
    main()
