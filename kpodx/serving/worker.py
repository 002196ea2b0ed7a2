"""The program that holds one model and answers batches of requests; apart, since a damaged file can end its process.

    python -m kpodx.serving.worker RUNNER MODEL THREADS CONTEXT_TOKENS

It needs numpy and what the runner needs. One JSON array a line, each way; 0 threads or tokens take the runner's default.

in: ["batch", [request, …]] · ["cancel", id]; the end of the input ends the program.
out: ["ready", {…}] · ["started", id, prompt tokens] · ["text", id, text] · ["done", id, "stop" or "length", tokens,
whole text] · ["refused", id, code, message] · ["failed", id, message] · ["alive"] about every second that tokens come ·
["idle"] after each batch.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kpodx.export.divergence import load_runner
from kpodx.serving.answer_text import AnswerText

Tell = Callable[..., None]
ALIVE_SECONDS = 1.0
"""Longest time without a word while tokens come."""


class Row:
    """One request of a batch while it is answered.

    Args:
        request: id, max_tokens, temperature, top_p, seed, stop, and whether it streams.
        prompt: its token ids.
        room: tokens that the context leaves for an answer.
    """

    def __init__(self, request: Mapping[str, Any], prompt: list[int], room: int) -> None:
        self.id, self.prompt = int(request["id"]), prompt
        self.temperature, self.top_p = float(request["temperature"]), float(request["top_p"])
        self.limit = min(int(request["max_tokens"]), room)
        # As run.py draws for the first question of a file.
        self.draws = np.random.default_rng([int(request["seed"]), 0])
        self.streams, self.has_stops = bool(request["stream"]), bool(request["stop"])
        self.text, self.tokens = AnswerText(request["stop"]), list[int]()
        self.is_over = False


class Batch:
    """Requests that are answered side by side.

    Args:
        model: of the runner.
        command_line: the module that all runners share.
        cancelled: ids of requests that nobody waits for any more.
        tell: writes a message.
    """

    def __init__(self, model: Any, command_line: Any, cancelled: set[int], tell: Tell) -> None:
        self._model, self._shared, self._cancelled, self._tell = model, command_line, cancelled, tell
        self._rows: list[Row] = []
        self._asked: Row | None = None
        self._alive_at = time.monotonic()

    def answer(self, requests: Sequence[Mapping[str, Any]]) -> None:
        """Answer all of them, telling each token as it comes."""
        try:
            self._rows = [row for request in requests if (row := self._begin(request)) is not None]
            if self._rows:
                self._generate()
        except (self._shared.RunnerError, MemoryError) as error:
            for row in self._rows:
                if not row.is_over:
                    self._tell("failed", row.id, " ".join(str(error).split()) or "no memory")

    def _begin(self, request: Mapping[str, Any]) -> Row | None:
        """A request with its tokens; None where it cannot be answered."""
        number, text = int(request["id"]), str(request["text"])
        try:
            prompt = self._model.tokenize(self._model.prompt.replace("{question}", text) if request["wrap"] else text)
        except self._shared.RunnerError as error:
            self._tell("refused", number, "invalid_prompt", str(error))
            return None
        context = self._model.context_tokens
        room = context if self._model.is_pair else context - len(prompt)
        if not prompt:
            self._tell("refused", number, "invalid_prompt", "the prompt has no token")
        elif room < 1 or len(prompt) > context:
            said = f"the prompt has {len(prompt):,} tokens, but the model's context holds {context:,}"
            self._tell("refused", number, "context_length_exceeded", said)
        else:
            self._tell("started", number, len(prompt))
            return Row(request, prompt, room)
        return None

    def _generate(self) -> None:
        prompts, longest = [row.prompt for row in self._rows], max(row.limit for row in self._rows)
        for index, token in self._model.generate(prompts, longest, self._choose):
            self._asked = None
            self._take(self._rows[index], token)
        self._settle()

    def _choose(self, index: int, logits: Any) -> int | None:
        self._show_life()
        self._settle()
        row = self._rows[index]
        if row.id in self._cancelled and not row.is_over:
            self._finish(row, "stop")
        if row.is_over:
            return None
        self._asked = row
        return int(self._shared.pick(logits, row.temperature, row.top_p, row.draws))

    def _show_life(self) -> None:
        """Nothing else may be said until the end where nobody streams; said here, not by a timer, since a model may hang."""
        if time.monotonic() - self._alive_at >= ALIVE_SECONDS:
            self._alive_at = time.monotonic()
            self._tell("alive")

    def _take(self, row: Row, token: int) -> None:
        row.tokens.append(token)
        if row.streams or row.has_stops:
            self._show(row)
        if row.text.is_stopped:
            self._finish(row, "stop")
        elif len(row.tokens) >= row.limit:
            self._finish(row, "length")

    def _settle(self) -> None:
        """The row that was asked last gave no token: it chose the end mark."""
        if self._asked is not None:
            row, self._asked = self._asked, None
            self._finish(row, "stop")

    def _finish(self, row: Row, reason: str) -> None:
        row.is_over = True
        if not row.text.is_stopped:
            self._show(row, is_last=True)
        # A stop text may end with the last token.
        self._tell("done", row.id, "stop" if row.text.is_stopped else reason, len(row.tokens), row.text.whole)

    def _show(self, row: Row, *, is_last: bool = False) -> None:
        new = row.text.piece(self._model.detokenize(row.tokens), is_last=is_last)
        if new and row.streams:
            self._tell("text", row.id, new)


def main(runner: Path, model: Path, threads: int, context_tokens: int) -> None:
    """Load the model and answer until the input ends."""
    tell = _take_stdout()
    batches: queue.SimpleQueue[list[dict[str, Any]] | None] = queue.SimpleQueue()
    cancelled: set[int] = set()
    program = load_runner(runner)
    shared = importlib.import_module("command_line")
    try:
        with program.Model(model, threads or None, context_tokens or None) as reasoner:
            # Only now: nobody waits for an answer of a model that is still being loaded.
            threading.Thread(target=_read, args=(batches, cancelled), daemon=True).start()
            tell("ready", {"context_tokens": reasoner.context_tokens, "load_seconds": round(reasoner.load_seconds, 3)})
            while (requests := batches.get()) is not None:
                Batch(reasoner, shared, cancelled, tell).answer(requests)
                # What comes later for these requests is cleared with the next.
                cancelled.clear()
                tell("idle")
    except (shared.RunnerError, OSError, MemoryError) as error:
        sys.exit(f"error: {' '.join(str(error).split()) or 'no memory'}")


def _take_stdout() -> Tell:
    """A function that writes messages; what else is written to stdout, as some library may, goes to stderr."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def tell(*message: Any) -> None:
        try:
            stream.write(json.dumps(message).encode() + b"\n")
            stream.flush()
        except BrokenPipeError:
            os._exit(0)

    return tell


def _read(batches: queue.SimpleQueue[list[dict[str, Any]] | None], cancelled: set[int]) -> None:
    """Pass on what comes in, also while a batch is being answered."""
    for line in _lines():
        kind, content = json.loads(line)
        if kind == "batch":
            batches.put(content)
        else:
            cancelled.add(content)
    batches.put(None)
    # A batch under way has nobody left who would read it.
    timer = threading.Timer(0.5, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _lines() -> Iterator[bytes]:
    """Lines of stdin; not through its buffer, whose lock a thread must not hold when Python ends."""
    rest = b""
    while piece := os.read(0, 65536):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
