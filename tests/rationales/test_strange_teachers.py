"""Teachers that speak the API in their own way: each ends in a rationale, a counted rejection, an adaption or a clear stop."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from teacher_server import Raw, TeacherServer, serving, solve
from test_openai_teacher import context, questions

from kpodx.artifacts import read_json, read_jsonl
from kpodx.errors import BudgetSpentError, DataError, KpodxError, TeacherError, TeacherRefusedError
from kpodx.rationales.asking import estimate_cost, export_completions
from kpodx.rationales.cache import AnswerCache
from kpodx.rationales.phase import run
from kpodx.runtime import SilentProgress

pytest.importorskip("openai")

USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
RIGHT = solve("What is 1 plus 2?")
OUT = "rationales/out"


def message(content: object, finish: object = "stop", usage: object = USAGE, **fields: object) -> dict[str, object]:
    return {"choices": [{"message": {"content": content, **fields}, "finish_reason": finish}], "usage": usage}


def raw(document: object, status: int = 200, **headers: str) -> Raw:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Raw(body, status, {name.replace("_", "-"): value for name, value in headers.items()}, tokens=21)


def for_one_question(reply: Raw, part: str = "1 plus 2") -> TeacherServer:
    """A teacher that answers like this about q1, each time, and well about the others."""
    server = TeacherServer(lambda prompt, _count: "odd" if part in prompt else "ok")
    server.replies["odd"] = reply
    return server


def for_all(reply: Raw) -> TeacherServer:
    server = TeacherServer(lambda _prompt, _count: "odd")
    server.replies["odd"] = reply
    return server


STREAM = b": keep alive\n\n" + b"".join(
    f"data: {json.dumps({'choices': [{'delta': {'content': part}}]})}\n\n".encode() for part in (RIGHT[:9], RIGHT[9:])
)

READ: dict[str, Raw] = {
    "a stream although none was asked for": raw(STREAM + b"data: [DONE]\n\n", content_type="text/event-stream"),
    "a BOM before the JSON": raw(b"\xef\xbb\xbf" + json.dumps(message(RIGHT)).encode()),
    "blanks that keep the connection alive": raw(b"\n         " * 1000 + json.dumps(message(RIGHT)).encode()),
    "content as an object": raw(message({"type": "text", "text": RIGHT})),
    "choices as an object": raw({"choices": {"0": message(RIGHT)["choices"][0]}, "usage": USAGE}),  # type: ignore[index]
    "usage as a list": raw(message(RIGHT, usage=[USAGE])),
    "usage as a text": raw(message(RIGHT, usage="many")),
    "the Responses API": raw({"output": [{"type": "message", "content": [{"type": "output_text", "text": RIGHT}]}]}),
    "output_text": raw({"output_text": RIGHT, "usage": USAGE}),
    "the same choice twice": raw({"choices": message(RIGHT)["choices"] * 2, "usage": USAGE}),  # type: ignore[operator]
    "JSON in a text": raw(json.dumps(json.dumps(message(RIGHT))).encode()),
    "gzip with its header": raw(gzip.compress(json.dumps(message(RIGHT)).encode()), content_encoding="gzip"),
    "text/plain as its type": raw(message(RIGHT), content_type="text/plain"),
    "UTF-16": raw(json.dumps(message(RIGHT)).encode("utf-16")),
    "status 201": raw(message(RIGHT), 201),
}


@pytest.mark.parametrize("reply", READ.values(), ids=READ.keys())
def test_strange_answers_that_hold_a_rationale(tmp_path: Path, reply: Raw) -> None:
    with serving(server := for_one_question(reply)):
        report: dict[str, Any] = run(context(tmp_path, server))
    assert (report["kept"], report["rejected"]) == (4, {})
    assert report["asked"]["run_tokens"] >= server.log.tokens


REJECTED: dict[str, tuple[Raw, str, int]] = {
    "choices that are empty": (raw({"choices": [], "usage": USAGE}), "no_text", 1),
    "choices that are null": (raw({"choices": None, "usage": USAGE}), "no_text", 1),
    "no choices": (raw({"id": "x", "usage": USAGE}), "no_text", 1),
    "content that is absent": (raw(message(None, "MAX_TOKENS")), "length", 1),
    "a filter": (raw(message(None, "SAFETY")), "content_filter", 1),
    "a call of a tool": (raw(message("I call it.", "TOOL_CALLS")), "broken_off", 1),
    "a refusal that is an object": (raw(message("", "stop", refusal={"text": "no"})), "refusal", 1),
    "a finish reason of an error": (raw(message("We ad", "ERROR")), "server_error", 3),
    "nothing, status 204": (raw(b"", 204), "broken_answer", 3),
    "nothing": (raw(b""), "broken_answer", 3),
    "gzip garbage without its header": (raw(b"\x1f\x8b\x08garbage"), "broken_answer", 3),
    "HTML": (raw(b"<html><title>Welcome</title></html>"), "broken_answer", 3),
    "JSON that breaks off": (raw(b'{"choices": [{"message": {"conte'), "broken_answer", 3),
    "another document": (raw({"hello": "world"}), "broken_answer", 3),
    "a filter as an error": (raw({"error": {"code": "content_filter", "message": "no"}}, 400), "content_filter", 1),
    "a filter as an error, status 200": (
        raw({"error": {"code": "content_filter", "message": "no"}}),
        "content_filter",
        1,
    ),
    "an error without a code": (raw({"error": {"message": "Odd"}}), "server_error", 3),
    "an error inside a choice": (
        raw(
            {
                "choices": [
                    {"message": {"content": "We"}, "finish_reason": "error", "error": {"code": 502, "message": "x"}}
                ]
            }
        ),
        "server_error",
        3,
    ),
    "an overload inside a choice": (
        raw({"choices": [{"message": {}, "error": {"code": 503, "message": "Upstream timeout"}}]}),
        "server_error",
        3,
    ),
    "a request that is refused": (raw({"error": {"message": "Invalid characters"}}, 400), "refused_request", 1),
    "a question that breaks the server": (raw({"error": {"message": "Jinja error"}}, 500), "server_error", 3),
}


@pytest.mark.parametrize(("reply", "reason", "times"), REJECTED.values(), ids=REJECTED.keys())
def test_one_strange_answer_is_a_counted_rejection(tmp_path: Path, reply: Raw, reason: str, times: int) -> None:
    with serving(server := for_one_question(reply)):
        # One after the other, so that the odd one comes in the middle.
        report: dict[str, Any] = run(context(tmp_path, server, openai={"concurrency": 1}))
        assert (report["kept"], report["rejected"]) == (3, {reason: 1})
        assert len(server.log.of("odd")) == times
        again: dict[str, Any] = run(context(tmp_path, server))
    assert (again["kept"], again["rejected"]) == (3, {reason: 1})
    assert len(server.log.of("odd")) == times, "within a phase it is final"


@pytest.mark.parametrize(
    "name", ["HTML", "a request that is refused", "choices that are empty", "an error without a code"]
)
def test_the_first_and_the_only_strange_answer_do_not_stop_the_phase_again_and_again(tmp_path: Path, name: str) -> None:
    with serving(first := for_one_question(REJECTED[name][0], "0 plus 1")):
        report: dict[str, Any] = run(context(tmp_path, first, openai={"concurrency": 1}))
    assert (report["kept"], report["asked"]["sent"]) == (3, 4)
    # The others are cached, so that this question is the only one that is asked.
    with serving(alone := for_one_question(REJECTED[name][0], "0 plus 1")):
        other = context(tmp_path / "other", alone, cache=str(tmp_path / "cache.sqlite"))
        report = run(other)
    assert (report["kept"], report["asked"]["cached"]) == (3, 3)


def test_the_finish_reason_and_the_thought_are_kept(tmp_path: Path) -> None:
    thought = "Let me see. " * 100
    with serving(server := for_one_question(raw(message(None, "MAX_TOKENS", reasoning=thought)))):
        run(context(tmp_path, server))
        record = read_jsonl(tmp_path / OUT / "failures.jsonl")[0]
        assert (record["reason"], record["finish_reason"], record["thought"]) == ("length", "MAX_TOKENS", thought)
        run(context(tmp_path, server))
        other = context(tmp_path / "other", server, cache=str(tmp_path / "cache.sqlite"), filter="none")
        run(other)
    assert read_jsonl(tmp_path / "other" / OUT / "failures.jsonl") == [record]
    assert len(server.log.entries) == 4, "it is paid for once"


def test_thoughts_are_kept_and_exported(tmp_path: Path) -> None:
    with serving(server := for_one_question(raw(message(RIGHT, reasoning_content="Let me see.")))):
        report: dict[str, Any] = run(context(tmp_path, server))
    assert report["kept"] == 4
    with AnswerCache(tmp_path / "cache.sqlite") as cache:
        records = list(export_completions(cache, None, None))
    assert sorted(record["thought"] for record in records) == ["", "", "", "Let me see."]
    assert all("<think" not in record["completion"] for record in records)


STOPPED: dict[str, tuple[Raw, type[KpodxError], str, str, int]] = {
    "no credit": (
        raw({"error": {"message": "No credit left.", "code": 402}}, 402),
        TeacherRefusedError,
        "402",
        "billing",
        8,
    ),
    "no credit, status 200": (raw({"error": {"message": "x", "code": 402}}), TeacherRefusedError, "402", "billing", 8),
    "credit in words": (
        raw({"type": "error", "error": {"message": "Your credit balance is too low"}}, 400),
        TeacherRefusedError,
        "credit balance is too low",
        "billing page",
        8,
    ),
    "a key, status 400": (
        raw([{"error": {"message": "API key not valid."}}], 400),
        TeacherRefusedError,
        "not valid",
        "key in",
        8,
    ),
    "a model, status 400": (
        raw({"message": "Invalid model: x"}, 400),
        TeacherRefusedError,
        "Invalid",
        "tiny-teacher",
        8,
    ),
    "a redirect without an address": (raw(b"", 302), TeacherRefusedError, "answered 302", "base_urls", 8),
    "a redirect that never ends": (
        raw(b"", 307, location="/v1/chat/completions"),
        TeacherRefusedError,
        "redirects",
        "Check the address",
        10**4,
    ),
    "another method": (
        raw({"detail": "Method Not Allowed"}, 405),
        TeacherRefusedError,
        "Method Not Allowed",
        "base_urls",
        8,
    ),
    "busy in words": (
        raw(b"upstream did not answer", 503),
        TeacherError,
        "503.*upstream did not answer",
        "run the same",
        60,
    ),
    "a limit, status 200": (
        raw({"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": "slow down"}}}),
        TeacherError,
        "429.*Provider returned error: slow down",
        "run the same",
        60,
    ),
    "always an error at the end": (
        raw(message("We", "error")),
        TeacherError,
        "finish reason 'error'",
        "run the same",
        60,
    ),
    "a parameter": (
        raw({"error": {"message": "Unsupported parameter: 'seed' is not supported.", "param": "seed"}}, 400),
        TeacherRefusedError,
        "'seed' is not supported",
        "rationales.sampling.seed",
        8,
    ),
    "a parameter of one's own": (
        raw({"detail": [{"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs"}]}, 422),
        TeacherRefusedError,
        "Extra inputs",
        "rationales.openai.extra.top_k",
        8,
    ),
    "a wrong address": (
        raw(b"<html>Welcome</html>"),
        TeacherRefusedError,
        "does not answer as an OpenAI",
        "base_urls",
        26,
    ),
}


@pytest.mark.parametrize(("reply", "kind", "words", "hint", "most"), STOPPED.values(), ids=STOPPED.keys())
def test_what_concerns_all_requests_stops_with_a_useful_message(
    tmp_path: Path, reply: Raw, kind: type[KpodxError], words: str, hint: str, most: int
) -> None:
    settings: dict[str, Any] = {"openai": {"extra": {"top_k": 3}, "max_attempts": 2}, "sampling": {"seed": 1}}
    with serving(server := for_all(reply)), pytest.raises(kind, match=words) as caught:
        run(context(tmp_path, server, count=40, **settings))
    assert hint in (caught.value.hint or "")
    assert len(server.log.entries) <= most


def test_a_server_that_asks_to_wait_is_obeyed_and_asked_again(tmp_path: Path) -> None:
    limit = {
        "code": 429,
        "message": "Quota reached.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"retryDelay": "0.3s"}],
    }
    server = TeacherServer(lambda _prompt, count: "odd" if count == 0 else "ok")
    server.replies["odd"] = raw([{"error": limit}], 429)
    with serving(server):
        report: dict[str, Any] = run(context(tmp_path, server))
    assert report["kept"] == 4
    assert len(server.log.of("odd")) <= 4


class Notes(SilentProgress):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def strict(body: dict[str, Any]) -> Raw | None:
    """As OpenAI's reasoning models have it."""
    if "max_tokens" in body:
        words = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return raw({"error": {"message": words, "param": "max_tokens", "code": "unsupported_parameter"}}, 400)
    if body.get("temperature") != 1:
        words = "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is supported."
        return raw({"error": {"message": words, "param": "temperature", "code": "unsupported_value"}}, 400)
    return None


