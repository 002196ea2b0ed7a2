"""How many tokens a provider bills for an answer, wherever its server reports them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from kpodx.rationales.requests import Usage

_MOST_TOKENS = 10**9
"""Larger figures are mistakes."""

_BLOCKS = ("usage", "usageMetadata", "usage_metadata", "token_usage", "x_groq")
_DETAILS = ("completion_tokens_details", "output_tokens_details", "completionTokensDetails", "outputTokensDetails")
_PROMPT = ("prompt_tokens", "promptTokenCount", "prompt_token_count", "prompt_eval_count", "promptTokens")
_INPUT = ("input_tokens", "inputTokens")
_CACHED_INPUT = (
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cacheWriteInputTokens",
    "cacheReadInputTokens",
)
"""Tokens of a prompt that Anthropic and Bedrock count beside `input_tokens`."""
_COMPLETION = (
    "completion_tokens",
    "output_tokens",
    "candidatesTokenCount",
    "candidates_token_count",
    "eval_count",
    "outputTokens",
    "completionTokens",
    "generated_tokens",
)
_THINKING = ("reasoning_tokens", "thinking_tokens", "reasoningTokens")
_THINKING_BESIDE = ("thoughtsTokenCount", "thoughts_token_count")
"""Thinking tokens that Gemini counts beside those of the completion."""
_TOTAL = ("total_tokens", "totalTokenCount", "total_token_count", "totalTokens")


def read_usage(document: Mapping[str, Any], *, has_text: bool) -> Usage | None:
    """Return the tokens that are billed, hidden thoughts among those of the completion; None if nobody can know.

    Args:
        document: the whole answer of a server.
        has_text: whether the answer holds a text or a thought, which cannot have cost nothing.

    >>> read_usage({"usage": {"prompt_tokens": 50, "completion_tokens": "60", "total_tokens": 5110}}, has_text=True)
    Usage(prompt_tokens=50, completion_tokens=5060)
    """
    found = [usage for block in _blocks(document) if (usage := _read_block(block)) is not None]
    # Streams report what was spent so far with each chunk: the largest report is the last.
    usage = max(found, key=lambda one: one.prompt_tokens + one.completion_tokens, default=None)
    if usage is None or (has_text and usage.completion_tokens == 0):
        return None
    return usage


def read_count(value: object) -> int | None:
    """Return a number of tokens as an integer; None if it is missing, not a number, negative or absurd.

    >>> read_count("12"), read_count(11.5), read_count(-1), read_count(True), read_count(10**30)
    (12, 12, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return math.ceil(number) if 0 <= number <= _MOST_TOKENS else None


def _blocks(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield whatever may hold figures: the known fields, also of choices, and the document itself."""
    yield document
    for name in _BLOCKS:
        value = document.get(name)
        for block in value if isinstance(value, list) else [value]:
            if isinstance(block, Mapping):
                yield block
                if isinstance(block.get("usage"), Mapping):
                    yield block["usage"]
    choices = document.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, Mapping) and isinstance(choice.get("usage"), Mapping):
            yield choice["usage"]


def _largest(block: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    counts = [count for name in names if (count := read_count(block.get(name))) is not None]
    return max(counts, default=None)


def _read_block(block: Mapping[str, Any]) -> Usage | None:
    prompt, completion, total = _prompt(block), _completion(block), _largest(block, _TOTAL)
    if prompt is None and completion is None:
        return Usage(0, total) if total else None
    if total is None and (prompt is None or completion is None):
        return None
    # What is missing is in the total; what the sum lacks was spent on hidden thoughts.
    prompt = prompt or 0
    billed = max(prompt + (completion or 0), total or 0)
    return Usage(prompt, billed - prompt)


def _prompt(block: Mapping[str, Any]) -> int | None:
    own = _largest(block, _INPUT)
    if own is not None:
        own += sum(read_count(block.get(name)) or 0 for name in _CACHED_INPUT)
    counts = [count for count in (_largest(block, _PROMPT), own) if count is not None]
    return max(counts, default=None)


def _completion(block: Mapping[str, Any]) -> int | None:
    completion = _largest(block, _COMPLETION)
    beside = _largest(block, _THINKING_BESIDE)
    details = [block, *(block[name] for name in _DETAILS if isinstance(block.get(name), Mapping))]
    thinking = max((_largest(part, _THINKING) or 0 for part in details), default=0)
    if completion is None:
        return max(beside or 0, thinking) if beside is not None or thinking else None
    # Thinking that is larger than the whole completion cannot be a part of it.
    hidden = thinking if thinking > completion else 0
    return completion + max(beside or 0, hidden)
