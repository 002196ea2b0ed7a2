"""One phase's folder in a run: begun, finished, verified, taken over from another run, put aside.

`.started.json` says from which inputs a partial state comes, `done.json` is written last and lists every file.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpodx.artifacts import hash_json, hash_path, read_json, write_json
from kpodx.errors import RunError
from kpodx.runs import DONE, now, read_done

logger = logging.getLogger(__name__)

STARTED = ".started.json"


def is_complete(folder: Path, fingerprint: str, inputs: Mapping[str, str]) -> bool:
    """Whether a phase is finished here: its fingerprint, its inputs and the size of every file are as `done.json` says.

    Args:
        folder: the phase's folder.
        fingerprint: the work expected, 64 hexadecimal digits.
        inputs: content digest of each upstream phase, of those that are known.
    """
    if not (folder / DONE).is_file():
        return False
    try:
        done = read_done(folder)
    except RunError as error:
        logger.warning("%s The phase counts as unfinished.", error.message)
        return False
    same_inputs = all(done["inputs"].get(name) == digest for name, digest in inputs.items())
    return done["fingerprint"] == fingerprint and same_inputs and not missing_files(folder, done)


def missing_files(folder: Path, done: Mapping[str, Any]) -> list[str]:
    """Names of the listed files that are absent or of another size."""
    sizes = {name: entry["size"] for name, entry in done["files"].items()}
    return [
        name for name, size in sizes.items() if not (folder / name).is_file() or (folder / name).stat().st_size != size
    ]


def content_digest(done: Mapping[str, Any]) -> str:
    """One hash for all that a finished phase left: equal digests, equal files."""
    return hash_json({name: entry["sha256"] for name, entry in done["files"].items()})


def begin(folder: Path, fingerprint: str, inputs: Mapping[str, str]) -> bool:
    """Make the folder ready to run in, and return whether it holds a partial state to go on from.

    A finished state is put aside, a partial one of other inputs is removed.
    """
    if (folder / DONE).is_file():
        put_aside(folder)
    expected = {"fingerprint": fingerprint, "inputs": dict(inputs)}
    marker = folder / STARTED
    if folder.is_dir() and marker.is_file():
        try:
            started = read_json(marker)
        except RunError as error:
            logger.warning("%s The partial state is put aside.", error.message)
            put_aside(folder)
        else:
            if started == expected:
                return any(path != marker for path in folder.iterdir())
    if folder.exists():
        shutil.rmtree(folder)
    write_json(marker, expected)
    return False


def finish(
    folder: Path,
    *,
    phase: str,
    version: int,
    fingerprint: str,
    inputs: Mapping[str, str],
    seconds: float,
    resumed: bool,
    summary: Mapping[str, object],
) -> None:
    """Write `done.json`, with the size and hash of every file in the folder."""
    (folder / STARTED).unlink(missing_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DONE)
    write_json(
        folder / DONE,
        {
            "fingerprint": fingerprint,
            "phase": phase,
            "version": version,
            "seconds": round(seconds, 3),
            "resumed": resumed,
            "created": now(),
            "inputs": dict(inputs),
            "files": {
                path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": hash_path(path)}
                for path in files
            },
            "summary": dict(summary),
        },
    )


def put_aside(folder: Path) -> Path:
    """Rename a finished folder, so that its phase runs again and nothing is lost; return its new place."""
    number = 1
    while (target := folder.with_name(f"{folder.name}.replaced-{number}")).exists():
        number += 1
    folder.rename(target)
    return target


def adopt(source: Path, folder: Path) -> None:
    """Take a finished phase over from another run: its files are hard-linked, or copied between disks."""
    if (folder / DONE).is_file():
        put_aside(folder)
    staging = folder.with_name(f".{folder.name}.partial")
    for old in (staging, folder):
        if old.exists():
            shutil.rmtree(old)
    staging.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, staging, copy_function=_link_or_copy)
    staging.rename(folder)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        shutil.copy2(source, target)


def summary_of(folder: Path) -> dict[str, Any]:
    """What a finished phase said of itself; RunError where the folder is not finished."""
    if not (folder / DONE).is_file():
        raise RunError(f"{folder} is not a finished phase: it has no {DONE}.")
    return dict(read_done(folder)["summary"])