@pytest.mark.parametrize("batch", [False, True])
def test_parameters_are_adapted_once_recorded_and_remembered(tmp_path: Path, batch: bool) -> None:
    server = TeacherServer()
    server.refuses = server.batches.refuses_body = strict
    openai: dict[str, Any] = {"concurrency": 1, "batch": batch, "batch_poll_seconds": 0.01}
    notes = Notes()
    with serving(server):
        ready = context(tmp_path, server, openai=openai)
        report: dict[str, Any] = run(dataclasses.replace(ready, progress=notes))
        assert report["kept"] == 4
        changes = "temperature 1.0 instead of 0.0; max_completion_tokens instead of max_tokens"
        assert len([line for line in notes.lines if "wants other parameters" in line]) == 2
        assert read_json(tmp_path / OUT / "source.json")["adapted"] == {changes: 4}
        assert {row["adapted"] for row in read_jsonl(tmp_path / OUT / "provenance.jsonl")} == {changes}
        if not batch:
            assert len(server.bodies) == 4 + 2, "each was refused once"
        sent = len(server.bodies)
        again: dict[str, Any] = run(context(tmp_path, server, openai=openai, filter="none"))
    assert (again["kept"], again["asked"]["sent"], len(server.bodies)) == (4, 0, sent), "the key of a request stays"


