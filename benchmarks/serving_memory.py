"""Measure the memory of the service over thousands of requests: it must not grow in the second half.

    python benchmarks/serving_memory.py PACKAGE --model q8
    python benchmarks/serving_memory.py PACKAGE --model q8 --requests 20000 --clients 64 --new-connections

Requests come in groups of five: the service answers three, one of them as a stream, and refuses two. The first half of all requests
may allocate what is kept for later. Only memory that belongs to the server alone counts (USS). The exit code is 1 if the second half
adds more than `--most-kib`.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil

READINGS = 16


def main() -> int:
    """Ask, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("--model", required=True, help="model or quantisation")
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--new-connections", action="store_true", help="a connection for each request")
    parser.add_argument("--most-kib", type=int, default=512, help="most memory that the second half may add, in KiB")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "kpodx", "serve", str(arguments.package), "--model", arguments.model]
    command += ["--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        try:
            readings = asyncio.run(watch(service, arguments))
        finally:
            service.terminate()
            service.communicate()
    for done, kib in readings:
        print(f"{done:>7,} requests  {kib:>9,} KiB")
    grown = readings[-1][1] - readings[len(readings) // 2][1]
    print(f"the second half added {grown:+,} KiB")
    return int(grown > arguments.most_kib)


async def watch(service: Any, arguments: argparse.Namespace) -> list[tuple[int, int]]:
    """Return (requests, KiB) of each reading."""
    address = re.findall(r"http://\S+:\d+", service.stderr.readline())[0]
    kept = 0 if arguments.new_connections else None
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=kept)
    server, readings = psutil.Process(service.pid), list[tuple[int, int]]()
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits, trust_env=False) as http:
        while (await http.get("/health")).status_code != 200:
            await asyncio.sleep(0.05)
        model = (await http.get("/v1/models")).json()["data"][0]["id"]
        for part in range(READINGS):
            numbers = iter(range(part * arguments.requests // READINGS, (part + 1) * arguments.requests // READINGS))
            clients = (client(http, model, numbers, arguments.max_tokens) for _ in range(arguments.clients))
            await asyncio.gather(*clients)
            readings.append(((part + 1) * arguments.requests // READINGS, server.memory_full_info().uss // 1024))
    return readings


async def client(http: httpx.AsyncClient, model: str, numbers: Any, max_tokens: int) -> None:
    """Send a request for each of `numbers`, which all clients share, and check its status."""
    for number in numbers:
        body = {"model": model, "messages": [{"role": "user", "content": f"Tom has {number} eggs. How many?"}]}
        changes = ({}, {"stream": True}, {"temperature": -1}, {"model": f"none-{number}"}, {"seed": number})
        expected = (200, 200, 400, 404, 200)
        response = await http.post(
            "/v1/chat/completions", json={**body, "max_tokens": max_tokens, **changes[number % 5]}
        )
        assert response.status_code == expected[number % 5], response.text


if __name__ == "__main__":
    sys.exit(main())
