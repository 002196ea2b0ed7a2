"""The phase as a whole: each teacher, the report, real records, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kpodx.artifacts import load_rationales, read_json, read_jsonl, save_questions
from kpodx.config import build_config, path_settings
from kpodx.errors import ConfigError, DataError
from kpodx.rationales.config import RationalesConfig
from kpodx.rationales.phase import request_keys, run
from kpodx.runtime import PhaseContext
from kpodx.schema import AnswerKind, Question, Split
from kpodx.text.answers import canonical_answer

QUESTIONS = [
    Question("q1", Split.TRAIN, "How many eggs?", "18", gold_rationales=("9 * 2 = <<9*2=18>>18. Done.",)),
    Question("q2", Split.TRAIN, "How many pens?", "5", gold_rationales=("2 + 3 = 6. The answer is 6.",)),
    Question("q3", Split.TRAIN, "How many cups?", "7"),
    Question("t1", Split.TEST, "How many cats?", "4", gold_rationales=("2 + 2 = 4.",)),
]


def context(folder: Path, questions: list[Question], **settings: Any) -> PhaseContext:
    save_questions(folder / "dataset", questions)
    (folder / "out").mkdir(exist_ok=True)
    recipe = SimpleNamespace(rationales=build_config(RationalesConfig, settings))
    return PhaseContext(recipe, {"dataset": folder / "dataset"}, folder / "out", seed=0)


def records(folder: Path, *rows: dict[str, object]) -> str:
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_gold(tmp_path: Path) -> None:
    report = run(context(tmp_path, QUESTIONS))
    (kept,) = load_rationales(tmp_path / "out")
    assert (kept.question_id, kept.text, kept.answer, kept.teacher) == ("q1", "9 * 2 = 18. Done.", "18", "gold")
    assert [row["reason"] for row in read_jsonl(tmp_path / "out" / "rejected.jsonl")] == ["wrong_answer"]
    assert report == read_json(tmp_path / "out" / "report.json")
    assert report == {
        "completions": 2,
        "kept": 1,
        "rejected": {"wrong_answer": 1},
        "torn": {},
        "announcements_removed": 0,
        "answer_agreement": 0.5,
        "answers": {
            "announced": {"read": 1, "right": 0},
            "stated": {"read": 0, "right": 0},
            "guessed": {"read": 0, "right": 0},
        },
        "train_questions": 3,
        "train_questions_without_rationale": 2,
        "characters": {"min": 17, "mean": 17.0, "median": 17, "max": 17},
        "steps": {"min": 2, "mean": 2.0, "median": 2, "max": 2},
    }


def test_embedded_rationales_are_checked_even_without_an_answer_sentence(tmp_path: Path) -> None:
    right = Question("q1", Split.TRAIN, "a", "5", gold_rationales=("2 + 3 = 5. The answer is 5.",))
    wrong = Question("q2", Split.TRAIN, "b", "5", gold_rationales=("2 + 3 = 6.",))
    report = run(context(tmp_path, [right, wrong], teacher="embedded"))
    assert [(r.question_id, r.text) for r in load_rationales(tmp_path / "out")] == [("q1", "2 + 3 = 5.")]
    assert report["rejected"] == {"wrong_answer": 1}


def batch_line(custom_id: str, text: str | None) -> dict[str, object]:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    return {"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}


def test_records_in_formats_of_others_are_kept_or_counted(tmp_path: Path) -> None:
    openai = {"model": "m"}
    config = build_config(RationalesConfig, {"teacher": "openai", "openai": openai})
    key = next(key for key, question_id in request_keys(config, QUESTIONS).items() if question_id == "q3")
    asked = "Q: How many pens?\nA: Let's think step by step."
    said = {"role": "assistant", "content": "2 + 3 = 5. The answer is 5."}
    path = records(
        tmp_path,
        batch_line("q1", "9 + 9 = 18. The answer is 18."),
        batch_line("q1/1", None),
        {"messages": [{"role": "user", "content": asked}, said]},
        batch_line(key, "3 + 4 = 7. The answer is 7."),
        {"custom_id": "q2", "response": None, "error": {"code": "batch_expired"}},
        {"conversations": [{"from": "human", "value": "How many dogs?"}, {"from": "gpt", "value": "4."}]},
    )
    report = run(context(tmp_path, QUESTIONS, teacher="recorded", files=path, openai=openai))
    assert [rationale.question_id for rationale in load_rationales(tmp_path / "out")] == ["q1", "q2", "q3"]
    assert report["rejected"] == {"no_text": 2, "no_question": 1}


def test_recorded(tmp_path: Path) -> None:
    path = records(
        tmp_path,
        {
            "id": "q1",
            "completion": [
                "9 + 9 = 18. The answer is 18.",
                "9 + 9 = 18. The answer is 18.",
                "7 + 1 = 8. The answer is 1.",
            ],
        },
        {"question": "how many  PENS?", "completion": "2 + 3 = 5. So the answer is 5.\n\nQ: More?"},
        {"question": "How many cats?", "completion": "2 + 2 = 4. The answer is 4."},
        {"id": "zzz", "completion": "The answer is 4."},
    )
    report = run(context(tmp_path, QUESTIONS, teacher="recorded", files=path, teacher_name="gpt-3.5"))
    kept = load_rationales(tmp_path / "out")
    assert [(r.question_id, r.text, r.teacher) for r in kept] == [
        ("q1", "9 + 9 = 18.", "gpt-3.5"),
        ("q2", "2 + 3 = 5.", "gpt-3.5"),
    ]
    assert report["rejected"] == {"duplicate": 1, "wrong_answer": 1, "not_train": 1, "no_question": 1}
    assert report["answer_agreement"] == 0.75
    rejected = read_jsonl(tmp_path / "out" / "rejected.jsonl")
    assert rejected[-1] == {
        "question_id": "zzz",
        "reason": "no_question",
        "excerpt": "The answer is 4.",
        "answer": None,
        "detail": "",
    }


def test_without_filter_wrong_rationales_stay(tmp_path: Path) -> None:
    run(context(tmp_path, QUESTIONS, filter="none"))
    assert [(r.question_id, r.answer) for r in load_rationales(tmp_path / "out")] == [("q1", "18"), ("q2", "6")]


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    run(context(tmp_path, QUESTIONS))
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    run(context(tmp_path, QUESTIONS))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_no_train_question(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="None of the 1 questions is in the train split") as caught:
        run(context(tmp_path, QUESTIONS[3:]))
    assert caught.value.hint


def test_no_gold_rationales_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No rationale found for 1 train questions") as caught:
        run(context(tmp_path, QUESTIONS[2:3]))
    assert "rationales.teacher=recorded" in str(caught.value.hint)


def test_nothing_kept_leaves_the_rejections_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"None of 1 completions was kept .*1 wrong_answer") as caught:
        run(context(tmp_path, QUESTIONS[1:3]))
    assert "rejected.jsonl" in str(caught.value.hint)
    assert (tmp_path / "out" / "rejected.jsonl").is_file()
    assert not (tmp_path / "out" / "rationales.jsonl").exists()


def test_records_of_other_questions(tmp_path: Path) -> None:
    path = records(tmp_path, {"id": "zzz", "completion": "It is 4."})
    with pytest.raises(DataError, match="1 no_question") as caught:
        run(context(tmp_path, QUESTIONS, teacher="recorded", files=[path]))
    assert "rationales.id_key" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": "recorded"}, "needs rationales.files"),
        ({"teacher": "gold", "files": ["a.jsonl"]}, "only read by teacher 'recorded'"),
        ({"teacher": "gpt"}, "teacher"),
        ({"filter": "some"}, "filter"),
        ({"max_per_question": 0}, "max_per_question"),
        ({"min_characters": 0}, "min_characters"),
        ({"min_characters": 5, "max_characters": 4}, "max_characters 4 is below min_characters 5"),
        ({"teachers": "gold"}, "did you mean 'teacher'"),
    ],
)
def test_wrong_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_config(RationalesConfig, settings)


def test_the_files_are_named_for_the_fingerprint() -> None:
    config = build_config(RationalesConfig, {"teacher": "recorded", "files": "a.jsonl"})
    assert list(path_settings(config, "rationales.")) == [("rationales.files", "a.jsonl")]


def test_real_commonsense_records(tmp_path: Path, shared_data: Path) -> None:
    """PaLM's completions of the first 500 questions: three quarters are right, as the record says of all of them."""
    path = shared_data / "teacher_records" / "commonsenseqa_train.palm540b.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:500]]
    questions = [
        Question(
            row["id"],
            Split.TRAIN,
            row["question"],
            str(canonical_answer(row["answer"], AnswerKind.CHOICE, row["choices"])),
            AnswerKind.CHOICE,
            tuple(row["choices"]),
        )
        for row in rows
    ]
    report = run(context(tmp_path, questions, teacher="recorded", files=str(path), max_characters=1500))
    kept = load_rationales(tmp_path / "out")
    assert report["rejected"]["no_question"] == 9741 - 500  # type: ignore[index]
    assert 0.70 < float(str(report["answer_agreement"])) < 0.80
    assert all("answer is (" not in rationale.text.rpartition(".")[0][-20:] for rationale in kept)
    assert all("\nQ:" not in rationale.text for rationale in kept)


