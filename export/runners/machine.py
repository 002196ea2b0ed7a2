"""What this machine can bear: CPU threads, and the memory of a batch. It needs Python and nothing else.

A package may come from anyone, and may ask for thousands of threads or a context of a billion tokens.
"""

from __future__ import annotations

import os
from pathlib import Path

MOST_ROWS = 256
"""Most questions side by side; llama.cpp takes no more."""
MOST_CONTEXT = 2**20
"""Most tokens of a context, whatever a package says."""
CGROUP = Path("/sys/fs/cgroup")


def half_of_the_cores():
    """Return the CPU threads used by default: hyperthreads and small cores rarely help."""
    return max(1, (os.cpu_count() or 2) // 2)


def bounded_threads(wanted):
    """Return the CPU threads to use: those wanted, but no more than there are cores; half of the cores if none are wanted."""
    return min(wanted, os.cpu_count() or 1) if wanted else half_of_the_cores()


def free_bytes():
    """Return the memory that is free, in bytes, within the limit of a container; None if the machine does not say."""
    known = [_free_of_the_machine(), _free_of_the_container()]
    return min((value for value in known if value is not None), default=None)


def lack_of_memory(needed, rows, tokens):
    """Return why a batch does not fit into the memory, None if it does.

    Args:
        needed: bytes that it takes.
        rows: questions in it.
        tokens: of the longest of them, with its answer.
    """
    free = free_bytes()
    if free is None or needed <= free:
        return None
    sizes = f"{needed / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free"
    return f"{rows} questions of up to {tokens:,} tokens take about {sizes}: ask shorter ones, or fewer at a time"


def _free_of_the_machine():
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _free_of_the_container():
    """Return what a limit of the container leaves; files that are only kept in memory can make room."""
    try:
        most, taken = (int((CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        lines = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        kept = sum(int(line.split()[1]) for line in lines if line.startswith(("active_file ", "inactive_file ")))
        return max(0, most - taken + kept)
    except (OSError, ValueError, IndexError):
        return None
