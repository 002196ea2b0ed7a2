"""Running a bundle: here, as its device would, or on the device through ssh. It is the same program in both places."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpodx.acceptance.bundle import BUNDLE, PROGRAM, RESULTS, shipped_programs
from kpodx.artifacts import hash_json, read_json
from kpodx.errors import RunError, UsageError
from kpodx.outside import clean_line, parse_json
from kpodx.runtime import Progress
from kpodx.storage import storing

WHOLE = ".whole"
URL = re.compile(r"ssh://((?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9._-]*)(?::(\d{1,5}))?(?:/(.*))?")


def run_here(folder: Path, package: Path, kind: str, progress: Progress) -> None:
    """Let the bundle in `folder` be answered in processes of this machine.

    Args:
        folder: of bundle.json, the questions, and the results.
        package: folder of the models.
        kind: onnx or gguf.
        progress: where progress is shown.

    Raises:
        RunError: the program stopped.
    """
    programs = shipped_programs(kind)
    command = [sys.executable, str(programs[PROGRAM]), "--bundle", str(folder), "--package", str(package)]
    _follow([*command, "--runner", str(programs["run.py"])], progress)


@dataclass(frozen=True)
class Remote:
    """A device that ssh reaches.

    Attributes:
        target: user@host, as ssh wants it.
        port: None takes ssh's own.
        folder: on the device, below which bundles are kept.
        python: Python on the device, with what the runner needs.
    """

    target: str
    port: int | None
    folder: str
    python: str

    @property
    def host(self) -> str:
        """Its name, and the port where one is named, without the user's."""
        port = f"-{self.port}" if self.port else ""
        return self.target.rpartition("@")[2] + port

    def command(self, words: Sequence[str] | str) -> list[str]:
        """An ssh command that runs something there; a text is a shell's line."""
        line = words if isinstance(words, str) else shlex.join(words)
        port = ["-p", str(self.port)] if self.port else []
        return ["ssh", "-o", "BatchMode=yes", *port, "--", self.target, line]


def parse_url(url: str, python: str) -> Remote:
    """A device from ssh://user@host:port/folder; the folder is relative to the home there, two slashes make it absolute.

    >>> parse_url("ssh://pi@garden:2222", "python3")
    Remote(target='pi@garden', port=2222, folder='kpodx', python='python3')

    Raises:
        UsageError: it is no such address.
    """
    found = URL.fullmatch(url)
    if not found:
        raise UsageError(f"--device {url}: expected ssh://user@host, and :port or /folder behind it.")
    return Remote(found[1], int(found[2]) if found[2] else None, found[3] or "kpodx", python)


def run_there(remote: Remote, bundle: Path, progress: Progress) -> Path:
    """Bring a bundle to a device, let it be answered there, and fetch the results, into the bundle's folder.

    A bundle that is there already is not brought again, and goes on where it was stopped.

    Args:
        remote: the device.
        bundle: folder that `write_bundle` wrote.
        progress: where progress is shown.

    Raises:
        RunError: ssh, or the program there, stopped.
    """
    described = read_json(bundle / BUNDLE)
    # What is carried; times are no part of it.
    carried = [described[name] for name in ("package", "programs", "questions")]
    place = f"{remote.folder}/{hash_json([carried, [model['files'] for model in described['models']]])[:12]}"
    quoted = shlex.quote(place)
    if _call(remote.command(f"test -f {quoted}/{WHOLE}"), check=False).returncode != 0:
        progress.note(f"copying {bundle} to {remote.target}:{place}")
        # The mark comes last, so that a folder that has it is whole.
        _send(remote.command(f"mkdir -p {quoted} && tar -xf - -C {quoted} && touch {quoted}/{WHOLE}"), bundle)
    else:
        _call(remote.command(f"cat > {quoted}/{BUNDLE}"), sent=(bundle / BUNDLE).read_bytes())
    # A relative path to a Python is one from the home there, as the bundle's own.
    home = '"$home"/' if "/" in remote.python.removeprefix("~/") and not remote.python.startswith("/") else ""
    python = home + shlex.quote(remote.python.removeprefix("~/"))
    _follow(remote.command(f"home=$PWD; cd {quoted} && exec {python} {PROGRAM}"), progress)
    fetched = _call(remote.command(f"cat {quoted}/{RESULTS}")).stdout
    with storing(bundle / RESULTS):
        (bundle / RESULTS).write_bytes(fetched)
    return bundle / RESULTS


def _call(command: Sequence[str], *, check: bool = True, sent: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        done = subprocess.run(command, capture_output=True, check=False, input=sent)
    except FileNotFoundError as error:
        raise RunError(f"{command[0]} is not installed.", hint="--device needs OpenSSH's client.") from error
    # ssh's own failures end with 255.
    if done.returncode == 255 or (check and done.returncode != 0):
        raise RunError(_ended(command, done.returncode, done.stderr.decode("utf-8", "replace")))
    return done


def _send(command: Sequence[str], bundle: Path) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            with tarfile.open(fileobj=process.stdin, mode="w|") as archive:
                for path in sorted(bundle.rglob("*")):
                    if path.is_file():
                        archive.add(path, path.relative_to(bundle).as_posix())
            process.stdin.close()
        except BrokenPipeError:
            pass
        errors = process.stderr.read().decode("utf-8", "replace")
    if process.returncode != 0:
        raise RunError(_ended(command, process.returncode, errors))


def _follow(command: Sequence[str], progress: Progress) -> None:
    """Run a bundle's program and show its progress; RunError where it does not end well."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            events = _events(process.stdout)
            total = _count(next(events, {}).get("total"))
            for _ in progress.track(events, total=total, description="Evaluating"):
                pass
            errors = process.stderr.read()
        except BaseException:
            process.terminate()
            raise
    # 4: some model did not finish, which the results tell.
    if process.returncode not in (0, 4):
        raise RunError(_ended(command, process.returncode, errors))


def _events(lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
    """What the program tells; a login on a device may say other things before."""
    for line in lines:
        try:
            event = parse_json(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.keys() & {"total", "answered"}:
            yield event


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 10**9 else 0


def _ended(command: Sequence[str], status: int, errors: str) -> str:
    said = (errors.strip().splitlines() or [f"it ended with status {status}"])[-1].removeprefix("error: ")
    return f"{'ssh' if command[0] == 'ssh' else PROGRAM}: {clean_line(said, 500)}"
