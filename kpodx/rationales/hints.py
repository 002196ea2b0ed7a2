"""What to say about an error of a server, and what its reader can do about it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kpodx.config import nearest
from kpodx.rationales.config import OpenAIConfig
from kpodx.rationales.dialect import refused_parameter, setting_of
from kpodx.rationales.faults import Fault, Topic
from kpodx.rationales.requests import Request
from kpodx.rationales.secrets import Secrets

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_LONGEST_WORDS = 300
_SECONDS_FOR_MODELS = 10


def about(fault: Fault, url: str, config: OpenAIConfig, secrets: Secrets) -> str:
    """Return one line about an error, with the server's own words, without secrets."""
    # Hidden first: a cut would leave part of a key that nothing recognizes.
    words = secrets.hide(fault.words)
    words = words if len(words) <= _LONGEST_WORDS else words[:_LONGEST_WORDS] + "…"
    return f"{url} answered {fault.status or 'with an error'} for model {config.model!r}: {words}"


def hint_of(topic: Topic, config: OpenAIConfig, request: Request) -> str:
    """Return what to do about an error that stops the phase."""
    hints: dict[Topic, str] = {
        "key": f"Check the key in {config.api_key_env}.",
        "access": f"The key in {config.api_key_env} may not use this model or server.",
        "credit": "The account's credit or quota is used up: see its billing page, then run the same command again.",
        "address": "Check rationales.openai.base_urls: the address that takes /chat/completions, which usually ends with /v1.",
    }
    refused = (
        f"The request about question {request.question_id} was refused; see rationales.openai and rationales.sampling."
    )
    return hints.get(topic, refused)


def parameter_hint(fault: Fault, sent: Mapping[str, Any]) -> str | None:
    """Return which setting changes the parameter that a server refuses, None if it refuses no single one."""
    name = refused_parameter(fault, sent)
    return None if name is None else f"The server does not take {name} like this; change {setting_of(name)}."


async def known_models(client: AsyncOpenAI, model: str, secrets: Secrets) -> str:
    """Return a hint with the models that the server says it has."""
    import asyncio

    import openai

    names: list[str] = []
    with contextlib.suppress(openai.OpenAIError, TimeoutError, AttributeError, TypeError, ValueError):
        async with asyncio.timeout(_SECONDS_FOR_MODELS):
            names = [str(one.id) for one in (await client.models.list()).data]
    if not names:
        return "Check the address, which usually ends with /v1, and the model's name."
    guess = nearest(model, names)
    shown = secrets.hide(", ".join(names[:8])).encode("utf-8", "replace").decode()
    return (f"Did you mean {guess!r}? " if guess else "") + f"The server has: {shown}."
