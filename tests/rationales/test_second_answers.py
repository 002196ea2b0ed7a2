"""Answers that are asked for alone: read from the reply, kept apart from the rationale, and read alike from a recorded file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from teacher_server import TeacherServer, serving

from kpodx.artifacts import load_rationales, read_json, read_jsonl, save_questions, write_jsonl
from kpodx.config import build_config
from kpodx.errors import DataError
from kpodx.rationales.asking import export_completions
from kpodx.rationales.cache import AnswerCache
from kpodx.rationales.config import RationalesConfig
from kpodx.rationales.filtering import Candidate, Limits, sift
from kpodx.rationales.phase import run
from kpodx.rationales.recorded import RecordedCompletion, RecordKeys, load_recorded
from kpodx.runtime import PhaseContext
from kpodx.schema import AnswerKind, Question, Split

EGGS = Question("q1", Split.TRAIN, "How many eggs are left after 7 days?", "18")
PLACE = Question("c1", Split.TRAIN, "Where?", "B", AnswerKind.CHOICE, ("sea", "zoo"))
FLOATS = Question("y1", Split.TRAIN, "Does it float?", "yes", AnswerKind.YES_NO)


@pytest.mark.parametrize(
    ("question", "reply", "reason"),
    [
        (EGGS, " 18.", None),
        (EGGS, "$18", None),
        (EGGS, "Therefore, the answer (arabic numerals) is 18.", None),
        (EGGS, "The answer is \\boxed{18}.", None),
        (EGGS, "18\n\nQ: How many? A: 3", None),
        (EGGS, "17", "wrong_answer"),
        (EGGS, "It cannot be determined.", "unreadable_answer"),
        (EGGS, "", "unreadable_answer"),
        (PLACE, "(B)", None),
        (PLACE, "The answer is (B) zoo.", None),
        (PLACE, "Therefore, among the answer choices, the answer is B.", None),
        (PLACE, "A or B", "unreadable_answer"),
        (FLOATS, "yes.", None),
        (FLOATS, "(Yes or No) is yes", None),
        (FLOATS, "Therefore, the answer (Yes or No) is no.", "wrong_answer"),
        (FLOATS, "(yes or no)", "unreadable_answer"),
    ],
)
def test_the_reply_alone_gives_the_answer(question: Question, reply: str, reason: str | None) -> None:
    text = "It took 7 days, and 18 of 20 were left in the zoo, yes."
    outcome = sift([Candidate(question, text, reply=reply)], Limits(accept="announced"), "x")
    assert [rejection.reason for rejection in outcome.rejections] == ([] if reason is None else [reason])
    assert [rationale.text for rationale in outcome.rationales] == ([text] if reason is None else [])


def test_a_reply_goes_before_what_the_rationale_announces() -> None:
    candidate = Candidate(EGGS, "9 + 9 = 18. So the answer is 19.", reply="18")
    (rationale,) = sift([candidate], Limits(), "x").rationales
    assert (rationale.text, rationale.answer) == ("9 + 9 = 18.", "18")


def ready(folder: Path, **settings: Any) -> PhaseContext:
    """A phase with three questions and the given settings."""
    questions = [Question(f"q{i}", Split.TRAIN, f"What is {i} plus {i + 1}?", str(2 * i + 1)) for i in range(3)]
    save_questions(folder / "dataset", questions)
    output = folder / "rationales" / "out"
    output.mkdir(parents=True, exist_ok=True)
    recipe = SimpleNamespace(rationales=build_config(RationalesConfig, settings))
    return PhaseContext(recipe, {"dataset": folder / "dataset"}, output, 0, environment={})


def test_a_recorded_file_is_read_as_the_teacher_was(tmp_path: Path) -> None:
    pytest.importorskip("openai")

    def plan(prompt: str, _count: int) -> str:
        if "arabic numerals" not in prompt:
            return "text:We add the two numbers and take 7 as a check."
        return "text:Therefore, the answer (arabic numerals) is " + ("3." if "1 plus 2" in prompt else "unclear.")

    cache = str(tmp_path / "cache.sqlite")
    with serving(server := TeacherServer(plan)):
        table = {"model": "tiny-teacher", "base_urls": server.url}
        asked: dict[str, Any] = run(ready(tmp_path / "asked", teacher="openai", openai=table, cache=cache))
    with AnswerCache(Path(cache)) as opened:
        write_jsonl(tmp_path / "records.jsonl", export_completions(opened, None, None))
    settings = {"teacher": "recorded", "files": str(tmp_path / "records.jsonl"), "teacher_name": "tiny-teacher"}
    replayed: dict[str, Any] = run(ready(tmp_path / "replayed", **settings))

    assert (asked["kept"], asked["rejected"]) == (1, {"unreadable_answer": 2})
    assert asked["answers"]["announced"] == {"read": 1, "right": 1}
    for name in ("kept", "rejected", "answers", "characters", "steps"):
        assert replayed[name] == asked[name], name
    kept = [load_rationales(tmp_path / name / "rationales/out") for name in ("asked", "replayed")]
    assert kept[0] == kept[1]
    assert kept[0][0].text == "We add the two numbers and take 7 as a check."


def test_a_record_with_a_reply(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write_jsonl(path, [{"id": "q1", "completion": "We add.", "answer_completion": "18"}])
    assert load_recorded(path, RecordKeys()) == [RecordedCompletion("We add.", "q1", None, "18")]
    write_jsonl(path, [{"id": "q1", "completion": "We add.", "answer_completion": 18}])
    with pytest.raises(DataError, match=r"line 1: expected 'answer_completion' to hold text, got int"):
        load_recorded(path, RecordKeys())


ANNOUNCED = "9 * 2 = 18. The answer is 18."
STATED = "She has 20 eggs. So she has 20 - 2 = 18 eggs."
GUESSED = "She has 9 on 2 of the days, and then it is 18"


def test_only_announced_answers_are_accepted_if_asked_for() -> None:
    candidates = [Candidate(EGGS, text) for text in (ANNOUNCED, STATED, GUESSED)]
    assert not sift(candidates, Limits(), "x").rejections
    outcome = sift(candidates, Limits(accept="announced"), "x")
    assert [rejection.reason for rejection in outcome.rejections] == ["unannounced_answer"] * 2
    assert [rejection.answer for rejection in outcome.rejections] == ["18", "18"]
    assert [rationale.text for rationale in outcome.rationales] == ["9 * 2 = 18."]


def test_a_wrong_answer_is_wrong_before_it_is_unannounced() -> None:
    outcome = sift([Candidate(EGGS, "So she has 20 - 3 = 17 eggs.")], Limits(accept="announced"), "x")
    assert [rejection.reason for rejection in outcome.rejections] == ["wrong_answer"]


def test_human_reasoning_without_an_answer_is_accepted() -> None:
    candidate = Candidate(EGGS, "She sells 2 of 20.", is_trusted=True)
    assert len(sift([candidate], Limits(accept="announced"), "gold").rationales) == 1


def test_answers_that_are_not_accepted_have_no_vote() -> None:
    candidates = [
        Candidate(EGGS, text)
        for text in ("9 + 8 = 17. The answer is 17.", "It is 8 + 9. The answer is 17.", STATED, STATED, GUESSED)
    ]
    any_answer = sift(candidates, Limits("agreement", min_agreement=0.4), "x")
    assert {rationale.answer for rationale in any_answer.rationales} == {"18"}
    announced = sift(candidates, Limits("agreement", min_agreement=0.4, accept="announced"), "x")
    assert {rationale.answer for rationale in announced.rationales} == {"17"}


def test_the_report_counts_answers_by_source(tmp_path: Path) -> None:
    texts = [
        "0 + 1 = 1. The answer is 1.",
        "1 + 2 = 3, so we have 3 of them. So there are 3 in all.",
        "It is 9 of 2 then 5 then",
    ]
    write_jsonl(tmp_path / "r.jsonl", [{"id": f"q{i}", "completion": text} for i, text in enumerate(texts)])
    settings = {"teacher": "recorded", "files": str(tmp_path / "r.jsonl"), "accept": "announced"}
    report: dict[str, Any] = run(ready(tmp_path, **settings))
    assert report["answers"] == {
        "announced": {"read": 1, "right": 1},
        "stated": {"read": 1, "right": 1},
        "guessed": {"read": 1, "right": 1},
    }
    assert report["rejected"] == {"unannounced_answer": 2}
    assert read_json(tmp_path / "rationales/out/report.json")["answers"] == report["answers"]
    assert [row["reason"] for row in read_jsonl(tmp_path / "rationales/out/rejected.jsonl")] == [
        "unannounced_answer"
    ] * 2
