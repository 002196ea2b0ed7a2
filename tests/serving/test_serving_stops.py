"""Services that are full, stopped, or lose their workers."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

from serving_runs import Running, error_of, fake_model, running, streamed, text_of, user, wait_for, workers  # noqa: E402

from kpodx.errors import ModelError, UsageError, WorkerError  # noqa: E402
from kpodx.serving.addresses import check_access, open_socket  # noqa: E402
from kpodx.serving.jobs import Ask, Job  # noqa: E402
from kpodx.serving.limits import Limits  # noqa: E402
from kpodx.serving.processes import WorkerProcess  # noqa: E402


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are started again, and given up, at once."""
    monkeypatch.setattr("kpodx.serving.scheduler.FIRST_PAUSE", 0.02)
    monkeypatch.setattr("kpodx.serving.processes.SECONDS_TO_END", 0.3)


def test_a_full_queue_is_told_with_429(tmp_path: Path) -> None:
    limits = Limits(queue=2, batch_size=1)
    with running(fake_model(tmp_path / "model"), limits=limits) as service, ThreadPoolExecutor(4) as pool:
        (worker,) = service.workers()
        worker.send_signal(signal.SIGSTOP)
        taken = [pool.submit(service.ask, f"number {n}") for n in range(1)]
        wait_for(lambda: service.metric("kpodx_running") == 1)
        taken += [pool.submit(service.ask, f"number {n}", stream=True) for n in (1, 2)]
        wait_for(lambda: service.metric("kpodx_queue_length") == 2)
        response = service.ask("too many")
        assert error_of(response, 429)["code"] == "queue_full"
        assert int(response.headers["retry-after"]) >= 1
        worker.send_signal(signal.SIGCONT)
        assert [answer.result().status_code for answer in taken] == [200, 200, 200]
        assert text_of(service.ask("now")) == "NOW"


def test_who_waits_too_long_is_told_so(tmp_path: Path) -> None:
    limits = Limits(wait_seconds=0.3, batch_size=1)
    with running(fake_model(tmp_path / "model"), limits=limits) as service, ThreadPoolExecutor(2) as pool:
        first = pool.submit(service.ask, "count 9 0.05")
        wait_for(lambda: service.metric("kpodx_running") == 1)
        assert error_of(service.ask("late"), 503)["code"] == "overloaded"
        assert first.result().status_code == 200


def test_a_killed_worker_loses_no_answer_that_nobody_saw(tmp_path: Path) -> None:
    with running(fake_model(tmp_path / "model")) as service, ThreadPoolExecutor(3) as pool:
        (worker,) = service.workers()
        worker.send_signal(signal.SIGSTOP)
        asked = [pool.submit(service.ask, f"number {n}", stream=n == 2) for n in range(3)]
        wait_for(lambda: service.metric("kpodx_running") + service.metric("kpodx_queue_length") == 3)
        worker.kill()
        found = [answer.result() for answer in asked]
        assert [text_of(response) for response in found[:2]] == ["NUMBER 0", "NUMBER 1"]
        assert streamed(found[2]) == "NUMBER 2"
        assert service.metric('kpodx_worker_deaths_total{model="echo-q8"}') == 1
        assert service.workers()[0].pid != worker.pid
        # An idle worker's death is seen as well.
        service.workers()[0].kill()
        wait_for(lambda: service.metric('kpodx_worker_starts_total{model="echo-q8"}') == 3)
        assert text_of(service.ask("next")) == "NEXT"


def test_a_stream_whose_worker_died_ends_with_an_error(tmp_path: Path) -> None:
    with running(fake_model(tmp_path / "model")) as service:
        document = {"model": "echo-q8", "messages": [user("count 60 0.05")], "stream": True}
        with httpx.stream("POST", f"{service.address}/v1/chat/completions", json=document, timeout=30) as response:
            lines = (line for line in response.iter_lines() if line)
            assert '"content": ""' in next(lines)
            next(lines)
            service.workers()[0].kill()
            *_, last = lines
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "worker_failed"
        assert text_of(service.ask("next")) == "NEXT"


def test_a_request_that_kills_workers_takes_no_other_with_it(tmp_path: Path) -> None:
    with running(fake_model(tmp_path / "model")) as service, ThreadPoolExecutor(3) as pool:
        (worker,) = service.workers()
        worker.send_signal(signal.SIGSTOP)
        first = pool.submit(service.ask, "first")
        wait_for(lambda: service.metric("kpodx_running") == 1)
        others = [pool.submit(service.ask, question) for question in ("die", "innocent")]
        wait_for(lambda: service.metric("kpodx_queue_length") == 2)
        worker.send_signal(signal.SIGCONT)
        assert text_of(first.result()) == "FIRST"
        assert error_of(others[0].result(), 500)["message"].endswith("it died of SIGKILL")
        assert text_of(others[1].result()) == "INNOCENT"


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    with running(fake_model(tmp_path / "model"), limits=Limits(stall_seconds=0.3)) as service:
        assert "said nothing for 0.3 seconds" in error_of(service.ask("hang"), 500)["message"]
        assert text_of(service.ask("next")) == "NEXT"


