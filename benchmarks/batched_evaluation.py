"""Questions of a whole test set, answered in batches of similar length against one by one: answers a second, and whether they are the same.

    python benchmarks/batched_evaluation.py                    # GSM8K's 1,319 test questions, Flan-T5-small's shape
    python benchmarks/batched_evaluation.py --quant f32 --limit 100

Both ways are the program that `kpodx evaluate` starts, and take turns, a slice of the questions each, imports and loading included.
The package is that of decode.py (random weights, so that every answer has all its tokens), made if it is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.append(str(Path(__file__).parent))


def main() -> None:
    """Measure and report."""
    import decode

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quant", default="q8", choices=("f32", "int8", "q8", "q4"))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, default=1319)
    parser.add_argument("--slices", type=int, default=4, help="turns that each way takes")
    arguments = parser.parse_args()
    decode.make_files()
    path = REPOSITORY.parent / "shared" / "data" / "gsm8k" / "test.jsonl"
    if not path.is_file():
        sys.exit(f"{path} is missing: it holds GSM8K's test questions")
    questions = [json.loads(line)["question"] for line in path.read_text(encoding="utf-8").splitlines()]
    questions = questions[: arguments.limit]
    seconds, answers = {1: 0.0, arguments.batch_size: 0.0}, {1: [], arguments.batch_size: []}
    size = -(-len(questions) // arguments.slices)
    for begin in range(0, len(questions), size):
        for batch_size in seconds:
            begun = time.perf_counter()
            answers[batch_size] += answer(questions[begin : begin + size], batch_size, arguments)
            seconds[batch_size] += time.perf_counter() - begun
        print(f"{begin + size} of {len(questions)}: {seconds}", file=sys.stderr)
    same = sum(alone == together for alone, together in zip(*answers.values(), strict=True))
    for batch_size, spent in seconds.items():
        print(f"{batch_size} at a time: {spent:.0f} s, {len(questions) / spent:.2f} answers a second")
    print(
        f"{seconds[1] / seconds[arguments.batch_size]:.2f} times as fast; the same tokens in {same} of {len(questions)}"
    )


def answer(questions: list[str], batch_size: int, arguments: argparse.Namespace) -> list[list[int]]:
    """Token ids of all answers."""
    import decode

    runner = REPOSITORY / "export" / "runners" / "onnxruntime" / "run.py"
    model = decode.decoder_file(arguments.quant)
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "questions.jsonl"
        asked.write_text("".join(json.dumps({"question": question}) + "\n" for question in questions))
        command = [sys.executable, str(runner), "--model", str(model), "--questions", str(asked)]
        command += ["--batch-size", str(batch_size), "--threads", str(arguments.threads)]
        command += ["--max-new-tokens", str(arguments.new_tokens)]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    return [json.loads(line)["tokens"] for line in done.stdout.splitlines()]


if __name__ == "__main__":
    main()
