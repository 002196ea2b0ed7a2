"""A small distillation to test with: made-up sums, a tiny student, all inputs of the phase; also a program, for other processes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tiny_models import make_tiny_llama, make_tiny_t5

from kpodx import artifacts
from kpodx.curriculum.config import CurriculumConfig
from kpodx.difficulty.config import DifficultyConfig
from kpodx.distillation.config import DistillationConfig
from kpodx.modeling.config import LoraSettings, StudentConfig
from kpodx.modeling.loading import load_tokenizer
from kpodx.modeling.tokenization import TokenizedRationale, tokenize_rationales, tokenizer_hash
from kpodx.runtime import PhaseContext, RuntimeConfig
from kpodx.schema import Prediction, Question, Rationale, Schedule, Split, StepDifficulties, TokenWeights

NUM_STAGES = 2


def questions_and_rationales(count: int, num_validation: int) -> tuple[list[Question], list[Rationale]]:
    """Sums with one, two or three sentences of reasoning each."""
    questions, rationales = [], []
    for number in range(count + num_validation):
        a, b = number % 7 + 1, number % 5 + 2
        split = Split.TRAIN if number < count else Split.VALIDATION
        text = f"Tom has {a} apples and buys {b} more. How many apples has Tom?"
        questions.append(Question(f"q{number}", split, text, str(a + b), num_steps=2))
        if split is Split.TRAIN:
            steps = [
                f"Tom has {a} apples.",
                f"Then Tom buys {b} more and keeps them all.",
                f"So it is {a} + {b} = {a + b}.",
            ]
            rationales.append(
                Rationale(f"r{number}", f"q{number}", " ".join(steps[: number % 3 + 1]), str(a + b), "test")
            )
    return questions, rationales


def weights_for(items: list[TokenizedRationale], digest: str, seed: int = 5) -> TokenWeights:
    """Random token weights in (0, 1)."""
    counts = [len(item.rationale_ids) for item in items]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    draws = np.random.default_rng(seed).uniform(0.05, 0.95, int(offsets[-1])).astype(np.float32)
    return TokenWeights(tuple(item.rationale_id for item in items), offsets, draws, digest)


def schedule_for(items: list[TokenizedRationale]) -> Schedule:
    """Stage 0 gives all steps, stage 1 all but one, after that none."""
    steps = np.array([len(item.step_stops) for item in items])
    columns = np.stack([steps, np.maximum(steps - 1, 0)], axis=1).astype(np.int16)
    assert columns.shape[1] == NUM_STAGES
    return Schedule(tuple(item.rationale_id for item in items), columns)


def make_inputs(
    folder: Path, *, family: str = "t5", count: int = 11, num_validation: int = 3, dropout: float = 0.1
) -> Path:
    """Write a student and the folders that the phase reads; return `folder`."""
    if family == "t5":
        make_tiny_t5(folder / "model", dropout=dropout)
    else:
        make_tiny_llama(folder / "model", attention_dropout=dropout)
    questions, rationales = questions_and_rationales(count, num_validation)
    tokenizer = load_tokenizer(str(folder / "model"))
    items = tokenize_rationales(tokenizer, rationales, questions)
    artifacts.save_questions(folder / "dataset", questions)
    artifacts.save_rationales(folder / "rationales", rationales)
    artifacts.save_token_weights(folder / "weighting", weights_for(items, tokenizer_hash(tokenizer)))
    artifacts.save_schedule(folder / "curriculum", schedule_for(items))
    return folder


def solve_curriculum(inputs: Path, **curriculum: Any) -> Path:
    """Let the curriculum phase solve a schedule from drawn difficulties in place of the one by hand; return `inputs`."""
    from kpodx.curriculum.phase import run as solve

    items = tokenize_rationales(
        load_tokenizer(str(inputs / "model")),
        artifacts.load_rationales(inputs / "rationales"),
        artifacts.load_questions(inputs / "dataset"),
    )
    offsets = np.concatenate([[0], np.cumsum([len(item.step_stops) for item in items])]).astype(np.int64)
    stops = np.concatenate([np.array(item.step_stops, dtype=np.int64) for item in items])
    drawn = np.random.default_rng(4).gamma(2.0, 1.0, len(stops))
    difficulties = StepDifficulties(tuple(item.rationale_id for item in items), offsets, drawn, stops)
    artifacts.save_step_difficulties(inputs / "difficulty", difficulties)

    context = context_for(inputs, inputs / "curriculum", curriculum=curriculum)
    context.inputs["difficulty"] = inputs / "difficulty"
    solve(context)
    return inputs


def context_for(
    inputs: Path,
    output: Path,
    *,
    lora: dict[str, Any] | None = None,
    dtype: str = "float32",
    curriculum: dict[str, Any] | None = None,
    difficulty: dict[str, Any] | None = None,
    **settings: Any,
) -> PhaseContext:
    """The context of a short CPU run on `make_inputs`' folder."""
    defaults = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-3, "max_new_tokens": 8}
    recipe = SimpleNamespace(
        student=StudentConfig(model=str(inputs / "model"), lora=None if lora is None else LoraSettings(**lora)),
        runtime=RuntimeConfig(device="cpu", dtype=dtype),
        distillation=DistillationConfig(**(defaults | settings)),
        curriculum=CurriculumConfig(**(curriculum or {})),
        difficulty=DifficultyConfig(**(difficulty or {})),
    )
    names = ("dataset", "rationales", "weighting", "curriculum")
    return PhaseContext(recipe, {name: inputs / name for name in names}, output, seed=3)