def test_a_worker_that_is_only_slow_is_left_alone(tmp_path: Path) -> None:
    """Nobody streams, so that no text comes before the end."""
    with running(fake_model(tmp_path / "model"), limits=Limits(stall_seconds=2.5)) as service:
        assert text_of(service.ask("count 30 0.05")).endswith(" 30")
        assert service.metric('kpodx_worker_deaths_total{model="echo-q8"}') == 0


def test_a_process_that_cannot_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, failures = asyncio.create_subprocess_exec, [OSError(errno.EMFILE, "Too many open files")] * 2

    async def start_later(*arguments: Any, **settings: Any) -> Any:
        if failures:
            raise failures.pop()
        return await start(*arguments, **settings)

    with running(fake_model(tmp_path / "model")) as service:
        monkeypatch.setattr(asyncio, "create_subprocess_exec", start_later)
        service.workers()[0].kill()
        wait_for(lambda: service.metric('kpodx_worker_starts_total{model="echo-q8"}') == 2)
        assert not failures
        assert text_of(service.ask("next")) == "NEXT"


def test_an_answer_beyond_the_longest_line_takes_no_model_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpodx.serving.processes.LONGEST_LINE", 500)
    with running(fake_model(tmp_path / "model"), limits=Limits(tokens=3000)) as service:
        error = error_of(service.ask("x" * 2000, max_tokens=3000), 500)
        assert "its message cannot be understood" in error["message"]
        assert text_of(service.ask("next")) == "NEXT"


@pytest.mark.parametrize(
    "line", ["{", "7", "[]", '["done", 99, "stop", 1, ""]', '["done", 1]', '["text", [], ""]', "[" * 100_000, "\\xff"]
)
@pytest.mark.parametrize("is_ready", [False, True])
def test_a_message_that_is_none_is_a_workers_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, is_ready: bool
) -> None:
    program = tmp_path / "program"
    (tmp_path / "lines").write_text(
        ('["ready", {}]\n' if is_ready else "") + line.replace("\\xff", "\xff") + "\n", "latin-1"
    )
    program.write_text(f"#!/bin/sh\ncat '{tmp_path}/lines'\nexec cat > /dev/null\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

    async def answer() -> None:
        worker = await WorkerProcess.start(fake_model(tmp_path / "model"))
        try:
            async for _ in worker.answer([Job("echo-q8", Ask("x"), number=1)], 10):
                pass
        finally:
            await worker.stop()

    with pytest.raises(WorkerError, match="cannot be understood"):
        asyncio.run(answer())


def test_a_mistake_of_ours_ends_the_service_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_model: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(WorkerProcess, "start", fail)
    service = Running(fake_model(tmp_path / "model"))
    service.join()
    assert isinstance(service.error, ZeroDivisionError)


def test_modules_of_the_current_directory_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy", "kpodx", "json"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'w')")
    model = fake_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)

    async def load() -> None:
        await (await WorkerProcess.start(model)).stop()

    asyncio.run(load())
    assert not (tmp_path / "seen").exists()


def test_two_workers_answer_at_a_time(tmp_path: Path) -> None:
    limits = Limits(batch_size=1)
    with running(fake_model(tmp_path / "model"), limits=limits, workers=2) as service, ThreadPoolExecutor(2) as pool:
        wait_for(lambda: service.metric('kpodx_workers_ready{model="echo-q8"}') == 2)
        slow = pool.submit(service.ask, "count 9 0.05")
        wait_for(lambda: service.metric("kpodx_running") == 1)
        assert text_of(service.ask("quick")) == "QUICK"
        assert not slow.done()


@pytest.mark.parametrize(
    ("content", "said"),
    [("damaged", "the file is damaged"), ("dies while it loads", "it died of SIGKILL")],
)
def test_a_model_that_cannot_be_loaded_ends_the_service(tmp_path: Path, content: str, said: str) -> None:
    service = Running(fake_model(tmp_path / "model", content))
    service.join()
    assert isinstance(service.error, ModelError)
    assert said in service.error.message
    assert not service.workers()


