"""What one weight stands for: a token, or a whole word or number."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*")


def word_leaders(text: str, spans: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return for each token the first token of its word or number; other tokens lead themselves.

    Decimals and thousands are one number. A token belongs to the word that its first visible character is in.

    Args:
        text: the rationale.
        spans: characters of each token, in order.

    >>> word_leaders("Tom: 12.5!", [(0, 2), (2, 3), (3, 4), (4, 6), (6, 7), (7, 8), (8, 9), (9, 10)])
    (0, 0, 2, 3, 3, 3, 3, 7)
    """
    words = [match.span() for match in _WORD.finditer(text)]
    starts = [start for start, _ in words]
    leaders: dict[int, int] = {}
    result = []
    for number, (start, stop) in enumerate(spans):
        piece = text[start:stop]
        at = start + len(piece) - len(piece.lstrip())
        word = bisect_right(starts, at) - 1
        inside = bool(piece.strip()) and word >= 0 and at < words[word][1]
        result.append(leaders.setdefault(word, number) if inside else number)
    return tuple(result)


def mean_over_units(
    value: Float[Tensor, "batch length"], leaders: Int[Tensor, "batch length"]
) -> Float[Tensor, "batch length"]:
    """Give every token the mean value of its unit.

    Args:
        value: of each token.
        leaders: place of the first token of each token's unit.
    """
    total = torch.zeros_like(value).scatter_add(1, leaders, value)
    size = torch.zeros_like(value).scatter_add(1, leaders, torch.ones_like(value))
    return (total / size.clamp(min=1)).gather(1, leaders)
