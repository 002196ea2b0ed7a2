"""One request to a teacher, its name for ever, and what came of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

FailureReason = Literal[
    "length", "content_filter", "refusal", "no_text", "broken_off", "prompt_too_long", "answer_too_large"
]

_REFUSAL = re.compile(
    r"\s*(?:(?:I'?m|I am) (?:(?:very|so|really) )?sorry,? (?:but )?|Sorry,? (?:but )?|As an AI[^.,]{0,60}, |Unfortunately,? )?"
    r"I(?: can(?:no|')t|'?m (?:not able|unable) to| am (?:not able|unable) to| won't| will not) "
    r"(?:help(?! but)|assist|answer|provide|comply|fulfil|continue|do that|discuss|solve)\b",
    re.IGNORECASE,
)
_LONGEST_REFUSAL = 400
_FINISHED = frozenset({None, "", "stop", "eos", "eos_token", "end_turn", "stop_sequence"})
"""What servers call an end of the model's own."""


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
        text = json.dumps(
            [self.model, [[m.role, m.content] for m in self.messages], self.parameters, self.sample],
            sort_keys=True,
            ensure_ascii=False,
            separators=(",", ":"),
        )
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def max_tokens(self) -> int:
        """Most tokens of the completion."""
        return int(self.parameters["max_tokens"])

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
        thought: what a reasoning model gave in a field of its own; `text` holds thoughts as they were written.
    """

    request: Request
    text: str
    usage: Usage | None = None
    created: str = ""
    server: str = ""
    seconds: float = 0.0
    thought: str = ""


@dataclass(frozen=True)
class Failure:
    """A request that was answered, but not with a usable text; never kept as an answer."""

    request: Request
    reason: FailureReason
    text: str = ""
    usage: Usage | None = field(default=None, compare=False)


def judge_text(text: str, finish_reason: str | None, refusal: str | None) -> FailureReason | None:
    """Why an answer is none, or None where it is one.

    Args:
        text: what the teacher wrote.
        finish_reason: why it stopped, in the words of OpenAI's API.
        refusal: the API's own field for a refusal.

    >>> judge_text("2 + 3 = 5.", "stop", None), judge_text("2 + 3", "length", None)
    (None, 'length')
    """
    if finish_reason in ("length", "max_tokens", "model_length"):
        return "length"
    if finish_reason == "content_filter":
        return "content_filter"
    if refusal:
        return "refusal"
    if finish_reason not in _FINISHED:
        return "broken_off"
    if not text.strip():
        return "no_text"
    is_refusal = len(text) < _LONGEST_REFUSAL and _REFUSAL.match(text.replace("’", "'"))
    return "refusal" if is_refusal else None
