"""The service over HTTP, with a runner whose answers are known: what it answers, and what it refuses."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

from serving_runs import Running, error_of, events, fake_model, running, streamed, text_of, user, wait_for  # noqa: E402

from kpodx.serving.limits import Limits  # noqa: E402


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all tests that leave it as it was."""
    limits = Limits(body_bytes=10_000, tokens=40, body_seconds=0.5, header_seconds=0.5, batch_size=4)
    with running(fake_model(tmp_path_factory.mktemp("fake") / "model"), limits=limits) as found:
        yield found


def raw(service: Running, content: Any) -> Any:
    return service.client.post("/v1/chat/completions", content=content)


def test_an_answer(service: Running) -> None:
    document = service.ask("eggs", max_tokens=None, user="me", n=1, tools=[], tool_choice="none").json()
    choice = document["choices"][0]
    assert (choice["message"], choice["finish_reason"]) == (
        {"role": "assistant", "content": "EGGS", "refusal": None},
        "stop",
    )
    assert document["usage"] == {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
    assert document["system_fingerprint"] == "fp_000000000000"
    assert "kpodx" not in document


def test_a_prompt_goes_to_the_model_as_it_is(service: Running) -> None:
    answer = service.post({"model": "echo-q8", "prompt": ["raw"]}, "/v1/completions").json()
    assert answer["usage"]["prompt_tokens"] == 3
    assert answer["choices"][0]["text"] == "RAW"


def test_what_stands_before_the_question_is_not_read_and_that_is_told(service: Running) -> None:
    before = [{"role": "system", "content": "Say no."}, user("a"), {"role": "assistant", "content": None}]
    last = {"role": "user", "content": [{"type": "text", "text": "eg"}, {"type": "text", "text": "gs"}]}
    response = service.post({"model": "echo-q8", "messages": [*before, last]})
    assert text_of(response) == "EGGS"
    assert response.headers["kpodx-unread-messages"] == "3"
    assert response.json()["kpodx"] == {"unread_messages": 3}


def test_answers_end_at_the_limit_at_a_stop_text_and_at_the_longest_of_the_service(service: Running) -> None:
    cut = service.ask("one two", max_completion_tokens=5).json()
    assert (cut["choices"][0]["message"]["content"], cut["choices"][0]["finish_reason"]) == ("ONE T", "length")
    stopped = service.ask("one two three", stop=["O THR", "x"]).json()["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("ONE TW", "stop")
    longest = service.ask("x" * 50, max_tokens=4000).json()
    assert longest["usage"]["completion_tokens"] == 40


def test_a_stream(service: Running) -> None:
    response = service.ask("count 9 0.005", stream=True, stream_options={"include_usage": True}, stop="8")
    assert response.headers["content-type"].startswith("text/event-stream")
    first, *middle, last, usage, end = events(response)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert "".join(event["choices"][0]["delta"]["content"] for event in middle) == "1 2 3 4 5 6 7 "
    assert len(middle) > 3
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (usage["choices"], usage["usage"]["completion_tokens"], end) == ([], 15, "[DONE]")
    assert {event["id"] for event in (first, last, usage)} == {first["id"]}


def test_characters_of_several_tokens_come_whole(service: Running) -> None:
    found = events(service.ask("größe 🥚", stream=True))
    pieces = [event["choices"][0]["delta"].get("content", "") for event in found[:-1]]
    assert "".join(pieces) == "GRÖSSE 🥚"
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b'{"model": ', "not JSON"),
        (b"[]", "no JSON object"),
        (b'{"model": "echo-q8", "temperature": NaN}', "NaN, which is not a number"),
        (b'{"a": ' + b"[" * 4000 + b"]" * 4000 + b"}", "nested more than 64 deep"),
        (b'{"max_tokens": ' + b"9" * 9000 + b"}", "a number of 9,000 characters"),
        (b'{"model": "\xff"}', "not UTF-8"),
        (b'{"model": "echo-q8", "messages": [{"role": "user", "content": "\\ud800"}]}', "half a character"),
    ],
    ids=["empty", "cut", "list", "nan", "deep", "huge number", "utf-8", "surrogate"],
)
def test_a_body_that_is_no_json(service: Running, body: bytes, said: str) -> None:
    assert said in error_of(raw(service, body), 400)["message"]
    assert text_of(service.ask("still here")) == "STILL HERE"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "eggs"}, "messages"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages"),
        ({"messages": [user("a"), {"role": "assistant", "content": "b"}]}, "messages"),
        ({"messages": [user("  ")]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"model": 3}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": list("abcde")}, "stop"),
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"top_k": 40}, "top_k"),
    ],
    ids=str,
)
def test_a_parameter_that_cannot_be_obeyed_is_named(service: Running, change: dict[str, Any], param: str) -> None:
    error = error_of(service.post({"model": "echo-q8", "messages": [user("a")], **change}), 400)
    assert error["param"] == param
    assert error["message"].startswith(param)


