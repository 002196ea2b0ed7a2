"""One request to a teacher, its name for ever, and what came of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

FailureReason = Literal[
    "length",
    "content_filter",
    "refusal",
    "no_text",
    "broken_off",
    "prompt_too_long",
    "answer_too_large",
    "broken_answer",
    "server_error",
    "refused_request",
]

PAID_REASONS = frozenset({"length", "content_filter", "refusal", "no_text", "broken_off"})
"""Reasons of answers that a model wrote and a provider bills."""

FinishKind = Literal["finished", "length", "content_filter", "refusal", "error", "other"]

_REFUSAL = re.compile(
    r"\s*(?:(?:I'?m|I am) (?:(?:very|so|really) )?sorry,? (?:but )?|Sorry,? (?:but )?|As an AI[^.,]{0,60}, |Unfortunately,? )?"
    r"I(?: can(?:no|')t|'?m (?:not able|unable) to| am (?:not able|unable) to| won't| will not) "
    r"(?:help(?! but)|assist|answer|provide|comply|fulfil|continue|do that|discuss|solve)\b",
    re.IGNORECASE,
)
_LONGEST_REFUSAL = 400
_FINISHED = frozenset(
    {
        "", "none", "null", "stop", "stopped", "stop_sequence", "stop_token", "eos", "eos_token", "end", "ended", "end_turn",
        "complete", "completed", "done", "finish", "finished", "success", "normal", "unspecified",
    }
)  # fmt: skip
"""What servers call an end of the model's own, in the spelling of `normalize_finish`."""

_FINISH_KINDS: tuple[tuple[FinishKind, re.Pattern[str]], ...] = (
    ("length", re.compile(r"length|max_?\w{0,20}tokens?|token_limit|context_(?:window|limit)")),
    (
        "content_filter",
        re.compile(r"filter|safety|recitation|prohibited|block|spii|sensitive|guardrail|moderat|policy"),
    ),
    ("refusal", re.compile(r"refus")),
    ("error", re.compile(r"error|abort|cancel|fail|timeout|interrupt|overload")),
)
_LONGEST_FINISH = 80
_KEY_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
"""Built once: `json.dumps` builds one per call."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Request:
    """One completion to ask for.

    Attributes:
        model: the teacher's model; a local one with its content hash or commit.
        messages: the conversation so far.
        parameters: what else decides the text: temperature, limits, stops; plain values.
        sample: number of the sample, from 0.
        template: name of the prompt's template, for people.
        question_id, question: what it is about, for people; not part of the key.
    """

    model: str
    messages: tuple[Message, ...]
    parameters: Mapping[str, Any]
    sample: int = 0
    template: str = ""
    question_id: str = ""
    question: str = ""

    @cached_property
    def key(self) -> str:
        """sha256 of model, messages, parameters and sample, as 64 hexadecimal digits: equal requests have equal keys."""
        text = _KEY_ENCODER.encode(
            [self.model, [[m.role, m.content] for m in self.messages], self.parameters, self.sample]
        )
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def max_tokens(self) -> int:
        """Most tokens of the completion."""
        return int(self.parameters["max_tokens"])

    @cached_property
    def open_key(self) -> str:
        """The key of this request with any limit of its completion."""
        parameters = {name: value for name, value in self.parameters.items() if name != "max_tokens"}
        return dataclasses.replace(self, parameters=parameters).key

    @cached_property
    def max_prompt_tokens(self) -> int:
        """A bound of the prompt's tokens: no tokenizer makes more tokens than bytes, and a template adds a few."""
        return 64 + sum(16 + len(message.content.encode()) for message in self.messages)


@dataclass(frozen=True)
class Usage:
    """Tokens that were read and written."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Completion:
    """A teacher's text.

    Attributes:
        request: what was asked.
        text: never empty, never cut by a limit.
        usage: tokens, None where the teacher does not tell.
        created: when, ISO 8601 in UTC.
        server: where from: an address without secrets, or a file's name.
        seconds: how long it took.
        adapted: which parameters the server wanted otherwise than the request has them, empty for none.
        thought: what the teacher thought, if the server reports it apart from the text.
    """

    request: Request
    text: str
    usage: Usage | None = None
    created: str = ""
    server: str = ""
    seconds: float = 0.0
    adapted: str = ""
    thought: str = ""


@dataclass(frozen=True)
class Failure:
    """A request that was answered, but not with a usable text; never kept as an answer.

    Attributes:
        request: what was asked.
        reason: why the answer is not usable.
        text: what there is of a text.
        usage: tokens, None if unknown.
        finish_reason: why the model stopped, in the server's own words.
        thought: what the teacher thought, if the server reports it apart from the text.
    """

    request: Request
    reason: FailureReason
    text: str = ""
    usage: Usage | None = field(default=None, compare=False)
    finish_reason: str = ""
    thought: str = ""


def thought_alone(failure: Failure) -> Completion | None:
    """Return a completion without a text if a failure holds a thought that came to its end, None otherwise."""
    if failure.reason != "no_text" or not failure.thought.strip():
        return None
    return Completion(failure.request, "", failure.usage, thought=failure.thought)


def normalize_finish(finish: object) -> str:
    """Return a finish reason in lower case with underscores, whatever its spelling; an empty text for none.

    >>> [normalize_finish(finish) for finish in ("FinishReason.MAX_TOKENS", "contentFilter", {"type": "Stop"}, None)]
    ['max_tokens', 'content_filter', 'stop', '']
    """
    if finish is None:
        return ""
    if isinstance(finish, Mapping):
        finish = finish.get("type") or finish.get("reason")
    text = "" if finish is None else str(finish)[:_LONGEST_FINISH].strip().rpartition(".")[2]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower()
    return re.sub(r"\W+", "_", words).strip("_").removeprefix("finish_reason_")


def finish_kind(finish: object) -> FinishKind:
    """Return what a finish reason means.

    >>> [finish_kind(finish) for finish in ("STOP", "Length", "SAFETY", "tool_calls", "ERROR")]
    ['finished', 'length', 'content_filter', 'other', 'error']
    """
    name = normalize_finish(finish)
    if name in _FINISHED:
        return "finished"
    return next((kind for kind, pattern in _FINISH_KINDS if pattern.search(name)), "other")


def judge_text(text: str, finish_reason: object, refusal: object) -> FailureReason | None:
    """Return why an answer is not usable, or None if it is.

    Args:
        text: what the teacher wrote.
        finish_reason: why it stopped, in the words of any API.
        refusal: the API's own field for a refusal.

    >>> judge_text("2 + 3 = 5.", "stop", None), judge_text("2 + 3", "MAX_TOKENS", None)
    (None, 'length')
    """
    kind = finish_kind(finish_reason)
    if kind == "length" or kind == "content_filter":
        return kind
    if refusal or kind == "refusal":
        return "refusal"
    if kind == "error":
        return "broken_off"
    if not text.strip():
        return "no_text"
    if kind == "other":
        return "broken_off"
    is_refusal = len(text) < _LONGEST_REFUSAL and _REFUSAL.match(text.replace("’", "'"))
    return "refusal" if is_refusal else None
