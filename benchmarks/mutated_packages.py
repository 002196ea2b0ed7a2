"""Damage packages thousands of times: each must end in an answer or a one-line error, never in a traceback, crash, hang or stray file.

    python benchmarks/mutated_packages.py PACKAGE [PACKAGE …] --count 10000 --processes 300 --output mutated.json

Each mutation damages one file of a package; the files take turns. It cuts the file off, flips bits, writes huge numbers, nests
deeply, writes names that lead elsewhere, removes the file, swaps it with another one, or puts a folder or pipe in its place. The
manifest gets the hash of the damaged file. `kpodx` reads the package; then a fork of the package's runner answers questions
within 30 seconds. `--processes` of the runners are separate programs. The exit code is 1 if any of them did not end well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mutations import WAYS

from kpodx.acceptance.package import load_package
from kpodx.artifacts import hash_path
from kpodx.errors import KpodxError
from kpodx.export.divergence import load_runner
from kpodx.export.manifest import PACKAGE, models_of
from kpodx.outside import clean

SECONDS = 30
MEMORY = 8 << 30
LONGEST = 2000
"""Characters of a message."""
QUESTION = b'{"question": "Tom has 3 boxes of 12 eggs and breaks 5. How many eggs are left?", "id": "a"}\nHow many?\n'
QUESTIONS = "questions.jsonl"
PLACES = ("gone", "folder", "pipe", "swapped", "link")
"""Further mutations, which put something else in a file's place."""


