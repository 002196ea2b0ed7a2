"""The rationales phase, step splitting, `show` and the report on long thoughts: processor time and MiB by tokens per rationale.

    python benchmarks/long_rationales.py --sizes 1000 2000 4000 8000

Each stage runs in a process of its own; MiB is its peak above what it held when its inputs were not yet read. Exit code 1
if a doubling of the length takes more than three times the time of a stage that lasts long enough to tell.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STUDENT_FOLDER = ROOT / "recipes" / "quickstart-student"
QUESTIONS, SAMPLES = 8, 4
LONG_ENOUGH = 0.2
"""Seconds from which a time says something about growth."""


def make_thought(num_tokens: int, seed: int) -> str:
    """A thought of sums, guesses and doubts with about `num_tokens` tokens of the quickstart's student."""
    from kpodx.modeling.token_spans import read_backend, token_spans

    backend = read_backend(STUDENT_FOLDER / "tokenizer.json")
    assert backend is not None
    rng = random.Random(seed)
    sentences = []
    for number in range(num_tokens // 40):
        a, b = rng.randrange(2, 999), rng.randrange(2, 999)
        sentences += [
            f"Tom has {a} apples and finds {b} more, so {a} + {b} = {a + b}.",
            f"Wait, maybe the answer is {a * b % 97}? No, that is not it.",
            f"Hmm, e.g. {a}.5 - {b} is less (see no. {number}).\n",
        ]
    text = " ".join(sentences)
    spans = token_spans(backend, text)
    return text[: spans[min(num_tokens, len(spans)) - 1].stop].rsplit(".", 1)[0] + "."


def write_inputs(folder: Path, num_tokens: int) -> None:
    """Questions, and recorded completions with thoughts of `num_tokens` tokens."""
    from kpodx.artifacts import save_questions, write_jsonl
    from kpodx.schema import Question, Split

    questions = [Question(f"q{n}", Split.TRAIN, f"How many, {n}?", "9") for n in range(QUESTIONS)]
    save_questions(folder / "dataset" / "a1", questions)
    rows = [
        {
            "id": f"q{n}",
            "completion": f"<think>\n{make_thought(num_tokens, 100 * n + sample)}\n</think>\n\n4 + 5 = 9. The answer is 9.",
        }
        for n in range(QUESTIONS)
        for sample in range(SAMPLES)
    ]
    write_jsonl(folder / "records.jsonl", rows)


def run_phase(folder: Path) -> None:
    """Read, separate, clean, split, filter, count tokens, choose by diversity, report."""
    from kpodx.config import build_config
    from kpodx.rationales.config import RationalesConfig
    from kpodx.rationales.phase import run
    from kpodx.runtime import PhaseContext

    settings = {
        "teacher": "recorded",
        "files": str(folder / "records.jsonl"),
        "thoughts": "only",
        "max_per_question": SAMPLES - 1,
        "choose": "diverse",
        "max_steps": 10**6,
        "max_tokens": 10**6,
    }
    recipe = SimpleNamespace(
        rationales=build_config(RationalesConfig, settings), student=SimpleNamespace(model=str(STUDENT_FOLDER))
    )
    output = folder / "rationales" / "a1"
    output.mkdir(parents=True, exist_ok=True)
    report = run(PhaseContext(recipe, {"dataset": folder / "dataset" / "a1"}, output, seed=0))
    assert report["kept"] == QUESTIONS * (SAMPLES - 1)


def split(folder: Path) -> None:
    """Cut every kept rationale into steps."""
    from kpodx.artifacts import load_rationales
    from kpodx.text.steps import split_steps

    for rationale in load_rationales(folder / "rationales" / "a1"):
        split_steps(rationale.text)


def write_run(folder: Path) -> None:
    """What `show` and the report read beside the rationales: made-up weights and difficulties, and a manifest."""
    import numpy as np

    from kpodx.artifacts import (
        load_rationales,
        read_json,
        save_step_difficulties,
        save_token_weights,
        write_json,
    )
    from kpodx.modeling.token_spans import backend_hash, read_backend, token_spans
    from kpodx.phase_folders import finish
    from kpodx.schema import StepDifficulties, TokenWeights
    from kpodx.text.steps import split_steps

    backend = read_backend(STUDENT_FOLDER / "tokenizer.json")
    assert backend is not None
    rationales = load_rationales(folder / "rationales" / "a1")
    ids = tuple(rationale.id for rationale in rationales)
    tokens = np.cumsum([0, *(len(token_spans(backend, rationale.text)) for rationale in rationales)])
    steps = np.cumsum([0, *(len(split_steps(rationale.text)) for rationale in rationales)])
    rng = np.random.default_rng(0)
    weights = TokenWeights(ids, tokens, rng.random(tokens[-1], dtype=np.float32), backend_hash(backend))
    save_token_weights(folder / "weighting" / "a1", weights)
    ones = np.ones(int(steps[-1]), dtype=np.int64)
    save_step_difficulties(folder / "difficulty" / "a1", StepDifficulties(ids, steps, rng.random(len(ones)), ones))
    summaries = {"dataset": {}, "rationales": read_json(folder / "rationales" / "a1" / "report.json")}
    for phase in ("dataset", "rationales", "weighting", "difficulty"):
        finish(
            folder / phase / "a1",
            phase=phase,
            version=1,
            fingerprint="a1" * 32,
            inputs={},
            seconds=1.0,
            resumed=False,
            summary=summaries.get(phase, {}),
        )
    entry = {"fingerprint": "a1" * 32, "seconds": 1.0, "cached": False, "created": "2026-01-01"}
    phases = {name: {"folder": f"{name}/a1", **entry} for name in ("dataset", "rationales", "weighting", "difficulty")}
    recipe = {"name": "long", "description": "", "seed": 0, "student": {"model": str(STUDENT_FOLDER), "revision": None}}
    common = {"kpodx": "0", "format": 1, "state": "partial", "recipe_name": "long", "recipe": recipe}
    write_json(folder / "manifest.json", {**common, "phases": phases, "seeds": {}, "inputs": {}, "plan": []})


def show(folder: Path) -> None:
    """What `kpodx show` prints of every question."""
    import io

    from rich.console import Console

    from kpodx.cli.show import paint
    from kpodx.reporting.questions import describe_question
    from kpodx.runs import load_run

    run, console = load_run(folder), Console(file=io.StringIO(), force_terminal=True, width=100)
    for number in range(QUESTIONS):
        document = describe_question(run, f"q{number}", None)
        for rationale in document["rationales"]:
            console.print(paint(rationale["tokens"], document["threshold"], "truecolor"))


def page(folder: Path) -> None:
    """The three examples of the HTML report."""
    from kpodx.reporting.examples import describe_examples
    from kpodx.reporting.rationale_sections import examples_section
    from kpodx.runs import load_run

    str(examples_section(describe_examples(load_run(folder)), {}))


STAGES: dict[str, Callable[[Path], None]] = {"rationales": run_phase, "steps": split, "show": show, "report": page}


def measure(stage: str, folder: Path) -> dict[str, float]:
    """Run one stage here: seconds of processor time and the rise of this process's peak memory in MiB, imports left out."""
    import kpodx.cli.show
    import kpodx.modeling.loading
    import kpodx.rationales.phase
    import kpodx.reporting.page  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    STAGES[stage](folder)
    seconds = time.process_time() - begun
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "mib": (after - before) / 1024}


