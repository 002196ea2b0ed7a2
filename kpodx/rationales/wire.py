"""What an OpenAI-compatible API is sent, and what an answer means for its request."""

from __future__ import annotations

from typing import Any

from kpodx.rationales.config import OpenAIConfig
from kpodx.rationales.prompting import join_messages
from kpodx.rationales.replies import Body
from kpodx.rationales.requests import Completion, Failure, Request, finish_kind, judge_text
from kpodx.rationales.secrets import Secrets
from kpodx.rationales.teachers import timestamp


def request_body(request: Request, config: OpenAIConfig) -> dict[str, Any]:
    """Return the JSON of one request, without `extra`, which the client sends beside it."""
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


def outcome_of(
    body: Body, request: Request, secrets: Secrets, server: str, seconds: float, adapted: str = ""
) -> Completion | Failure:
    """Return what an answer means for its request; a key that the server repeats is hidden."""
    reason = judge_text(body.text, body.finish_reason, body.refusal)
    text, thought = secrets.hide(body.text), secrets.hide(body.thought)
    if finish_kind(body.finish_reason) == "error":
        # The provider failed, not the model: another attempt may succeed.
        reason = "server_error"
    if reason:
        finish = secrets.hide(body.finish_reason)
        return Failure(request, reason, text, body.usage, finish_reason=finish, thought=thought)
    return Completion(request, text, body.usage, timestamp(), server, round(seconds, 3), adapted, thought)
