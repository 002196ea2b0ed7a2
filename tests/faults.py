"""Faults of a disk, injected below a folder: every write, flush, rename and new folder there can be made to fail."""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NUMBERS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT)


class Faults:
    """Counts what is done to a disk below a folder, and lets operations from one number on fail.

    Args:
        monkeypatch: of the test.
        root: folder that is watched.
        is_watched: which paths below it count; all by default.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, root: Path, is_watched: Callable[[str], bool] = lambda _path: True
    ) -> None:
        self._root, self._is_watched = str(root.resolve()), is_watched
        self.done: list[tuple[str, str]] = []
        self._first: int | None = None
        self._number = errno.EIO
        self._is_lasting = False
        self._patch = monkeypatch
        self._handles: dict[int, str] = {}
        self._wrap_functions()

    def fail_at(self, place: int, number: int, *, lasting: bool = False) -> None:
        """Let the operation of this number, from 0, fail; and all after it if `lasting`, as on a full disk."""
        self.done.clear()
        self._first, self._number, self._is_lasting = place, number, lasting

    def end(self) -> None:
        """Let everything succeed again."""
        self.done.clear()
        self._first = None

    def meet(self, operation: str, path: object) -> None:
        """Count an operation; OSError if it is its turn to fail."""
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        whole = os.path.abspath(name)  # noqa: PTH100  (pathlib is being watched)
        if not whole.startswith(self._root) or not self._is_watched(name):
            return
        place = len(self.done)
        self.done.append((operation, name))
        if self._first is not None and (place == self._first or (self._is_lasting and place > self._first)):
            raise OSError(self._number, os.strerror(self._number), *([] if operation == "fsync" else [name]))

    def _wrap_functions(self) -> None:
        for module, name in ((os, "mkdir"), (os, "rename"), (os, "replace"), (os, "link"), (shutil, "copyfile")):
            self._patch.setattr(module, name, self._wrapped(name, getattr(module, name)))
        real_open, real_fsync = os.open, os.fsync

        def open_handle(path: Any, flags: int, *rest: Any, **settings: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR):
                self.meet("open", path)
            handle = real_open(path, flags, *rest, **settings)
            self._handles[handle] = os.fsdecode(path)
            return handle

        def fsync(handle: int) -> None:
            self.meet("fsync", self._handles.get(handle, ""))
            real_fsync(handle)

        def open_file(file: Any, mode: str = "r", *rest: Any, **settings: Any) -> Any:
            if isinstance(file, str | os.PathLike) and set(mode) & set("wax+"):
                self.meet("open", file)
            return real_file(file, mode, *rest, **settings)

        real_file = builtins.open
        self._patch.setattr(os, "open", open_handle)
        self._patch.setattr(os, "fsync", fsync)
        self._patch.setattr(builtins, "open", open_file)
        self._patch.setattr(io, "open", open_file)

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **settings: Any) -> Any:
            self.meet(name, arguments[-1] if name in ("rename", "replace", "link", "copyfile") else arguments[0])
            return function(*arguments, **settings)

        return wrapped


def listing(folder: Path) -> dict[str, bytes]:
    """Each file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
