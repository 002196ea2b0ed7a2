"""The phase with a teacher behind an API: against a server that does everything wrong at some time."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import socket
import ssl
import subprocess
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from teacher_server import FAILURES, PASSING, TeacherServer, faulty, serving, solve

from kpodx.artifacts import load_rationales, read_json, read_jsonl, save_questions
from kpodx.config import build_config
from kpodx.errors import BudgetSpentError, ConfigError, DataError, KpodxError, TeacherError, TeacherRefusedError
from kpodx.rationales import openai_api
from kpodx.rationales.access import Access
from kpodx.rationales.cache import AnswerCache
from kpodx.rationales.config import OpenAIConfig, PromptConfig, RationalesConfig, SamplingConfig
from kpodx.rationales.openai_api import OpenAITeacher
from kpodx.rationales.phase import run
from kpodx.rationales.prompting import Template, rationale_requests
from kpodx.rationales.requests import Completion, Message, Request
from kpodx.rationales.spending import Budget, Prices, Spending
from kpodx.rationales.teachers import Outlet
from kpodx.runtime import PhaseContext, SilentProgress
from kpodx.schema import Question, Split

pytest.importorskip("openai")

# Error answers that never pass are abandoned after few attempts, so that no test waits for long pauses.
QUICK = {"timeout_seconds": 10.0, "max_attempts": 3, "concurrency": 8}


def questions(count: int) -> list[Question]:
    return [Question(f"q{i}", Split.TRAIN, f"What is {i} plus {i + 1}?", str(2 * i + 1)) for i in range(count)]


def context(
    folder: Path,
    server: TeacherServer | str,
    count: int = 4,
    environment: dict[str, str] | None = None,
    openai: dict[str, Any] | None = None,
    **settings: Any,
) -> PhaseContext:
    """A phase that asks `server` about `count` questions."""
    url = server if isinstance(server, str) else server.url
    table = {"model": "tiny-teacher", "base_urls": url, **QUICK, **(openai or {})}
    values = {"teacher": "openai", "openai": table, "cache": str(folder / "cache.sqlite"), **settings}
    save_questions(folder / "dataset", questions(count))
    (folder / "rationales" / "out").mkdir(parents=True, exist_ok=True)
    recipe = SimpleNamespace(rationales=build_config(RationalesConfig, values))
    output = folder / "rationales" / "out"
    return PhaseContext(recipe, {"dataset": folder / "dataset"}, output, 0, environment=environment or {})


def test_a_good_server(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        report: dict[str, Any] = run(context(tmp_path, server, licence="CC0"))
    kept = load_rationales(tmp_path / "rationales/out")
    assert [(r.question_id, r.text, r.answer, r.teacher) for r in kept][:1] == [
        ("q0", "We add. 0 + 1 = 1.", "1", "tiny-teacher")
    ]
    assert (report["kept"], report["answer_agreement"]) == (4, 1.0)
    assert report["asked"]["sent"] == 4
    assert report["asked"]["run_tokens"] == server.log.tokens
    # Which request arrives first is nobody's promise.
    contents = sorted(message["content"] for body in server.bodies for message in body["messages"])
    assert contents[0] == "Q: What is 0 plus 1?\nA: Let's think step by step."
    assert {message["role"] for body in server.bodies for message in body["messages"]} == {"user"}
    assert (server.bodies[0]["temperature"], server.bodies[0]["max_tokens"]) == (0.0, 512)
    source = read_json(tmp_path / "rationales/out/source.json")
    assert (source["licence"], source["template"], len(source["prompt"])) == ("CC0", "zero-shot-cot/1", 64)
    rows = read_jsonl(tmp_path / "rationales/out/provenance.jsonl")
    assert [row["rationale"] for row in rows] == [r.id for r in kept]
    assert all(len(row["request"]) == 64 and row["created"].endswith("+00:00") for row in rows)
    assert {row["server"] for row in rows} == {server.url}


def test_what_it_will_cost_and_has_cost_is_told(tmp_path: Path) -> None:
    class Notes(SilentProgress):
        lines: list[str] = []  # noqa: RUF012

        def note(self, text: str) -> None:
            self.lines.append(text)

    prices = {"input_usd_per_million": 1000.0, "output_usd_per_million": 1000.0}
    with serving(server := TeacherServer()):
        ready = context(tmp_path, server, cost=prices)
        run(dataclasses.replace(ready, progress=Notes()))
    assert Notes.lines[0].startswith("the teacher: 4 requests to send, 0 cached; about ")
    assert "US dollars (at most " in Notes.lines[0]
    assert Notes.lines[1] == (
        f"spent on the teacher in this run so far: {server.log.tokens} tokens, {server.log.tokens / 1000:.2f} US dollars"
    )


def test_running_again_and_other_runs_pay_for_nothing(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        run(context(tmp_path, server))
        first = (tmp_path / "rationales/out/rationales.jsonl").read_bytes()
        run(context(tmp_path, server))
        other = context(tmp_path / "other", server, cache=str(tmp_path / "cache.sqlite"), filter="none")
        report: dict[str, Any] = run(other)
    assert len(server.log.entries) == 4
    assert (tmp_path / "rationales/out/rationales.jsonl").read_bytes() == first
    assert (report["asked"]["cached"], report["asked"]["sent"], report["asked"]["run_tokens"]) == (4, 0, 0)


@pytest.mark.parametrize("fault", PASSING)
def test_errors_that_pass_are_survived(tmp_path: Path, fault: str) -> None:
    def once(_prompt: str, count: int) -> str:
        return fault if count == 0 else "ok"

    openai = {"timeout_seconds": 0.5} if fault == "hang" else {}
    with serving(server := TeacherServer(once)):
        report: dict[str, Any] = run(context(tmp_path, server, count=2, openai=openai))
    assert report["kept"] == 2
    assert [entry["done"] for entry in server.log.entries].count(fault) == 2
    # What may have been charged counts: never less than the server's own book.
    assert report["asked"]["run_tokens"] >= server.log.tokens


@pytest.mark.parametrize("failure", FAILURES)
def test_answers_without_a_rationale_are_rejected_with_their_reason_and_paid_for_once(
    tmp_path: Path, failure: str
) -> None:
    reason = "no_text" if failure == "empty" else failure

    def plan(prompt: str, _count: int) -> str:
        return failure if "1 plus 2" in prompt else "ok"

    with serving(server := TeacherServer(plan)):
        report: dict[str, Any] = run(context(tmp_path, server))
        assert report["rejected"] == {reason: 1}
        assert report["asked"]["failures"] == {reason: 1}
        again: dict[str, Any] = run(context(tmp_path, server))
        assert again["rejected"] == {reason: 1}
        assert len(server.log.entries) == 4, "within a phase a failure is final"
        server.plan = lambda _prompt, _count: "ok"
        shared: dict[str, Any] = {"cache": str(tmp_path / "cache.sqlite")}
        other: dict[str, Any] = run(context(tmp_path / "other", server, **shared))
        assert (other["kept"], other["asked"]["sent"]) == (3, 0), "other phases keep what was paid for"
        assert other["asked"]["failures"] == {reason: 1}
        third: dict[str, Any] = run(context(tmp_path / "third", server, **shared, ask_failures_again=True))
    assert (third["kept"], third["asked"]["sent"]) == (4, 1), "one setting asks again"


def test_a_refusal_in_words(tmp_path: Path) -> None:
    with serving(
        server := TeacherServer(lambda p, _n: "text:I'm sorry, but I can't help with that." if "1 plus" in p else "ok")
    ):
        report: dict[str, Any] = run(context(tmp_path, server))
    assert report["rejected"] == {"refusal": 1}


@pytest.mark.parametrize(
    ("fault", "words", "hint"),
    [
        ("400", r"answered 400 for model 'tiny-teacher': fault 400", "about question q"),
        ("401", "answered 401", "Check the key in OPENAI_API_KEY"),
        ("403", "answered 403", "may not use this model"),
        ("404", "answered 404", "The server has: tiny-teacher"),
        ("429:insufficient_quota", "fault 429:insufficient_quota", "quota is used up"),
    ],
)
def test_errors_that_do_not_pass_stop_at_once(tmp_path: Path, fault: str, words: str, hint: str) -> None:
    with (
        serving(server := TeacherServer(lambda _prompt, _count: fault)),
        pytest.raises(TeacherRefusedError, match=words) as caught,
    ):
        run(context(tmp_path, server, count=100))
    assert hint in (caught.value.hint or "")
    assert len(server.log.entries) <= QUICK["concurrency"]
    assert caught.value.exit_code == 2


def test_an_unknown_model_is_told_with_the_nearest(tmp_path: Path) -> None:
    with serving(server := TeacherServer()), pytest.raises(TeacherRefusedError, match="does not exist") as caught:
        run(context(tmp_path, server, openai={"model": "tiny-teecher"}))
    assert "Did you mean 'tiny-teacher'?" in (caught.value.hint or "")


def test_one_question_that_is_too_long_is_its_own_failure(tmp_path: Path) -> None:
    plan = lambda prompt, _count: "400:context_length_exceeded" if "1 plus 2" in prompt else "ok"  # noqa: E731
    with serving(server := TeacherServer(plan)):
        report: dict[str, Any] = run(context(tmp_path, server))
    assert report["rejected"] == {"prompt_too_long": 1}


def test_a_huge_answer_is_not_read_to_its_end(tmp_path: Path) -> None:
    huge = TeacherServer(lambda _prompt, _count: "huge")
    with serving(huge), pytest.raises(DataError, match="2 answer_too_large") as caught:
        run(context(tmp_path, huge, count=2))
    assert "max_answer_mib" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("html", r"does not answer as an OpenAI-compatible API does: the answer is no JSON \(text/html\): '<html>"),
        ("garbage", "the answer is no UTF-8 text"),
        ("hang", "no answer within 0.3 seconds"),
        ("reset", "no connection to|broke off"),
    ],
)
def test_a_server_that_never_answers_well_is_given_up_soon(tmp_path: Path, fault: str, words: str) -> None:
    with (
        serving(server := TeacherServer(lambda _prompt, _count: fault)),
        pytest.raises(TeacherRefusedError, match=words) as caught,
    ):
        run(context(tmp_path, server, count=100, openai={"timeout_seconds": 0.3, "max_attempts": 9, "concurrency": 2}))
    assert "base_urls" in (caught.value.hint or "")
    assert len(server.log.entries) <= 6


def test_nothing_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(TeacherRefusedError, match=f"no connection to {url}"):
            run(context(tmp_path, url))


def test_the_host_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(TeacherRefusedError, match=r"no connection to http://nowhere\.invalid/v1"):
        run(context(tmp_path, "http://nowhere.invalid/v1"))


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    made = subprocess.run([*command, "-days", "1", "-subj", "/CN=localhost"], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with tls.wrap_socket(connection, server_side=True):
                    pass
            except ssl.SSLError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        with pytest.raises(TeacherRefusedError, match="No encrypted connection to https://localhost") as caught:
            run(context(tmp_path, f"https://localhost:{listener.getsockname()[1]}/v1"))
        assert "SSL_CERT_FILE" in (caught.value.hint or "")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_no_key(tmp_path: Path) -> None:
    settings = {"teacher": "openai", "openai": {"model": "gpt-4o-mini"}, "cache": str(tmp_path / "cache.sqlite")}
    ready = context(tmp_path, "http://localhost/v1")
    ready.recipe.rationales = build_config(RationalesConfig, settings)
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY holds no key for https://api\.openai\.com/v1"):
        run(ready)
    with pytest.raises(ConfigError, match="MY_KEY holds no key"):
        run(context(tmp_path, "http://localhost/v1", openai={"api_key_env": "MY_KEY"}))
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL is no address"):
        run(PhaseContext(ready.recipe, ready.inputs, ready.output, 0, environment={"OPENAI_BASE_URL": "localhost:80"}))


def test_the_rest_is_asked_for_after_unanswered_requests(tmp_path: Path) -> None:
    with serving(server := TeacherServer(lambda prompt, _count: "503" if "1 plus 2" in prompt else "ok")):
        with pytest.raises(
            TeacherError, match=r"1 of 6 requests went unanswered, sent up to 3 times each; .* q1: .*503"
        ):
            run(context(tmp_path, server, count=6))
        server.plan = lambda _prompt, _count: "ok"
        before = len(server.log.of("ok"))
        report: dict[str, Any] = run(context(tmp_path, server, count=6))
    assert (before, len(server.log.of("ok")), report["kept"]) == (5, 6, 6)


def test_a_server_that_dies_for_good_is_left_after_some_requests(tmp_path: Path) -> None:
    answered: list[str] = []

    def plan(prompt: str, count: int) -> str:
        if len(answered) < 4 and count == 0:
            answered.append(prompt)
            return "ok"
        return "500"

    with (
        serving(server := TeacherServer(plan)),
        pytest.raises(TeacherError, match="10 requests in a row went unanswered") as caught,
    ):
        run(context(tmp_path, server, count=60, openai={"max_attempts": 2}))
    assert "run the same command again" in (caught.value.hint or "")
    assert caught.value.exit_code == 1
    assert len(server.log.entries) < 60


def test_a_thousand_requests_with_a_fifth_of_faults_end_once_each(tmp_path: Path) -> None:
    faults = tuple(fault for fault in PASSING if fault != "hang") + FAILURES
    with serving(server := TeacherServer(faulty(0.2, seed=1, faults=faults))):
        openai = {"max_attempts": 12, "concurrency": 64}
        report: dict[str, Any] = run(context(tmp_path, server, count=300, openai=openai))
    assert report["completions"] == 300
    ended = [entry for entry in server.log.entries if entry["done"] in ("ok", *FAILURES)]
    assert len(ended) == len({entry["prompt"] for entry in ended}) == 300, "none was paid for twice"
    assert report["kept"] == len(server.log.of("ok"))


def test_the_cap_on_tokens_holds_and_can_be_raised(tmp_path: Path) -> None:
    sampling = {"max_tokens": 40}
    with serving(server := TeacherServer(delay=0.01)):
        with pytest.raises(BudgetSpentError, match=r"\(2,000 tokens\) does not hold another request") as caught:
            run(context(tmp_path, server, count=200, cost={"budget_tokens": 2000}, sampling=sampling))
        spent = server.log.tokens
        assert spent <= 2000
        # Less than one request's bound was left over.
        assert spent > 2000 - 400
        assert caught.value.exit_code == 4
        report: dict[str, Any] = run(
            context(tmp_path, server, count=200, cost={"budget_tokens": 50_000}, sampling=sampling)
        )
    assert report["kept"] == 200
    assert len(server.log.of("ok")) == 200
    assert report["asked"]["run_tokens"] == server.log.tokens


def test_the_cap_on_dollars_holds(tmp_path: Path) -> None:
    prices = {"input_usd_per_million": 10.0, "output_usd_per_million": 30.0}
    server = TeacherServer(faulty(0.2, seed=3, faults=("500", "429-after", "reset", "garbage")))
    settings = {"cost": {**prices, "budget_usd": 0.02}, "sampling": {"max_tokens": 40}}
    with serving(server), pytest.raises(BudgetSpentError, match=r"0\.02 US dollars"):
        run(context(tmp_path, server, count=300, openai={"max_attempts": 8}, **settings))
    # The server's own book, every token at the dearer price of the two where it cannot be told apart.
    read = sum(len(entry["prompt"].split()) for entry in server.log.entries if entry["tokens"])
    written = server.log.tokens - read
    assert read * 10e-6 + written * 30e-6 <= 0.02


def test_a_budget_too_small_for_one_request_sends_none(tmp_path: Path) -> None:
    with serving(server := TeacherServer()), pytest.raises(BudgetSpentError):
        run(context(tmp_path, server, cost={"budget_tokens": 100}))
    assert server.log.entries == []


def test_concurrency_is_used_and_held(tmp_path: Path) -> None:
    with serving(server := TeacherServer(delay=0.02)):
        run(context(tmp_path, server, count=40, openai={"concurrency": 5}))
    assert server.most_under_way == 5


def test_several_servers_share_the_work_and_a_dead_one_is_left_out(tmp_path: Path) -> None:
    good, bad, other = TeacherServer(delay=0.02), TeacherServer(lambda _p, _n: "reset"), TeacherServer(delay=0.02)
    with serving(good, bad, other):
        urls = [good.url, bad.url, other.url]
        report: dict[str, Any] = run(context(tmp_path, good, count=60, openai={"base_urls": urls, "max_attempts": 8}))
    assert report["kept"] == 60
    assert min(len(good.log.of("ok")), len(other.log.of("ok"))) > 15
    assert len(bad.log.entries) < 20


def test_the_completions_api_for_base_models(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        report: dict[str, Any] = run(context(tmp_path, server, openai={"api": "completions"}))
    assert report["kept"] == 4
    assert min(body["prompt"] for body in server.bodies) == "Q: What is 0 plus 1?\nA: Let's think step by step."
    assert "messages" not in server.bodies[0]


def test_parameters_as_the_server_wants_them(tmp_path: Path) -> None:
    openai = {"max_tokens_parameter": "max_completion_tokens", "extra": {"reasoning_effort": "low"}}
    sampling = {"num_samples": 2, "temperature": 0.7, "top_p": 0.9, "stop": ["\n\n"], "seed": 3}
    with serving(server := TeacherServer()):
        run(context(tmp_path, server, count=1, openai=openai, sampling=sampling))
    bodies = sorted(server.bodies, key=lambda body: body["seed"])
    assert [body["seed"] for body in bodies] == [3, 4]
    assert bodies[0] == {
        "model": "tiny-teacher",
        "messages": [{"role": "user", "content": "Q: What is 0 plus 1?\nA: Let's think step by step."}],
        "max_completion_tokens": 512,
        "temperature": 0.7,
        "top_p": 0.9,
        "stop": ["\n\n"],
        "seed": 3,
        "reasoning_effort": "low",
    }


def test_the_answer_is_asked_for_where_none_was_announced(tmp_path: Path) -> None:
    def plan(prompt: str, _count: int) -> str:
        if "arabic numerals" in prompt:
            return "text: 3."
        return "text:We add one and two, which makes three." if "1 plus 2" in prompt else "ok"

    with serving(server := TeacherServer(plan)):
        report: dict[str, Any] = run(context(tmp_path, server, count=2))
        assert report["kept"] == 2
        assert len(server.log.entries) == 3
        asked = server.bodies[-1]
        assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "user"]
        assert asked["messages"][-1]["content"] == "Therefore, the answer (arabic numerals) is"
        kept = load_rationales(tmp_path / "rationales/out")
        assert kept[1].text == "We add one and two, which makes three."
        always = {"answer_extraction": "always"}
        report = run(context(tmp_path, server, count=2, prompt=always))
        assert report["asked"]["sent"] == 1, "the other answer of two is cached"


def test_no_secret_is_written_anywhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    canary = "sk-canary-5f2b91/7+c="
    caplog.set_level(logging.DEBUG)
    with serving(server := TeacherServer()):
        for fault in (
            "echo401",
            "echo400",
            "echo500",
            "echo429",
            "echo403",
            *PASSING,
            *FAILURES,
            f"text:the key is {canary}. 1",
        ):
            folder = tmp_path / f"run-{fault[:7].replace(':', '-')}"
            server.plan = lambda _prompt, _count, fault=fault: fault  # type: ignore[misc]
            ready = context(
                folder,
                server,
                2,
                {"OPENAI_API_KEY": canary},
                {"timeout_seconds": 0.2, "max_attempts": 2},
                filter="none",
            )
            try:
                run(ready)
            except KpodxError:
                print(traceback.format_exc())
                logging.getLogger("openai").debug("it failed", exc_info=True)
            print(repr(ready))
    assert any(canary in headers.get("authorization", "") for headers in server.headers), "the key was used"
    captured = capfd.readouterr()
    assert "[hidden]" in captured.out
    for text in (captured.out, captured.err, caplog.text):
        assert canary not in text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        assert canary.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("length", range(255, 300, 6))
def test_a_key_across_a_cut_is_hidden_whole(tmp_path: Path, length: int) -> None:
    canary = "sk-canary-" + "K" * 30
    for number, plan in enumerate((f"say:401:{'x' * length} {canary} y", f"raw:{'x' * (length - 225)}{canary}")):
        server = TeacherServer(lambda _prompt, _count, plan=plan: plan)  # type: ignore[misc]
        with serving(server), pytest.raises(TeacherRefusedError) as caught:
            run(context(tmp_path / str(number), server, 1, {"OPENAI_API_KEY": canary}, {"max_attempts": 1}))
        assert "KKK" not in caught.value.message


def test_a_password_in_the_address_is_hidden_in_all_its_forms(tmp_path: Path) -> None:
    with serving(server := TeacherServer(lambda _prompt, _count: "echo401")):
        url = server.url.replace("http://", "http://me:hunter2%23secret@")
        ready = context(tmp_path, server, 1)
        table = {"model": "tiny-teacher", **QUICK}
        config = build_config(
            RationalesConfig, {"teacher": "openai", "openai": table, "cache": str(tmp_path / "c.sqlite")}
        )
        ready.recipe.rationales = config
        with pytest.raises(TeacherRefusedError) as caught:
            run(dataclasses.replace(ready, environment={"OPENAI_BASE_URL": url}))
    basic = base64.b64encode(b"me:hunter2#secret").decode().lower()
    for form in ("hunter2", basic):
        assert form not in caught.value.message.lower()
    assert server.headers, "the server was asked"


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
        "the request exceeds the available context size. try increasing the context size",
        "Requested tokens (600) exceed context window of 512",
    ],
)
def test_servers_without_a_code_for_too_long_prompts(tmp_path: Path, words: str) -> None:
    plan = lambda prompt, _count: f"say:400:{words}" if "1 plus 2" in prompt else "ok"  # noqa: E731
    with serving(server := TeacherServer(plan)):
        report: dict[str, Any] = run(context(tmp_path, server))
    assert report["rejected"] == {"prompt_too_long": 1}


def test_a_server_with_a_long_prompt_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(server := TeacherServer(delay=0.01)):
        server.hidden_prompt = 500
        cost = {"budget_tokens": 5000}
        with pytest.raises(BudgetSpentError):
            run(context(tmp_path, server, count=50, cost=cost, sampling={"max_tokens": 40}, openai={"concurrency": 1}))
    assert "a long system prompt of its own" in caplog.text
    assert 5000 - 800 < server.log.tokens <= 5000


def test_errors_of_a_gateway_count_at_their_bound(tmp_path: Path) -> None:
    with serving(server := TeacherServer(lambda _prompt, count: "504" if count == 0 else "ok")):
        report: dict[str, Any] = run(context(tmp_path, server, count=1, sampling={"max_tokens": 40}))
    assert report["asked"]["run_tokens"] > server.log.tokens + 40


def test_answers_that_another_process_kept_meanwhile_are_not_paid_for(tmp_path: Path) -> None:
    requests = rationale_requests(questions(6), Template(PromptConfig()), SamplingConfig(), "tiny-teacher", {})

    def plan(_prompt: str, _count: int) -> str:
        # While the first answer is under way, another process gets all of them.
        with AnswerCache(tmp_path / "cache.sqlite") as cache:
            cache.put(Completion(request, solve(request.messages[0].content)) for request in requests)
        return "ok"

    with serving(server := TeacherServer(plan)):
        report: dict[str, Any] = run(context(tmp_path, server, count=6, openai={"concurrency": 1}))
    assert (report["kept"], len(server.log.entries)) == (6, 1)


def test_the_limit_of_requests_holds_for_both_questions_together(tmp_path: Path) -> None:
    class FakeClock:
        time = 0.0

        def now(self) -> float:
            return self.time

        async def sleep(self, seconds: float) -> None:
            self.time += seconds

    clock = FakeClock()
    with serving(server := TeacherServer()):
        config = OpenAIConfig(model="tiny-teacher", base_urls=(server.url,), requests_per_minute=3)
        spending = Spending(tmp_path / "s.jsonl", Prices(), Budget())
        teacher = OpenAITeacher(config, Access.of(config, {}), spending, clock)
        outcomes: list[Any] = []
        for part in range(2):
            asked = [Request("tiny-teacher", (Message("user", f"{part} {n}"),), {"max_tokens": 9}) for n in range(3)]
            teacher.ask(asked, Outlet(outcomes.append), SilentProgress(), "Asking")
        spending.close()
    assert len(outcomes) == 6
    assert clock.time >= 60


def test_a_fatal_error_does_not_wait_for_what_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_api, "_GRACE_SECONDS", 0.2)
    answers = iter(["hang", "hang", "401"] + ["401"] * 20)
    with serving(server := TeacherServer(lambda _prompt, _count: next(answers))):
        begun = time.monotonic()
        with pytest.raises(TeacherRefusedError, match="401"):
            run(context(tmp_path, server, count=9, openai={"timeout_seconds": 60.0, "concurrency": 3}))
    assert time.monotonic() - begun < 20
    spent = read_jsonl(tmp_path / "rationales/spending.jsonl")
    ended = {record["ended"] for record in spent if "ended" in record}
    assert len({record["sent"] for record in spent if "sent" in record} - ended) == 2, "they stay at their bound"


def test_figures_that_no_server_means(tmp_path: Path) -> None:
    huge = {
        "choices": [{"message": {"content": "It is 1. The answer is 1."}}],
        "usage": {"prompt_tokens": 10**30, "completion_tokens": 1},
    }
    with serving(server := TeacherServer(lambda _prompt, _count: f"raw:{json.dumps(huge)}")):
        report: dict[str, Any] = run(context(tmp_path, server, count=1))
    assert report["kept"] == 1


def test_a_mistake_of_ours_is_told_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(openai_api, "outcome_of", broken)
    with serving(server := TeacherServer()), pytest.raises(ZeroDivisionError, match="ours"):
        run(context(tmp_path, server))


def test_a_proxy_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:9")
    with pytest.raises(ConfigError, match="No client can be made") as caught:
        run(context(tmp_path, "http://localhost/v1"))
    assert "ALL_PROXY" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"extra": {"n": 4}}, "'n' has no place here"),
        ({"extra": {"max_completion_tokens": 9}}, "'max_completion_tokens' has no place here"),
        ({"extra": {"x": float("nan")}}, "JSON does not have"),
        ({"base_urls": "http://[::1/v1"}, "expected addresses"),
        ({"base_urls": "http://h:port/v1"}, "expected addresses"),
        ({"api_key_env": "sk-secret-value"}, "expected the name of an environment variable"),
        ({"base_urls": "https://me:sk-secret-value@host/v1"}, "an address with a password"),
        ({"extra": {"api_key": "sk-secret-value"}}, "looks like a secret"),
        ({"api_key": "sk-secret-value"}, "unknown key"),
        ({"base_urls": "sk-secret-value"}, "expected addresses"),
    ],
)
def test_a_key_in_a_recipe_is_refused_and_not_repeated(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build_config(RationalesConfig, {"teacher": "openai", "openai": {"model": "m", **table}})
    assert "sk-secret-value" not in caught.value.message


def test_a_question_asked_twice_is_paid_for_once(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        ready = context(tmp_path, server, count=2)
        twin = Question("twin", Split.TRAIN, "What is 0 plus 1?", "1")
        save_questions(tmp_path / "dataset", [*questions(2), twin])
        report: dict[str, Any] = run(ready)
    assert (report["kept"], len(server.log.entries)) == (3, 2)


def test_json_of_the_report_is_plain(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        report = run(context(tmp_path, server))
    assert json.loads(json.dumps(report)) == report
