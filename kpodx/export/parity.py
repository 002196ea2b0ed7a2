"""Does a package say what the student says? Token ids of greedy answers, side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kpodx.errors import KpodxError


@dataclass(frozen=True)
class Agreement:
    """How far a package's greedy answers are the student's.

    Attributes:
        prompts: how many were asked.
        equal: how many answers have the same token ids, to the last.
        first_differing: position (from 0) of the first token that differs, of each answer that is not equal.
        shared_tokens: share of the student's tokens that come before the first differing one.
    """

    prompts: int
    equal: int
    first_differing: tuple[int, ...]
    shared_tokens: float


def compare(student: Sequence[Sequence[int]], package: Sequence[Sequence[int]]) -> Agreement:
    """Compare answers, in the same order.

    >>> compare([[1, 2, 3], [4, 5]], [[1, 2, 3], [4, 6]])
    Agreement(prompts=2, equal=1, first_differing=(1,), shared_tokens=0.8)
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
    return Agreement(len(student), len(student) - len(positions), tuple(positions), shared / total if total else 1.0)


def ask_package(
    runner: Path, model: Path, questions: Sequence[str], max_new_tokens: int, threads: int
) -> list[list[int]]:
    """Token ids of a package's answers, through the same program that a user runs, in a process of its own.

    Raises:
        KpodxError: the program failed, or the file made it crash.
    """
    command = [sys.executable, str(runner), "--model", str(model), "--max-new-tokens", str(max_new_tokens)]
    lines = "".join(json.dumps({"question": question}) + "\n" for question in questions)
    done = subprocess.run(
        [*command, "--threads", str(threads)],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()[-1:] or [f"it ended with status {done.returncode}"]
        raise KpodxError(f"{runner.name} cannot run {model.name}: {words[0]}")
    answers = [json.loads(line)["tokens"] for line in done.stdout.splitlines()]
    if len(answers) != len(questions):
        raise KpodxError(f"{runner.name} answered {len(answers)} of {len(questions)} questions with {model.name}.")
    return answers
