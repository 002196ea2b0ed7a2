#!/usr/bin/env python3
"""Answer the questions of a bundle with each of its models, and note what that costs. Needs what run.py needs, and nothing else.

    python run.py        # in a bundle's folder; it goes on where it was stopped

Everything goes into results.jsonl, which `kpodx evaluate --import results.jsonl` scores where the bundle was made. Each model runs in
a process of its own, with the threads that bundle.json says, and is ended where it takes more memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path

from bundle_files import (
    TIMES,
    BundleError,
    check_answer,
    check_question,
    parsed,
    read_bundle,
    read_lines,
    whole_records,
    write_questions,
)
from machine import bounded_threads
from shown_text import clean_line, json_line

BUNDLE, QUESTIONS, RESULTS = "bundle.json", "questions.jsonl", "results.jsonl"
ENERGY = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
ENGINES = ("onnxruntime", "tokenizers", "numpy", "llama_cpp_python")
POLL_SECONDS = 0.02
WARM_UP = 2
"""Answers that come before those whose times count."""


def main(argv=None):
    """Command line; returns its exit status. Each answer is told on stdout, as a line of JSON."""
    here = Path(sys.argv[0]).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=here, help="folder of bundle.json, questions and results")
    parser.add_argument("--package", type=Path, default=here, help="folder of the models")
    parser.add_argument("--runner", type=Path, default=here / "run.py", help="program that runs them")
    arguments = parser.parse_args(argv)
    try:
        unfinished = answer_bundle(arguments.bundle, arguments.package, arguments.runner)
        for line in unfinished:
            print(f"not finished: {clean_line(line)}", file=sys.stderr)
        if sys.stdout.isatty() and not unfinished:
            print(f"{arguments.bundle / RESULTS} is whole: kpodx evaluate --import {RESULTS}")
    except (BundleError, OSError, UnicodeError, MemoryError) as error:
        print(f"error: {clean_line(error) or 'no memory'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 4 if unfinished else 0


def answer_bundle(folder, package, runner):
    """Ask each model what it was not asked yet, then take its times; what did not finish, in words.

    Args:
        folder: holds bundle.json and questions.jsonl; results.jsonl is added to.
        package: folder of the models.
        runner: the program that runs them.
    """
    bundle = read_bundle(folder / BUNDLE)
    check_hashes(bundle, folder, package, runner.parent)
    for left in folder.glob(".asked-*.jsonl"):
        left.unlink()
    machine = describe_machine(bounded_threads(bundle["threads"]))
    questions = read_lines(folder / QUESTIONS, check_question)
    few = questions[: bundle["cost_questions"] + WARM_UP]
    records = [record for record in whole_records(folder / RESULTS) if record.get("place") == place_of(machine)]
    wanted = [(model, *missing(model, questions, records)) for model in bundle["models"]]
    tell = Teller(sum(len(rest) + is_costly * len(few) for _, rest, is_costly in wanted))
    with Results(folder / RESULTS, place_of(machine)) as results:
        results.write(part="bundle", bundle=bundle, machine=machine)
        for model, rest, is_costly in wanted:
            ask = Asking(model, {**bundle, "threads": machine["threads"]}, folder, package, runner, tell)
            if rest:
                ending = ask(rest, bundle["batch_size"], lambda record, model=model: results.keep(model, record))
                results.write(part="answers", model=model["name"], key=model["answers_key"], **ending)
            if is_costly:
                times = []
                ending = ask(few, 1, lambda record, times=times: times.append({name: record[name] for name in TIMES}))
                results.write(part="cost", model=model["name"], key=model["cost_key"], times=times, **ending)
    return results.unfinished


def missing(model, questions, records):
    """The questions that a model was not asked yet, and whether its times are still to be taken."""
    done = {record["id"] for record in records if record["part"] == "answer" and record["key"] == model["answers_key"]}
    costs = [record for record in records if record["part"] == "cost" and record["key"] == model["cost_key"]]
    is_taken = any(record["ending"] == "finished" for record in costs)
    return [question for question in questions if question["id"] not in done], not is_taken


def place_of(machine):
    """What answers and times depend on: those of another machine, or of other versions, are not this one's."""
    kept = {name: value for name, value in machine.items() if name not in ("memory_mib", "system")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


class Results:
    """results.jsonl, which is added to; a context manager.

    Args:
        path: of the file.
        place: where its new records come from.
    """

    def __init__(self, path, place):
        self.place, self.unfinished = place, []
        self.stream = path.open("a", encoding="utf-8")

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.stream.close()

    def write(self, **record):
        """Add a line that is on its way to the disk when this returns."""
        if record.get("ending", "finished") != "finished":
            self.unfinished.append(f"{record['model']}: {record['ending']} {record['error']}".strip())
        self.stream.write(json_line({**record, "place": self.place}) + "\n")
        self.stream.flush()

    def keep(self, model, record):
        """Add one answer, without the question, which is known."""
        kept = {name: value for name, value in record.items() if name != "question"}
        self.write(part="answer", model=model["name"], key=model["answers_key"], **kept)


class Teller:
    """Tells how far it is: a line of JSON an answer to a program, one line that changes to a person."""

    def __init__(self, total):
        self.total, self.answered = total, 0
        self.is_seen = sys.stdout.isatty()
        if not self.is_seen:
            print(json.dumps({"total": total}), flush=True)

    def __call__(self, name):
        self.answered += 1
        if self.is_seen:
            end = "\n" if self.answered == self.total else ""
            print(f"\r{self.answered} of {self.total} answers ({clean_line(name, 60)})\033[K", end=end, flush=True)
        else:
            print(json_line({"answered": self.answered, "model": name}), flush=True)


def check_hashes(bundle, folder, package, programs):
    """BundleError where a model, the questions or the runner are not those that the bundle was made with."""
    expected = {folder / QUESTIONS: bundle["questions"]["file_sha256"]}
    expected[programs / "run.py"] = bundle["programs"]["run.py"]
    for model in bundle["models"]:
        expected |= {package / name: digest for name, digest in model["files"].items()}
    for path, digest in expected.items():
        if not path.is_file():
            raise BundleError(f"{path} is missing")
        if hash_file(path) != digest:
            raise BundleError(f"{path} is not the file that the bundle was made with: its sha256 differs")


def hash_file(path):
    """sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


class Asking:
    """One model, in a process of its own.

    Args:
        model: its entry in bundle.json.
        bundle: threads, memory, longest answer.
        folder: for a scratch file.
        package: folder of the model.
        runner: program that runs it.
        tell: called with the model's name after each answer.
    """

    def __init__(self, model, bundle, folder, package, runner, tell):
        self.name, self.tell = model["name"], tell
        self.asked = folder / f".asked-{os.getpid()}.jsonl"
        self.limit_mib = bundle["memory_mib"]
        self.command = [sys.executable, str(runner), "--keep-going", "--model", str(package / model["name"])]
        for name in ("threads", "max_new_tokens", "context_tokens"):
            if bundle[name] is not None:
                self.command += [f"--{name.replace('_', '-')}", str(bundle[name])]
        threads = {"OMP_NUM_THREADS": str(bundle["threads"]), "TOKENIZERS_PARALLELISM": "false"}
        self.environment = {**os.environ, **threads}

    def __call__(self, questions, batch_size, keep):
        """Let the model answer; how that ended.

        Args:
            questions: records with `id` and `question`.
            batch_size: questions at a time.
            keep: called with each record that comes.
        """
        write_questions(self.asked, questions)
        command = [*self.command, "--batch-size", str(batch_size), "--questions", str(self.asked)]
        energy, begun, answered = read_energy(), time.perf_counter(), 0
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
        pipes["errors"] = "replace"
        process = subprocess.Popen(command, env=self.environment, **pipes)
        watch = MemoryWatch(process, self.limit_mib)
        errors = ErrorLines(process.stderr)
        try:
            for line in process.stdout:
                # Killed in the middle of a line.
                if line.endswith("\n"):
                    keep(parsed(line, f"an answer of {self.name}", check_answer))
                    answered += 1
                    self.tell(self.name)
            process.wait()
        finally:
            process.kill()
            process.wait()
            watch.join()
            errors.join()
            self.asked.unlink(missing_ok=True)
        spent, after = time.perf_counter() - begun, read_energy()
        joules = (after - energy) / 1e6 if energy is not None and after is not None and after >= energy else None
        ending = "over memory" if watch.is_over else "finished" if process.returncode == 0 else "failed"
        said = errors.last or (f"it ended with status {process.returncode}" if ending == "failed" else "")
        return {
            "ending": ending,
            "error": said.removeprefix("error: "),
            "peak_mib": round(watch.peak_mib, 1) if watch.peak_mib else None,
            "run_seconds": round(spent, 3),
            "energy_joules": joules,
            "answered": answered,
        }


class ErrorLines(threading.Thread):
    """Reads what a process says on stderr, and keeps its last line."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream, self.last = stream, ""
        self.start()

    def run(self):
        for line in self.stream:
            self.last = line.strip()[:1000] or self.last


class MemoryWatch(threading.Thread):
    """Reads a process's peak resident memory until it ends, and ends it where it has too much."""

    def __init__(self, process, limit_mib):
        super().__init__(daemon=True)
        self.process, self.limit_mib = process, limit_mib
        self.peak_mib, self.is_over = 0.0, False
        self.start()

    def run(self):
        while self.process.poll() is None:
            self.peak_mib = max(self.peak_mib, resident_mib(self.process.pid))
            if self.limit_mib is not None and self.peak_mib > self.limit_mib:
                self.is_over = True
                self.process.kill()
                return
            time.sleep(POLL_SECONDS)


def resident_mib(pid):
    """Peak resident memory of a process so far, in MiB; 0 where the machine does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def read_energy():
    """Energy that the processor used so far, in microjoules, where the machine tells."""
    try:
        return float(ENERGY.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def describe_machine(threads):
    """The machine that measures, and with what: processor, cores, memory, threads, system, versions."""
    processor, memory = platform.processor() or platform.machine(), None
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        known = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
        processor = next(iter(known), processor)
        memory = int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1]) // 1024
    except (OSError, ValueError, IndexError):
        pass
    return {
        "processor": processor,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_mib": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in ENGINES if (version := installed(name))},
    }


def installed(name):
    """Version of a package, None where it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
