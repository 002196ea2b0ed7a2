"""Do packages answer on 64-bit Arm as they do here? The same program, model and questions under qemu-user, token id by token id.

    python benchmarks/arm.py runs/quickstart/export/arm-onnx runs/quickstart/export/arm-gguf
    python benchmarks/arm.py PACKAGE --cpu cortex-a76 --model int8 --limit 100 --output arm.json

Asked are the questions.jsonl in a package's folder, or else the test questions of its run; of these, it is known which answers are right,
and each column of the table names here first. The machine is made in
build/arm: Debian's Python, PyPI's onnxruntime, and a llama.cpp cross-compiled for GGUF files; arm_machine.py tells how. Emulated
instructions give a real processor's numbers, but not its times.

The exit code is 1 where an unquantised model (f32, f16) gives one other token, or where a quantised one is farther from the same model
here than the model is from its student: integers round numbers on their way, and one that lies between two steps may fall to the other
side when a sum is taken in another order.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from arm_machine import CPUS, Arm, ArmError, Cpu, run

from kpodx.artifacts import load_questions, read_jsonl, write_jsonl
from kpodx.cli import terminal
from kpodx.errors import KpodxError
from kpodx.export.divergence import load_runner
from kpodx.export.manifest import PACKAGE, PROMPT
from kpodx.export.parity import Agreement, compare
from kpodx.runs import MANIFEST, load_run
from kpodx.schema import Question
from kpodx.text.judging import judge
from kpodx.text.prompts import format_choices

REPOSITORY = Path(__file__).resolve().parents[1]
EXACT = ("f32", "f16")
"""Where every token must be the same."""
SCORED_ANSWERS, SCORED_TOKENS = 8, 32
"""Distributions are compared along so many answers, and so many tokens of each."""
Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Line:
    """One model on one processor.

    Attributes:
        model: quantisation, with the package's format.
        cpu: as qemu calls it.
        agreement: of the answers there with those here; its divergence is from the distributions here.
        same_result: questions whose answers end in the same number, right or wrong; None where the questions are of no known run.
        right: how many answers are right here and there; None likewise.
        from_student: the model's divergence from its student, as its package tells it.
        seconds: that all answers took there, with loading.
    """

    model: str
    cpu: str
    agreement: Agreement
    same_result: int | None
    right: tuple[int, int] | None
    from_student: float
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether this may not be."""
        if self.model.split()[-1] in EXACT:
            return self.agreement.equal != self.agreement.prompts
        return not self.agreement.divergence <= self.from_student

    def row(self) -> tuple[str, ...]:
        """As the table shows it."""
        found, total = self.agreement, self.agreement.prompts
        return (
            self.model,
            self.cpu,
            f"{found.equal}/{total}",
            str(min(found.first_differing)) if found.first_differing else "-",
            "-" if self.same_result is None else f"{self.same_result}/{total}",
            "-" if self.right is None else f"{self.right[0]}, {self.right[1]}",
            f"{found.divergence:.1e}",
            f"{self.from_student:.1e}",
            f"{self.seconds:.0f}",
        )


COLUMNS = (
    "model",
    "processor",
    "equal answers",
    "first differs",
    "same result",
    "right",
    "nats from here",
    "from student",
    "seconds",
)


