"""OpenAI's API as far as a student that answers single questions can speak it: requests in, documents out."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kpodx import outside
from kpodx.serving.catalogue import ServedModel
from kpodx.serving.jobs import Ask, Done, Failed

HARMLESS = frozenset(
    {
        "user",
        "metadata",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prediction",
    }
)
"""Parameters that no answer depends on: they are taken, and count for nothing."""

NEUTRAL: dict[str, Sequence[Any]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "store": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
}
"""Values of further parameters that ask for what happens anyway; null is one of each."""


class ApiError(Exception):
    """What a client is told instead of an answer.

    Args:
        status: of HTTP.
        message: for people.
        kind: OpenAI's `type`.
        code: OpenAI's `code`, for programs.
        param: name of the parameter at fault.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """OpenAI's form of an error."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Request:
    """What a client wants.

    Attributes:
        model: id.
        ask: what the worker is asked.
        is_chat: whether messages came, and not a prompt.
        include_usage: whether a stream ends with the usage.
        unread: messages that were not read, since a student reads one question.
        id: of the answer.
        created: when the request came, in seconds since 1970.
    """

    model: str
    ask: Ask
    is_chat: bool
    include_usage: bool = False
    unread: int = 0
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))


class _StreamOptions(BaseModel):
    include_usage: bool | None = None


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    model: str
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


class _Part(BaseModel):
    type: str
    text: str | None = None


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None


class _ChatBody(_Body):
    messages: list[_Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)


class _CompletionBody(_Body):
    prompt: str | list[str]


B = TypeVar("B", bound=_Body)


def parse_json(content: bytes) -> dict[str, Any]:
    """The object in a request's body; ApiError where it is none."""
    try:
        # Its size is limited already, and with it every text.
        document = outside.parse_json(content, most_bytes=len(content), most_text=len(content))
    except ValueError as error:
        raise ApiError(400, f"The body cannot be read: {str(error)[:200]}.", code="invalid_json") from None
    if not isinstance(document, dict):
        raise ApiError(400, f"The body is no JSON object but {type(document).__name__}.", code="invalid_json")
    return document


def parse_chat(document: dict[str, Any], most_tokens: int) -> Request:
    """A request to /v1/chat/completions; ApiError where it asks for what cannot be done.

    Args:
        document: the body.
        most_tokens: longest answer that the service gives.
    """
    body = _validated(_ChatBody, document)
    last = body.messages[-1]
    if last.role != "user":
        _refuse("messages", f"the last message must be the user's question, got the role {last.role!r}")
    question = _text_of(last)
    if not question.strip():
        _refuse("messages", "the last message is empty")
    limits = [number for number in (body.max_completion_tokens, body.max_tokens) if number is not None]
    return Request(
        body.model,
        _ask(body, question, min([*limits, most_tokens]), wrap=True),
        is_chat=True,
        include_usage=_wants_usage(body),
        unread=len(body.messages) - 1,
    )


def parse_completion(document: dict[str, Any], most_tokens: int) -> Request:
    """A request to /v1/completions: its prompt goes to the model as it is; ApiError where it asks for what cannot be done.

    Args:
        document: the body.
        most_tokens: longest answer that the service gives.
    """
    body = _validated(_CompletionBody, document)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    if len(prompts) != 1:
        _refuse("prompt", f"expected one text, got {len(prompts)}")
    ask = _ask(body, prompts[0], min(body.max_tokens or most_tokens, most_tokens), wrap=False)
    return Request(body.model, ask, is_chat=False, include_usage=_wants_usage(body))


def _validated(kind: type[B], document: dict[str, Any]) -> B:
    try:
        body = kind.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        param, words = str(problem["loc"][0]), str(problem["msg"])
        raise ApiError(400, f"{param}: {words[0].lower()}{words[1:]}", param=param) from None
    for name, value in (body.model_extra or {}).items():
        if value is None or name in HARMLESS or any(_is_same(value, neutral) for neutral in NEUTRAL.get(name, ())):
            continue
        _refuse(name[:60], "a student cannot do this" if name in NEUTRAL else "no parameter that this service knows")
    return body


def _is_same(value: object, neutral: object) -> bool:
    """Equality as JSON means it: true is not 1."""
    return value == neutral and isinstance(value, bool) == isinstance(neutral, bool)


