"""How token weights agree: two runs with each other, one run with known keypoints, and weights with frequencies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kpodx.errors import DataError
from kpodx.modeling.token_spans import overlapping
from kpodx.schema import Span, TokenWeights
from kpodx.statistics import rank_correlation, rank_separation


def weights_rank_correlation(first: TokenWeights, second: TokenWeights) -> float | None:
    """Return Spearman's correlation of two runs' weights over all tokens; None if either run weighs all tokens alike.

    Raise DataError if the weights are not of the same tokens.
    """
    same_rows = first.rationale_ids == second.rationale_ids and np.array_equal(first.offsets, second.offsets)
    if not same_rows or first.tokenizer_hash != second.tokenizer_hash:
        raise DataError(
            f"These token weights cannot be compared: expected the same rationales and tokenizer, got {len(first.rationale_ids)} and "
            f"{len(second.rationale_ids)} rationales with {len(first.token_weight)} and {len(second.token_weight)} tokens.",
            hint="Compare runs of one recipe that differ in weighting.seed only, so that their rationales are the same.",
        )
    return rank_correlation(first.token_weight, second.token_weight)


@dataclass(frozen=True)
class KeypointSeparation:
    """How surely a random keypoint outweighs another token (area under the ROC curve; 0.5 is chance, None if there is no such pair).

    `over_all` compares with all other tokens, `among_numbers` compares numbers with numbers: there a weight that only knows the type
    of a token is at chance.
    """

    over_all: float | None
    among_numbers: float | None


def keypoint_separation(
    weights: TokenWeights, texts: Sequence[str], spans: Sequence[Sequence[Span]], keypoints: Sequence[Sequence[Span]]
) -> KeypointSeparation:
    """Compare weights with known keypoints.

    Args:
        weights: of N rationales.
        texts: the rationales.
        spans: characters of each token of each rationale.
        keypoints: characters of each keypoint of each rationale; a token that overlaps one belongs to it.
    """
    groups: dict[tuple[bool, bool], list[float]] = defaultdict(list)
    for row, (text, pieces, known) in enumerate(zip(texts, spans, keypoints, strict=True)):
        is_key = overlapping(pieces, known)
        for (start, stop), key, weight in zip(pieces, is_key, weights.of(row).tolist(), strict=True):
            groups[key, any(map(str.isdigit, text[start:stop]))].append(weight)
    everything = _separation(groups[True, True] + groups[True, False], groups[False, True] + groups[False, False])
    return KeypointSeparation(everything, _separation(groups[True, True], groups[False, True]))


def _separation(high: Sequence[float], low: Sequence[float]) -> float | None:
    return round(rank_separation(high, low), 4) if high and low else None


def weight_by_frequency(
    weights: TokenWeights, rows: Sequence[Sequence[int] | npt.NDArray[np.int64]]
) -> dict[str, object]:
    """Return how weights go with how often a token occurs in all rationales.

    Args:
        weights: of N rationales.
        rows: token ids of each rationale.

    Returns:
        `rank_correlation` of the mean weight of each distinct token with its count, and `bands` of distinct tokens by powers of ten of
        their count, each with its largest count, the number of distinct tokens, the number of all, and their mean weight.
    """
    ids = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    _, place, counts = np.unique(ids, return_inverse=True, return_counts=True)
    totals = np.bincount(place, weights=weights.token_weight.astype(np.float64))
    power = np.floor(np.log10(counts)).astype(int)
    bands = [
        {
            "at_most": int(10 ** (band + 1) - 1),
            "distinct": int((power == band).sum()),
            "count": int(counts[power == band].sum()),
            "mean": round(float(totals[power == band].sum() / counts[power == band].sum()), 4),
        }
        for band in sorted(set(power.tolist()))
    ]
    found = rank_correlation(totals / counts, counts)
    return {"rank_correlation": None if found is None else round(found, 4), "bands": bands}