def run_child(stage: str, folder: Path) -> dict[str, float]:
    """Measure one stage in a fresh process."""
    command = [sys.executable, str(Path(__file__)), "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def is_linear(sizes: Sequence[int], seconds: Sequence[float]) -> bool:
    """Whether the time grows with the size, three times per doubling at most."""
    pairs = list(zip(sizes, seconds, strict=True))
    return all(
        late < 3 * early * (large / small / 2)
        for (small, early), (large, late) in itertools.pairwise(pairs)
        if early > LONG_ENOUGH
    )


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 2000, 4000, 8000])
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(measure(arguments.stage, arguments.folder)))
        return 0

    found: dict[str, list[dict[str, Any]]] = {stage: [] for stage in STAGES}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_inputs(folder, size)
            found["rationales"].append(run_child("rationales", folder))
            write_run(folder)
            for stage in ("steps", "show", "report"):
                found[stage].append(run_child(stage, folder))

    print(
        f"{QUESTIONS * SAMPLES} completions; seconds of processor time, and MiB above the start, by tokens per rationale"
    )
    print(f"{'stage':12}" + "".join(f"{size:>18,}" for size in arguments.sizes))
    for stage, rows in found.items():
        print(f"{stage:12}" + "".join(f"{row['seconds']:>9.2f} s {row['mib']:>4.0f} MiB" for row in rows))
    crooked = [
        stage for stage, rows in found.items() if not is_linear(arguments.sizes, [row["seconds"] for row in rows])
    ]
    if crooked:
        print(f"not linear: {', '.join(crooked)}")
    return 1 if crooked else 0


if __name__ == "__main__":
    sys.exit(main())
