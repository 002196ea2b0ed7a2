"""`kpodx rationales`: what teachers have answered so far, for all runs."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kpodx.cli import terminal
from kpodx.outside import escape_json

if TYPE_CHECKING:
    from kpodx.rationales.cache import AnswerCache

app = typer.Typer(
    help="List, count and export the answers of teachers, which are kept for all runs.", no_args_is_help=True
)

CacheOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File of answers; KPODX__RATIONALES__CACHE, or kpodx/teachers.sqlite in the user's cache folder, by default.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")]


@contextmanager
def _opened(path: Path | None) -> Iterator[AnswerCache]:
    from kpodx.rationales.cache import AnswerCache, default_cache

    named = os.environ.get("KPODX__RATIONALES__CACHE")
    with AnswerCache(path or (Path(named) if named else default_cache()), create=False) as cache:
        yield cache


@app.command("ls")
def list_answers(cache: CacheOption = None, json: JsonOption = False) -> None:
    """List what is kept, by model and prompt."""
    with _opened(cache) as opened:
        groups = opened.groups()
    if json:
        terminal.print_json([dataclasses.asdict(group) for group in groups])
        return
    rows = [(g.model, g.template, f"{g.answers:,}", g.first[:10], g.last[:10]) for g in groups]
    terminal.print_table("", ("model", "prompt", "answers", "first", "last"), rows)


@app.command("stats")
def count_answers(cache: CacheOption = None, json: JsonOption = False) -> None:
    """Count tokens and time, by model and prompt."""
    with _opened(cache) as opened:
        groups, path = opened.groups(), opened.path
    size = path.stat().st_size
    if json:
        terminal.print_json({"file": str(path), "bytes": size, "groups": [dataclasses.asdict(g) for g in groups]})
        return
    rows = [
        (
            group.model,
            group.template,
            f"{group.answers:,}",
            f"{group.prompt_tokens:,}",
            f"{group.completion_tokens:,}",
            f"{group.completion_tokens / group.answers:.0f}",
            f"{group.seconds / group.answers:.2f}",
        )
        for group in groups
    ]
    columns = ("model", "prompt", "answers", "tokens read", "tokens written", "written each", "seconds each")
    terminal.print_table(f"{path}, {size / 2**20:.1f} MiB", columns, rows)


@app.command("export")
def export_answers(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL file to write, or - for stdout.")],
    model: Annotated[str | None, typer.Option(help="This model's answers only.")] = None,
    template: Annotated[
        str | None, typer.Option("--prompt", help="Answers to this prompt only, such as zero-shot-cot/1.")
    ] = None,
    cache: CacheOption = None,
) -> None:
    """Write rationales as JSONL, which teacher `recorded` reads as it is."""
    from kpodx.artifacts import write_jsonl
    from kpodx.rationales.asking import export_completions

    with _opened(cache) as opened:
        records = export_completions(opened, model, template)
        if str(output) == "-":
            for record in records:
                sys.stdout.write(escape_json(json.dumps(record, ensure_ascii=False)) + "\n")
            return
        count = write_jsonl(output, records)
    terminal.say(f"{count:,} completions written to {output}")
