"""The Batch API: one batch for all, found again after a kill, its failures told apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from teacher_server import TeacherServer, serving
from test_openai_teacher import context

from kpodx.errors import BudgetSpentError, TeacherError, TeacherRefusedError
from kpodx.rationales import batch_api
from kpodx.rationales.phase import run

pytest.importorskip("openai")

BATCH = {"batch": True, "batch_poll_seconds": 0.01}


def prompts_sent(server: TeacherServer) -> int:
    """Lines of all batches that were made."""
    made = server.batches.made.values()
    return sum(len(server.batches.files[batch["input_file_id"]].splitlines()) for batch in made)


def test_one_batch_for_all(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        report: dict[str, Any] = run(context(tmp_path, server, count=5, openai=BATCH))
        assert (report["kept"], report["asked"]["run_tokens"]) == (5, 5 * 21)
        assert len(server.batches.made) == 1
        run(context(tmp_path, server, count=5, openai=BATCH))
    assert len(server.batches.made) == 1, "all is cached"
    assert not (tmp_path / "rationales/batch.json").exists()


def test_many_requests_go_in_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_api, "MAX_REQUESTS", 2)
    with serving(server := TeacherServer()):
        report: dict[str, Any] = run(context(tmp_path, server, count=5, openai=BATCH))
    assert (report["kept"], len(server.batches.made), prompts_sent(server)) == (5, 3, 5)


def test_large_requests_go_in_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_api, "MAX_BYTES", 700)
    with serving(server := TeacherServer()):
        report: dict[str, Any] = run(context(tmp_path, server, count=5, openai=BATCH))
    assert (report["kept"], prompts_sent(server)) == (5, 5)
    assert len(server.batches.made) > 1


class KilledError(Exception):
    """Stands for a kill."""


def killed_while_waiting(folder: Path, server: TeacherServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phase that dies when its batch is under way and written down."""
    write = batch_api.write_json

    def killed_write(path: Path, value: Any) -> None:
        write(path, value)
        if value["id"]:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(batch_api, "write_json", killed_write)
        with pytest.raises(KilledError):
            run(context(folder, server, openai=BATCH))


@pytest.mark.parametrize("moment", ["before the upload", "after the batch was made", "while waiting"])
def test_a_killed_phase_finds_its_batch_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    write, calls = batch_api.write_json, []

    def killed_write(path: Path, value: Any) -> None:
        calls.append(value)
        if moment == "after the batch was made" and value["id"]:
            raise KilledError
        write(path, value)
        if moment == "before the upload" or (moment == "while waiting" and value["id"]):
            raise KilledError

    monkeypatch.setattr(batch_api, "write_json", killed_write)
    with serving(server := TeacherServer()):
        with pytest.raises(KilledError):
            run(context(tmp_path, server, openai=BATCH))
        monkeypatch.setattr(batch_api, "write_json", write)
        report: dict[str, Any] = run(context(tmp_path, server, openai=BATCH))
    assert (report["kept"], len(server.batches.made), prompts_sent(server)) == (4, 1, 4)
    assert report["asked"]["run_tokens"] == 4 * 21, "what was reserved before the kill is settled"


def test_errors_of_single_requests(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        server.batches.outcome = lambda prompt: "400:context_length_exceeded" if "1 plus 2" in prompt else "ok"
        report: dict[str, Any] = run(context(tmp_path, server, openai=BATCH))
    assert report["rejected"] == {"prompt_too_long": 1}


def test_what_a_batch_leaves_unanswered_is_asked_for_again(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        server.batches.status = "expired"
        server.batches.outcome = lambda prompt: "lost" if "1 plus 2" in prompt else "ok"
        with pytest.raises(TeacherError, match=r"ended with 1 of 4 requests unanswered \(expired\)"):
            run(context(tmp_path, server, openai=BATCH))
        server.batches.status, server.batches.outcome = "completed", lambda _prompt: "ok"
        report: dict[str, Any] = run(context(tmp_path, server, openai=BATCH))
    assert (report["kept"], prompts_sent(server)) == (4, 5)


def test_the_budget_holds(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"cost": {"budget_tokens": 400}, "sampling": {"max_tokens": 40}}
    with serving(server := TeacherServer()):
        with pytest.raises(BudgetSpentError):
            run(context(tmp_path, server, count=30, openai=BATCH, **settings))
        assert prompts_sent(server) * 21 <= 400
    spent = prompts_sent(server)
    assert spent > 10, "what the first batch left over pays for the next"


def test_a_server_without_a_batch_api(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/v1"
    monkey = {**BATCH, "timeout_seconds": 0.2}
    with pytest.raises(TeacherError, match=r"The Batch API of http://127\.0\.0\.1:9/v1 failed: Connection error"):
        run(context(tmp_path, url, openai=monkey))
    assert not (tmp_path / "rationales/batch.json").exists(), "a file that did not arrive costs nothing"


def test_a_batch_that_was_made_although_the_server_said_no_is_not_made_again(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        server.batches.refuses = {"batches": 503}
        with pytest.raises(TeacherError, match=r"refused.* The batch under way is written down in .*batch\.json"):
            run(context(tmp_path, server, openai=BATCH))
        assert len(server.batches.made) == 1
        server.batches.refuses = {}
        report: dict[str, Any] = run(context(tmp_path, server, openai=BATCH))
    assert (report["kept"], len(server.batches.made), report["asked"]["run_tokens"]) == (4, 1, 4 * 21)


@pytest.mark.parametrize("what", ["files", "batches"])
def test_what_is_refused_for_good_leaves_nothing_reserved(tmp_path: Path, what: str) -> None:
    with serving(server := TeacherServer()):
        server.batches.refuses = {what: 404}
        with pytest.raises(TeacherRefusedError, match="refused"):
            run(context(tmp_path, server, openai=BATCH))
        server.batches.refuses = {}
        report: dict[str, Any] = run(context(tmp_path, server, cost={"budget_tokens": 3000}))
    assert (report["kept"], report["asked"]["run_tokens"]) == (4, server.log.tokens)


def test_a_batch_under_way_serves_a_phase_with_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(server := TeacherServer()):
        killed_while_waiting(tmp_path, server, monkeypatch)
        other = context(tmp_path, server, openai=BATCH, filter="none")
        other = dataclasses.replace(other, output=tmp_path / "rationales" / "other")
        other.output.mkdir()
        report: dict[str, Any] = run(other)
    assert (report["kept"], len(server.batches.made)) == (4, 1)


def test_a_batch_counts_although_its_answers_came_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(server := TeacherServer()):
        killed_while_waiting(tmp_path, server, monkeypatch)
        run(context(tmp_path / "elsewhere", server, cache=str(tmp_path / "cache.sqlite")))
        always = {"answer_extraction": "always"}
        report: dict[str, Any] = run(context(tmp_path, server, openai=BATCH, prompt=always))
    assert report["completions"] == 4
    assert report["asked"]["run_tokens"] == prompts_sent(server) * 21, (
        "the batch that nobody needed any more was paid for"
    )


def test_the_first_error_of_a_batch_is_told(tmp_path: Path) -> None:
    with serving(server := TeacherServer()):
        server.batches.outcome = lambda _prompt: "500:overloaded"
        with pytest.raises(TeacherError, match=r"4 of 4 requests unanswered \(500: 500:overloaded\)"):
            run(context(tmp_path, server, openai=BATCH))
