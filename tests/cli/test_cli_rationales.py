"""`kpodx rationales`, and what a dry run says about the teacher's cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kpodx.cli import app
from kpodx.dataset.phase import build_questions
from kpodx.errors import DataError
from kpodx.rationales.cache import AnswerCache
from kpodx.rationales.config import PromptConfig, SamplingConfig
from kpodx.rationales.prompting import Template, rationale_requests
from kpodx.rationales.recorded import RecordKeys, load_recorded
from kpodx.rationales.requests import Completion, Message, Request, Usage
from kpodx.recipe import load_recipe
from kpodx.schema import Split


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three answers in the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "kpodx" / "teachers.sqlite"
    with AnswerCache(path) as opened:
        for number, model in enumerate(("gpt", "gpt", "qwen")):
            request = Request(
                model, (Message("user", f"Q{number}"),), {"max_tokens": 9}, 0, "zero-shot-cot/1", "", f"Q{number}"
            )
            opened.put(
                [Completion(request, f"It is {number}.", Usage(10, 20), f"2026-01-0{number + 1}", "http://s", 2.0)]
            )
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def run_stderr(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.stderr


def document(*arguments: str) -> Any:
    return json.loads(run(*arguments))


def test_ls(cache: Path) -> None:
    assert [(group["model"], group["answers"]) for group in document("rationales", "ls", "--json")] == [
        ("gpt", 2),
        ("qwen", 1),
    ]
    assert "zero-shot-cot/1" in run("rationales", "ls")


def test_stats(cache: Path) -> None:
    found = document("rationales", "stats", "--json")
    assert found["file"] == str(cache)
    assert found["groups"][0]["completion_tokens"] == 40
    assert "2.00" in run("rationales", "stats"), "seconds each"


def test_an_export_is_what_teacher_recorded_reads(cache: Path, tmp_path: Path) -> None:
    run("rationales", "export", "out.jsonl", "--model", "gpt")
    records = load_recorded(tmp_path / "out.jsonl", RecordKeys())
    assert [(record.question, record.completion) for record in records] == [("Q0", "It is 0."), ("Q1", "It is 1.")]
    lines = run("rationales", "export", "-", "--prompt", "zero-shot-cot/1").splitlines()
    assert len(lines) == 3


def test_an_export_keeps_a_separate_answer_beside_its_rationale(cache: Path, tmp_path: Path) -> None:
    first = Request("two", (Message("user", "Q"),), {"max_tokens": 9}, 0, "zero-shot-cot/1", "", "Q")
    second = (
        *first.messages,
        Message("assistant", "We add."),
        Message("user", "Therefore, the answer (arabic numerals) is"),
    )
    with AnswerCache(cache) as opened:
        opened.put(
            [Completion(first, "We add."), Completion(Request("two", second, {}, 0, "zero-shot-cot/1 answer"), " 7.")]
        )
    run("rationales", "export", "out.jsonl", "--model", "two")
    (record,) = load_recorded(tmp_path / "out.jsonl", RecordKeys())
    assert (record.completion, record.reply) == ("We add.", " 7.")


def test_the_cache_that_recipes_name_through_the_environment(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KPODX__RATIONALES__CACHE", str(tmp_path / "none.sqlite"))
    with pytest.raises(DataError, match=r"No answers are kept in .*none\.sqlite"):
        run("rationales", "ls")
    assert document("rationales", "ls", "--cache", str(cache), "--json")


def test_a_dry_run_tells_what_the_teacher_would_cost(cache: Path, tmp_path: Path) -> None:
    settings = [
        "rationales.teacher=openai",
        "rationales.openai.model=m",
        "rationales.cost.input_usd_per_million=10",
        "rationales.cost.output_usd_per_million=30",
        "rationales.prompt.answer_extraction=never",
        "dataset.embedded.train=50",
        "--dry-run",
    ]
    teacher = document("distill", "quickstart", *settings, "--json")["teacher"]
    assert (teacher["requests"], teacher["max_requests"], teacher["cached"]) == (50, 50, 0)
    assert 0 < teacher["usd"] < teacher["max_usd"]
    assert teacher["usd"] == pytest.approx(50 * 200 * 30e-6, rel=0.2), "mostly 200 tokens a completion"
    text = run("distill", "quickstart", *settings)
    assert "US dollars" in text
    assert not (tmp_path / "runs").exists()
    assert document("distill", "quickstart", "--dry-run", "--json")["teacher"] is None
    always = document("distill", "quickstart", *settings, "rationales.prompt.answer_extraction=always", "--json")[
        "teacher"
    ]
    assert (always["requests"], always["max_requests"]) == (100, 100)
    assert "no estimate in US dollars" in run_stderr("distill", "quickstart", *settings[:2], "--dry-run")


def test_a_dry_run_counts_second_questions_to_cached_rationales(cache: Path) -> None:
    recipe = load_recipe("quickstart", ["dataset.embedded.train=3"]).recipe
    questions = [q for q in build_questions(recipe.dataset)[0] if q.split is Split.TRAIN]
    requests = rationale_requests(questions, Template(PromptConfig()), SamplingConfig(), "m", {})
    with AnswerCache(cache) as opened:
        opened.put(Completion(request, "We add, which makes seven.") for request in requests)
    settings = ["dataset.embedded.train=3", "rationales.teacher=openai", "rationales.openai.model=m"]
    teacher = document("distill", "quickstart", *settings, "--dry-run", "--json")["teacher"]
    assert (teacher["requests"], teacher["max_requests"], teacher["cached"]) == (3, 3, 3)
