"""Records in the formats of others: batch files of OpenAI, Anthropic and Google, chat messages, ShareGPT conversations.

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
    result = record.get("result")
    if "custom_id" in record and isinstance(result, Mapping):
        message = result.get("message")
        return _of_body(message if isinstance(message, Mapping) else {})
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
    return "response" in record and any(key in record for key in ("custom_id", "key", "error"))


def _of_response(response: Any) -> list[Said]:
    """Return the answers in what a batch's output has under "response": a body, or Google's answer itself."""
    if isinstance(response, Mapping) and "body" not in response:
        return _of_body(response)
    body = response.get("body") if isinstance(response, Mapping) else None
    if not isinstance(body, Mapping) or int_of(response.get("status_code", 200)) != 200:
        return [Said("", failure="no_text")]
    return _of_body(body)


def int_of(value: object) -> int:
    """Return a whole number that may be written as text, 0 for anything else."""
    return int(str(value)) if str(value).isdecimal() else 0


def _of_body(body: Mapping[str, Any]) -> list[Said]:
    """Return the answers in a provider's answer: `choices`, `candidates` (Google), `output` (Responses API) or `content`."""
    several = next((body[key] for key in ("choices", "candidates") if isinstance(body.get(key), list)), None)
    if several is not None:
        return [_of_choice(item) for item in several if isinstance(item, Mapping)] or [Said("", failure="no_text")]
    content = body.get("output") if isinstance(body.get("output"), list) else body.get("content")
    text, thought = read_content({"content": content})
    incomplete = body.get("incomplete_details")
    reason = incomplete.get("reason") if isinstance(incomplete, Mapping) else body.get("stop_reason")
    return [Said(text, thought=thought, failure=_judge(text, thought, _text_or_none(reason)))]


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _of_choice(choice: Mapping[str, Any]) -> Said:
    """Return the answer in one of OpenAI's choices or Google's candidates."""
    message, content = choice.get("message"), choice.get("content")
    source: Mapping[str, Any] = {"content": choice.get("text")}
    if isinstance(message, Mapping):
        source = message
    elif isinstance(content, Mapping):
        source = {"content": content.get("parts")}
    text, thought = read_content(source)
    finish = _text_or_none(choice.get("finish_reason") or choice.get("finishReason"))
    refusal = _text_or_none(source.get("refusal"))
    return Said(text, thought=thought, failure=_judge(text, thought, finish, refusal))


def _judge(text: str, thought: str, finish: str | None = None, refusal: str | None = None) -> FailureReason | None:
    """Return why an answer is not usable; a thought alone may be, which the settings of thoughts decide."""
    failure = judge_text(text, finish.lower() if finish else None, refusal)
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
    thoughts = [thought for key in THOUGHT_KEYS if isinstance(thought := message.get(key), str)][:1]
    texts: list[str] = []
    _collect(message.get("content", message.get("value")), texts, thoughts)
    return "".join(texts), "\n".join(thoughts)


def _collect(part: Any, texts: list[str], thoughts: list[str], depth: int = 0) -> None:
    """Add what a part of a message says to `texts`, or to `thoughts` if it is one; parts may hold parts."""
    if isinstance(part, str):
        texts.append(part)
    elif isinstance(part, list) and depth < _DEEPEST:
        for item in part:
            _collect(item, texts, thoughts, depth + 1)
    elif isinstance(part, Mapping):
        kind = str(part.get("type", "text"))
        is_thought = "think" in kind or "reason" in kind or part.get("thought") is True
        names = (kind, "text", "content", "summary")
        found = next((part[name] for name in names if name in part and name != "type"), None)
        target = thoughts if is_thought else texts
        _collect(found, target, target if is_thought else thoughts, depth + 1)


_DEEPEST = 6
