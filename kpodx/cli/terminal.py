"""All that meets the terminal: results on stdout; logs, progress and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from kpodx.errors import KpodxError
from kpodx.outside import clean, escape_json
from kpodx.text.figures import percent as percent
from kpodx.text.figures import show_seconds as show_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

T = TypeVar("T")

_FIGURE = re.compile(r"-?|[\d.,]+(e-?\d+)?( \[[\d., ]+\])?")

SECONDS_BETWEEN_LINES = 30.0


def stderr_console() -> Console:
    """The console of logs and progress; colour only on a terminal, and never with NO_COLOR."""
    from kpodx.cli.console import SafeConsole

    return SafeConsole(stderr=True, soft_wrap=True)


def stdout_console() -> Console:
    """The console of results; as wide as the terminal, or 120 columns in a file."""
    from kpodx.cli.console import SafeConsole

    return SafeConsole(width=None if sys.stdout.isatty() else 120)


def print_json(document: object) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(escape_json(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)) + "\n")
    sys.stdout.flush()


def write(text: str) -> None:
    """Write text that comes from elsewhere, such as a part of an answer, to stdout as it is, but for what a terminal obeys."""
    sys.stdout.write(clean(text))
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to stdout; columns after the first stand to the right if all that is in them are numbers."""
    from rich.table import Table
    from rich.text import Text

    lines = [[clean(str(cell)) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        numeric = number > 0 and all(_FIGURE.fullmatch(line[number]) for line in lines)
        table.add_column(Text(clean(name)), justify="right" if numeric and lines else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    console = stdout_console()
    if title:
        console.print(Text(title, style="italic"), soft_wrap=True)
    console.print(table)


def print_error(error: KpodxError) -> None:
    """Say what went wrong, and what to do about it."""
    from rich.text import Text

    console = stderr_console()
    console.print(Text.assemble(("error: ", "bold red"), error.message))
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold cyan"), error.hint))


def say(text: str, style: str = "") -> None:
    """Write one line to stderr."""
    stderr_console().print(text, style=style or None, markup=False)


class _ConsoleHandler(logging.Handler):
    """Writes log lines through the console, so that they stand above a progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        self._console.print(self.format(record), style=style, markup=False)


def set_up_logging(console: Console, *, quiet: bool = False) -> None:
    """Send kpodx's own lines and everybody's warnings to the console; libraries keep their bars to themselves.

    Args:
        console: where they go.
        quiet: warnings only, for processes that merely follow another.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    handler = _ConsoleHandler(console)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("kpodx").setLevel(logging.WARNING if quiet else logging.INFO)
    logging.captureWarnings(True)
    warnings.formatwarning = _format_warning


def _format_warning(message: Warning | str, category: type[Warning], *_where: object, **_more: object) -> str:
    """A warning in one line, without the place in somebody else's code."""
    return f"{category.__name__}: {message}"


class TerminalProgress:
    """A bar with the time left on a terminal; elsewhere a plain line every half minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None

    def track(self, items: Iterable[T], *, total: int, description: str, done: int = 0) -> Iterator[T]:
        """Yield the items, counting them; `done` were finished by an earlier run."""
        if self._console.is_terminal:
            return self._track_with_bar(items, total, description, done)
        return self._track_with_lines(items, total, description, done)

    def note(self, text: str) -> None:
        """Say one line that the user should read."""
        self._console.print(text, markup=False)

    def _track_with_bar(self, items: Iterable[T], total: int, description: str, done: int) -> Iterator[T]:
        outermost = self._bars is None
        bars = self._bars = self._bars or _new_bars(self._console)
        with bars if outermost else contextlib.nullcontext():
            task = bars.add_task(description, total=total, completed=done)
            try:
                for item in items:
                    yield item
                    bars.advance(task)
            finally:
                bars.remove_task(task)
                self._bars = None if outermost else bars

    def _track_with_lines(self, items: Iterable[T], total: int, description: str, done: int) -> Iterator[T]:
        begun = said = time.monotonic()
        for count, item in enumerate(items, start=1):
            yield item
            now = time.monotonic()
            if now - said >= SECONDS_BETWEEN_LINES:
                said = now
                left = (now - begun) / count * max(total - done - count, 0)
                self.note(f"{description}: {done + count}/{total}, about {show_seconds(left)} left")


def _new_bars(console: Console) -> Bars:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        transient=True,
    )


@contextlib.contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM, which schedulers send, like Ctrl-C while the block runs."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
