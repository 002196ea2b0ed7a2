"""Answers in every dialect: text, thoughts, finish reasons."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.rationales.filtering import is_broken
from kpodx.rationales.replies import Body, parse_reply
from kpodx.rationales.requests import Message, Request, finish_kind, judge_text, thought_alone
from kpodx.rationales.secrets import Secrets
from kpodx.rationales.wire import outcome_of

TEXT, THOUGHT = "2 + 3 = 5. The answer is 5.", "Let me see."


def read(document: object) -> Body:
    return parse_reply(json.dumps(document).encode(), "application/json").body


def chat(message: object, **choice: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}


CONTENTS: dict[str, object] = {
    "a text": TEXT,
    "one part": [{"type": "text", "text": TEXT}],
    "several parts": [{"type": "text", "text": "2 + 3 = 5. "}, {"type": "text", "text": "The answer is 5."}],
    "parts without a type": [{"text": TEXT}],
    "plain parts": ["2 + 3 = 5. ", "The answer is 5."],
    "a part alone": {"type": "text", "text": TEXT},
    "a nested part": {"content": [{"text": {"value": TEXT}}]},
    "parts of Gemini": {"parts": [{"text": TEXT}], "role": "model"},
    "output text": [{"type": "output_text", "text": TEXT, "annotations": []}],
    "an image beside": [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": TEXT}],
    "an empty part beside": [{"type": "text", "text": ""}, None, {"type": "text", "text": TEXT}],
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_parts_are_joined(content: object) -> None:
    body = read(chat({"role": "assistant", "content": content}))
    assert (body.text, body.thought) == (TEXT, "")


@pytest.mark.parametrize(
    "document",
    [
        chat({"content": ""}),
        chat({"content": None}),
        chat({}),
        chat(None),
        chat({"content": []}),
        chat({"content": [{"type": "text", "text": ""}]}),
        chat({"content": {}}),
        chat({"content": True}),
        {"choices": []},
        {"choices": None},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": ""},
        {"id": "x", "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        [{"choices": []}],
    ],
    ids=repr,
)
def test_absent_null_and_empty_are_the_same(document: object) -> None:
    body = read(document)
    assert (body.text, body.thought) == ("", "")
    assert judge_text(body.text, body.finish_reason, body.refusal) == "no_text"


THOUGHTS: dict[str, tuple[dict[str, object], str]] = {
    "reasoning_content": ({"reasoning_content": THOUGHT}, THOUGHT),
    "reasoning": ({"reasoning": THOUGHT}, THOUGHT),
    "the same twice": ({"reasoning": THOUGHT, "reasoning_content": THOUGHT}, THOUGHT),
    "details": ({"reasoning_details": [{"type": "reasoning.text", "text": THOUGHT, "format": "x"}]}, THOUGHT),
    "details beside": (
        {"reasoning": THOUGHT, "reasoning_details": [{"type": "reasoning.text", "text": THOUGHT}]},
        THOUGHT,
    ),
    "a summary": ({"reasoning_details": [{"type": "reasoning.summary", "summary": THOUGHT}]}, THOUGHT),
    "encrypted": ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "AAAA"}]}, ""),
    "an object": ({"reasoning": {"content": THOUGHT}}, THOUGHT),
    "null": ({"reasoning_content": None, "reasoning": ""}, ""),
    "Ollama's": ({"thinking": THOUGHT}, THOUGHT),
    "LiteLLM's": ({"thinking_blocks": [{"type": "thinking", "thinking": THOUGHT, "signature": "s"}]}, THOUGHT),
    "a part": ({"content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": TEXT}]}, THOUGHT),
    "Mistral's part": (
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
                {"type": "text", "text": TEXT},
            ]
        },
        THOUGHT,
    ),
    "a reasoning part": (
        {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]}, {"text": TEXT}]},
        THOUGHT,
    ),
    "Gemini's part": ({"content": {"parts": [{"text": THOUGHT, "thought": True}, {"text": TEXT}]}}, THOUGHT),
    "a hidden part": ({"content": [{"type": "redacted_thinking", "data": "AAAA"}, {"text": TEXT}]}, ""),
}


@pytest.mark.parametrize(("fields", "thought"), THOUGHTS.values(), ids=THOUGHTS.keys())
def test_thoughts_are_read_apart_from_the_text(fields: dict[str, object], thought: str) -> None:
    body = read(chat({"content": TEXT, **fields}))
    assert (body.text, body.thought) == (TEXT, thought)


def test_thoughts_without_a_text_are_a_failure_that_keeps_them() -> None:
    asked = Request("m", (Message("user", "?"),), {"max_tokens": 9})
    for finish, reason in (("length", "length"), ("stop", "no_text"), ("MAX_TOKENS", "length"), (None, "no_text")):
        body = read(chat({"content": None, "reasoning": f"{THOUGHT} sk-secret"}, finish_reason=finish))
        failure: Any = outcome_of(body, asked, Secrets.of(["sk-secret"]), "s", 0.1)
        assert (failure.reason, failure.thought) == (reason, f"{THOUGHT} [hidden]")
        assert failure.finish_reason == (finish or "")
        alone = thought_alone(failure)
        assert (alone is None) == (reason == "length"), "a thought that was cut explains nothing"
        assert alone is None or (alone.text, alone.thought) == ("", failure.thought)


def test_a_completion_keeps_its_thought() -> None:
    asked = Request("m", (Message("user", "?"),), {"max_tokens": 9})
    done: Any = outcome_of(
        read(chat({"content": TEXT, "reasoning": THOUGHT})), asked, Secrets(), "s", 0.1, "x instead of y"
    )
    assert (done.text, done.thought, done.adapted) == (TEXT, THOUGHT, "x instead of y")


SPELLINGS = {
    "finished": [None, "", "stop", "STOP", "Stop", "eos", "EOS_TOKEN", "end_turn", "stop_sequence", "FinishReason.STOP",
                 "FINISH_REASON_STOP", "completed", "done", {"type": "stop"}, "null", "endTurn"],
    "length": ["length", "Length", "LENGTH", "max_tokens", "MAX_TOKENS", "maxTokens", "max_output_tokens", "MAX-TOKENS",
               "max_completion_tokens", "model_length", "FinishReason.MAX_TOKENS", "max_length", "token_limit",
               "model_context_window_exceeded", {"type": "length", "length": 512}, "max_new_tokens"],
    "content_filter": ["content_filter", "content-filter", "contentFilter", "CONTENT_FILTER", "content_filtered", "SAFETY",
                       "safety", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "sensitive",
                       "guardrail_intervened", "IMAGE_SAFETY"],
    "refusal": ["refusal", "Refused", "REFUSAL"],
    "error": ["error", "ERROR", "Error", "abort", "aborted", "cancelled", "failed", "internal_error", "timeout"],
    "other": ["tool_calls", "TOOL_CALLS", "function_call", "tool_use", "toolUse", "MALFORMED_FUNCTION_CALL", "OTHER",
              "LANGUAGE", "pause_turn", 3, ["x"]],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "finish"), [(kind, one) for kind, some in SPELLINGS.items() for one in some])
def test_finish_reasons_in_any_spelling(kind: str, finish: object) -> None:
    assert finish_kind(finish) == kind


OTHER_SHAPES: dict[str, tuple[object, str, str]] = {
    "the completions API": ({"choices": [{"text": TEXT, "finish_reason": "length"}]}, TEXT, "length"),
    "choices as an object": ({"choices": {"0": {"message": {"content": TEXT}, "finish_reason": "stop"}}}, TEXT, "stop"),
    "a choice as an object": ({"choices": {"message": {"content": TEXT}, "finish_reason": "stop"}}, TEXT, "stop"),
    "choices as texts": ({"choices": [TEXT]}, TEXT, ""),
    "an empty choice first": (
        {"choices": [{"message": {"content": ""}}, {"message": {"content": TEXT}, "finish_reason": "stop"}]},
        TEXT,
        "stop",
    ),
    "the same choice twice": ({"choices": [{"message": {"content": TEXT}}] * 2}, TEXT, ""),
    "a message as a text": ({"choices": [{"message": TEXT}]}, TEXT, ""),
    "a list of one document": ([chat({"content": TEXT})], TEXT, "stop"),
    "a document in a text": (json.dumps(chat({"content": TEXT})), TEXT, "stop"),
    "the Responses API": (
        {
            "object": "response",
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "reasoning": {"effort": "low", "summary": "auto"},
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "content": [{"type": "output_text", "text": TEXT}]},
            ],
        },
        TEXT,
        "max_output_tokens",
    ),
    "output_text alone": ({"output_text": TEXT}, TEXT, ""),
    "Anthropic's own": ({"type": "message", "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn"}, TEXT, "end_turn"),
    "Ollama's own": ({"message": {"content": TEXT}, "done_reason": "stop", "done": True}, TEXT, "stop"),
    "Gemini's own": (
        {"candidates": [{"content": {"parts": [{"text": TEXT}]}, "finishReason": "MAX_TOKENS"}]},
        TEXT,
        "MAX_TOKENS",
    ),
    "TGI's own": ([{"generated_text": TEXT}], TEXT, ""),
    "a number": (chat({"content": 5}), "5", "stop"),
}  # fmt: skip


@pytest.mark.parametrize(("document", "text", "finish"), OTHER_SHAPES.values(), ids=OTHER_SHAPES.keys())
def test_other_shapes(document: object, text: str, finish: str) -> None:
    body = read(document)
    assert (body.text, body.finish_reason, body.thought) == (text, finish, "")


DELTAS: list[dict[str, object]] = [
    {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"delta": {"reasoning_content": "Let me "}}]},
    {"choices": [{"delta": {"reasoning_content": "see."}}]},
    {"choices": [{"delta": {"content": "2 + 3 = 5. "}}]},
    {"choices": [{"delta": {"content": "The answer is 5."}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}},
]


def lines(prefix: str, end: str = "") -> bytes:
    return "".join(f"{prefix}{json.dumps(delta)}\n\n" for delta in DELTAS).encode() + end.encode()


STREAMS = {
    "events": lines("data: ", "data: [DONE]\n\n"),
    "events without a space": lines("data:"),
    "comments first": b": OPENROUTER PROCESSING\n\n" * 3 + lines("data: "),
    "named events": b"event: chunk\n" + lines("data: "),
    "lines": lines(""),
}


@pytest.mark.parametrize("content", STREAMS.values(), ids=STREAMS.keys())
def test_streams_although_none_was_asked_for(content: bytes) -> None:
    body = parse_reply(content, "text/event-stream").body
    assert (body.text, body.thought, body.finish_reason) == (TEXT, THOUGHT, "stop")
    assert body.usage is not None
    assert body.usage.completion_tokens == 9


PREFIXES = {"a BOM": b"\xef\xbb\xbf", "blanks": b" \n" * 5_000, "comments": b": OPENROUTER PROCESSING\n\n"}


@pytest.mark.parametrize("before", PREFIXES.values(), ids=PREFIXES.keys())
def test_what_may_come_before_the_json(before: bytes) -> None:
    assert parse_reply(before + json.dumps(chat({"content": TEXT})).encode(), "application/json").body.text == TEXT


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_other_encodings_of_json(encoding: str) -> None:
    content = json.dumps(chat({"content": "5 €"}), ensure_ascii=False).encode(encoding)
    assert parse_reply(content, "application/json").body.text == "5 €"


def test_an_error_in_a_stream_is_found() -> None:
    content = (
        lines("data: ")
        + b'data: {"error": {"code": 502, "message": "Provider disconnected"}, "choices": [{"delta": '
        + (b'{"content": ""}, "finish_reason": "error"}]}\n\n')
    )
    reply = parse_reply(content, "text/event-stream")
    assert reply.fault is not None
    assert (reply.fault.status, reply.body.text) == (502, TEXT), "what was written before is kept"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the answer is empty"),
        (b" \n ", "the answer is empty"),
        (b"<html><body>Welcome</body></html>", r"the answer is no JSON \(text/html\): '<html>"),
        (b'{"choices": [{"message"', "the answer is no JSON"),
        (b'{"choices": "\xff\xfe"}', "the answer is no UTF-8 text"),
        (b"\x1f\x8b\x08\x00garbage", "the answer is no"),
        (b"[" * 200_000, "the answer is no JSON"),
        (b"9" * 10_000, "the answer is no JSON"),
        (b"null", "the answer holds no completion"),
        (b"[]", "the answer holds no completion"),
        (b'{"hello": "world"}', "the answer holds no completion"),
        (b"3", "the answer holds no completion"),
        (b'{"hello": ' + b"[" * 400 + b"]" * 400 + b"}", "the answer holds no completion"),
    ],
)
def test_what_is_not_an_answer(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_reply(content, "text/html")


def test_errors_nested_without_end_are_errors() -> None:
    for depth in (3, 100, 400):
        reply = parse_reply(b'{"error": ' + b'{"error":' * depth + b'"odd"' + b"}" * depth + b"}", "")
        assert reply.fault is not None


def test_plain_words_that_ask_to_wait() -> None:
    reply = parse_reply(b"Too many requests, try again in 2 seconds", "text/plain")
    assert reply.fault is not None


def test_a_text_with_an_error_beside_it_is_a_text() -> None:
    reply = parse_reply(json.dumps({**chat({"content": TEXT}), "error": {"message": "odd"}}).encode(), "")
    assert (reply.body.text, reply.fault) == (TEXT, None)


def test_lone_surrogates_become_the_sign_of_a_lost_character() -> None:
    body = read(chat({"content": "5 \ud800", "reasoning": "\udfff"}))
    assert (body.text, body.thought) == ("5 \ufffd", "\ufffd")
    assert is_broken(body.text)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "message", "content", "text", "type", "usage", "finish_reason", "delta", "reasoning", "output", "error",
             "prompt_tokens", "completion_tokens", "refusal", "thinking", "promptFeedback", "incomplete_details"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=25,
)  # fmt: skip


@given(ANY)
@settings(max_examples=400, deadline=None)
def test_any_document_is_read_or_refused(document: object) -> None:
    try:
        reply = parse_reply(json.dumps(document).encode(), "application/json")
    except ValueError:
        return
    judge_text(reply.body.text, reply.body.finish_reason, reply.body.refusal)
    reply.body.text.encode()
    reply.body.thought.encode()


def test_large_answers_are_read_in_linear_time() -> None:
    begun = time.monotonic()
    parts = [{"type": "text", "text": "x" * 10}] * 20_000
    assert len(read(chat({"content": parts})).text) == 200_000
    deltas = [f"data: {json.dumps(DELTAS[3])}\n\n" for _ in range(4_000)]
    assert len(parse_reply("".join(deltas).encode(), "text/event-stream").body.text) == 11 * 4_000
    assert time.monotonic() - begun < 10