class Stopper:
    """A progress bar that ends the work when update number `at` is asked for: by SIGKILL, as a power cut would, or by an exception."""

    def __init__(self, at: int, *, kill: bool) -> None:
        self.at, self.kill = at, kill

    def track(self, items: Any, *, total: int, description: str, done: int = 0) -> Iterator[Any]:
        """Yield the items until the moment has come."""
        for number, item in enumerate(items, start=done):
            if number == self.at and self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            if number == self.at:
                raise KeyboardInterrupt
            yield item

    def note(self, text: str) -> None:
        """Say nothing."""


def record_what_each_process_does(folder: Path) -> None:
    """Let validation call every third question right, and write which rows and questions each process saw into `folder`."""
    from kpodx.distillation import phase, training

    seen: dict[str, list[Any]] = {"batches": [], "questions": []}
    rank = os.environ.get("RANK", "0")
    compute_loss = training.DistillationTrainer.compute_loss

    def watched_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        has_target = (inputs["labels"] != -100).any(dim=1)
        given = self.batch_sampler.data.stage_of(self.batch_sampler.epoch)
        seen["batches"].append([given, inputs["rows"][has_target].tolist(), len(inputs["rows"])])
        return compute_loss(self, model, inputs, *args, **kwargs)

    def answers(student: Any, tokenizer: Any, questions: list[Question], **_: Any) -> list[Prediction]:
        seen["questions"].append([q.id for q in questions])
        folder.mkdir(parents=True, exist_ok=True)
        artifacts.write_json(folder / f"rank{rank}.json", seen)
        return [Prediction(q.id, "", None, int(q.id[1:]) % 3 == 0, None) for q in questions]

    training.DistillationTrainer.compute_loss = watched_loss  # type: ignore[method-assign]
    phase.answer_questions = answers  # type: ignore[assignment]


def main() -> None:
    """Run the phase: `distillation_runs.py INPUTS OUTPUT JSON`, with settings, `kill_at` and `record` in the JSON."""
    from kpodx.distillation.phase import run

    torch.set_num_threads(1)
    settings = json.loads(sys.argv[3])
    kill_at, record = settings.pop("kill_at", None), settings.pop("record", None)
    context = context_for(Path(sys.argv[1]), Path(sys.argv[2]), **settings)
    if kill_at is not None:
        context = dataclasses.replace(context, progress=Stopper(kill_at, kill=True))
    if record is not None:
        record_what_each_process_does(Path(record))
    run(context)


def start(inputs: Path, output: Path, *, processes: int = 1, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run this file as a program, in as many processes; warnings are errors there too."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, __file__, str(inputs), str(output), json.dumps(settings)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "" if processes > 1 else "error"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def student_of(output: Path) -> dict[str, torch.Tensor]:
    """The parameters of the student that a run has written."""
    from safetensors.torch import load_file

    return load_file(output / artifacts.STUDENT / "model.safetensors")


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether two students are the same, bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


if __name__ == "__main__":
    main()
