"""Weights by hand: one for each type of token, whatever the rationale says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kpodx.text.token_types import TokenType, token_type


def table_weights(
    text: str, spans: Sequence[tuple[int, int]], weight_of: Mapping[TokenType, float]
) -> npt.NDArray[np.float32]:
    """Return the weight of each token of a text by its type, float32 [n].

    Args:
        text: the rationale.
        spans: characters of each token.
        weight_of: weight in (0, 1) of each type.
    """
    return np.array([weight_of[token_type(text[start:stop])] for start, stop in spans], dtype=np.float32)
