"""`kpodx serve` and `kpodx chat` as programs: what they print, how they end, what they refuse."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from exporting import export, run_it
from tiny_models import make_tiny_t5
from typer.testing import CliRunner

for name in ("fastapi", "uvicorn", "httpx", "llama_cpp", "gguf"):
    pytest.importorskip(name, reason=f"{name} is not installed")

import httpx  # noqa: E402
from serving_runs import user, wait_for, workers  # noqa: E402

from kpodx.cli import app  # noqa: E402
from kpodx.errors import RunError, UsageError  # noqa: E402
from kpodx.export.manifest import shipped_runner  # noqa: E402
from kpodx.serving.addresses import open_socket  # noqa: E402

QUESTION = "How many eggs has Tom?"
MODEL = "tiny-f32.gguf"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    export(make_tiny_t5(folder / "t5", layers=2, seed=3), folder / "package", "gguf", "f32", count=1, max_new_tokens=4)
    return folder / "package"


def kpodx(*arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kpodx", *arguments]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment}
    )


@contextmanager
def serving(package: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command and its address."""
    command = [sys.executable, "-m", "kpodx", "serve", str(package), "--port", "0", "--threads", "1", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            address = re.findall(r"http://127\.0\.0\.1:\d+", line)
            assert address, line + process.stderr.read()
            wait_for(lambda: httpx.get(f"{address[0]}/health").status_code == 200)
            yield process, address[0]
        finally:
            process.kill()


def document(**more: Any) -> dict[str, Any]:
    return {"model": "tiny-f32", "messages": [user(QUESTION)], **more}


def test_a_service_answers_survives_its_worker_and_ends_in_order(package: Path) -> None:
    """SIGTERM comes in the middle of a stream, which is whole all the same."""
    with serving(package, "--token", "sesame") as (process, address):
        right = {"Authorization": "Bearer sesame"}
        url = f"{address}/v1/chat/completions"
        assert httpx.post(url, json=document()).status_code == 401
        expected = json.loads(run_it(shipped_runner("gguf"), "--model", str(package / MODEL), text=QUESTION).stdout)
        workers(package / MODEL, process.pid)[0].kill()
        answer = httpx.post(url, json=document(), headers=right, timeout=30).json()
        assert answer["choices"][0]["message"]["content"] == expected["output"]
        (worker,) = workers(package / MODEL, process.pid)
        assert "sesame" not in " ".join([*worker.environ().values(), *worker.cmdline()])
        with httpx.stream(
            "POST", url, json=document(stream=True, max_tokens=256), headers=right, timeout=30
        ) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert process.wait(20) == 0
        assert process.stderr is not None
        errors = process.stderr.read()
    assert "The worker of tiny-f32 ended: it died of SIGKILL" in errors
    assert not worker.is_running()
    assert not {"sesame", "Traceback", "\x1b"} & {word for word in ("sesame", "Traceback", "\x1b") if word in errors}


def test_a_second_signal_does_not_wait(package: Path) -> None:
    with serving(package, KPODX_SERVE_TOKEN="") as (process, address):
        (worker,) = workers(package / MODEL, process.pid)
        worker.suspend()
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/v1/chat/completions", json=document(), timeout=0.3)
        with httpx.Client() as client, pytest.raises(httpx.ReadTimeout):
            client.post(f"{address}/v1/chat/completions", json=document(), timeout=0.3)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130)
        assert not worker.is_running()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "there is no token"),
        (["--model", "Q9"], "it has tiny-f32"),
        (["--token", ""], "The token is empty"),
    ],
)
def test_what_cannot_be_served(package: Path, arguments: list[str], said: str) -> None:
    error = CliRunner().invoke(app, ["serve", str(package), *arguments]).exception
    assert isinstance(error, UsageError)
    assert said in error.message


def test_a_busy_port_and_a_folder_that_is_no_package(package: Path, tmp_path: Path) -> None:
    with open_socket("127.0.0.1", 0) as taken:
        done = kpodx("serve", str(package), "--port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Nothing can listen on 127.0.0.1" in done.stderr
    for command in ("serve", "chat"):
        assert isinstance(CliRunner().invoke(app, [command, str(tmp_path)]).exception, RunError)


def test_a_chat_through_a_pipe(package: Path) -> None:
    """One answer a line, in plain text: what run.py says."""
    questions = [QUESTION, "How many apples has Anna?"]
    done = kpodx("chat", str(package), "--max-tokens", "20", text="\n\n".join(questions))
    lines = "".join(f"{question}\n" for question in questions)
    expected = run_it(
        shipped_runner("gguf"), "--model", str(package / MODEL), "--max-new-tokens", "20", text=lines
    ).stdout
    outputs = [json.loads(line)["output"] for line in expected.splitlines()]
    assert done.stdout == "".join(f"{output}\n" for output in outputs)
    assert all(outputs)
    assert (done.returncode, done.stderr) == (0, "")
    long = kpodx("chat", str(package), text="x " * 2000 + "\n" + QUESTION)
    assert long.returncode == 1
    assert "context holds" in long.stderr
    assert long.stdout.count("\n") == 2


def test_a_chat_through_a_pipe_wants_utf_8(package: Path) -> None:
    command = [sys.executable, "-m", "kpodx", "chat", str(package), "--max-tokens", "4"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:surrogateescape"}
    done = subprocess.run(command, input=b"caf\xe9?\n", capture_output=True, check=False, env=environment)
    assert (done.returncode, b"is not UTF-8 text" in done.stderr) == (2, True)


def test_a_chat_in_a_terminal(package: Path) -> None:
    """Ctrl-C stops an answer, a dead worker is followed by another, Ctrl-D ends."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kpodx", "chat", str(package), "--max-tokens", "12"]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=own_terminal
    )
    os.close(theirs)
    try:
        assert "each stands alone" in read_until(ours, "\n> ")
        (worker,) = workers(package / MODEL, process.pid)
        worker.suspend()
        os.write(ours, f"{QUESTION}\n".encode())
        read_until(ours, f"{QUESTION}\n")
        time.sleep(1)
        os.write(ours, b"\x03")
        # On a busy machine the worker would else finish its answer before the signal is handled.
        time.sleep(4)
        worker.resume()
        assert "stopped" in read_until(ours, "\n> ")
        os.write(ours, f"{QUESTION}\n".encode())
        whole = read_until(ours, "\n> ")
        assert "stopped" not in whole
        worker.kill()
        os.write(ours, f"{QUESTION}\n".encode())
        assert "SIGKILL" in read_until(ours, "\n> ")
        os.write(ours, f"{QUESTION}\n".encode())
        assert read_until(ours, "\n> ") == whole
        os.write(ours, b"\x04")
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def own_terminal() -> None:
    """Ctrl-C reaches the processes of a terminal only."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def read_until(terminal: int, end: str) -> str:
    """What a terminal shows, up to the given text."""
    text, deadline = "", time.monotonic() + 30
    while not text.endswith(end):
        assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], text
        text += os.read(terminal, 4096).decode("utf-8", "replace").replace("\r\n", "\n")
        text = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", text)
    return text
