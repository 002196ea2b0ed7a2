"""Weights from keypoints that are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kpodx.errors import DataError
from kpodx.modeling.token_spans import overlapping
from kpodx.schema import Rationale, Span


def gold_weights(
    spans: Sequence[Span], keypoints: Sequence[Span], *, keypoint: float, other: float
) -> npt.NDArray[np.float32]:
    """Return the weight of each token by whether it overlaps a known keypoint, float32 [n].

    Args:
        spans: characters of each token.
        keypoints: characters of each keypoint.
        keypoint: weight in (0, 1] of tokens that overlap one.
        other: weight in (0, 1] of all other tokens.

    >>> gold_weights([(0, 2), (2, 4), (4, 5)], [(3, 4)], keypoint=1.0, other=0.5).tolist()
    [0.5, 1.0, 0.5]
    """
    return np.array([keypoint if key else other for key in overlapping(spans, keypoints)], dtype=np.float32)


def marked_keypoints(rationales: Sequence[Rationale]) -> list[tuple[Span, ...]]:
    """Return the known keypoints of every rationale. Raise DataError if nobody marked those of one."""
    unmarked = [rationale.id for rationale in rationales if rationale.keypoints is None]
    if unmarked:
        more = f" and {len(unmarked) - 5} more" if len(unmarked) > 5 else ""
        raise DataError(
            f"weighting.method = gold needs rationales with marked keypoints; {len(unmarked)} of {len(rationales)} have none: "
            f"{', '.join(unmarked[:5])}{more}.",
            hint="Use another weighting.method, for instance token-type: only sets with marked gold rationales, such as the "
            "embedded one with its own rationales, know their keypoints.",
        )
    return [rationale.keypoints for rationale in rationales if rationale.keypoints is not None]
