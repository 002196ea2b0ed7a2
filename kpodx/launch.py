"""Several processes of one launch (torchrun, accelerate): process 0 owns the run, the others join where needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kpodx.artifacts import read_json
from kpodx.errors import RunError, UsageError
from kpodx.runs import MANIFEST, lock_holder

T = TypeVar("T")


@dataclass(frozen=True)
class Launch:
    """Which process this is: `rank` from 0, of `world_size`."""

    rank: int = 0
    world_size: int = 1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Launch:
        """Read RANK and WORLD_SIZE; one process alone where they are not set."""
        values = {name: environment.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"))}
        for name, value in values.items():
            if not value.isdigit():
                raise UsageError(f"The environment variable {name} is {value!r}, expected a whole number.")
        return cls(int(values["RANK"]), int(values["WORLD_SIZE"]))

    @property
    def follows(self) -> bool:
        """Whether another process owns the run."""
        return self.world_size > 1 and self.rank > 0


def wait_for(
    run_dir: Path,
    ready: Callable[[dict[str, Any]], T | None],
    *,
    poll_seconds: float = 1.0,
    start_seconds: float = 600.0,
) -> T:
    """Wait until the manifest of the process that owns the run satisfies `ready`, and return what `ready` gives.

    Args:
        run_dir: the run folder.
        ready: gives something that is not None when the wait is over.
        poll_seconds: pause between looks.
        start_seconds: how long the owner may take to appear.

    Raises:
        RunError: the owner ended, or did not appear in time.
    """
    begun, owner = time.monotonic(), None
    while True:
        holder = lock_holder(run_dir)
        manifest = read_json(run_dir / MANIFEST) if (run_dir / MANIFEST).is_file() else {}
        pid = manifest.get("process", {}).get("pid")
        if holder is not None and pid == holder:
            owner = holder
        if owner is not None and pid == owner and (found := ready(manifest)) is not None:
            return found
        if owner is not None and holder != owner:
            raise RunError(
                f"Process 0, which owns {run_dir}, has ended ({manifest.get('state', 'unknown')}).",
                hint="Its own message says why.",
            )
        if owner is None and time.monotonic() - begun > start_seconds:
            raise RunError(
                f"Process 0 did not open {run_dir} within {start_seconds:.0f} s.", hint="See its own message."
            )
        time.sleep(poll_seconds)