def test_real_svamp_records_match_by_text(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "teacher_records" / "svamp_train.palm540b.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    questions = [
        Question(
            f"svamp-{number}",
            Split.TRAIN,
            row["question"],
            str(canonical_answer(str(row["answer"]), AnswerKind.NUMBER)),
        )
        for number, row in enumerate(rows)
    ]
    report = run(context(tmp_path, questions, teacher="recorded", files=str(path)))
    assert report["answer_agreement"] == pytest.approx(597 / 800, abs=0.01)
    assert "no_question" not in report["rejected"]  # type: ignore[operator]


def test_a_lone_surrogate_rejects_its_completion_with_file_and_line(tmp_path: Path) -> None:
    path = records(
        tmp_path,
        {"id": "q1", "completion": "9 + 9 = 18. The answer is 18."},
        {"id": "q2", "completion": ["2 + 3 = 5 \ud83d. The answer is 5.", "2 + 3 = 5. The answer is 5."]},
        {"id": "lost \udc00", "completion": "x"},
    )
    report = run(context(tmp_path, QUESTIONS, teacher="recorded", files=path))
    assert report["rejected"] == {"broken_text": 1, "no_question": 1}
    assert [rationale.text for rationale in load_rationales(tmp_path / "out")] == ["9 + 9 = 18.", "2 + 3 = 5."]
    broken = read_jsonl(tmp_path / "out" / "rejected.jsonl")[0]
    assert broken["detail"] == "records.jsonl, line 2: character 11 is the lone surrogate U+D83D"


def test_the_report_counts_announcements_and_torn_texts(tmp_path: Path) -> None:
    path = records(
        tmp_path,
        {"id": "q1", "completion": "The answer is 18. 9 + 9 = 18. So the answer is 18."},
        {"id": "q2", "completion": "The answer is 5. 2 + 3 = 5. Therefore, he"},
    )
    report = run(context(tmp_path, QUESTIONS, teacher="recorded", files=path))
    assert report["rejected"] == {"torn": 1}
    assert report["torn"] == {"sentence": 1}
    assert report["announcements_removed"] == 2