@pytest.mark.parametrize(("limit", "sent"), [(40, 0), (30, 0), (41, 1)])
def test_an_answer_that_its_limit_cut_is_asked_again_only_with_a_higher_limit(
    tmp_path: Path, limit: int, sent: int
) -> None:
    with serving(server := for_one_question(raw(message("We ad", "length")))):
        run(context(tmp_path, server, sampling={"max_tokens": 40}))
        before = len(server.log.of("odd"))
        other = {"cache": str(tmp_path / "cache.sqlite"), "filter": "none", "sampling": {"max_tokens": limit}}
        report: dict[str, Any] = run(context(tmp_path / "other", server, **other))
    assert (before, len(server.log.of("odd")) - before) == (1, sent)
    assert report["rejected"] == {"length": 1}


def test_an_estimate_leaves_out_what_is_kept(tmp_path: Path) -> None:
    with serving(server := for_one_question(raw(message("We ad", "length")))):
        ready = context(tmp_path, server)
        run(ready)
    for settings, requests in (({}, 0), ({"ask_failures_again": True}, 1), ({"sampling": {"max_tokens": 900}}, 4)):
        config = context(tmp_path, server.url, **settings).recipe.rationales
        found = estimate_cost(questions(4), config, {})
        assert found is not None
        assert found.requests == requests


