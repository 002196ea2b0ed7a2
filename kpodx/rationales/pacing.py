"""How fast a server may be asked: our own limits over any 60 seconds, and the limits that the server reports."""

from __future__ import annotations

import asyncio
import email.utils
import re
import time
from collections import deque
from collections.abc import Mapping
from typing import Protocol

WINDOW_SECONDS = 60.0

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|d)?")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
LONGEST_PAUSE = 3600.0
"""Longest pause that a server may ask for, in seconds."""
_LONGEST_SLEEP = 1.0


class Clock(Protocol):
    """Time in seconds, and waiting; replaced in tests."""

    def now(self) -> float:
        """Return seconds since a fixed moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class MonotonicClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return seconds since a fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def parse_duration(text: str) -> float | None:
    """Return the seconds in a header such as "6m0s", "20ms" or "1.5"; None if it is not a duration.

    >>> parse_duration("1m30s"), parse_duration("20ms"), parse_duration("7"), parse_duration("soon")
    (90.0, 0.02, 7.0, None)
    """
    parts = list(_DURATION.finditer(text.strip()))
    if not parts or "".join(part[0] for part in parts) != text.strip():
        return None
    return sum(float(part["number"]) * _UNITS[part["unit"]] for part in parts)


def retry_after(headers: Mapping[str, str], wall_time: float) -> float | None:
    """Return how long the server asks to wait, in seconds, None if it does not: Retry-After-Ms, or Retry-After in any form.

    Args:
        headers: of the answer; names in lower case.
        wall_time: seconds since 1970.

    >>> retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:30 GMT"}, 10.0)
    20.0
    """
    milliseconds, text = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    try:
        seconds = float(milliseconds) / 1000
    except ValueError:
        try:
            seconds = float(text)
        except ValueError:
            date = email.utils.parsedate_tz(text)
            if date is None:
                return parse_duration(text)
            try:
                seconds = email.utils.mktime_tz(date) - wall_time
            except (ValueError, OverflowError):
                return None
    # Not a number, or negative: no wish at all.
    return min(seconds, LONGEST_PAUSE) if seconds >= 0 else None


class Pace:
    """Lets requests pass one by one, never more than the limits in any 60 seconds, and none while the server asks to wait.

    Args:
        requests_per_minute, tokens_per_minute: limits, None for none. A request above the limit of tokens is sent
            alone.
        clock: tells the time.
    """

    def __init__(
        self, requests_per_minute: int | None, tokens_per_minute: int | None, clock: Clock | None = None
    ) -> None:
        self._limits = (requests_per_minute, tokens_per_minute)
        self._clock = clock or MonotonicClock()
        self._sent: deque[list[float]] = deque()
        self._tokens = 0.0
        self._rest_until = 0.0

    async def acquire(self, tokens: int) -> list[float]:
        """Wait until a request of this many tokens may be sent; return its entry, for `correct`."""
        while (wait := self._wait(tokens)) > 0:
            # Meanwhile others may turn out smaller than expected, or the server may ask to wait.
            await self._clock.sleep(min(wait, _LONGEST_SLEEP))
        entry = [self._clock.now(), float(tokens)]
        if self._limits != (None, None):
            self._sent.append(entry)
            self._tokens += tokens
        return entry

    def correct(self, entry: list[float], tokens: int) -> None:
        """Note that a request took fewer or more tokens than expected."""
        if entry[1] and self._limits != (None, None) and self._sent and self._sent[0][0] <= entry[0]:
            self._tokens += tokens - entry[1]
            entry[1] = float(tokens)

    def rest(self, seconds: float) -> None:
        """Block all requests for this long."""
        self._rest_until = max(self._rest_until, self._clock.now() + seconds)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Block all requests until the server's own limits are reset, if it reports that nothing is left."""
        for what in ("requests", "tokens"):
            left = headers.get(f"x-ratelimit-remaining-{what}", "").strip()
            reset = parse_duration(headers.get(f"x-ratelimit-reset-{what}", ""))
            if reset is not None and _WHOLE_NUMBER.fullmatch(left) and int(left) <= 0:
                self.rest(min(reset, LONGEST_PAUSE))

    def _wait(self, tokens: int) -> float:
        now = self._clock.now()
        while self._sent and self._sent[0][0] <= now - WINDOW_SECONDS:
            self._tokens -= self._sent.popleft()[1]
        requests_limit, tokens_limit = self._limits
        until = self._rest_until
        if self._sent:
            oldest = self._sent[0][0] + WINDOW_SECONDS
            if requests_limit is not None and len(self._sent) >= requests_limit:
                until = max(until, oldest)
            if tokens_limit is not None and self._tokens + tokens > tokens_limit:
                until = max(until, oldest)
        # A clock that has just reached the moment must not round back below it.
        return until - now + 1e-6 if until > now else 0.0
