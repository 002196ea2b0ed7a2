"""Parameters that servers refuse: changed once if that is possible, else named with their setting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kpodx.rationales.config import OpenAIConfig
from kpodx.rationales.dialect import Dialect
from kpodx.rationales.faults import Fault, read_fault
from kpodx.rationales.hints import parameter_hint
from kpodx.rationales.requests import Message, Request

ASKED = Request(
    "m", (Message("user", "?"),), {"temperature": 0.0, "max_tokens": 9, "top_p": 0.5, "stop": ["x"], "seed": 1}
)


def fault(message: str, status: int = 400, **fields: object) -> Fault:
    return read_fault(status, json.dumps({"error": {"message": message, **fields}}).encode())


MISTRAL = {
    "detail": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}]
}
VLLM = (
    "[{'type': 'extra_forbidden', 'loc': ('body', 'max_tokens'), 'msg': 'Extra inputs are not permitted', 'input': 9}]"
)

RENAMED: list[Fault] = [
    fault(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        type="invalid_request_error",
        param="max_tokens",
        code="unsupported_parameter",
    ),
    fault("This model takes no 'max_tokens'; send 'max_completion_tokens'.", param="max_tokens"),
    fault("max_tokens is not supported, use max_completion_tokens"),
    fault('Invalid JSON payload received. Unknown name "max_tokens": Cannot find field.'),
    read_fault(422, json.dumps(MISTRAL).encode()),
    read_fault(422, json.dumps({"object": "error", "message": MISTRAL, "type": "invalid_request_error"}).encode()),
    read_fault(422, json.dumps({"object": "error", "message": json.dumps(MISTRAL)}).encode()),
    read_fault(400, json.dumps({"object": "error", "message": VLLM, "code": 400}).encode()),
    fault("litellm.UnsupportedParamsError: m does not support parameters: ['max_tokens']", status=500),
    fault("Unrecognized request argument supplied: max_tokens"),
]


@pytest.mark.parametrize("refusal", RENAMED, ids=lambda refusal: refusal.words[:40])
def test_the_limit_is_renamed_once(refusal: Fault) -> None:
    dialect = Dialect(OpenAIConfig(model="m"))
    sent = dialect.body(ASKED)
    assert dialect.adapt(refusal, sent)
    assert dialect.body(ASKED) == {**{k: v for k, v in sent.items() if k != "max_tokens"}, "max_completion_tokens": 9}
    assert dialect.adapted(ASKED) == "max_completion_tokens instead of max_tokens"
    assert dialect.adapt(refusal, sent), "one that was under way is sent again"
    other = fault(
        "Unknown parameter: 'max_completion_tokens'.", param="max_completion_tokens", code="unknown_parameter"
    )
    assert not dialect.adapt(other, dialect.body(ASKED)), "there is no third name"
    assert dialect.version == 1


def test_the_other_name_becomes_the_first() -> None:
    dialect = Dialect(OpenAIConfig(model="m", max_tokens_parameter="max_completion_tokens"))
    refusal = fault("Extra inputs are not permitted: max_completion_tokens", status=422)
    assert dialect.adapt(refusal, dialect.body(ASKED))
    assert dialect.body(ASKED)["max_tokens"] == 9
    assert dialect.adapted(ASKED) == "max_tokens instead of max_completion_tokens"


ONE = [
    "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is supported.",
    "invalid temperature: only 1 is allowed for this model",
    "`temperature` may only be set to 1 when thinking is enabled.",
    "temperature must be 1 for this model",
    "litellm.UnsupportedParamsError: gpt-5 models don't support temperature=0.0. Only temperature=1 is supported.",
]
ABSENT = [
    "Unsupported parameter: 'temperature' is not supported with this model.",
    "`temperature` is deprecated for this model.",
    "Unknown field temperature",
    "temperature is not allowed",
    "Unrecognized request argument supplied: temperature",
]


@pytest.mark.parametrize(("words", "value"), [*((words, 1.0) for words in ONE), *((words, None) for words in ABSENT)])
def test_the_temperature_becomes_one_or_is_left_out(words: str, value: float | None) -> None:
    dialect = Dialect(OpenAIConfig(model="m"))
    assert dialect.adapt(fault(words), dialect.body(ASKED))
    assert dialect.body(ASKED).get("temperature") == value
    assert dialect.adapted(ASKED) == f"temperature {'absent' if value is None else value} instead of 0.0"
    again = dialect.adapt(fault(words), dialect.body(ASKED))
    if value is None:
        assert "temperature" not in dialect.body(ASKED)
    else:
        assert again, "a server that does not take 1 either gets none"
        assert "temperature" not in dialect.body(ASKED)


def test_a_request_that_has_what_the_server_wants_is_not_called_adapted() -> None:
    dialect = Dialect(OpenAIConfig(model="m"))
    assert dialect.adapt(fault(ONE[0]), dialect.body(ASKED))
    warm = Request("m", ASKED.messages, {"temperature": 1.0, "max_tokens": 9})
    assert dialect.adapted(warm) == ""
    assert ASKED.key == Request("m", ASKED.messages, ASKED.parameters).key, "what was paid for stays found"


NAMED: list[tuple[str, str, str]] = [
    ("Unsupported parameter: 'stop' is not supported with this model.", "stop", "rationales.sampling.stop"),
    ("Unsupported parameter: 'top_p' is not supported with this model.", "top_p", "rationales.sampling.top_p"),
    ("Unknown parameter: 'seed'.", "seed", "rationales.sampling.seed"),
    ('Unknown name "reasoning_effort": Cannot find field.', "", "rationales.openai.extra.reasoning_effort"),
    ("`temperature` must be strictly positive", "", "rationales.sampling.temperature"),
    ("temperature must be between 0 and 1", "", "rationales.sampling.temperature"),
    ("Invalid value for top_p: must be less than 1", "", "rationales.sampling.top_p"),
    (
        "max_tokens is too large: 5000. This model supports at most 4096 completion tokens.",
        "max_tokens",
        "sampling.max_tokens",
    ),
    ("`temperature` and `top_p` cannot both be specified for this model.", "", "rationales.sampling.temperature"),
    (
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "messages[0].role",
        "rationales.prompt, such as its system message",
    ),
]


@pytest.mark.parametrize(("words", "param", "setting"), NAMED, ids=[words[:30] for words, _, _ in NAMED])
def test_other_parameters_are_named_with_their_setting(words: str, param: str, setting: str) -> None:
    dialect = Dialect(OpenAIConfig(model="m"))
    refusal, sent = (
        fault(words, **({"param": param} if param else {})),
        {**dialect.body(ASKED), "reasoning_effort": "low"},
    )
    assert setting in (parameter_hint(refusal, sent) or "")
    assert not dialect.adapt(refusal, sent)


@pytest.mark.parametrize(
    "refusal",
    [
        fault("Invalid 'messages[0].content': bad characters", param="messages[0].content"),
        fault("The server had an error"),
        fault("This is no question that I support", code="odd"),
        fault("The stopwatch is not supported"),
    ],
)
def test_what_concerns_no_parameter(refusal: Fault) -> None:
    dialect = Dialect(OpenAIConfig(model="m"))
    sent: dict[str, Any] = dialect.body(ASKED)
    assert parameter_hint(refusal, sent) is None
    assert not dialect.adapt(refusal, sent)
