"""One process that compares formulas with math-verify, as seen from outside: started when needed, bounded, replaced.

A comparison that takes too much time or memory ends the process, counts as "not equal", and costs a new process. What
has been compared is remembered.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from kpodx.errors import KpodxError, MissingDependencyError

logger = logging.getLogger(__name__)

START_SECONDS = 120.0
"""Longest time until the process is ready: it imports sympy."""
REPLY_SECONDS = 60.0
"""Longest time of one comparison by the clock; the process itself allows less time of a processor."""
PAIRS_AT_A_TIME = 128
REMEMBERED = 20_000
"""How many comparisons are remembered, the latest ones."""
_PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "HOME", "TMPDIR", "LANG", "LC_ALL")
"""Variables that the process is given: it reads what strangers wrote, and needs no keys."""


def require_math_verify() -> None:
    """Raise MissingDependencyError if math-verify is not installed."""
    if importlib.util.find_spec("math_verify") is None:
        raise MissingDependencyError(
            "Comparing mathematical answers (answer_kind 'math') needs the package math-verify.",
            hint="pip install 'kpodx[math]'",
        )


class MathProcess:
    """The running process."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._rest = b""
        self._process = subprocess.Popen(
            # Without -P, modules of the current directory would come before ours.
            [sys.executable, "-P", "-m", "kpodx.text.math_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            start_new_session=True,
        )
        if self._read(START_SECONDS) != b"ready":
            self.stop()
            raise KpodxError("The process that compares formulas with math-verify does not start.")

    def compare(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """Compare (predicted, reference) pairs in order; the list is shorter if the process ended, or hung, at the next one."""
        assert self._process.stdin is not None
        found: list[bool] = []
        try:
            self._process.stdin.write(json.dumps(pairs).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            return found
        while len(found) < len(pairs):
            reply = self._read(REPLY_SECONDS)
            if reply not in (b"1", b"0"):
                break
            found.append(reply == b"1")
        return found

    def _read(self, seconds: float) -> bytes | None:
        """The next line of the process; None if it ended, or wrote nothing for too long."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._process.stdout.fileno(), 65_536) if ready else b""
            if not piece:
                return None
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def stop(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()


class _Comparer:
    """The process that is running now, if any, and what it has found so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: MathProcess | None = None
        self._known: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def compare(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """Whether each (predicted, reference) pair means the same."""
        with self._lock:
            found = {pair: self._known[pair] for pair in pairs if pair in self._known}
            new = list(dict.fromkeys(pair for pair in pairs if pair not in found))
            for start in range(0, len(new), PAIRS_AT_A_TIME):
                found |= self._ask(new[start : start + PAIRS_AT_A_TIME])
            self._remember(found)
        return [found[pair] for pair in pairs]

    def stop(self) -> None:
        """End the process, if this one started it."""
        if self._process is not None and self._process.owner == os.getpid():
            self._process.stop()
        self._process = None

    def _ask(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bool]:
        """Compare pairs, each with a new process behind one that ended the last."""
        found: dict[tuple[str, str], bool] = {}
        while len(found) < len(pairs):
            rest = pairs[len(found) :]
            replies = self._running().compare(rest)
            found |= dict(zip(rest, replies, strict=False))
            if len(replies) < len(rest):
                self.stop()
                predicted, reference = rest[len(replies)]
                logger.warning(
                    "%.80r and %.80r could not be compared within the bounds: not equal.", predicted, reference
                )
                found[rest[len(replies)]] = False
        return found

    def _running(self) -> MathProcess:
        """The process; a new one after a fork, whose pipes belong to the parent."""
        if self._process is None or self._process.owner != os.getpid():
            require_math_verify()
            self._process = MathProcess()
        return self._process

    def _remember(self, found: dict[tuple[str, str], bool]) -> None:
        self._known |= found
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


_COMPARER = _Comparer()
atexit.register(_COMPARER.stop)


def compare(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether each (predicted, reference) pair of formulas means the same, by math-verify; callable from any thread.

    Raises:
        MissingDependencyError: the `math` extra is not installed.
        KpodxError: the process does not start.
    """
    return _COMPARER.compare(pairs)
