"""`kpodx export`: a student becomes packages that run without torch."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from kpodx.cli import terminal
from kpodx.errors import RunError, UsageError
from kpodx.export.manifest import DEFAULTS, QUANTIZATIONS

RUNS = Path("runs")


def export(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="Run, or any local transformers folder; the newest finished run in runs/ by default."
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="Format: gguf or onnx.")] = "gguf",
    quant: Annotated[
        list[str] | None,
        typer.Option(
            help="Of gguf f32, f16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0 or IQ4_NL (f16, Q8_0 and Q4_K_M by default); of onnx f32, int8, "
            "q8, q4 or mixed (q8, q4 and int8 by default); repeatable."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the package; RUN/export/FORMAT, or NAME-FORMAT, by default.")
    ] = None,
    questions: Annotated[
        int, typer.Option(min=1, help="Validation questions that each file is compared with the student on.")
    ] = 32,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer that is compared, in tokens.")] = 256,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; half of the machine's by default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Write a student as GGUF files or ONNX graphs, each compared with the student before it is kept."""
    if form not in QUANTIZATIONS:
        raise UsageError(f"--format {form}: expected {' or '.join(QUANTIZATIONS)}.")
    from kpodx.export.package import export_package

    student, name, asked, origin, default = _source(source, questions, form)
    target = output or default
    done = export_package(
        student,
        target,
        form,
        quant or DEFAULTS[form],
        asked,
        name=name,
        origin=origin,
        max_new_tokens=max_new_tokens,
        threads=threads or max(1, (os.cpu_count() or 2) // 2),
        progress=terminal.TerminalProgress(terminal.stderr_console()),
    )
    if json:
        from dataclasses import asdict

        terminal.print_json({"package": str(target), "models": [asdict(item) for item in done]})
        return
    rows = [
        (
            item.name,
            f"{item.size / 1e6:.1f}",
            f"{item.agreement.equal}/{item.agreement.prompts}",
            terminal.percent(item.agreement.shared_tokens),
            f"{item.agreement.divergence:.2g}",
        )
        for item in done
    ]
    columns = ("model", "MB", "answers equal", "tokens before the first difference %", "divergence, nats a token")
    terminal.print_table(str(target), columns, rows)
    terminal.say(f'try it: python {target}/run.py --model {target}/{done[0].name} "{asked[0]}"')


def _source(source: Path | None, count: int, form: str) -> tuple[Path, str, list[str], dict[str, Any], Path]:
    """The student's folder, its name, questions to compare on, where it comes from, and where the package goes by default."""
    from kpodx.artifacts import STUDENT, load_questions
    from kpodx.runs import MANIFEST, load_run, newest_run
    from kpodx.schema import Split

    if source is not None and not (source / MANIFEST).is_file():
        if not (source / "config.json").is_file():
            raise RunError(
                f"{source} is neither a run nor a model: it has no {MANIFEST} and no config.json.",
                hint="`kpodx status` shows the newest run.",
            )
        name = re.sub(r"[^A-Za-z0-9._-]", "-", source.resolve().name)
        return source, name, generated_questions(count), {"folder": name}, Path(f"{name}-{form}")
    run = load_run(source) if source else newest_run(RUNS)
    kept = load_questions(run.folder("dataset"))
    asked = [q.question for q in kept if q.split is Split.VALIDATION and not q.choices][:count]
    if not asked:
        terminal.say(f"{run.name} has no validation questions without options: generated ones are asked instead")
    folder = run.folder("distillation")
    origin = {"run": run.name, "recipe": run.manifest.get("recipe_name"), "distillation": folder.name}
    name = str(run.manifest.get("recipe_name") or run.name)
    return folder / STUDENT, name, asked or generated_questions(count), origin, run.path / "export" / form


def generated_questions(count: int) -> list[str]:
    """Questions of the generator, for students that come without any."""
    from kpodx.dataset.config import DatasetConfig
    from kpodx.dataset.phase import build_questions

    config = DatasetConfig.model_validate(
        {"format": "embedded", "embedded": {"train": count, "validation": 0, "test": 0}}
    )
    return [question.question for question in build_questions(config)[0]]