def main() -> int:
    """Damage, ask, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("packages", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument(
        "--processes", type=int, default=300, help="how many of them run the runner as a separate program"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", RUST_BACKTRACE="0")
    with tempfile.TemporaryDirectory() as scratch:
        benches = [Bench(package.resolve(), Path(scratch) / str(n)) for n, package in enumerate(arguments.packages)]
        found = campaign(benches, arguments)
    report(found)
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1))
    return int(bool(found["bad"]))


def campaign(benches: list[Bench], arguments: argparse.Namespace) -> dict[str, Any]:
    """Try all mutations; the counts, and what did not end well."""
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in ("manifest", "runner", "program")}
    files: Counter[str] = Counter()
    bad: list[dict[str, Any]] = []
    begun, longest, every = time.monotonic(), 0.0, max(1, arguments.count // max(1, arguments.processes))
    for number in range(arguments.first, arguments.first + arguments.count):
        bench = benches[number % len(benches)]
        with bench.damaged(random.Random(f"{arguments.seed}-{number}"), number // len(benches)) as what:
            files[what.partition(":")[0]] += 1
            tries = {"manifest": bench.read_manifest, "runner": bench.ask}
            if number % every == 0:
                tries["program"] = bench.run
            for name, attempt in tries.items():
                asked = time.monotonic()
                outcome, said = attempt()
                longest = max(longest, time.monotonic() - asked)
                outcomes[name][outcome] += 1
                if outcome not in ("answered", "refused"):
                    bad.append({"number": number, "package": bench.source.name, "what": what, "by": name})
                    bad[-1] |= {"outcome": outcome, "said": said[-2000:]}
            if strangers := bench.strangers():
                bad.append({"number": number, "what": what, "outcome": "a file elsewhere", "said": strangers})
    return {
        "mutations": arguments.count,
        "files": dict(files),
        "outcomes": {name: dict(counts) for name, counts in outcomes.items()},
        "seconds": round(time.monotonic() - begun, 1),
        "longest_seconds": round(longest, 2),
        "bad": bad,
    }


def report(found: dict[str, Any]) -> None:
    """Print the figures."""
    print(
        f"{found['mutations']:,} damaged packages in {found['seconds']:,} s; the longest try took {found['longest_seconds']} s"
    )
    print("damaged files: " + ", ".join(f"{name} {count}" for name, count in sorted(found["files"].items())))
    for name, counts in found["outcomes"].items():
        print(f"{name}: " + ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(counts.items())))
    print(f"not ended well: {len(found['bad'])}")
    for item in found["bad"][:20]:
        print(json.dumps(item)[:1500])


class Bench:
    """A copy of a package in a folder of its own, in which one file at a time is damaged.

    Args:
        source: the sound package.
        folder: for the copy; nothing else may appear in it.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self.source, self.folder, self.package = source, folder, folder / "package"
        shutil.copytree(source, self.package)
        (self.package / QUESTIONS).write_bytes(QUESTION)
        self.files = sorted(path.relative_to(self.package) for path in self.package.rglob("*") if path.is_file())
        # The program itself is run, not read: damaging Python proves nothing.
        self.files = [name for name in self.files if name.suffix != ".py"]
        self.manifest = json.loads((source / PACKAGE).read_text())
        self.model = self.package / self.manifest["models"][0]["name"]
        self._sound = {name: (self.package / name).read_bytes() for name in self.files}
        self._known = set(folder.rglob("*"))

    @contextlib.contextmanager
    def damaged(self, rng: random.Random, turn: int) -> Iterator[str]:
        """Damage one file while the block runs; yields which, and how."""
        name = self.files[turn % len(self.files)]
        # A pipe is a valid source of questions: the runner rightly waits for what is written into it, so this is not a hang.
        places = [place for place in PLACES if place != "pipe" or name.name != QUESTIONS]
        path, way = self.package / name, rng.choice([*WAYS, *places])
        try:
            self._damage(path, self._sound[name], way, rng)
            # Sign the damaged file: with a wrong hash it would be refused before anything reads it.
            if name.name != PACKAGE and path.is_file() and name.as_posix() in self.manifest["files"]:
                self._sign(name)
            yield f"{name.as_posix()}: {way}"
        finally:
            for changed in (name, Path(PACKAGE)):
                self._restore(changed)

    def _damage(self, path: Path, content: bytes, way: str, rng: random.Random) -> None:
        if way in WAYS:
            path.write_bytes(WAYS[way](content, rng))
            return
        path.unlink()
        if way == "folder":
            path.mkdir()
        elif way == "pipe":
            os.mkfifo(path)
        elif way == "link":
            path.symlink_to(rng.choice(["/dev/zero", "/etc/passwd", ".", path.name, "/nowhere"]))
        elif way == "swapped":
            path.write_bytes(self._sound[rng.choice(self.files)])

    def _sign(self, name: Path) -> None:
        with contextlib.suppress(OSError):
            path = self.package / name
            if path.is_symlink():
                return
            entry = {"size": path.stat().st_size, "sha256": hash_path(path)}
            files = {**self.manifest["files"], name.as_posix(): entry}
            (self.package / PACKAGE).write_text(json.dumps({**self.manifest, "files": files}))

    def _restore(self, name: Path) -> None:
        path = self.package / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.write_bytes(self._sound[name])

    def strangers(self) -> list[str]:
        """Return the files that were not there before; Python's own caches do not count."""
        new = {path for path in self.folder.rglob("*") if "__pycache__" not in path.parts} - self._known
        return sorted(str(path) for path in new)

    def read_manifest(self) -> tuple[str, str]:
        """Read the package as `kpodx evaluate`, `ask` and `serve` do."""
        said = "refused"
        for read in (load_package, models_of):
            try:
                with seconds(SECONDS):
                    read(self.package)
                said = "answered"
            except KpodxError as error:
                if len(error.message) > LONGEST:
                    return "long message", error.message
            except TimeoutError:
                return "hang", ""
            except BaseException:  # noqa: BLE001  (any exception counts as a fault)
                return "traceback", traceback.format_exc()
        return said, ""

    def ask(self) -> tuple[str, str]:
        """Ask the runner in a fork."""
        with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as errors:
            child = os.fork()
            if not child:
                self._answer(printed.fileno(), errors.fileno())
            _, status = os.waitpid(child, 0)
            errors.seek(0)
            return judged(os.waitstatus_to_exitcode(status), errors.read().decode("utf-8", "replace"))

    def _answer(self, printed: int, errors: int) -> None:
        """Answer the questions as the runner does, in the child process, and exit."""
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.alarm(SECONDS)
            os.dup2(printed, 1), os.dup2(errors, 2)
            os.chdir(self.folder)
            sys.argv = [str(self.package / "run.py")]
            program = PROGRAMS[self.manifest["kind"]]
            pattern = "*.gguf" if self.manifest["kind"] == "gguf" else "onnx/*decoder_model_merged*.onnx"
            status = program.main(program.Model, "", pattern, self._arguments())
        except SystemExit as ended:
            status = int(ended.code or 0) if isinstance(ended.code, int | None) else 2
        except BaseException:  # noqa: BLE001  (a traceback is printed and counted)
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def _arguments(self) -> list[str]:
        return ["--max-new-tokens", "2", "--threads", "1", "--questions", str(self.package / QUESTIONS)]

    def run(self) -> tuple[str, str]:
        """Run the runner as a program, as a person does."""
        command = [sys.executable, str(self.package / "run.py"), *self._arguments()]
        try:
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return "hang", ""
        return judged(done.returncode, done.stderr.decode("utf-8", "replace"))


PROGRAMS: dict[str, Any] = {}
"""The runners that forks become, by format: ours, loaded once."""


def load_programs() -> None:
    """Load the runner of each format that is installed."""
    from kpodx.export.manifest import RUNNERS, shipped_runner

    for kind in RUNNERS:
        with contextlib.suppress(SystemExit):
            PROGRAMS[kind] = load_runner(shipped_runner(kind))


def judged(status: int, errors: str) -> tuple[str, str]:
    """Return what an exit status and the lines on stderr mean, and these lines."""
    if status == -signal.SIGALRM:
        return "hang", errors
    if status < 0:
        return f"crash {signal.Signals(-status).name}", errors
    if "Traceback" in errors or "panicked" in errors:
        return "traceback", errors
    if status == 0 and not errors:
        return "answered", ""
    is_line = errors.startswith("error: ") and errors.count("\n") == 1 and len(errors) <= LONGEST
    if status == 2 and is_line and clean(errors) == errors:
        return "refused", errors
    return f"status {status}, {errors.count(chr(10))} lines", errors


@contextlib.contextmanager
def seconds(limit: int) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer than `limit` seconds."""

    def stop(_number: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    load_programs()
    sys.exit(main())