def test_a_new_sample_asks_again(tmp_path: Path) -> None:
    sampling = {"num_samples": 2, "temperature": 0.5}
    with serving(server := for_one_question(raw(message("", "content_filter")))):
        run(context(tmp_path, server, sampling={**sampling, "num_samples": 1}))
        report: dict[str, Any] = run(
            context(tmp_path / "other", server, cache=str(tmp_path / "cache.sqlite"), sampling=sampling)
        )
    assert len(server.log.of("odd")) == 2
    assert report["asked"]["failures"] == {"content_filter": 2}


def test_what_was_not_paid_for_is_asked_again_by_another_phase(tmp_path: Path) -> None:
    with serving(server := for_one_question(REJECTED["a request that is refused"][0])):
        run(context(tmp_path, server))
        server.plan = lambda _prompt, _count: "ok"
        report: dict[str, Any] = run(context(tmp_path / "other", server, cache=str(tmp_path / "cache.sqlite")))
    assert report["kept"] == 4


def test_the_cap_holds_for_hidden_thoughts(tmp_path: Path) -> None:
    usage = {
        "prompt_tokens": 50,
        "completion_tokens": 60,
        "total_tokens": 5110,
        "completion_tokens_details": {"reasoning_tokens": 5000},
    }
    server = for_all(Raw(json.dumps(message("It is 1. The answer is 1.", usage=usage)).encode(), tokens=5110))
    server.delay = 0.02
    openai, settings = {"concurrency": 16}, {"cost": {"budget_tokens": 30_000}}
    with serving(server):
        with pytest.raises(BudgetSpentError, match="25,550 tokens") as caught:
            run(context(tmp_path, server, count=40, openai=openai, **settings))
        assert caught.value.exit_code == 4
        assert server.log.tokens == 25_550
        report: dict[str, Any] = run(context(tmp_path, server, count=6, openai=openai, cost={"budget_tokens": 60_000}))
    assert report["asked"]["run_tokens"] == server.log.tokens


