"""What goes wrong with a disk, in one line with the path and a remedy."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from kpodx.errors import KpodxError, StorageError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
BROKEN = frozenset({errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EFBIG})
OF_NAMES = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENOTEMPTY,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EBUSY,
        errno.EXDEV,
    }
)
OF_PROCESS = frozenset({errno.EMFILE, errno.ENFILE})
OF_DISK = FULL | BROKEN | {errno.EROFS}
"""What is the disk's fault whatever else went wrong after it."""

HINTS = (
    (FULL, "Free some space, or use a folder on a larger disk, and run the same command again."),
    (REFUSED, "Check the permissions of its folder and how the disk is mounted, or name another folder."),
    (BROKEN, "The disk or its file system may be failing: check the system's log, then run the same command again."),
    (OF_NAMES, "Check its path: a part is missing, is not a folder, is in use, or has too long a name."),
    (OF_PROCESS, "Too many files are open: raise the limit (ulimit -n), and run the same command again."),
)
WORDS = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
"""How Rust and Python put the number into an error's words."""


@contextlib.contextmanager
def storing(path: Path | None) -> Iterator[None]:
    """Turn a fault of the disk, as Python or a library says it, into a StorageError.

    Args:
        path: what is being written or read; None takes the path that the fault names.

    Raises:
        StorageError: the disk is full, refuses, or fails.
    """
    try:
        yield
    except KpodxError:
        raise
    except Exception as error:
        number = fault_of(error)
        if number is None:
            raise
        raise storage_error(number, path or _named(error)) from error


def storage_error(number: int, path: Path | None) -> StorageError:
    """Return the error for a number of the operating system, and the path that it is about."""
    hint = next((hint for numbers, hint in HINTS if number in numbers), None)
    shown = "a file" if path is None else str(path)
    if number in FULL:
        kept = "What was finished is kept, and nothing is half written."
        return StorageError(f"The disk is full: {shown} could not be written. {kept}", hint=hint)
    return StorageError(f"{shown} could not be read or written: {os.strerror(number)}.", hint=hint)


def fault_of(error: BaseException) -> int | None:
    """Return the number of the operating system's error behind an exception; None if the disk is not at fault.

    torch says only that a position in the file is not what it expected; what Python raised is the context of that.
    """
    if isinstance(error, OSError) and error.errno in FULL | REFUSED | BROKEN | OF_NAMES | OF_PROCESS:
        return error.errno
    if number := _said(error):
        return number
    behind = error.__cause__ or error.__context__
    while isinstance(error, RuntimeError) and behind is not None:
        if isinstance(behind, OSError) and behind.errno in OF_DISK:
            return behind.errno
        behind = behind.__cause__ or behind.__context__
    return None


def _said(error: BaseException) -> int | None:
    """Return the number in a library's words."""
    text = str(error)
    if "No space left on device" in text:
        return errno.ENOSPC
    # What pathlib raises before Python 3.13 when it resolves a link that leads to itself.
    if isinstance(error, RuntimeError) and text.startswith("Symlink loop from "):
        return errno.ELOOP
    found = WORDS.search(text)
    number = int(found[1] or found[2]) if found else 0
    # Copying a folder raises one error for all of its files, without a number of its own.
    return number if number in OF_DISK or (number and isinstance(error, shutil.Error)) else None


def _named(error: BaseException) -> Path | None:
    name = getattr(error, "filename2", None) or getattr(error, "filename", None)
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None
