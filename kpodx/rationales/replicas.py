"""Several equal servers: each request goes to the least busy one; one that is down rests and is tried again later."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kpodx.rationales.pacing import Clock, MonotonicClock, Pace

_SHORTEST_REST, _LONGEST_REST = 0.5, 30.0
_ERRORS_BEFORE_REST = 3


@dataclass
class Replica:
    """One server.

    Attributes:
        url: its address, without secrets.
        client: what talks to it.
        pace: how fast it may be asked.
        under_way: requests it works on.
        errors: failures in a row.
        rests_until: it gets no requests before this time.
        unproven: whether it rested and has not answered since; it gets one request at a time until it does.
    """

    url: str
    client: Any
    pace: Pace
    under_way: int = 0
    errors: int = 0
    rests_until: float = 0.0
    unproven: bool = False


class Replicas:
    """The servers of one model."""

    def __init__(
        self, replicas: Sequence[Replica], clock: Clock | None = None, note: Callable[[str], None] = print
    ) -> None:
        self._all = list(replicas)
        self._clock = clock or MonotonicClock()
        self._note = note

    @contextlib.contextmanager
    def one(self) -> Iterator[Replica]:
        """Lend the least busy server for the duration of the block; if all are down, the one due back first."""
        now = self._clock.now()
        ready = [r for r in self._all if r.rests_until <= now and not (r.unproven and r.under_way)]
        # If all rest, nothing waits here: the callers have growing pauses of their own.
        found = min(ready, key=lambda r: r.under_way) if ready else min(self._all, key=lambda r: r.rests_until)
        found.under_way += 1
        try:
            yield found
        finally:
            found.under_way -= 1

    def succeeded(self, replica: Replica) -> None:
        """Note that a server answered."""
        if replica.unproven and len(self._all) > 1:
            self._note(f"{replica.url} answers again.")
        replica.errors, replica.unproven = 0, False

    def failed(self, replica: Replica, *, unreachable: bool) -> None:
        """Note that a server could not be reached, or failed; after several failures it rests."""
        if replica.rests_until > self._clock.now():
            return  # what was under way when it began to rest says nothing new
        replica.errors += 1
        if not unreachable and replica.errors < _ERRORS_BEFORE_REST:
            return
        doublings = min(replica.errors - (1 if unreachable else _ERRORS_BEFORE_REST), 10)
        rest = min(_SHORTEST_REST * 2**doublings, _LONGEST_REST)
        if not replica.unproven and len(self._all) > 1:
            self._note(f"{replica.url} does not answer: left out, and tried again in {rest:.1f} s.")
        replica.rests_until, replica.unproven = self._clock.now() + rest, True
