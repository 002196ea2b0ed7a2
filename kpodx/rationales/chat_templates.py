"""Formatting a conversation with a local model's own chat template, whatever that template does not like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kpodx.config import nearest
from kpodx.errors import ModelError
from kpodx.rationales.requests import Message

Render = Callable[[list[dict[str, str]]], str]
"""Formats a conversation, given as role and content of each message; raises what the template raises."""


def render_chat(messages: Sequence[Message], render: Render, name: str) -> str:
    """Return the prompt of a conversation.

    A system message that the template refuses, or leaves out, is put before the text of the first message of the user.

    Args:
        messages: the conversation.
        render: applies the template.
        name: what the model is called in errors.

    Raises:
        ModelError: the template cannot format the conversation.
    """
    plain, merged = _as_records(messages), _as_records(merge_system(messages))
    if plain == merged:
        return _rendered(plain, render, name)
    try:
        prompt = render(plain)
    except _errors():
        return _rendered(merged, render, name)
    is_in = plain[0]["content"].strip() in prompt
    return prompt if is_in else _rendered(merged, render, name)


def merge_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the conversation with a leading system message at the beginning of the user's first.

    >>> merge_system([Message("system", "Be brief."), Message("user", "How many?")])
    (Message(role='user', content='Be brief.\\n\\nHow many?'),)
    """
    if len(messages) < 2 or (messages[0].role, messages[1].role) != ("system", "user"):
        return tuple(messages)
    system, user, *rest = messages
    return (Message("user", f"{system.content}\n\n{user.content}"), *rest)


def check_variables(template: str, variables: Mapping[str, Any], name: str, setting: str) -> None:
    """Raise ModelError if the settings give variables that the template does not read; it would ignore them silently.

    Args:
        template: the source of the chat template, empty if the model has none.
        variables: what the settings give.
        name: what the model is called in errors.
        setting: the setting that gives them.
    """
    if not variables:
        return
    if not template:
        raise ModelError(f"{name} has no chat template, so that {setting} changes nothing.", hint=f"Remove {setting}.")
    words = set(re.findall(r"[A-Za-z_]\w*", template))
    for variable in variables:
        if variable not in words:
            guess = nearest(variable, sorted(words))
            hint = f"Did you mean {guess!r}?" if guess else f"Remove it from {setting}."
            raise ModelError(f"{setting}: the chat template of {name} does not read {variable!r}.", hint=hint)


def _as_records(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _rendered(records: list[dict[str, str]], render: Render, name: str) -> str:
    try:
        return render(records)
    except _errors() as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        roles = ", ".join(record["role"] for record in records)
        raise ModelError(
            f"The chat template of {name} cannot format a conversation of {roles}: {said}",
            hint="Check chat_template_kwargs and rationales.prompt; answer_extraction='never' asks no second question.",
        ) from error


def _errors() -> tuple[type[Exception], ...]:
    """What a template may raise: jinja's errors, and those of the expressions in it."""
    import jinja2

    return (
        jinja2.TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    )
