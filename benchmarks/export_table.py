"""Every format and quantisation of several students: size, agreement with the student, divergence from it; each f32 and f16 must agree.

    python benchmarks/export_table.py --output exports.json
    python benchmarks/export_table.py --students stories260K --students-folder build

Students that are not there are made by `real_models.py` (`quickstart`: the newest run's). Random weights (flan-t5-small, gpt2-shape)
have near ties everywhere: their quantised answers part from the student's early whatever the quantisation does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from real_models import MAKERS

from kpodx.export.manifest import QUANTIZATIONS

REPOSITORY = Path(__file__).resolve().parents[1]
# Questions, and longest answers in tokens.
STUDENTS = {
    "quickstart": (100, 256),
    "flan-t5-small": (4, 24),
    "gpt2-shape": (4, 24),
    "stories260K": (10, 64),
    "babyllama105": (10, 64),
}


def main() -> None:
    """Export all, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--students", nargs="*", choices=list(STUDENTS), default=list(STUDENTS))
    parser.add_argument(
        "--students-folder", type=Path, default=REPOSITORY / "build", help="where they are, or are made"
    )
    parser.add_argument(
        "--quickstart-run", type=Path, help="run whose student is exported; the newest in runs/ by default"
    )
    parser.add_argument("--formats", nargs="*", choices=list(QUANTIZATIONS), default=list(QUANTIZATIONS))
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    print("| student | model | MB | answers equal | tokens before the first difference, % | divergence, nats a token |")
    print("|---|---|---|---|---|---|")
    for student in arguments.students:
        for form in arguments.formats:
            models = export(source(student, arguments), form, *STUDENTS[student])
            found[f"{student} {form}"] = models
            for model in models:
                said = model["agreement"]
                print(
                    f"| {student} | {form} {model['quantization']} | {model['size'] / 1e6:.1f} | {said['equal']}/{said['prompts']} | "
                    f"{100 * said['shared_tokens']:.1f} | {said['divergence']:.2g} |",
                    flush=True,
                )
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1))


def source(student: str, arguments: argparse.Namespace) -> list[str]:
    """What `kpodx export` takes."""
    if student == "quickstart":
        return [str(arguments.quickstart_run)] if arguments.quickstart_run else []
    folder = arguments.students_folder / student
    if not (folder / "config.json").is_file():
        MAKERS[student](folder)
    return [str(folder)]


def export(what: list[str], form: str, questions: int, tokens: int) -> list[dict[str, Any]]:
    """Every quantisation of a format, through the command that users type."""
    quants = [word for quant in QUANTIZATIONS[form] for word in ("--quant", quant)]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("kpodx")), "export", *what, "--format", form, *quants, "--json"]
        sizes = [
            "--questions",
            str(questions),
            "--max-new-tokens",
            str(tokens),
            "--output",
            str(Path(folder) / "package"),
        ]
        done = subprocess.run(
            [*command, *sizes],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=REPOSITORY,
            env={**os.environ, "COLUMNS": "200"},
        )
    models: list[dict[str, Any]] = json.loads(done.stdout)["models"]
    return models


if __name__ == "__main__":
    main()
