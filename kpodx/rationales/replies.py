"""Reading what a server answered: text, thoughts, finish reason and usage, in every dialect of the API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpodx.rationales.faults import Fault, find_fault, judge_fault, read_words
from kpodx.rationales.requests import Usage, finish_kind
from kpodx.rationales.secrets import NO_SECRETS, Secrets
from kpodx.rationales.usage import read_usage

_DEEPEST_PART = 6
_THOUGHT_TYPES = ("thinking", "reasoning", "thought", "summary")
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks")
_PART_FIELDS = (
    "text",
    "content",
    "output_text",
    "value",
    "parts",
    "thinking",
    "reasoning",
    "summary",
    "reasoning_content",
)
_FINISH_FIELDS = ("finish_reason", "finishReason", "stop_reason", "done_reason", "stopReason")
_MARKS_OF_A_COMPLETION = ("choices", "usage", "usageMetadata", "candidates", "output")

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Body:
    """What a server's answer holds.

    Attributes:
        text: the raw content, its parts joined; empty if there is none.
        finish_reason: why the model stopped, in the server's words.
        refusal: whatever the field for a refusal holds.
        usage: billed tokens, None if unknown.
        thought: what the server reports as reasoning, apart from the text.
    """

    text: str
    finish_reason: str
    refusal: object
    usage: Usage | None
    thought: str = ""


@dataclass(frozen=True)
class Reply:
    """An answer as it was read: a body, and the error that it reports if it is not an answer."""

    body: Body
    fault: Fault | None = None


@dataclass(frozen=True)
class _Piece:
    """A part of a message: text and thought."""

    text: str = ""
    thought: str = ""

    def __add__(self, other: _Piece) -> _Piece:
        return _Piece(self.text + other.text, self.thought + other.thought)


def parse_reply(content: bytes, content_type: str, secrets: Secrets = NO_SECRETS) -> Reply:
    """Read the body of an answer with a good status.

    Raises:
        ValueError: it is not an answer of such an API; the message says what it is, without secrets.

    >>> parse_reply(b'{"choices": [{"text": "5", "finish_reason": "stop"}]}', "application/json").body.text
    '5'
    """
    try:
        document = _unwrap(_decode(content))
    except UnicodeDecodeError as error:
        raise ValueError(f"the answer is no UTF-8 text (byte {error.start})") from None
    except (ValueError, RecursionError):
        return _parse_plain(content, content_type, secrets)
    body, fault = _read_body(document), find_fault(document)
    is_usable = body is not None and body.text.strip() and finish_kind(body.finish_reason) != "error"
    if body is not None and (is_usable or fault is None):
        return Reply(body)
    if fault is not None:
        return Reply(body or Body("", "", None, None), fault)
    raise ValueError(f"the answer holds no completion: {_beginning(content, secrets)}")


def _parse_plain(content: bytes, content_type: str, secrets: Secrets) -> Reply:
    """Read an answer that is not JSON: a plea to wait, or ValueError."""
    text = content[:10_000].decode("utf-8", "replace")
    fault = Fault((), frozenset(), read_words(text))
    if text.strip() and judge_fault(fault).action == "wait":
        return Reply(Body("", "", None, None), fault)
    kind = content_type.partition(";")[0] or "no content type"
    if not text.strip():
        raise ValueError("the answer is empty")
    raise ValueError(f"the answer is no JSON ({kind}): {_beginning(content, secrets)}")


def _beginning(content: bytes, secrets: Secrets) -> str:
    # Hidden first: a cut would leave part of a key that nothing recognizes.
    return repr(secrets.hide(content[:10_000].decode("utf-8", "replace"))[:80])


def _decode(content: bytes) -> object:
    """Return the JSON document of an answer; events of a stream, or one object per line, become one document."""
    try:
        return json.loads(content)
    except json.JSONDecodeError:
        chunks = list(_chunks(content.decode("utf-8-sig")))
        if not chunks:
            raise
        return chunks[0] if len(chunks) == 1 and not _is_delta(chunks[0]) else _join_chunks(chunks)


def _chunks(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a text with one per line, after "data:" or not; ValueError if a line is something else."""
    for line in text.splitlines():
        content = line.strip()
        # Comments and names of events: servers keep a connection alive with them.
        if not content or content.startswith((":", "event:", "id:", "retry:")):
            continue
        content = content.removeprefix("data:").strip()
        if content != "[DONE]":
            chunk = json.loads(content)
            if not isinstance(chunk, Mapping):
                raise ValueError("a line holds no object")
            yield chunk


def _is_delta(chunk: Mapping[str, Any]) -> bool:
    choice = _choice(chunk)
    return isinstance(choice, Mapping) and "delta" in choice


