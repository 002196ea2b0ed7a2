"""Progress, durations and tables."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kpodx.cli import terminal
from kpodx.cli.terminal import TerminalProgress, percent, print_table, show_seconds


def console(*, is_terminal: bool) -> Console:
    """A console that writes to memory."""
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=100)


def written(target: Console) -> str:
    """What a console wrote."""
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_yields_the_items_and_can_nest(is_terminal: bool) -> None:
    progress = TerminalProgress(console(is_terminal=is_terminal))
    seen = []
    for outer in progress.track("ab", total=2, description="outer"):
        seen += [outer + str(inner) for inner in progress.track(range(2), total=2, description="inner")]
    assert seen == ["a0", "a1", "b0", "b1"]
    assert list(progress.track([1], total=1, description="again")) == [1]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_error_in_the_loop_passes_and_the_next_bar_works(is_terminal: bool) -> None:
    def lead_into_error() -> None:
        for item in progress.track(range(3), total=3, description="counting"):
            if item == 1:
                raise ValueError("stop")

    progress = TerminalProgress(console(is_terminal=is_terminal))
    with pytest.raises(ValueError, match="stop"):
        lead_into_error()
    assert list(progress.track([1], total=1, description="again")) == [1]


def test_outside_of_a_terminal_a_line_comes_every_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    target = console(is_terminal=False)
    list(TerminalProgress(target).track(range(7), total=10, description="training", done=2))
    assert written(target).splitlines() == [
        "training: 5/10, about 50.0 s left",
        "training: 8/10, about 20.0 s left",
    ]


def test_a_terminal_shows_the_count_and_the_time_left() -> None:
    target = console(is_terminal=True)
    list(TerminalProgress(target).track(range(3), total=3, description="training"))
    assert "training" in written(target)
    assert "/3" in written(target)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (3599.6, "1 h 00 min"), (90061, "25 h 01 min")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


def test_shares_are_percentages() -> None:
    assert (percent(0.12345), percent(1), percent(None)) == ("12.3", "100.0", "-")


def test_a_table_keeps_brackets_and_aligns_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("a [bold] title", ("name", "count"), [("[red]", "7"), ("b", "1,234")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["a [bold] title", "name   count", "[red]      7", "b      1,234"]


def test_no_colour_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.stderr_console().no_color
