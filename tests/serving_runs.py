"""What tests of the service share: a service in a thread of this process, and a runner whose answers are known and slow on request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from kpodx.config import shipped
from kpodx.export.manifest import SHARED
from kpodx.serving.addresses import address_of, open_socket
from kpodx.serving.catalogue import ServedModel
from kpodx.serving.limits import Limits
from kpodx.serving.server import Server, Settings

RUNNER = '''
import os, sys, time
import numpy as np
from command_line import RunnerError, check_lengths


class Model:
    """Says the question in capitals; "count 50 0.01" counts to 50 with 0.01 s a character, "die" and "hang" do so."""

    prompt, is_pair, context_tokens, load_seconds = "Q: {question}", True, 4000, 0.0

    def __init__(self, path, threads=None, context_tokens=None):
        if path.read_text() == "damaged":
            raise RunnerError("the file is damaged")
        if path.read_text() == "dies while it loads":
            os.kill(os.getpid(), 9)
        self.context_tokens = context_tokens or self.context_tokens

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        pass

    def tokenize(self, text):
        return list(text.encode())

    def detokenize(self, ids):
        return bytes(ids).decode("utf-8", "replace").strip()

    def generate(self, prompts, max_new_tokens, choose):
        texts = [bytes(prompt).decode().removeprefix("Q: ") for prompt in prompts]
        print("noise on stdout", texts)
        if "die" in texts:
            os.kill(os.getpid(), 9)
        if "hang" in texts:
            time.sleep(1000)
        if "no memory" in texts:
            raise MemoryError
        pauses = [float(text.split()[2]) for text in texts if text.startswith("count")]
        answers = [list(answer(text).encode()) + [0] * max_new_tokens for text in texts]
        rows = list(range(len(texts)))
        for position in range(max_new_tokens):
            time.sleep(max(pauses, default=0))
            staying = []
            for row in rows:
                logits = np.zeros(256, np.float32)
                logits[answers[row][position]] = 9
                token = choose(row, logits)
                if token is None or token == 0:
                    continue
                yield row, token
                staying.append(row)
            rows = staying
            if not rows:
                return


def answer(text):
    words = text.split()
    return " ".join(map(str, range(1, int(words[1]) + 1))) if words[:1] == ["count"] else text.upper()
'''


def fake_model(folder: Path, content: str = "weights", **settings: Any) -> ServedModel:
    """A model that the runner above runs."""
    folder.mkdir(exist_ok=True)
    (folder / "run.py").write_text(textwrap.dedent(RUNNER))
    for name in SHARED:
        shutil.copy(shipped("export") / "runners" / name, folder)
    (folder / "weights").write_text(content)
    values: dict[str, Any] = {"id": "echo-q8", "sha256": "0" * 64, "created": 1}
    return ServedModel(path=folder / "weights", runner=folder / "run.py", **(values | settings))


class Running:
    """A service that runs in a thread."""

    def __init__(self, *models: ServedModel, limits: Limits | None = None, **settings: Any) -> None:
        self.listener = open_socket("127.0.0.1", 0)
        self.address = address_of(self.listener)
        self.settings = Settings(models, limits or Limits(), port=0, **settings)
        # One client for all: making one takes longer than an answer.
        self.client = httpx.Client(base_url=self.address, timeout=30, trust_env=False)
        self.is_finished: bool | None = None
        self.error: BaseException | None = None
        self._is_made = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._is_made.wait()

    def _run(self) -> None:
        async def run() -> bool:
            self.loop, self.server = asyncio.get_running_loop(), Server(self.settings, self.listener)
            self._is_made.set()
            return await self.server.run(catches_signals=False)

        try:
            self.is_finished = asyncio.run(run())
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            self.error = error
        finally:
            self.listener.close()

    def stop(self) -> None:
        """Ask it to stop; a second call forces it."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.server.stop)

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.client.close()

    def wait_until_ready(self) -> None:
        """Wait until all models are loaded."""
        wait_for(lambda: self.get("/health").status_code == 200)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """GET."""
        return self.client.get(path, **more)

    def ask(self, question: str, **more: Any) -> httpx.Response:
        """A chat with one question."""
        return self.post({"model": self.settings.models[0].id, "messages": [user(question)], **more})

    def post(self, document: Any, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
        """POST."""
        return self.client.post(path, json=document, **more)

    def workers(self) -> list[psutil.Process]:
        """Processes of its workers."""
        return workers(self.settings.models[0].path)

    def metric(self, name: str) -> float:
        """A sample of /metrics, with its labels as they are written there; 0 where there is none."""
        lines = self.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)


@contextmanager
def running(*models: ServedModel, **settings: Any) -> Iterator[Running]:
    """A service that is ready, and is gone afterwards."""
    service = Running(*models, **settings)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.stop()
        service.join()
    assert service.error is None
    assert not service.workers()


def user(question: str) -> dict[str, str]:
    """A user's message."""
    return {"role": "user", "content": question}


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a refused request, which has OpenAI's form."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


def text_of(response: httpx.Response) -> str:
    """The answer in a chat's response."""
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def workers(model: Path, above: int | None = None) -> list[psutil.Process]:
    """Processes below another, this one by default, that hold a model."""
    found = []
    for process in psutil.Process(above).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if str(model) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def streamed(response: httpx.Response) -> str:
    """The text of a chat's stream, which must be whole."""
    assert response.status_code == 200, response.text
    *chunks, end = events(response)
    assert end == "[DONE]"
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


def events(response: httpx.Response) -> list[Any]:
    """The documents of a stream."""
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