def test_what_is_not_there(service: Running) -> None:
    error = error_of(service.post({"model": "other", "messages": [user("a")]}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "there are echo-q8" in error["message"]
    error_of(service.get("/v1/models/other"), 404)
    error_of(service.get("/nowhere"), 404)
    error_of(service.get("/v1/chat/completions"), 405)
    assert service.get("/v1/models/echo-q8").json()["owned_by"] == "kpodx"
    assert [model["id"] for model in service.get("/v1/models").json()["data"]] == ["echo-q8"]


def test_a_prompt_that_does_not_fit(service: Running) -> None:
    for stream in (False, True):
        error = error_of(service.ask("x" * 4001, stream=stream), 400)
        assert error["code"] == "context_length_exceeded"
        assert "4,004 tokens" in error["message"]
    assert (
        error_of(service.post({"model": "echo-q8", "prompt": ""}, "/v1/completions"), 400)["code"] == "invalid_prompt"
    )


def test_no_memory_is_told(service: Running) -> None:
    assert error_of(service.ask("no memory"), 500)["code"] == "worker_failed"
    assert text_of(service.ask("next")) == "NEXT"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit(service: Running, is_chunked: bool) -> None:
    content = b"x" * 300_000
    sent: Any = (content[i : i + 1000] for i in range(0, len(content), 1000)) if is_chunked else content
    assert error_of(raw(service, sent), 413)["code"] == "body_too_large"
    assert text_of(service.ask("next")) == "NEXT"


def connect(service: Running) -> socket.socket:
    host, port = service.listener.getsockname()
    return socket.create_connection((host, port), timeout=10)


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def test_bodies_and_heads_that_never_come(service: Running) -> None:
    with connect(service) as slow:
        slow.sendall(HEAD % 50 + b"{")
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
    for beginning in (b"", b"POST /v1/chat/comp"):
        with connect(service) as slow:
            slow.sendall(beginning)
            assert slow.recv(4096) == b""
    assert text_of(service.ask("next")) == "NEXT"


@pytest.mark.parametrize("in_pieces", [False, True], ids=["one-piece", "pieces"])
@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: a\r\n" * 7000 + b"\r\n",
        b"GET /health?" + b"q" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"p" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + b"a" * 200_000 + b"\r\n\r\n",
    ],
    ids=["long-header", "many-headers", "query", "path", "token"],
)
def test_a_head_that_is_too_large_is_refused_however_it_comes(service: Running, head: bytes, in_pieces: bool) -> None:
    with connect(service) as client:
        with contextlib.suppress(ConnectionError):
            for begin in range(0, len(head), 5000 if in_pieces else len(head)):
                client.sendall(head[begin : begin + (5000 if in_pieces else len(head))])
                time.sleep(0.005 if in_pieces else 0)
        said = b""
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(65536):
                said += piece
    assert said.startswith(b"HTTP/1.1 431 ")
    assert said.count(b"HTTP/1.1 ") == 1
    assert b'"code":"head_too_large"' in said
    assert text_of(service.ask("next")) == "NEXT"


def test_a_head_of_an_ordinary_size_is_read(service: Running) -> None:
    assert service.get("/health", headers={"Cookie": "a" * 16_000}).status_code == 200


def test_memory_stays_flat_over_two_thousand_requests(service: Running) -> None:
    """Answers, streams, refusals and clients that leave: nothing of them is kept."""

    def ask(count: int) -> None:
        for number in range(count):
            kind = number % 5
            if kind == 0:
                assert service.ask(f"eggs {number}", stream=True).status_code == 200
            elif kind == 1:
                assert service.ask(f"eggs {number}", temperature=-1).status_code == 400
            elif kind == 2:
                assert service.get(f"/no/{number}").status_code == 404
            elif kind == 3:
                assert service.post({"model": f"none-{number}", "prompt": "x"}, "/v1/completions").status_code == 404
            else:
                assert service.ask(f"eggs {number}").status_code == 200

    ask(500)
    gc.collect()
    before = sys.getallocatedblocks()
    ask(2000)
    gc.collect()
    grown = sys.getallocatedblocks() - before
    assert grown < 500, f"{grown:,} blocks of memory more after 2,000 requests"


