"""Reading recorded completions: good files, and every bad one with the file, the line and the keys in the message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kpodx.errors import DataError
from kpodx.rationales.recorded import QuestionIndex, RecordedCompletion, RecordKeys, load_recorded, load_recordings
from kpodx.schema import AnswerKind, Question, Split


def write(folder: Path, *lines: object) -> Path:
    path = folder / "records.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_records_with_one_or_several_completions(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"id": 7, "question": "How?", "completion": "a"},
        "",
        {"question": "Why?", "completion": ["b", "c"]},
        {"id": "9", "completion": []},
    )
    assert load_recorded(path, RecordKeys()) == [
        RecordedCompletion("a", "7", "How?"),
        RecordedCompletion("b", None, "Why?"),
        RecordedCompletion("c", None, "Why?"),
    ]


def test_other_keys(tmp_path: Path) -> None:
    path = write(tmp_path, {"qid": "q1", "text": "How?", "output": "a"})
    assert load_recorded(path, RecordKeys("qid", "text", "output")) == [RecordedCompletion("a", "q1", "How?")]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No file .*none\.jsonl") as caught:
        load_recorded(tmp_path / "none.jsonl", RecordKeys())
    assert caught.value.hint == "Check rationales.files."


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_recorded(tmp_path, RecordKeys())


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"records\.jsonl holds no records"):
        load_recorded(write(tmp_path, content), RecordKeys())


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="line 1: expected UTF-8 text, got UTF-16 text") as caught:
        load_recorded(path, RecordKeys())
    assert "iconv" in str(caught.value.hint)


GOOD = {"id": "q1", "completion": "a"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"id": "q2", "compl', r"line 2: expected a JSON object, got '\{\"id\""),
        ("[1, 2]", "line 2: expected a JSON object, got list"),
        ("12", "line 2: expected a JSON object, got int"),
        ("[" * 100_000, "line 2: expected a JSON object"),
        ({"id": "q2", "output": "a"}, "line 2: expected the key 'completion', found 'id', 'output'"),
        ({"completion": "a", "n": 1}, "line 2: expected the key 'id' or 'question', found 'completion', 'n'"),
        ({"id": None, "completion": "a"}, "line 2: expected the key 'id' or 'question'"),
        ({"id": "q2", "completion": 5}, "line 2: expected 'completion' to hold text, got int"),
        ({"id": "q2", "completion": ["a", {}]}, "line 2: expected 'completion' to hold text, got dict"),
        ({}, "line 2: expected the key 'completion', found none"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, bad: object, message: str) -> None:
    with pytest.raises(DataError, match=r"records\.jsonl, " + message) as caught:
        load_recorded(write(tmp_path, GOOD, bad), RecordKeys())
    assert caught.value.hint


class TestQuestionIndex:
    FIRST = Question("q1", Split.TRAIN, "How many Eggs?", "5")
    SECOND = Question("q2", Split.TRAIN, "How many pens?", "6")
    INDEX = QuestionIndex([FIRST, SECOND])

    def test_by_id(self) -> None:
        assert self.INDEX.find(RecordedCompletion("", "q2", None)) is self.SECOND

    def test_by_text_whatever_the_case_and_spacing(self) -> None:
        assert self.INDEX.find(RecordedCompletion("", None, " how MANY\n eggs?")) is self.FIRST

    def test_an_id_of_another_numbering_yields_to_the_text(self) -> None:
        assert self.INDEX.find(RecordedCompletion("", "q2", "How many eggs?")) is self.FIRST

    def test_an_id_with_a_foreign_text_is_not_believed(self) -> None:
        assert self.INDEX.find(RecordedCompletion("", "q2", "How many cats?")) is None

    def test_nothing_known(self) -> None:
        assert self.INDEX.find(RecordedCompletion("", "q9", None)) is None


def test_records_may_come_from_any_editor(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    lines = [
        json.dumps({"id": "q1", "completion": "a\u2028b\x0cc"}, ensure_ascii=False),
        '{"id": "q2", "completion": "d"}',
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    found = load_recorded(path, RecordKeys())
    assert [(item.completion, item.line) for item in found] == [("a\u2028b\x0cc", 1), ("d", 2)]


def test_null_is_an_empty_completion(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "q1", "completion": None}, {"id": "q2", "completion": ["a", None]})
    assert [item.completion for item in load_recorded(path, RecordKeys())] == ["", "a", ""]


def test_thoughts_in_fields_of_their_own_are_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"id": "q1", "completion": "a", "reasoning_content": "t"},
        {"id": "q2", "completion": ["a", "b"], "reasoning": ["t", "u"]},
        {"id": "q3", "completion": "a", "reasoning": 7},
    )
    assert [item.thought for item in load_recorded(path, RecordKeys())] == ["t", "t", "u", ""]


def test_the_reply_to_the_second_question_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "q1", "completion": "a", "answer_completion": "18"})
    assert load_recorded(path, RecordKeys()) == [RecordedCompletion("a", "q1", None, "18")]
    with pytest.raises(DataError, match="line 1: expected 'answer_completion' to hold text, got int"):
        load_recorded(write(tmp_path, {"id": "q1", "completion": "a", "answer_completion": 18}), RecordKeys())


def batch(custom_id: str, *choices: object, **response: object) -> dict[str, object]:
    body = {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": list(choices)}
    return {
        "id": "batch_req_1",
        "custom_id": custom_id,
        "response": {"status_code": 200, "request_id": "r", "body": body, **response},
        "error": None,
    }


def choice(content: object, finish: str = "stop", **message: object) -> dict[str, object]:
    return {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}


def anthropic(*parts: object, stop: str = "end_turn") -> dict[str, object]:
    message = {"role": "assistant", "content": list(parts), "stop_reason": stop}
    return {"custom_id": "q1", "result": {"type": "succeeded", "message": message}}


def google(*parts: object, finish: str = "STOP") -> dict[str, object]:
    candidate = {"content": {"parts": list(parts), "role": "model"}, "finishReason": finish}
    return {"key": "q1", "response": {"candidates": [candidate]}}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (batch("q1", choice("a")), [("a", None, "")]),
        (batch("q1", choice("a"), choice("b")), [("a", None, ""), ("b", None, "")]),
        (batch("q1", choice("a", reasoning_content="t")), [("a", None, "t")]),
        (batch("q1", choice([{"type": "reasoning", "text": "t"}, {"type": "text", "text": "a"}])), [("a", None, "t")]),
        (batch("q1", choice("2 + ", "length")), [("2 + ", "length", "")]),
        (batch("q1", choice("", "content_filter")), [("", "content_filter", "")]),
        (batch("q1", choice(None, refusal="No.")), [("", "refusal", "")]),
        (batch("q1", choice(None)), [("", "no_text", "")]),
        (batch("q1", choice(None, reasoning="t")), [("", None, "t")]),
        (batch("q1"), [("", "no_text", "")]),
        (batch("q1", choice("a"), status_code=500), [("", "no_text", "")]),
        ({"custom_id": "q1", "response": None, "error": {"code": "batch_expired"}}, [("", "no_text", "")]),
        ({"custom_id": "q1", "response": {"body": "gateway"}}, [("", "no_text", "")]),
        ({"id": "q1", "choices": [{"text": "a", "finish_reason": "stop"}]}, [("a", None, "")]),
        (anthropic({"type": "thinking", "thinking": "t"}, {"type": "text", "text": "a"}), [("a", None, "t")]),
        (anthropic({"type": "text", "text": "2 +"}, stop="max_tokens"), [("2 +", "length", "")]),
        ({"custom_id": "q1", "result": {"type": "errored", "error": {"type": "x"}}}, [("", "no_text", "")]),
        (google({"text": "t", "thought": True}, {"text": "a"}), [("a", None, "t")]),
        (google({"text": "2 +"}, finish="MAX_TOKENS"), [("2 +", "length", "")]),
        ({"key": "q1", "error": {"code": 429}, "response": None}, [("", "no_text", "")]),
        (
            batch(
                "q1",
                body={
                    "output": [
                        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]},
                        {"type": "message", "content": [{"type": "output_text", "text": "a"}]},
                    ]
                },
            ),
            [("a", None, "t")],
        ),
    ],
)
def test_batch_output_is_read_and_failures_are_counted(
    tmp_path: Path, record: object, expected: list[tuple[str, str | None, str]]
) -> None:
    found = load_recorded(write(tmp_path, record), RecordKeys())
    assert [(item.completion, item.failure, item.thought) for item in found] == expected
    assert {item.question_id for item in found} == {"q1"}


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "a"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}, {"role": "assistant", "content": ["a"]}]},
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "a"}]},
        {"conversation": [{"role": "User", "content": "Why?"}, {"role": "model", "content": "a"}]},
        {"messages": [
            {"role": "user", "content": "How?"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "a"},
        ]},
    ],
)  # fmt: skip
def test_conversations_are_read(tmp_path: Path, record: object) -> None:
    (found,) = load_recorded(write(tmp_path, record), RecordKeys())
    assert (found.completion, found.asked, found.failure, found.question_id) == ("a", "Why?", None, None)


def test_a_conversation_without_an_answer_is_a_failure(tmp_path: Path) -> None:
    (found,) = load_recorded(write(tmp_path, {"messages": [{"role": "user", "content": "Why?"}, 7]}), RecordKeys())
    assert (found.completion, found.asked, found.failure) == ("", "Why?", "no_text")


def test_a_batchs_input_says_what_its_output_answers(tmp_path: Path) -> None:
    requests, output = tmp_path / "input.jsonl", tmp_path / "output.jsonl"
    body = {"model": "m", "messages": [{"role": "user", "content": "Q: How many red eggs are there?\nA:"}]}
    requests.write_text(json.dumps({"custom_id": "task-0", "method": "POST", "url": "/v1", "body": body}))
    output.write_text(json.dumps(batch("task-0", choice("a"))))
    recording = load_recordings([output, requests], RecordKeys())
    question = Question("q1", Split.TRAIN, "How many red eggs are there?", "4")
    ((path, record),) = recording.completions
    assert path == output
    assert QuestionIndex([question], recording.asked).find(record) is question


class TestQuestionsInsidePrompts:
    EGGS = Question("eggs", Split.TRAIN, "Ann has 3 eggs. How many eggs does Ann have?", "3")
    SHORT = Question("short", Split.TRAIN, "How many eggs does Ann have?", "3")
    TINY = Question("tiny", Split.TRAIN, "Why?", "3")
    QUOTED = Question("quoted", Split.TRAIN, '"Yes" is said how often?', "3")
    HERE = Question("here", Split.TRAIN, "Where is it, then?", "A", AnswerKind.CHOICE, ("here", "nowhere"))
    THERE = Question("there", Split.TRAIN, "Where is it, then?", "A", AnswerKind.CHOICE, ("there", "nowhere"))
    INDEX = QuestionIndex([EGGS, SHORT, TINY, QUOTED, HERE, THERE], keys={"abc123": "tiny"})

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ("Ann has 3 eggs. How many eggs does Ann have?", "eggs"),
            ("Q: Ann has 3 eggs.  How many eggs\ndoes Ann have?\nA: Let's think step by step.", "eggs"),
            ("Q:Ann has 3 eggs. How many eggs does Ann have?", "eggs"),
            ("Solve it.\n\nHOW MANY eggs does Ann have? Answer choices: (A) 3 (B) 4", "short"),
            ("Q: Ann has 3 eggs. How many eggs does Ann have?\nA: 3\n\nQ: How many eggs does Ann have?\nA:", "short"),
            ("Q: How many eggs does Ann have?\nA: 3\n\nQ: Ann has 3 eggs. How many eggs does Ann have?\nA:", "eggs"),
            ("Tell me.\nQuestion: Why?\n", "tiny"),
            ("Q: How many eggs does Ann have?\nA: 3\n\nQ: Why?\nA:", "tiny"),
            ("Q: Why?\nA: 3\n\nQ: How many eggs does Ann have?\nA:", "short"),
            ("Where is it, then? Answer choices: (A) there (B) nowhere", "there"),
            ("Where is it, then? Answer choices: (A) here (B) nowhere", "here"),
            ("Why? Because.", None),
            ("How many eggs does Ann have?s", None),
            ("How many eggs does Ann", None),
            ('Say: "Yes" is said how often?', "quoted"),
            ("", None),
        ],
    )
    def test_the_last_and_longest_counts(self, asked: str, expected: str | None) -> None:
        found = self.INDEX.find(RecordedCompletion("", None, None, asked=asked))
        assert (found.id if found else None) == expected

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("eggs", "eggs"),
            ("eggs/2", "eggs"),
            ("eggs#0", "eggs"),
            ("eggs-sample-3", "eggs"),
            ("abc123", "tiny"),
            ("eggs2", None),
        ],
    )
    def test_ids_with_a_sample_and_keys_of_requests(self, name: str, expected: str | None) -> None:
        found = self.INDEX.find(RecordedCompletion("", name, None))
        assert (found.id if found else None) == expected
