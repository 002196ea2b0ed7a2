"""Running a package as its device would: the same program in a process of its own, with threads and memory really bounded."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kpodx.artifacts import read_jsonl, write_jsonl
from kpodx.errors import DataError
from kpodx.export.manifest import shipped_runner

POLL_SECONDS = 0.02
WARM_UP = 2
ENERGY = Path("/sys/class/powercap/intel-rapl:0/energy_uj")

Ending = Literal["finished", "over memory", "failed"]


@dataclass(frozen=True)
class Device:
    """What a package may use.

    Attributes:
        threads: CPU threads.
        memory_mib: most resident memory, in MiB; None sets no limit.
        context_tokens: most tokens of prompt and answer; None takes the model's own.
        batch_size: questions at a time where only answers count; times are always taken one by one.
        max_new_tokens: longest answer.
        python: the program that runs run.py.
    """

    threads: int
    memory_mib: int | None = None
    context_tokens: int | None = None
    batch_size: int = 1
    max_new_tokens: int = 256
    python: str = sys.executable


@dataclass(frozen=True)
class Outcome:
    """How a package's process ended: its answers so far, peak resident memory in MiB, seconds, and the last line of its errors."""

    ending: Ending
    peak_mib: float
    seconds: float
    error: str
    energy_joules: float | None


def run_package(folder: Path, model: str, questions: Path, answers: Path, device: Device, batch_size: int) -> Outcome:
    """Let a package answer a file of questions; what was answered before stays and is not asked again.

    Args:
        folder: of the package.
        model: its model file, relative to the folder.
        questions: JSONL, with `question` and `id`.
        answers: JSONL that the answers are added to.
        device: threads and memory.
        batch_size: questions at a time.
    """
    done = {record["id"] for record in _whole_records(answers)}
    asked = [record for record in read_jsonl(questions) if record["id"] not in done]
    if not asked:
        return Outcome("finished", 0.0, 0.0, "", None)
    rest = answers.with_suffix(".rest.jsonl")
    write_jsonl(rest, asked)
    # Our own copy of the program: a package may come from anybody.
    runner = shipped_runner("onnx" if model.endswith(".onnx") else "gguf")
    command = [device.python, str(runner), "--model", str(folder / model), "--questions", str(rest)]
    command += ["--threads", str(device.threads), "--batch-size", str(batch_size)]
    command += ["--max-new-tokens", str(device.max_new_tokens)]
    if device.context_tokens:
        command += ["--context-tokens", str(device.context_tokens)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(device.threads), "TOKENIZERS_PARALLELISM": "false"}
    energy, begun = _energy(), time.perf_counter()
    with answers.open("ab") as stdout:
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment)
        watch = _MemoryWatch(process, device.memory_mib)
        try:
            _, errors = process.communicate()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            watch.join()
    rest.unlink()
    spent, after = time.perf_counter() - begun, _energy()
    joules = (after - energy) / 1e6 if energy is not None and after is not None and after >= energy else None
    ending: Ending = "over memory" if watch.is_over else "finished" if process.returncode == 0 else "failed"
    words = errors.strip().splitlines()[-1:] or (
        [f"it ended with status {process.returncode}"] if ending == "failed" else [""]
    )
    return Outcome(ending, watch.peak_mib, spent, words[0].removeprefix("error: "), joules)


class _MemoryWatch(threading.Thread):
    """Reads a process's resident memory until it ends, and ends it where it has too much."""

    def __init__(self, process: subprocess.Popen[str], limit_mib: int | None) -> None:
        super().__init__(daemon=True)
        self.process, self.limit_mib = process, limit_mib
        self.peak_mib, self.is_over = 0.0, False
        self.start()

    def run(self) -> None:
        while self.process.poll() is None:
            self.peak_mib = max(self.peak_mib, resident_mib(self.process.pid))
            if self.limit_mib is not None and self.peak_mib > self.limit_mib:
                self.is_over = True
                self.process.kill()
                return
            time.sleep(POLL_SECONDS)


