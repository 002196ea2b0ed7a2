"""Writing a report: the page, and its figures as JSON beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kpodx.artifacts import read_json, write_json, write_text
from kpodx.errors import RunError, UsageError
from kpodx.reporting.document import KIND
from kpodx.reporting.page import render_page

PAGE = "report.html"


def check_output(output: Path) -> Path:
    """The JSON file beside the page; UsageError where one of the two would overwrite something else."""
    figures = output.with_suffix(".json")
    if output.is_dir():
        raise UsageError(
            f"{output} is a folder, expected the name of a page.", hint=f"Give {output / PAGE} with --output."
        )
    if figures == output:
        raise UsageError(f"--output {output}: expected the name of a page, such as {output.with_suffix('.html').name}.")
    if figures.is_dir() or (figures.is_file() and not _is_report(figures)):
        raise UsageError(
            f"{figures} is no report's: it would be overwritten by the figures of {output.name}.",
            hint="Give another name with --output.",
        )
    return figures


def _is_report(file: Path) -> bool:
    try:
        found = read_json(file)
    except RunError:
        return False
    return isinstance(found, dict) and found.get("kind") == KIND


def write_report(document: dict[str, Any], output: Path) -> Path:
    """Write the page to `output`, and its figures beside it; return the latter's path. Each is whole or not there.

    Raises:
        UsageError: the place is something else.
        StorageError: it cannot be written.
    """
    figures = check_output(output)
    page = render_page(document, figures.name)
    write_json(figures, document)
    write_text(output, page)
    return figures
