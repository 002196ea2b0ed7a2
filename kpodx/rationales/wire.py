"""What an OpenAI-compatible API is sent, and what its answers mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kpodx.rationales.config import OpenAIConfig
from kpodx.rationales.prompting import join_messages
from kpodx.rationales.requests import Completion, Failure, FailureReason, Request, Usage, judge_text
from kpodx.rationales.secrets import NO_SECRETS, Secrets
from kpodx.rationales.teachers import timestamp

ITEM_CODES: dict[str, FailureReason] = {
    "context_length_exceeded": "prompt_too_long",
    "string_above_max_length": "prompt_too_long",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
}
"""Error codes that concern one request only."""


_TOO_LONG = re.compile(
    r"maximum context|context (?:length|size|window)|exceed_context_size|longer than the maximum (?:model )?length|"
    r"(?:prompt|input) is too long|too many tokens",
    re.IGNORECASE,
)
"""Words of servers that have no code for it: vLLM, llama-server, llama-cpp-python, TGI."""


@dataclass(frozen=True)
class Body:
    """What an answer of the API says."""

    text: str
    finish_reason: str | None
    refusal: str | None
    usage: Usage | None


def parse_body(content: bytes, content_type: str, secrets: Secrets = NO_SECRETS) -> Body:
    """Read the JSON of chat/completions or completions.

    Raises:
        ValueError: it is something else; the message says what, without secrets.

    >>> parse_body(b'{"choices": [{"text": "5", "finish_reason": "stop"}]}', "application/json").text
    '5'
    """
    try:
        document = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"the answer is no UTF-8 text (byte {error.start})") from None
    except (ValueError, RecursionError):
        kind = content_type.partition(";")[0] or "no content type"
        raise ValueError(f"the answer is no JSON ({kind}): {_beginning(content, secrets)}") from None
    try:
        choice = document["choices"][0]
        message = choice.get("message", choice)
        text = message["content"] if "message" in choice else message["text"]
        body = Body("" if text is None else text, choice.get("finish_reason"), message.get("refusal"), _usage(document))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError(f"the answer holds no completion: {_beginning(content, secrets)}") from None
    if not isinstance(body.text, str):
        raise ValueError(f"the completion is no text but {type(body.text).__name__}")
    # A lone surrogate, which JSON can spell, is no character and cannot be stored.
    return Body(body.text.encode("utf-8", "replace").decode(), body.finish_reason, body.refusal, body.usage)


def _beginning(content: bytes, secrets: Secrets) -> str:
    # Hidden first: a cut would leave part of a key that nothing recognises.
    return repr(secrets.hide(content[:10_000].decode("utf-8", "replace"))[:80])


def _usage(document: Mapping[str, Any]) -> Usage | None:
    usage = document.get("usage") or {}
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if (
        not isinstance(read, int)
        or not isinstance(written, int)
        or min(read, written) < 0
        or max(read, written) > 10**9
    ):
        return None
    return Usage(read, written)


def request_body(request: Request, config: OpenAIConfig) -> dict[str, Any]:
    """The JSON of one request, but for `extra`, which the client sends beside it."""
    parameters = {name: value for name, value in request.parameters.items() if name not in (*config.extra, "api")}
    limit = parameters.pop("max_tokens")
    body = {"model": request.model, **parameters}
    if config.api == "chat":
        return {
            **body,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            config.max_tokens_parameter: limit,
        }
    return {**body, "prompt": join_messages(request), "max_tokens": limit}


def outcome_of(body: Body, request: Request, secrets: Secrets, server: str, seconds: float) -> Completion | Failure:
    """What an answer means for its request; a key that the server repeats is hidden."""
    reason = judge_text(body.text, body.finish_reason, body.refusal)
    text = secrets.hide(body.text)
    if reason:
        return Failure(request, reason, text, body.usage)
    return Completion(request, text, body.usage, timestamp(), server, round(seconds, 3))


def item_reason(code: str, said: str) -> FailureReason | None:
    """Why an error concerns one request only, None where it concerns all.

    >>> item_reason("400", "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens")
    'prompt_too_long'
    """
    return ITEM_CODES.get(code) or ("prompt_too_long" if _TOO_LONG.search(said) else None)
