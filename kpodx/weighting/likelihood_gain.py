"""Weights from what a token gains in likelihood when the student may read one thing more.

Question dependence: its own question rather than another's. The words of a style gain nothing, names and numbers do.
Conditional Token Selection (Yuan et al., arXiv 2505.17827): the correct answer beside the question. The paper keeps the tokens
whose perplexity falls most; this is its importance in logarithms, as a weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float32]


def gain_weight(without_nll: Values, with_nll: Values, *, half: float, low: float, high: float) -> Values:
    """Return w = low + (high - low) · v/(v + half), with the gain v = max(-log P_without - -log P_with, 0), float32 [n].

    Args:
        without_nll: the token's loss without the information, in nats.
        with_nll: its loss with it.
        half: gain that earns half of the range, in nats.
        low: weight of a token that gains nothing.
        high: weight that a growing gain tends to.
    """
    gain = np.maximum(without_nll - with_nll, 0)
    return (low + (high - low) * gain / (gain + half)).astype(np.float32)


def other_questions(question_ids: Sequence[str], seed: int) -> list[int]:
    """Return for each row another row of a different question, drawn at random; itself if there is no other question.

    Args:
        question_ids: the question of each row.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(question_ids)).tolist()
    result = list(range(len(question_ids)))
    for place, row in enumerate(order):
        # The next rows in a shuffled ring: each serves for about one other, and the first is nearly always of another question.
        ring = (order[(place + step) % len(order)] for step in range(1, len(order)))
        result[row] = next((other for other in ring if question_ids[other] != question_ids[row]), row)
    return result