def main() -> int:
    """Command line; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("packages", type=Path, nargs="+", metavar="PACKAGE", help="folder of a package or a bundle")
    parser.add_argument("--run", type=Path, help="run whose test questions are asked; the one that the package lies in")
    parser.add_argument("--model", action="append", help="quantisation, such as int8; repeatable; all by default")
    parser.add_argument("--cpu", action="append", choices=list(CPUS), help="repeatable; the Raspberry Pis' by default")
    parser.add_argument("--limit", type=int, default=24, help="most questions (default 24)")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "arm", help="folder of the machine")
    parser.add_argument("--apt-sources", type=Path, help="apt list of a mirror with arm64; this machine's by default")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="compilers at a time")
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    if arguments.limit < 1:
        parser.error("--limit must be at least 1")
    arm = Arm(arguments.work.resolve(), arguments.apt_sources, arguments.jobs, terminal.say)
    lines = []
    try:
        for folder in arguments.packages:
            lines += examine(folder.resolve(), arm, arguments)
        if not lines:
            raise ArmError(f"None of the packages has a model {', '.join(arguments.model)}.")
    except (KpodxError, ArmError, OSError) as error:
        sys.exit(f"error: {error}")
    terminal.print_table("Arm beside this machine", COLUMNS, [line.row() for line in lines])
    if arguments.output:
        rows = [asdict(line) | {"failed": line.failed} for line in lines]
        arguments.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    failed = [f"{line.model} on {line.cpu}" for line in lines if line.failed]
    print(f"{len(lines)} comparisons, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    return 1 if failed else 0


def examine(folder: Path, arm: Arm, arguments: argparse.Namespace) -> list[Line]:
    """Every chosen model of a package, on every chosen processor."""
    if not (folder / PACKAGE).is_file():
        raise ArmError(f"{folder} is no package: it has no {PACKAGE}. Make one: kpodx export RUN --output {folder}")
    manifest = json.loads((folder / PACKAGE).read_text(encoding="utf-8"))
    known = questions_of_run(folder, arguments.run)
    asked = questions_of(folder, known)[: arguments.limit]
    models = [
        item for item in manifest["models"] if item["quantization"] in (arguments.model or [item["quantization"]])
    ]
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        questions, reference = Path(scratch, "questions.jsonl"), Path(scratch, "reference.npz")
        write_jsonl(questions, asked)
        for model in models:
            program = [str(folder / "run.py"), "--model", str(folder / model["name"]), "--threads", "1"]
            program += ["--questions", str(questions)]
            here = answers([sys.executable, *program])
            save_distributions(reference, folder, model["name"], here)
            for cpu in (CPUS[name] for name in arguments.cpu or ("cortex-a72", "cortex-a76")):
                python = str(arm.python(cpu, manifest["kind"]))
                terminal.say(f"{manifest['kind']} {model['quantization']} answers on {cpu.name} ({cpu.device})")
                begun = time.perf_counter()
                there = answers([python, *program])
                seconds = time.perf_counter() - begun
                divergence = measure_divergence(arm, cpu, folder, model["name"], manifest["kind"], reference)
                lines.append(line(manifest["kind"], model, cpu, here, there, divergence, seconds, known))
    return lines


def line(
    kind: str,
    model: Mapping[str, Any],
    cpu: Cpu,
    here: Records,
    there: Records,
    divergence: float,
    seconds: float,
    known: Mapping[str, Question],
) -> Line:
    """What the answers of one model tell."""
    agreement = compare([item["tokens"] for item in here], [item["tokens"] for item in there], divergence)
    same, right = None, None
    if all(item.get("id") in known for item in here):
        questions = [known[item["id"]] for item in here]
        ours, theirs = (list(judge(questions, [item["output"] for item in side])) for side in (here, there))
        same = sum(a.predicted == b.predicted for a, b in zip(ours, theirs, strict=True))
        right = sum(item.correct for item in ours), sum(item.correct for item in theirs)
    name, from_student = f"{kind} {model['quantization']}", model["agreement"]["divergence"]
    return Line(name, cpu.name, agreement, same, right, from_student, seconds)


def questions_of_run(folder: Path, run: Path | None) -> dict[str, Question]:
    """Test questions of a run, or else of the one that a package lies in, by their ids; none where it lies in no run."""
    above = run or next((parent for parent in folder.parents if (parent / MANIFEST).is_file()), None)
    if above is None:
        return {}
    return {item.id: item for item in load_questions(load_run(above).folder("dataset")) if item.split == "test"}


def questions_of(folder: Path, known: Mapping[str, Question]) -> Records:
    """What is asked: the folder's own questions, or those of its run."""
    if (folder / "questions.jsonl").is_file():
        return [dict(record) for record in read_jsonl(folder / "questions.jsonl")]
    if not known:
        raise ArmError(
            f"{folder} has no questions.jsonl and lies in no run: there is nothing to ask. Name one with --run."
        )
    # A question's options belong to it.
    options = {item.id: f" {format_choices(item.choices)}" if item.choices else "" for item in known.values()}
    return [{"id": item.id, "question": item.question + options[item.id]} for item in known.values()]


def answers(command: Sequence[str]) -> Records:
    """The records that run.py writes."""
    # Not splitlines(): an answer may hold characters that only Python takes for the end of a line.
    return [json.loads(item) for item in run(command).removesuffix("\n").split("\n")]


def save_distributions(path: Path, folder: Path, model: str, here: Records) -> None:
    """The model's distributions here, along the beginnings of its own answers, as `kpodx.export.divergence` reads them."""
    scored = [item for item in here if item["tokens"]][:SCORED_ANSWERS]
    arrays: dict[str, Any] = {"questions": np.array([item["question"] for item in scored], dtype=str)}
    with load_runner(folder / "run.py").Model(folder / model, 1) as reasoner:
        for number, item in enumerate(scored):
            answer = item["tokens"][:SCORED_TOKENS]
            ids = reasoner.tokenize(PROMPT.replace("{question}", item["question"]))
            logits = reasoner.logits(ids, answer).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
            arrays |= {f"answer_{number}": np.array(answer, np.int64), f"log_probabilities_{number}": logits}
    np.savez(path, **arrays)


def measure_divergence(arm: Arm, cpu: Cpu, folder: Path, model: str, kind: str, reference: Path) -> float:
    """Mean Kullback-Leibler divergence a token, in nats, of a model there from the same model here."""
    python = arm.python(cpu, kind, with_kpodx=True)
    program = ["-m", "kpodx.export.divergence", str(folder / "run.py"), str(folder / model), str(reference), "1"]
    return float(json.loads(run([str(python), *program]))["divergence"])


if __name__ == "__main__":
    sys.exit(main())