def resident_mib(pid: int) -> float:
    """Peak resident memory of a process so far, in MiB; 0 where the machine does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _energy() -> float | None:
    """Energy that the processor used so far, in microjoules, where the machine tells."""
    try:
        return float(ENERGY.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _whole_records(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a file that may end in the middle of a line; such a line is cut off."""
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        path.write_bytes(whole)
    for line in whole.splitlines():
        yield json.loads(line)


def measure_cost(
    folder: Path, model: str, questions: Sequence[Mapping[str, Any]], scratch: Path, device: Device
) -> dict[str, Any]:
    """Times, memory and energy of answers one by one; the first of them warm up and do not count.

    Args:
        folder: of the package.
        model: its model file, relative to the folder.
        questions: records with `question` and `id`.
        scratch: folder for its files.
        device: threads and memory.
    """
    asked, answers = scratch / "cost-questions.jsonl", scratch / "cost-answers.jsonl"
    write_jsonl(asked, questions)
    answers.unlink(missing_ok=True)
    outcome = run_package(folder, model, asked, answers, device, 1)
    records = list(_whole_records(answers))
    counted = records[WARM_UP:] or records
    files = sum(path.stat().st_size for path in model_files(folder, model))
    cost: dict[str, Any] = {
        "ending": outcome.ending,
        "error": outcome.error,
        "peak_mib": round(outcome.peak_mib, 1),
        "size_mib": round(files / 2**20, 2),
        "answers": len(counted),
        "energy_joules_per_answer": None
        if outcome.energy_joules is None
        else round(outcome.energy_joules / max(1, len(records)), 3),
    }
    if counted:
        spent = sum(record["seconds"] for record in records)
        cost |= {
            "start_seconds": round(max(0.0, outcome.seconds - spent), 3),
            "first_token_ms": spread([1e3 * record["first_token_seconds"] for record in counted]),
            "answer_ms": spread([1e3 * record["seconds"] for record in counted]),
            "tokens_per_second": spread([record["tokens_per_second"] for record in counted]),
        }
    return cost


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile (the nearest rank), least and greatest.

    >>> spread([3.0, 1.0, 2.0])
    {'p50': 2.0, 'p95': 3.0, 'min': 1.0, 'max': 3.0}
    """
    ranked = sorted(values)
    middle = len(ranked) // 2
    median = ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2
    highest = ranked[math.ceil(0.95 * len(ranked)) - 1]
    return {"p50": round(median, 3), "p95": round(highest, 3), "min": round(ranked[0], 3), "max": round(ranked[-1], 3)}


def model_files(folder: Path, model: str) -> list[Path]:
    """The files that a model is made of: a GGUF file, or the graphs of one quantisation with what lies beside them."""
    path = folder / model
    if path.suffix != ".onnx":
        return [path]
    encoder = path.name.replace("decoder_model_merged", "encoder_model")
    names = {path.name, encoder, f"{path.name}_data", f"{encoder}_data"}
    return sorted(found for found in path.parent.iterdir() if found.name in names)


def describe_machine() -> dict[str, Any]:
    """The machine that measured: processor, cores, memory, system."""
    processor, memory = platform.processor() or platform.machine(), None
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), processor)
        total = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
        memory = int(total) // 1024
    except (OSError, ValueError):
        pass
    return {
        "processor": processor,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_mib": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def read_answers(path: Path, ids: Sequence[str]) -> list[str]:
    """Outputs by question, in the order of `ids`.

    Raises:
        DataError: a question is not answered.
    """
    outputs = {record["id"]: str(record["output"]) for record in _whole_records(path)}
    missing = [name for name in ids if name not in outputs]
    if missing:
        raise DataError(f"{path}: {len(missing)} of {len(ids)} questions are not answered, the first is {missing[0]}.")
    return [outputs[name] for name in ids]
