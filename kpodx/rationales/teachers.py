"""What every teacher that is asked has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from kpodx.rationales.requests import Completion, Failure, Request
from kpodx.runtime import Progress


@dataclass(frozen=True)
class Outlet:
    """Where outcomes go.

    Attributes:
        deliver: takes an outcome as soon as it is there, and keeps it.
        find: returns an answer that another process has kept meanwhile, None if there is none.
        is_proven: whether the teacher has answered such requests before, so that an answer that is none is that request's own.
    """

    deliver: Callable[[Completion | Failure], None]
    find: Callable[[Request], Completion | None] = lambda _request: None
    is_proven: bool = False


class Teacher(Protocol):
    """Writes completions.

    Attributes:
        model: its name in requests; for a model that runs here, with its content hash or commit.
        label: its name for people.
    """

    model: str
    label: str

    def ask(self, requests: Sequence[Request], outlet: Outlet, progress: Progress, description: str) -> None:
        """Ask for every request, and deliver each outcome once.

        Raises:
            KpodxError: it stopped before the end; what was delivered is kept, and asking for the rest goes on from there.
        """
        ...


def timestamp() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
