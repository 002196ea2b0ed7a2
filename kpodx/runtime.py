"""Device, number format, seeds and progress: what a phase is given, never what it looks up; how a process ended."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import Field

from kpodx.config import Config
from kpodx.errors import DeviceError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class RuntimeConfig(Config):
    """Where and in which number format the work is done."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device; auto takes the first CUDA GPU and else the CPU."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the heavy arithmetic; auto is bfloat16 on a GPU that has it and float32 elsewhere."""
    num_threads: int | None = Field(default=None, ge=1)
    """CPU threads for the arithmetic; None leaves the choice to torch and OMP_NUM_THREADS."""


@runtime_checkable
class Progress(Protocol):
    """Shows how far a long loop has come; the command line draws a bar, tests and libraries show nothing."""

    def track(self, items: Iterable[T], *, total: int, description: str, done: int = 0) -> Iterator[T]:
        """Yield the items, counting them; `done` were finished by an earlier run."""
        ...

    def note(self, text: str) -> None:
        """Say one line that the user should read."""
        ...


class SilentProgress:
    """Shows nothing."""

    def track(self, items: Iterable[T], *, total: int, description: str, done: int = 0) -> Iterator[T]:  # noqa: ARG002
        """Yield the items."""
        yield from items

    def note(self, text: str) -> None:
        """Drop the line."""


@dataclass(frozen=True)
class PhaseContext:
    """All that a phase's `run` is given.

    Attributes:
        recipe: the resolved recipe (`kpodx.recipe.Recipe`); a phase reads its own table, `student` and `runtime`.
        inputs: the finished folder of each phase it reads.
        output: the folder to write; a partial state of the same work may already be there, nothing else.
        seed: the phase's own seed.
        revisions: hub commit by model id, pinned when the run began; local folders are not in it.
        progress: where progress is shown.
        environment: variables that hold keys and places.
    """

    recipe: Any
    inputs: dict[str, Path]
    output: Path
    seed: int
    revisions: dict[str, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=SilentProgress)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**31) from any printable parts: equal parts give equal seeds on every machine.

    >>> derive_seed("weighting", 0) == derive_seed("weighting", 0) != derive_seed("weighting", 1)
    True
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def resolve_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu" or "cuda"; DeviceError where CUDA is asked for and there is none."""
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise DeviceError(
            "runtime.device is 'cuda', but torch sees no CUDA GPU here.",
            hint="Use runtime.device=cpu, or install a CUDA build of torch and check `nvidia-smi`.",
        )
    return torch.device("cuda" if name == "cuda" or (name == "auto" and available) else "cpu")


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The torch number format for "auto", "float32" or "bfloat16" on `device`."""
    import torch

    if name == "bfloat16":
        if device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise DeviceError(
                "runtime.dtype is 'bfloat16', but this GPU has no bfloat16 arithmetic.",
                hint="Use runtime.dtype=float32.",
            )
        return torch.bfloat16
    if name == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32


def limit_threads(num_threads: int | None) -> None:
    """Let torch use `num_threads` CPU threads; None leaves the choice to torch and OMP_NUM_THREADS."""
    if num_threads is not None:
        import torch

        torch.set_num_threads(num_threads)


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators (dropout and weight initialisation use torch's)."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (libraries that we call draw from numpy's global generator)
    torch.manual_seed(seed)


def died_of(status: int) -> str:
    """What ended a process, as `subprocess` tells it.

    >>> died_of(-11)
    'it died of SIGSEGV'
    >>> died_of(3)
    'it ended with status 3'
    """
    if status >= 0:
        return f"it ended with status {status}"
    names = {member.value: member.name for member in signal.Signals}
    return f"it died of {names.get(-status, f'signal {-status}')}"
