"""Does a package say what the student says? Token ids of greedy answers, side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kpodx.errors import KpodxError
from kpodx.export.reference import Reference, scored
from kpodx.outside import parse_json
from kpodx.runtime import died_of


@dataclass(frozen=True)
class Agreement:
    """How far a package's greedy answers are the student's.

    Attributes:
        prompts: how many were asked.
        equal: how many answers have the same token ids, to the last.
        first_differing: position (from 0) of the first token that differs, of each answer that is not equal.
        shared_tokens: share of the student's tokens that come before the first differing one.
        divergence: mean Kullback-Leibler divergence a token from the student's distributions, in nats.
    """

    prompts: int
    equal: int
    first_differing: tuple[int, ...]
    shared_tokens: float
    divergence: float


def compare(student: Sequence[Sequence[int]], package: Sequence[Sequence[int]], divergence: float = 0.0) -> Agreement:
    """Compare answers, in the same order.

    >>> compare([[1, 2, 3], [4, 5]], [[1, 2, 3], [4, 6]])
    Agreement(prompts=2, equal=1, first_differing=(1,), shared_tokens=0.8, divergence=0.0)
    """
    positions, shared, total = [], 0, 0
    for ours, theirs in zip(student, package, strict=True):
        same = next(
            (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
        )
        shared += same
        total += len(ours)
        if list(ours) != list(theirs):
            positions.append(same)
    return Agreement(
        len(student), len(student) - len(positions), tuple(positions), shared / total if total else 1.0, divergence
    )


def ask_package(
    runner: Path, model: Path, questions: Sequence[str], max_new_tokens: int, threads: int
) -> list[list[int]]:
    """Token ids of a package's answers, through the same program that a user runs, in a process of its own.

    Raises:
        KpodxError: the program failed, or the file made it crash.
    """
    command = [str(runner), "--model", str(model), "--max-new-tokens", str(max_new_tokens), "--threads", str(threads)]
    lines = "".join(json.dumps({"question": question}) + "\n" for question in questions)
    # Not splitlines(): an answer may hold characters that only Python takes for the end of a line.
    printed = _run(command, model, lines).removesuffix("\n").split("\n")
    if len(printed) != len(questions):
        raise KpodxError(f"{runner.name} answered {len(printed)} of {len(questions)} questions with {model.name}.")
    try:
        return [list(parse_json(line, most_text=len(line))["tokens"]) for line in printed]
    except (ValueError, KeyError, TypeError) as error:
        raise KpodxError(f"{runner.name} printed something else than answers of {model.name}: {error}.") from error


def measure_divergence(runner: Path, model: Path, reference: Path, threads: int) -> float:
    """Mean Kullback-Leibler divergence a token, in nats, of a package's distributions from the student's.

    Args:
        runner: the package's program.
        model: its model file.
        reference: file that `save_reference` wrote.
        threads: CPU threads.

    Raises:
        KpodxError: the program failed, or the file made it crash.
    """
    # Without -P, modules of the current directory would come before ours.
    command = ["-P", "-m", "kpodx.export.divergence", str(runner), str(model), str(reference), str(threads)]
    return float(json.loads(_run(command, model))["divergence"])


def save_reference(path: Path, reference: Reference) -> None:
    """Write the student's distributions for `measure_divergence`."""
    pairs = scored(reference.questions, reference.answers)
    arrays: dict[str, npt.NDArray[Any]] = {"questions": np.array([question for question, _ in pairs], dtype=str)}
    for number, ((_, answer), values) in enumerate(zip(pairs, reference.log_probabilities, strict=True)):
        arrays |= {f"answer_{number}": np.array(answer, np.int64), f"log_probabilities_{number}": values}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _run(command: Sequence[str], model: Path, lines: str = "") -> str:
    done = subprocess.run(
        [sys.executable, *command],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:]
        words = said if said and done.returncode > 0 else [died_of(done.returncode)]
        raise KpodxError(f"run.py cannot run {model.name}: {words[0].removeprefix('error: ')}")
    return done.stdout
