"""What every teacher that is asked has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from kpodx.rationales.requests import Completion, Failure, Request
from kpodx.runtime import Progress

Deliver = Callable[[Completion | Failure], None]
"""Takes an outcome as soon as it is there, and keeps it."""


class Teacher(Protocol):
    """Writes completions.

    Attributes:
        model: its name in requests; for a model that runs here, with its content hash or commit.
        label: its name for people.
    """

    model: str
    label: str

    def ask(self, requests: Sequence[Request], deliver: Deliver, progress: Progress, description: str) -> None:
        """Ask for every request, and deliver each outcome once.

        Raises:
            KpodxError: it stopped before the end; what was delivered is kept, and asking for the rest goes on from there.
        """
        ...


def timestamp() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
