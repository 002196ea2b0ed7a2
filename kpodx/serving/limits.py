"""What one client, and all of them together, may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a service.

    Attributes:
        body_bytes: largest body of a request.
        tokens: longest answer; a request for more gets at most this.
        queue: most requests that wait, of all models together; one more is answered with 429.
        batch_size: most requests that a worker answers side by side.
        wait_seconds: longest time that a request waits for a worker.
        header_seconds: longest time that the head of a request takes to come.
        body_seconds: longest time that its body takes.
        stall_seconds: longest silence of a worker that has work; it is ended then.
        stop_seconds: longest time that requests get to finish when the service stops.
    """

    body_bytes: int = 262_144
    tokens: int = 256
    queue: int = 128
    batch_size: int = 8
    wait_seconds: float = 120.0
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    stall_seconds: float = 300.0
    stop_seconds: float = 30.0