def _text_of(message: _Message) -> str:
    """A message's text; parts that are no text are refused."""
    if isinstance(message.content, str):
        return message.content
    parts = message.content or []
    for part in parts:
        if part.type != "text" or part.text is None:
            _refuse("messages", f"a student reads text only, got a part of the type {part.type!r}")
    return "".join(part.text or "" for part in parts)


def _ask(body: _Body, text: str, max_tokens: int, *, wrap: bool) -> Ask:
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(stops) > 4 or not all(stops):
        _refuse("stop", "expected at most 4 texts, none of them empty")
    return Ask(
        text=text,
        wrap=wrap,
        max_tokens=max_tokens,
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=secrets.randbits(31) if body.seed is None else body.seed,
        stop=tuple(stops),
        stream=bool(body.stream),
    )


def _wants_usage(body: _Body) -> bool:
    return bool(body.stream_options and body.stream_options.include_usage)


def _refuse(param: str, message: str) -> NoReturn:
    raise ApiError(400, f"{param}: {message}", param=param)


def error_of(failed: Failed) -> ApiError:
    """What a client is told of a request without an answer."""
    if failed.kind == "refused":
        return ApiError(
            400, failed.message, code=failed.code, param="prompt" if failed.code == "invalid_prompt" else None
        )
    if failed.kind == "overdue":
        return ApiError(503, failed.message, "server_error", code="overloaded", headers={"Retry-After": "5"})
    if failed.kind == "stopping":
        return stopping()
    return ApiError(500, failed.message, "server_error", code="worker_failed")


def stopping() -> ApiError:
    """What a client is told while the service stops."""
    headers = {"Retry-After": "5", "Connection": "close"}
    return ApiError(503, "The service stops.", "server_error", code="stopping", headers=headers)


def model_document(model: ServedModel) -> dict[str, Any]:
    """One entry of /v1/models."""
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": "kpodx"}


def answer_document(request: Request, model: ServedModel, prompt_tokens: int, done: Done) -> dict[str, Any]:
    """A whole answer."""
    content: dict[str, Any] = {"text": done.text}
    if request.is_chat:
        content = {"message": {"role": "assistant", "content": done.text, "refusal": None}}
    choice = {"index": 0, **content, "logprobs": None, "finish_reason": done.reason}
    return {
        **_head(request, model, "chat.completion"),
        "choices": [choice],
        "usage": _usage(prompt_tokens, done.tokens),
    }


def first_chunk(request: Request, model: ServedModel) -> list[dict[str, Any]]:
    """What a stream begins with: the role, in a chat."""
    return [_chunk(request, model, {"role": "assistant", "content": "", "refusal": None})] if request.is_chat else []


def text_chunk(request: Request, model: ServedModel, text: str) -> dict[str, Any]:
    """More text of a stream."""
    return _chunk(request, model, {"content": text}, text)


def last_chunks(request: Request, model: ServedModel, prompt_tokens: int, done: Done) -> list[dict[str, Any]]:
    """What a stream ends with: how it ended, and the usage where it was asked for."""
    chunks = [_chunk(request, model, {}, "", done.reason)]
    if request.include_usage:
        usage = _usage(prompt_tokens, done.tokens)
        chunks.append({**_head(request, model, "chat.completion.chunk"), "choices": [], "usage": usage})
    return chunks


def _chunk(
    request: Request, model: ServedModel, delta: dict[str, Any], text: str = "", reason: str | None = None
) -> dict[str, Any]:
    content: dict[str, Any] = {"delta": delta} if request.is_chat else {"text": text}
    choice = {"index": 0, **content, "logprobs": None, "finish_reason": reason}
    document = {**_head(request, model, "chat.completion.chunk"), "choices": [choice]}
    return {**document, "usage": None} if request.include_usage else document


def _head(request: Request, model: ServedModel, chat_object: str) -> dict[str, Any]:
    head: dict[str, Any] = {
        "id": f"{'chatcmpl' if request.is_chat else 'cmpl'}-{request.id}",
        "object": chat_object if request.is_chat else "text_completion",
        "created": request.created,
        "model": model.id,
        "system_fingerprint": f"fp_{model.sha256[:12]}",
    }
    return {**head, "kpodx": {"unread_messages": request.unread}} if request.unread else head


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
