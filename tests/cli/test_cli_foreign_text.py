"""Foreign text on its way to the terminal: each way of printing shows escapes, and obeys nothing."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.text import Text

from kpodx.cli import main, terminal
from kpodx.cli.console import SafeConsole, clean_text
from kpodx.errors import RunError

HOSTILE = "x\x1b[2J\x1b]0;t\x07\x9b1m\r\u202eevil\ud800 [bold red]not bold[/] :warning: [link=http://x]y[/link]"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
PLAIN = "[bold red]not bold[/] :warning: [link=http://x]y[/link]"


def progress_note(text: str) -> None:
    terminal.TerminalProgress(terminal.stderr_console()).note(text)


def log(text: str) -> None:
    before = logging.getLogger().handlers[:]
    terminal.set_up_logging(terminal.stderr_console())
    logging.getLogger("kpodx").warning("%s", text)
    logging.getLogger().handlers[:] = before


WAYS: dict[str, Callable[[str], None]] = {
    "error": lambda text: terminal.print_error(RunError(text, hint="no")),
    "hint": lambda text: terminal.print_error(RunError("no", hint=text)),
    "say": terminal.say,
    "note": progress_note,
    "log": log,
    "title": lambda text: terminal.print_table(text, ("a",), [("1",)]),
    "column": lambda text: terminal.print_table("t", ("a", text), [("1", "2")]),
    "cell": lambda text: terminal.print_table("t", ("a",), [(text,)]),
    "answer": terminal.write,
    "console": lambda text: terminal.stdout_console().print(text),
    "styled": lambda text: terminal.stdout_console().print(Text(text, style="bold")),
}


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLUMNS", "400")
    yield
    logging.captureWarnings(False)


@pytest.mark.parametrize("way", WAYS)
def test_foreign_text_is_shown_and_not_obeyed(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    WAYS[way](HOSTILE)
    out, err = capsys.readouterr()
    shown = " ".join((out + err).split())
    assert not OBEYED.search(shown), (way, shown)
    assert "\\x1b[2J" in shown, (way, shown)
    if way not in ("column", "cell", "title", "console", "styled"):
        assert PLAIN in shown, (way, shown)


def test_json_on_stdout_means_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"name": HOSTILE.replace("\ud800", ""), "\x9b": ["\u202e"]}
    terminal.print_json(document)
    out = capsys.readouterr().out
    assert json.loads(out) == document
    assert not OBEYED.search(out)


def test_styles_stay_where_they_were() -> None:
    text = Text.assemble("a\x1b", ("bc", "bold"), "\x9b")
    assert clean_text(text).plain == "a\\x1bbc\\x9b"
    stream = io.StringIO()
    SafeConsole(file=stream, force_terminal=True, color_system="standard", width=80).print(text)
    assert "\x1b[1mb" in stream.getvalue()
    assert "\\x1b" in stream.getvalue()


def package(folder: Path, manifest: str) -> Path:
    """A folder with a manifest."""
    folder.mkdir()
    (folder / "package.json").write_text(manifest, encoding="utf-8")
    (folder / "x.gguf").write_bytes(b"GGUF")
    return folder


def kpodx(*arguments: str) -> int:
    """The command line in this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["kpodx", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


NAMED = '{"kind": "gguf", "name": %s, "models": [{"name": %s, "quantization": %s}], "files": {"x.gguf": {"size": 4, "sha256": "0"}}}'

MANIFESTS = {
    "huge-integer": '{"kind": "gguf", "size": ' + "9" * 5000 + "}",
    "deep": '{"kind": ' + "[" * 2000 + "]" * 2000 + "}",
    "very-deep": "[" * 200_000,
    "infinity": '{"kind": "gguf", "profile": {"memory_mib": Infinity}}',
    "not-a-number": '{"kind": NaN}',
    "too-large": '{"kind": 1e999}',
    "surrogate": '{"kind": "gguf", "name": "\\ud800"}',
    "list": "[1, 2]",
    "kind-is-a-list": '{"kind": ["gguf"], "name": "x", "models": [{"name": "x.gguf", "quantization": "f32"}], "files": {}}',
    "kind-is-an-object": '{"kind": {}, "name": "x", "models": [{"name": "x.gguf", "quantization": "f32"}], "files": {}}',
    "long-name": NAMED % (json.dumps("n" * 5000), '"x.gguf"', '"f32"'),
    "long-model": NAMED % ('"x"', json.dumps("n" * 5000), '"f32"'),
    "long-quantization": NAMED % ('"x"', '"x.gguf"', json.dumps("q" * 5000)),
    "escapes-in-names": NAMED % (json.dumps("\x1b[2Jx"), json.dumps("\x1b[2J.gguf"), json.dumps("\x1b[31m")),
    "direction": NAMED % ('"\u202etxt"', '"\u202etxt"', '"\u202e"'),
    "models-is-a-number": '{"kind": "gguf", "name": "x", "models": 3, "files": {}}',
    "models-of-lists": '{"kind": "gguf", "name": "x", "models": [[1]], "files": {}}',
    "threads": '{"kind": "gguf", "name": "x", "models": [], "files": {}, "profile": {"threads": 100000}}',
    "files-is-a-list": '{"kind": "gguf", "name": "x", "models": [], "files": []}',
    "size": '{"kind": "gguf", "name": "x", "models": [], "files": {"a": {"size": "1", "sha256": "0"}}}',
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_hostile_manifest_is_one_line_in_every_command(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = package(tmp_path / "package", MANIFESTS[name])
    before = sorted(tmp_path.rglob("*"))
    for arguments in (
        ("ask", "--package", str(folder), "Why?"),
        ("evaluate", str(folder), "--run", str(tmp_path)),
        ("chat", str(folder)),
        ("serve", str(folder), "--port", "0"),
    ):
        status = kpodx(*arguments)
        out, err = capfd.readouterr()
        assert (status, out) == (2, ""), (arguments, err[-1500:])
        lines = err.splitlines()
        assert [line.partition(" ")[0] for line in lines] in (["error:"], ["error:", "hint:"]), err[-1500:]
        assert max(map(len, lines)) < 1500
        assert not OBEYED.search(err.replace("\n", "")), err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["status", "report", "show", "export", "evaluate", "chat", "distill"])
def test_paths_that_cannot_be_used_are_one_line(
    tmp_path: Path, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    for name in ("loop", "loop/inside", "file/inside", "n" * 5000, "none", "a\x1b[2Jb"):
        assert kpodx(command, str(tmp_path / name)) in (1, 2)
        out, err = capfd.readouterr()
        lines = err.splitlines()
        assert out == ""
        assert [line.partition(" ")[0] for line in lines] in (["error:"], ["error:", "hint:"]), (name, err[-1500:])
        assert not OBEYED.search(err.replace("\n", "")), (name, err)
