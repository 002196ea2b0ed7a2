"""Run folders: who owns one, what its manifest says, and which is the newest."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import platform
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import kpodx
from kpodx.artifacts import read_json, write_json
from kpodx.errors import RunError
from kpodx.git_revision import git_revision

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
LOCK = ".lock"
DONE = "done.json"
FORMAT = 1

RECORDED_PACKAGES = (
    "accelerate", "datasets", "huggingface-hub", "numpy", "peft", "pydantic", "safetensors", "scikit-learn",
    "sentencepiece", "tokenizers", "torch", "transformers",
)  # fmt: skip


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Run:
    """A run folder that was opened.

    Attributes:
        path: the folder, absolute.
        manifest: what `manifest.json` says; `save` writes it back.
    """

    path: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    @property
    def state(self) -> str:
        """ "running", "interrupted", "failed", "partial" (stopped where asked) or "finished"."""
        return str(self.manifest.get("state", "running"))

    def save(self) -> None:
        """Write the manifest, atomically."""
        self.manifest["updated"] = now()
        write_json(self.path / MANIFEST, self.manifest)

    def folder(self, phase: str) -> Path:
        """The finished folder of a phase; RunError where the phase is not finished."""
        entry = self.manifest.get("phases", {}).get(phase)
        folder = self.path / entry["folder"] if entry else None
        if folder is None or not (folder / DONE).is_file():
            raise RunError(
                f"The run {self.path} has no finished {phase} phase.",
                hint=f"Finish it: kpodx distill RECIPE --run {self.path}",
            )
        return folder

    def summary(self, phase: str) -> dict[str, Any]:
        """What a finished phase said of itself."""
        return dict(read_json(self.folder(phase) / DONE)["summary"])


def load_run(path: Path) -> Run:
    """Open a run folder for reading; RunError where it is none, or of a newer format."""
    file = path / MANIFEST
    if not file.is_file():
        raise RunError(
            f"{path} is not a run folder: it has no {MANIFEST}.", hint="`kpodx status` shows the newest run."
        )
    try:
        manifest = read_json(file)
    except RunError as error:
        # read_json's own hint, to delete the file, would make the folder no run folder any more.
        raise RunError(
            error.message,
            hint=f"`kpodx distill RECIPE --run {path}` writes it anew, and uses the finished phases again.",
        ) from error
    if not isinstance(manifest, dict) or "kpodx" not in manifest:
        raise RunError(f"{file} was not written by kpodx.", hint="Give a folder that `kpodx distill` made.")
    if manifest.get("format") != FORMAT:
        raise RunError(
            f"{file} has format {manifest.get('format')}, expected {FORMAT}.",
            hint=f"It was written by kpodx {manifest['kpodx']}; this is {kpodx.__version__}.",
        )
    return Run(path.resolve(), manifest)


def all_runs(root: Path) -> list[Run]:
    """The runs directly below `root`, the newest last; folders that are no runs are passed over."""
    found = []
    for file in root.glob(f"*/{MANIFEST}"):
        with contextlib.suppress(RunError):
            found.append(load_run(file.parent))
    return sorted(found, key=lambda run: (str(run.manifest.get("updated", "")), run.name))


def newest_run(root: Path, *, finished: bool = True) -> Run:
    """The run below `root` that was written last; RunError where there is none."""
    runs = [run for run in all_runs(root) if run.state == "finished" or not finished]
    if not runs:
        what = "finished run" if finished else "run"
        raise RunError(
            f"There is no {what} in {root}.", hint="Start one: kpodx distill quickstart, or name its folder."
        )
    return runs[-1]


@contextlib.contextmanager
def open_run(path: Path) -> Iterator[Run]:
    """Create or open a run folder and own it until the block ends, or the process dies.

    Raises:
        RunError: the folder holds something else (which stays untouched), or another process owns it.
    """
    path = path.resolve()
    refuse_foreign(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The run folder {path} cannot be made: {error.strerror}.", hint="Give another with --run."
        ) from error
    with locked(path):
        run = (
            load_run(path)
            if (path / MANIFEST).is_file() and not _is_damaged(path / MANIFEST)
            else Run(path, {"kpodx": kpodx.__version__, "format": FORMAT, "created": now()})
        )
        run.manifest["process"] = {"pid": os.getpid(), "host": socket.gethostname()}
        yield run


def _is_damaged(file: Path) -> bool:
    """Whether a manifest cannot be read; a copy is kept. Phases prove by their own `done.json` that they are finished."""
    try:
        read_json(file)
    except RunError:
        copy = file.with_name(f"{MANIFEST}.damaged")
        shutil.copyfile(file, copy)
        logger.warning("%s could not be read and is written anew; the old one is kept as %s", file, copy.name)
        return True
    return False


def refuse_foreign(path: Path) -> None:
    """RunError where `path` holds something that is no run; nothing is written."""
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file, expected a run folder.", hint="Give another folder with --run.")
    try:
        names = {item.name for item in path.iterdir()} if path.is_dir() else set()
    except OSError as error:
        raise RunError(
            f"The run folder {path} cannot be read: {error.strerror}.", hint="Give another with --run."
        ) from error
    if MANIFEST not in names and any(name != LOCK and not name.endswith(".partial") for name in names):
        raise RunError(
            f"{path} is not empty and not a run folder (it has no {MANIFEST}); nothing was written to it.",
            hint="Give a new or empty folder with --run.",
        )


@contextlib.contextmanager
def locked(path: Path, hint: str = "Give another folder with --run.") -> Iterator[None]:
    """Hold the folder's lock; the kernel releases it when the process ends, however it ends.

    Args:
        path: of the folder.
        hint: what to do where it cannot be had.

    Raises:
        RunError: the folder is in use, or cannot be written.
    """
    try:
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.", hint=hint) from error
    try:
        try:
            _lock_exclusively(handle)
        except BlockingIOError as error:
            holder = os.pread(handle, 32, 0).decode().strip() or "unknown"
            raise RunError(
                f"{path} is in use by another kpodx process, pid {holder}.",
                hint=f"Wait for it to end. {hint}",
            ) from error
        except OSError as error:
            raise RunError(
                f"{path} is on a file system without file locks ({errno.errorcode.get(error.errno or 0)}).",
                hint=f"It must be on a local disk. {hint}",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _lock_exclusively(handle: int, patience_seconds: float = 1.0) -> None:
    """Take the lock; it is tried for a while, because `lock_holder` in another process holds it for an instant."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def lock_holder(path: Path) -> int | None:
    """Process id that owns the run folder now, or None where nobody does."""
    try:
        handle = os.open(path / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(handle, 32, 0).decode().strip()
        return int(text) if text.isdigit() else -1
    else:
        return None
    finally:
        os.close(handle)


def describe_environment(recipe_path: Path | None) -> dict[str, Any]:
    """Return what a reader needs to repeat the run: versions, platform, and the commit of the recipe's checkout."""
    commit = git_revision(recipe_path.parent) if recipe_path else None

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": installed_versions(RECORDED_PACKAGES),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "git": {"commit": commit} if commit else None,
    }


def installed_versions(names: tuple[str, ...]) -> dict[str, str | None]:
    """Version of each distribution, None for one that is not installed."""
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions
