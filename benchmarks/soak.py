"""Memory of a package's runner over thousands of answers in one process: does it grow?

    python benchmarks/soak.py --model PACKAGE/onnx/decoder_model_merged_quantized.onnx
    python benchmarks/soak.py --model PACKAGE/student-Q8_0.gguf --batch-size 8 --output soak.json

Prompts have many lengths, since an engine may keep something for each shape that it has met. The slope is a least-squares line over
the last three quarters: the first one holds what is set up once.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kpodx.cli.export import generated_questions
from kpodx.export.divergence import load_runner

EVERY = 250
"""Answers between two readings of the memory."""


def main() -> None:
    """Answer, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="model file of a package")
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--max-new-tokens", type=int, default=24)
    parser.add_argument("--longest", type=int, default=100, help="most words of a question")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    before = memory_kib("VmRSS")
    readings, seconds, lengths = soak(arguments)
    found = {
        "answers": readings[-1][0],
        "prompt_lengths": lengths,
        "answers_per_second": readings[-1][0] / seconds,
        "imports_kib": before,
        "first_kib": readings[0][1],
        "last_kib": readings[-1][1],
        "peak_kib": memory_kib("VmHWM"),
        "slope_kib_per_1000": slope(readings[len(readings) // 4 :]),
    }
    print(
        f"{found['answers']:,} answers to prompts of {lengths} lengths, {found['answers_per_second']:.1f} a second\n"
        f"memory: {before:,} KiB before, {found['first_kib']:,} KiB after the first {EVERY}, {found['last_kib']:,} KiB at the end, "
        f"{found['peak_kib']:,} KiB at most\n"
        f"slope over the last three quarters: {found['slope_kib_per_1000']:+.1f} KiB per 1,000 answers"
    )
    if arguments.output:
        said = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
        arguments.output.write_text(json.dumps({"arguments": said, **found, "readings": readings}, indent=1))


def soak(arguments: argparse.Namespace) -> tuple[list[tuple[int, int]], float, int]:
    """(answers so far, KiB) at each reading; seconds; how many lengths in tokens the prompts had."""
    folder = next((f for f in arguments.model.resolve().parents[:2] if (f / "run.py").is_file()), None)
    if folder is None:
        sys.exit(f"there is no run.py beside {arguments.model}")
    runner = load_runner(folder / "run.py")
    import command_line  # type: ignore[import-not-found]  # the package's own, beside its run.py

    greedy = argparse.Namespace(max_new_tokens=arguments.max_new_tokens, temperature=0.0, top_p=1.0, seed=0)
    readings: list[tuple[int, int]] = []
    lengths: set[int] = set()
    done, asked = 0, questions(arguments.longest)
    with runner.Model(arguments.model, arguments.threads) as model:
        begun = time.perf_counter()
        while done < arguments.answers:
            batch = [next(asked) for _ in range(min(arguments.batch_size, arguments.answers - done))]
            records = command_line.answers(model, batch, greedy, range(done, done + len(batch)))
            lengths.update(record["prompt_tokens"] for record in records)
            done += len(batch)
            if done // EVERY > len(readings) or done == arguments.answers:
                readings.append((done, memory_kib("VmRSS")))
        seconds = time.perf_counter() - begun
    return readings, seconds, len(lengths)


def questions(longest: int) -> Iterator[str]:
    """Beginnings of generated questions strung together, from 3 words to `longest`, for ever; the same in every run."""
    rng, pool = random.Random(0), " ".join(generated_questions(500)).split()
    while True:
        begin, count = rng.randrange(len(pool) - longest), rng.randint(3, longest)
        yield " ".join(pool[begin : begin + count])


def slope(readings: list[tuple[int, Any]]) -> float:
    """KiB per 1,000 answers of a least-squares line.

    >>> slope([(1000, 10), (2000, 20), (3000, 30)])
    10.0
    """
    answers, sizes = np.array(readings, float).T
    return round(float(np.polyfit(answers / 1000, sizes, 1)[0]), 3) if len(readings) > 1 else 0.0


def memory_kib(field: str) -> int:
    """This process's memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
