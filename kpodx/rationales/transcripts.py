"""Records in the formats of others: OpenAI's batch files, chat messages, ShareGPT conversations.

A record says which question it answers by an id, or by the text that the teacher was asked, which holds the question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kpodx.rationales.requests import FailureReason, judge_text

TEACHER_ROLES = frozenset({"assistant", "gpt", "chatgpt", "bot", "model", "ai"})
ASKER_ROLES = frozenset({"user", "human", "prompter"})
THOUGHT_KEYS = ("thought", "reasoning_content", "reasoning")
"""Keys of a record that hold the teacher's thought: kpodx's own, and those of OpenAI-compatible servers."""
CONVERSATIONS = ("messages", "conversations", "conversation")


@dataclass(frozen=True)
class Said:
    """One answer in a record of another format; `asked` is the last text that the teacher was asked, empty if unknown."""

    text: str
    asked: str = ""
    thought: str = ""
    failure: FailureReason | None = None


def read_transcript(record: Mapping[str, Any]) -> list[Said] | None:
    """Return the answers in a record of another format, or None if it has none of these formats.

    An answer without text, a failed request and a conversation without an answer are failures, not errors.
    """
    if _is_batch_output(record):
        return _of_response(record.get("response"))
    if isinstance(record.get("choices"), list):
        return _of_body(record)
    messages = next((record[key] for key in CONVERSATIONS if isinstance(record.get(key), list)), None)
    return None if messages is None else [_of_messages(messages)]


def read_batch_request(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the custom id and the text asked in a line of a batch's input, or None for anything else."""
    body = record.get("body")
    if "custom_id" not in record or "response" in record or not isinstance(body, Mapping):
        return None
    messages, prompt = body.get("messages"), body.get("prompt")
    asked = _of_messages(messages).asked if isinstance(messages, list) else str(prompt or "")
    return str(record["custom_id"]), asked


def _is_batch_output(record: Mapping[str, Any]) -> bool:
    return "response" in record and ("custom_id" in record or "error" in record)


def _of_response(response: Any) -> list[Said]:
    body = response.get("body") if isinstance(response, Mapping) else None
    if not isinstance(body, Mapping) or int_of(response.get("status_code", 200)) != 200:
        return [Said("", failure="no_text")]
    return _of_body(body)


def int_of(value: object) -> int:
    """Return a whole number that may be written as text, 0 for anything else."""
    return int(str(value)) if str(value).isdecimal() else 0


def _of_body(body: Mapping[str, Any]) -> list[Said]:
    choices = body.get("choices")
    given = [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list) else []
    return [_of_choice(choice) for choice in given] or [Said("", failure="no_text")]


def _of_choice(choice: Mapping[str, Any]) -> Said:
    message = choice.get("message")
    source: Mapping[str, Any] = message if isinstance(message, Mapping) else {"content": choice.get("text")}
    text, thought = read_content(source)
    finish, refusal = choice.get("finish_reason"), source.get("refusal")
    judged = _judge(
        text, thought, finish if isinstance(finish, str) else None, refusal if isinstance(refusal, str) else None
    )
    return Said(text, thought=thought, failure=judged)


def _judge(text: str, thought: str, finish: str | None = None, refusal: str | None = None) -> FailureReason | None:
    """Return why an answer is not usable; a thought alone may be, which the settings of thoughts decide."""
    failure = judge_text(text, finish, refusal)
    return None if failure == "no_text" and thought.strip() else failure


def _of_messages(messages: list[Any]) -> Said:
    """Return the last answer of a conversation, and the last question before it."""
    said = Said("", failure="no_text")
    asked = ""
    for message in messages:
        if not isinstance(message, Mapping):
            continue
        role = str(message.get("role") or message.get("from") or "").lower()
        text, thought = read_content(message)
        if role in ASKER_ROLES:
            asked = text
        elif role in TEACHER_ROLES:
            said = Said(text, asked, thought, _judge(text, thought))
    return said if said.asked else Said(said.text, asked, said.thought, said.failure)


def read_content(message: Mapping[str, Any]) -> tuple[str, str]:
    """Return text and thought of a message whose content is a text, a list of parts, or missing.

    >>> read_content({"content": [{"type": "thinking", "thinking": "2+2"}, {"type": "text", "text": "4"}]})
    ('4', '2+2')
    """
    content = message.get("content", message.get("value"))
    parts = content if isinstance(content, list) else [content]
    texts, thoughts = [], [thought for key in THOUGHT_KEYS if isinstance(thought := message.get(key), str)][:1]
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            kind = str(part.get("type", "text"))
            is_thought = "think" in kind or "reason" in kind
            found = part.get(kind) if is_thought and kind in part else part.get("text", part.get("content"))
            (thoughts if is_thought else texts).append(found if isinstance(found, str) else "")
    return "".join(texts), "\n".join(thoughts)
