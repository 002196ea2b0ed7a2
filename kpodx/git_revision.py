"""Read a checkout's commit from its files, without running git.

Git obeys the configuration of the folder it runs in: `core.fsmonitor`, hooks and filters name commands, and a folder
can also pose as a bare repository. A recipe may come from a stranger, so only plain files are read here, and nothing
of them is followed or returned but a commit's hexadecimal name.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"ref: (refs/[\w./+@-]{1,1000})")
_GIT_FOLDER = re.compile(r"gitdir: ([^\n\0]{1,4000})")
_LONGEST_HEAD = 4096  # bytes
_LARGEST_PACKED_REFS = 64 * 1024 * 1024  # bytes
_MAX_SYMBOLIC_REFS = 5


def git_revision(folder: Path) -> str | None:
    """Return the commit that the checkout around `folder` has checked out.

    Only the checkout's files are read (HEAD, the ref it names, packed-refs); git itself never runs. Changes that were
    not committed are therefore not detected.

    Returns:
        The commit in hexadecimal, or None outside of a checkout, before the first commit, or if the refs are in a
        format other than files.
    """
    try:
        git_folder = _find_git_folder(folder.resolve())
        return _resolve_head(git_folder) if git_folder else None
    except (OSError, ValueError):
        return None


def _find_git_folder(folder: Path) -> Path | None:
    """Return the `.git` folder of the checkout; a `.git` file (worktree, submodule) names it."""
    for parent in (folder, *folder.parents):
        candidate = parent / ".git"
        if candidate.is_dir():
            return candidate
        if candidate.is_file():
            found = _GIT_FOLDER.fullmatch(_read_small(candidate, _LONGEST_HEAD).strip())
            return parent / found[1] if found else None
    return None


def _resolve_head(git_folder: Path) -> str | None:
    """Follow HEAD through symbolic refs to a commit."""
    # A linked worktree has a HEAD of its own; its branches are in the main checkout's folder.
    common = git_folder / "commondir"
    shared = git_folder / _read_small(common, _LONGEST_HEAD).strip() if common.is_file() else git_folder
    text = _read_small(git_folder / "HEAD", _LONGEST_HEAD).strip()

    for _ in range(_MAX_SYMBOLIC_REFS):
        if _COMMIT.fullmatch(text):
            return text
        found = _REF.fullmatch(text)
        if found is None or ".." in found[1]:
            return None
        name = found[1]
        own = next((place / name for place in (git_folder, shared) if (place / name).is_file()), None)
        if own is None:
            return _packed_commit(shared / "packed-refs", name)
        text = _read_small(own, _LONGEST_HEAD).strip()

    return None


def _packed_commit(file: Path, name: str) -> str | None:
    """Return the commit of a ref that `git pack-refs` moved into one file."""
    if not file.is_file():
        return None
    found = re.search(
        rf"^({_COMMIT.pattern}) {re.escape(name)}$", _read_small(file, _LARGEST_PACKED_REFS), re.MULTILINE
    )
    return found[1] if found else None


def _read_small(file: Path, limit: int) -> str:
    """Read at most `limit` bytes of a regular file as text; OSError for a pipe or a device, which could block."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(f"{file} is not a regular file")
    with file.open("rb") as stream:
        return stream.read(limit).decode("utf-8", "replace")
