"""What token weights make of keypoints that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kpodx.modeling.token_spans import overlapping
from kpodx.schema import Rationale, Span, TokenWeights
from kpodx.weighting.agreement import KeypointSeparation, keypoint_separation, weight_by_frequency
from kpodx.weighting.config import TokenTypeWeights
from kpodx.weighting.token_table import table_weights


@dataclass(frozen=True)
class KnownKeypoints:
    """How weights go with the keypoints that are marked in rationales.

    Attributes:
        num_rationales: how many rationales carry marks; no others count.
        num_keypoints: how many of their tokens overlap a keypoint.
        separation: how surely a keypoint outweighs another token.
        token_type_separation: the same for the default table of the token-type method, which knows no marks.
        frequency: how the weights of keypoints go with how often each occurs among them; None without a keypoint.
    """

    num_rationales: int
    num_keypoints: int
    separation: KeypointSeparation
    token_type_separation: KeypointSeparation
    frequency: dict[str, Any] | None


def describe_known_keypoints(
    weights: TokenWeights,
    rationales: Sequence[Rationale],
    encoded: Sequence[tuple[Sequence[int], Sequence[Span]]],
) -> KnownKeypoints | None:
    """Compare weights with the keypoints that rationales mark; return None if none of them does.

    Args:
        weights: of N rationales.
        rationales: the same N.
        encoded: ids and characters of the tokens of each rationale.
    """
    rows = [row for row, rationale in enumerate(rationales) if rationale.keypoints is not None]
    if not rows:
        return None
    texts, known = [rationales[row].text for row in rows], [rationales[row].keypoints or () for row in rows]
    ids, spans = [encoded[row][0] for row in rows], [encoded[row][1] for row in rows]
    is_key = [np.array(overlapping(*pair), dtype=bool) for pair in zip(spans, known, strict=True)]
    count = sum(int(keys.sum()) for keys in is_key)

    own = [weights.of(row) for row in rows]
    table = [table_weights(text, pieces, _TABLE) for text, pieces in zip(texts, spans, strict=True)]
    separation, by_type = (keypoint_separation(_pack(values), texts, spans, known) for values in (own, table))
    frequency = None
    if count:
        kept = [values[keys] for values, keys in zip(own, is_key, strict=True)]
        frequency = weight_by_frequency(_pack(kept), [np.asarray(r)[k] for r, k in zip(ids, is_key, strict=True)])
    return KnownKeypoints(len(rows), count, separation, by_type, frequency)


_TABLE = TokenTypeWeights().by_type


def _pack(values: Sequence[npt.NDArray[np.float32]]) -> TokenWeights:
    """Return weights as the record that comparisons read."""
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int64)
    return TokenWeights(tuple(map(str, range(len(values)))), offsets, np.concatenate(values), "")