def test_a_connection_lives_on_between_requests_and_past_the_time_for_heads(service: Running) -> None:
    with httpx.Client(base_url=service.address) as client:
        assert client.get("/health").status_code == 200
        time.sleep(0.7)
        assert client.get("/health").status_code == 200


def test_what_is_no_http_is_refused(service: Running) -> None:
    with connect(service) as stranger:
        stranger.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b" 400 " in stranger.recv(4096)
    assert text_of(service.ask("next")) == "NEXT"


def test_a_client_that_hangs_up_leaves_nothing_behind(service: Running) -> None:
    """Before its body is there, while it waits for an answer, and in the middle of a stream."""
    before = service.metric("kpodx_hung_up_total")
    with connect(service) as client:
        client.sendall(HEAD % 50 + b"{")
    slow = {"model": "echo-q8", "messages": [user("count 40 0.05")]}
    for document in (slow, {**slow, "stream": True}):
        body = json.dumps(document).encode()
        with connect(service) as client:
            client.sendall(HEAD % len(body) + body)
            wait_for(lambda: service.metric("kpodx_running") == 1)
            if "stream" in document:
                assert client.recv(1000)
    wait_for(lambda: service.metric("kpodx_hung_up_total") == before + 2)
    begun = time.monotonic()
    wait_for(lambda: service.metric("kpodx_running") == 0)
    assert time.monotonic() - begun < 1, "the rest was computed for nobody"
    assert service.metric('kpodx_requests_total{path="/v1/chat/completions",status="499"}') >= 2
    assert text_of(service.ask("next")) == "NEXT"


def test_other_rows_go_on_where_one_client_hangs_up(service: Running) -> None:
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(service.ask, "count 15 0.03")
        wait_for(lambda: service.metric("kpodx_running") == 1)
        others = [pool.submit(service.ask, f"count {n} 0.03") for n in (12, 14)]
        wait_for(lambda: service.metric("kpodx_queue_length") == 2)
        with connect(service) as client:
            body = json.dumps({"model": "echo-q8", "messages": [user("count 13 0.03")]}).encode()
            client.sendall(HEAD % len(body) + body)
            wait_for(lambda: service.metric("kpodx_running") == 3)
        assert text_of(first.result()).endswith("14 15")
        assert [text_of(other.result())[-3:] for other in others] == [" 12", " 14"]


def test_web_pages_may_not_ask(service: Running) -> None:
    assert (
        error_of(service.get("/v1/models", headers={"Origin": "https://evil.example"}), 403)["code"] == "foreign_origin"
    )
    assert error_of(service.get("/v1/models", headers={"Origin": "null"}), 403)["code"] == "foreign_origin"
    assert error_of(service.get("/v1/models", headers={"Host": "evil.example"}), 403)["code"] == "foreign_host"
    assert service.get("/v1/models", headers={"Host": "localhost:99"}).status_code == 200
    assert "access-control-allow-origin" not in service.get("/v1/models").headers


def test_metrics_are_in_the_format_of_prometheus(service: Running) -> None:
    text_of(service.ask("eggs"))
    service.get("/secret/path")
    lines = service.get("/metrics").text.splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert all(len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) >= 0 for line in samples)
    names = {line.split("{")[0].split(" ")[0] for line in samples}
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in names} <= typed
    assert service.metric('kpodx_workers_ready{model="echo-q8"}') == 1
    assert service.metric('kpodx_requests_total{path="/v1/chat/completions",status="200"}') > 0
    assert service.metric('kpodx_requests_total{path="other",status="404"}') > 0
    assert "secret" not in "\n".join(lines)


def test_many_clients_at_a_time_each_get_their_own_answer(service: Running) -> None:
    def ask(number: int) -> bool:
        response = service.ask(f"eggs {number}", stream=number % 2 == 0)
        return (text_of if number % 2 else streamed)(response) == f"EGGS {number}"

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(80)))


def test_seeds_are_those_of_the_runner(service: Running) -> None:
    def draw(seed: int | None) -> str:
        return text_of(service.ask("eggs and apples", temperature=2, seed=seed))

    assert draw(3) == draw(3) != draw(4)
    assert len({draw(None) for _ in range(5)}) > 1