@pytest.mark.parametrize("what", ["refused", "broken", "filter"])
def test_one_strange_line_of_a_batch_is_a_counted_rejection(tmp_path: Path, what: str) -> None:
    outcomes = {"refused": "400:odd", "broken": "ok:broken", "filter": "400:content_filter"}
    reasons = {"refused": "refused_request", "broken": "broken_answer", "filter": "content_filter"}
    with serving(server := TeacherServer()):
        server.batches.outcome = lambda prompt: outcomes[what] if "1 plus 2" in prompt else "ok"
        report: dict[str, Any] = run(context(tmp_path, server, openai={"batch": True, "batch_poll_seconds": 0.01}))
    assert (report["kept"], report["rejected"]) == (3, {reasons[what]: 1})
    assert len(server.batches.made) == 1


def test_a_batch_that_is_refused_says_what_to_change(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        server.batches.outcome = lambda _prompt: "402:no_credit"
        with pytest.raises(TeacherRefusedError, match="answered 402") as caught:
            run(context(tmp_path, server, openai={"batch": True, "batch_poll_seconds": 0.01}))
    assert "billing page" in (caught.value.hint or "")


def test_all_answers_without_a_text_say_so(tmp_path: Path) -> None:
    with (
        serving(server := for_all(raw(message("", reasoning="Let me see.")))),
        pytest.raises(DataError, match="4 no_text") as caught,
    ):
        run(context(tmp_path, server))
    assert "only thinks" in (caught.value.hint or "")


def mutated(rng: random.Random) -> Raw:
    """An answer that is right but for one thing, under any status."""
    document: Any = rng.choice(
        [message(RIGHT), {"error": {"message": "odd", "code": 429}}, {"detail": [{"loc": ["x"]}]}]
    )
    document = json.loads(json.dumps(document))
    odd: list[Any] = [
        None,
        0,
        -1,
        10**30,
        1.5,
        True,
        "",
        "x",
        [],
        {},
        [[]],
        {"x": {}},
        [None],
        "\ud800",
        "<html>",
        ["stop"],
    ]
    place: Any = document
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if rng.random() < 0.4 or not isinstance(place[key], dict | list):
            place[key] = rng.choice(odd)
            break
        place = place[key]
    content = json.dumps(document).encode()
    content = rng.choice([content, content, content, content[: rng.randrange(len(content))], b"[" + content + b"]"])
    return Raw(content, rng.choice([200, 200, 200, 200, 400, 422, 429, 500, 503]), tokens=0)


@pytest.mark.parametrize("seed", range(6))
def test_mutated_answers_end_in_rationales_or_in_an_error_of_ours(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    names = [f"m{number}" for number in range(60)]
    server = TeacherServer(lambda _prompt, _count: rng.choice(names) if rng.random() < 0.3 else "ok")
    server.replies = {name: mutated(rng) for name in names}
    # What is not an error of ours would be a traceback.
    with serving(server), contextlib.suppress(KpodxError):
        report: dict[str, Any] = run(context(tmp_path, server, count=60, openai={"max_attempts": 4}, filter="none"))
        assert report["completions"] >= 60
    kept = {json.loads(line)["key"] for line in (tmp_path / OUT / "failures.jsonl").read_text().splitlines()}
    with AnswerCache(tmp_path / "cache.sqlite") as cache:
        answers = sum(group.answers for group in cache.groups())
    assert answers + len(kept) > 0, "what came is kept, whatever else happened"