def _join_chunks(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document that a stream's chunks make together."""
    text, thought, finish = [], [], None
    document: dict[str, Any] = {}
    for chunk in chunks:
        choice = _choice(chunk)
        message = _message(chunk, choice)
        piece = _read_content(_content(chunk, choice, message))
        text.append(piece.text)
        thought.append(piece.thought or _thought(chunk, choice, message))
        finish = _finish(chunk, choice) or finish
        document |= {name: value for name, value in chunk.items() if name not in ("choices", "message") and value}
    joined = {"content": "".join(text), "reasoning_content": "".join(thought)}
    return {**document, "choices": [{"message": joined, "finish_reason": finish}]}


def _unwrap(document: object) -> object:
    """Take a document out of a list of one, or out of a text that holds JSON."""
    if isinstance(document, str):
        document = json.loads(document)
    if isinstance(document, list) and len(document) == 1 and isinstance(document[0], Mapping):
        return document[0]
    return document


def _choice(document: Mapping[str, Any]) -> object:
    """Return the first choice with a text, else the first; None if there is none."""
    choices = document.get("choices", document.get("candidates"))
    if isinstance(choices, Mapping):
        choices = [choices] if choices.keys() & {"message", "text", "delta", "content"} else list(choices.values())
    if not isinstance(choices, list) or not choices:
        return None
    some = choices[:16]
    filled = (one for one in some if _read_content(_content({}, one, _message({}, one))).text.strip())
    return next(filled, some[0])


def _message(document: Mapping[str, Any], choice: object) -> object:
    if isinstance(choice, Mapping):
        return choice.get("message") or choice.get("delta") or {}
    return document.get("message") or {}


def _content(document: Mapping[str, Any], choice: object, message: object) -> object:
    """Return what holds the text, in the first place that is filled."""
    if isinstance(choice, str):
        return choice
    places: list[object] = [message if isinstance(message, str) else None]
    places += [part.get("content") for part in (message, choice) if isinstance(part, Mapping)]
    places += [part.get("text") for part in (choice, message) if isinstance(part, Mapping)]
    if choice is None:
        # The Responses API, Anthropic's own, Ollama's own and TGI's own have no choices.
        places += [document.get(name) for name in ("output", "output_text", "content", "response", "generated_text")]
    return next((place for place in places if place), None)


def _read_content(value: object, depth: int = 0) -> _Piece:
    """Join the parts of a content: text with text, thinking with thinking."""
    if isinstance(value, str):
        return _Piece(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _Piece(str(value))
    if depth > _DEEPEST_PART:
        return _Piece()
    if isinstance(value, list):
        pieces = [_read_content(part, depth + 1) for part in value]
        return _Piece("".join(piece.text for piece in pieces), "\n\n".join(p.thought for p in pieces if p.thought))
    return _read_part(value, depth) if isinstance(value, Mapping) else _Piece()


def _read_part(part: Mapping[str, Any], depth: int) -> _Piece:
    filled = (_read_content(part[name], depth + 1) for name in _PART_FIELDS if part.get(name))
    inner = next((piece for piece in filled if piece.text or piece.thought), _Piece())
    kind = str(part.get("type", "")).lower()
    is_thought = part.get("thought") is True or any(word in kind for word in _THOUGHT_TYPES)
    return _Piece("", inner.thought + inner.text) if is_thought else inner


def _thought(document: Mapping[str, Any], choice: object, message: object) -> str:
    """Return the reasoning that fields of its own hold; equal copies count once."""
    found: list[str] = []
    # In the Responses API `reasoning` repeats settings of the request.
    is_place = choice is None and "output" not in document
    places = [message, choice, document if is_place else None]
    fields = [place.get(name) for place in places if isinstance(place, Mapping) for name in _THOUGHT_FIELDS]
    for piece in map(_read_content, fields):
        text = piece.thought + piece.text
        if text.strip() and text not in found:
            found.append(text)
    # OpenRouter sends the same text as `reasoning` and, in pieces, as `reasoning_details`.
    return max(found, key=len, default="")


def _finish(document: Mapping[str, Any], choice: object) -> object:
    places = [place for place in (choice, document) if isinstance(place, Mapping)]
    found = [place[name] for place in places for name in _FINISH_FIELDS if place.get(name)]
    details = document.get("incomplete_details")
    if isinstance(details, Mapping) and details.get("reason"):
        found.append(details["reason"])
    feedback = document.get("promptFeedback")
    if isinstance(feedback, Mapping) and feedback.get("blockReason"):
        found.append("content_filter")
    return found[0] if found else None


def _refusal(message: object) -> object:
    if not isinstance(message, Mapping):
        return None
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    refused = [part["refusal"] for part in parts if isinstance(part, Mapping) and part.get("refusal")]
    return message.get("refusal") or (refused[0] if refused else None)


def _read_body(document: object) -> Body | None:
    """Return the body of a document, None if it is not a completion of any kind."""
    if not isinstance(document, Mapping):
        return None
    choice = _choice(document)
    message = _message(document, choice)
    piece = _read_content(_content(document, choice, message))
    is_one = any(name in document for name in _MARKS_OF_A_COMPLETION)
    if not is_one and not (piece.text or piece.thought):
        return None
    fields = _thought(document, choice, message)
    thought = "\n\n".join(dict.fromkeys(text for text in (piece.thought, fields) if text.strip()))
    finish = _finish(document, choice)
    usage = read_usage(document, has_text=bool(piece.text or thought))
    return Body(_clean(piece.text), _in_words(finish), _refusal(message), usage, _clean(thought))


def _in_words(finish: object) -> str:
    if isinstance(finish, Mapping):
        finish = finish.get("type") or finish.get("reason")
    return "" if finish is None else _clean(str(finish))[:80]


def _clean(text: str) -> str:
    # A lone surrogate, which JSON can spell, is not a character and cannot be stored. What stands for it in the file of
    # answers says that the text is broken, so that it never becomes a rationale.
    return _SURROGATE.sub("\ufffd", text)