def test_the_token(tmp_path: Path) -> None:
    page = "http://page.example"
    with running(fake_model(tmp_path / "model"), token="sesame", origins=[page]) as service:
        right = {"Authorization": "Bearer sesame"}
        for headers in (
            {},
            {"Authorization": "Bearer other"},
            {"Authorization": "sesame"},
            {"Authorization": "Bearer sésame"},
        ):
            response = service.get("/v1/models", headers={name: value.encode() for name, value in headers.items()})
            assert error_of(response, 401)["code"] == "invalid_api_key"
        assert service.get("/metrics").status_code == 401
        assert service.get("/v1/models", headers=right).status_code == 200
        assert service.get("/health").json()["status"] == "ready"
        asked = service.get("/v1/models", headers={**right, "Origin": page})
        assert asked.headers["access-control-allow-origin"] == page
        wanted = {
            "Origin": page,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        assert httpx.options(f"{service.address}/v1/chat/completions", headers=wanted).status_code == 200
        assert service.get("/v1/models", headers={**right, "Origin": "http://other.example"}).status_code == 403
    assert "sesame" not in repr(service.settings)


@pytest.mark.parametrize(
    ("host", "token"), [("0.0.0.0", None), ("::", None), ("example.org", None), ("127.0.0.1", ""), ("::1", "a b")]
)
def test_an_open_door_is_refused(host: str, token: str | None) -> None:
    with pytest.raises(UsageError):
        check_access(host, token)


def test_a_port_that_is_taken_is_told() -> None:
    check_access("localhost", None)
    check_access("0.0.0.0", "sesame")
    with open_socket("127.0.0.1", 0) as first, pytest.raises(UsageError, match="Nothing can listen on"):
        open_socket("127.0.0.1", first.getsockname()[1])
    with pytest.raises(UsageError, match="no address"):
        open_socket("no.such.host.invalid", 0)


def test_a_stop_finishes_what_was_begun_and_takes_nothing_more(tmp_path: Path) -> None:
    service = Running(fake_model(tmp_path / "model"), limits=Limits(batch_size=1))
    service.wait_until_ready()
    with ThreadPoolExecutor(2) as pool, httpx.Client(base_url=service.address) as client:
        slow = pool.submit(service.ask, "count 20 0.02", stream=True)
        wait_for(lambda: service.metric("kpodx_running") == 1)
        waiting = pool.submit(service.ask, "waits")
        wait_for(lambda: service.metric("kpodx_queue_length") == 1)
        service.stop()
        wait_for(lambda: client.get("/health").json()["status"] == "stopping")
        refused = client.post("/v1/chat/completions", json={"model": "echo-q8", "messages": [user("late")]})
        assert error_of(refused, 503)["code"] == "stopping"
        assert slow.result().text.endswith("data: [DONE]\n\n")
        assert text_of(waiting.result()) == "WAITS"
    service.join()
    assert service.is_finished
    assert not service.workers()


@pytest.mark.parametrize("forces", [False, True])
def test_a_stop_does_not_wait_for_ever(tmp_path: Path, forces: bool) -> None:
    service = Running(fake_model(tmp_path / "model"), limits=Limits(stop_seconds=30 if forces else 0.2))
    service.wait_until_ready()
    with ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(service.ask, "hang")
        wait_for(lambda: service.metric("kpodx_running") == 1)
        service.stop()
        if forces:
            service.stop()
        service.join()
        if not forces:
            assert error_of(hanging.result(), 503)["code"] == "stopping"
    assert service.is_finished is False
    assert not service.workers()


def test_workers_end_with_a_service_that_is_killed(tmp_path: Path) -> None:
    model = fake_model(tmp_path / "model")
    code = (
        "import asyncio, sys; from pathlib import Path; from kpodx.serving.catalogue import ServedModel\n"
        "from kpodx.serving.server import Settings, serve\n"
        f"model = ServedModel('echo-q8', Path({str(model.path)!r}), Path({str(model.runner)!r}), '0', 1)\n"
        "serve(Settings([model], port=0), lambda address: print(address, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    wait_for(lambda: httpx.get(f"{address}/health").status_code == 200)
    document = {"model": "echo-q8", "messages": [user("count 90 0.05")]}

    def ask() -> None:
        with pytest.raises(httpx.HTTPError):
            httpx.post(f"{address}/v1/chat/completions", json=document, timeout=30)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: "kpodx_running 1" in httpx.get(f"{address}/metrics").text)
    (worker,) = workers(model.path, process.pid)
    process.kill()
    process.wait()
    process.stdout.close()
    asking.join()
    wait_for(lambda: not worker.is_running() or worker.status() == "zombie")
