"""Requests whose answers are unusable, set aside until it is clear whether they or the server are to blame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kpodx.errors import KpodxError
from kpodx.rationales.requests import Failure

MOST_IN_A_ROW = 10
"""How many requests in a row may get no usable answer before the server is to blame."""

_MOST_UNPROVEN = 2
"""The same for a server that has never answered."""


@dataclass(frozen=True)
class SetAside:
    """One request without a usable answer.

    Attributes:
        failure: what it counts as if the server answers others.
        why: what happened, for people, without secrets.
        stop: what the phase stops with if the server is to blame; None if a server that is down answers like this.
    """

    failure: Failure
    why: str
    stop: KpodxError | None = None


class Aside:
    """The requests that are set aside.

    Args:
        deliver: takes a failure that is the request's own.
        was_proven: whether earlier runs got answers from the same teacher.
    """

    def __init__(self, deliver: Callable[[Failure], None], *, was_proven: bool) -> None:
        self._deliver, self._was_proven = deliver, was_proven
        self._has_answered = False
        self._waiting: list[SetAside] = []

    @property
    def is_proven(self) -> bool:
        """Whether the teacher has answered such requests."""
        return self._has_answered or self._was_proven

    @property
    def is_unproven(self) -> bool:
        """Whether a request got no usable answer, and nothing shows that the server is able to answer."""
        return not self.is_proven and any(item.stop is not None for item in self._waiting)

    def put(self, item: SetAside) -> SetAside | None:
        """Set one aside; return what to stop with if there are too many."""
        self._waiting.append(item)
        is_new = item.stop is not None and not self.is_proven
        most = _MOST_UNPROVEN if is_new else MOST_IN_A_ROW
        if len(self._waiting) < most:
            return None
        return next((one for one in self._waiting if one.stop is not None), item)

    def answered(self) -> None:
        """Note that another request was answered: the server works, so those set aside are to blame."""
        self._has_answered = True
        for item in self._waiting:
            self._deliver(item.failure)
        self._waiting.clear()

    def close(self) -> list[SetAside]:
        """Return those that stay unanswered at the end; the others are delivered."""
        left = []
        for item in self._waiting:
            # A server that went down near the end answers like that; another run finds out.
            is_own = self.is_proven if item.stop is not None else self._was_proven
            if is_own:
                self._deliver(item.failure)
            else:
                left.append(item)
        self._waiting.clear()
        return left
