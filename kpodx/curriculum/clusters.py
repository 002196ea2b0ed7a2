"""K-means over question vectors: the clusters C_k of equation 12."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

_MINI_BATCH_FROM = 50_000
"""From so many questions on, K-means looks at random batches instead of all of them in each iteration."""
_NUM_STARTS = 10


def cluster_questions(
    vectors: Float[np.ndarray, "num_questions num_dims"], num_clusters: int, seed: int
) -> Int64[np.ndarray, " num_questions"]:
    """The cluster of each question, numbered from 0; fewer clusters than asked for where vectors coincide.

    Lloyd's K-means from k-means++ starts, the best of 10; mini-batch K-means from 50,000 questions on.

    Args:
        vectors: one finite vector a question.
        num_clusters: K ≥ 1.
        seed: seed of the starts.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    assert num_clusters >= 1, f"{num_clusters} clusters"
    assert np.isfinite(vectors).all(), "a question vector is not finite"
    # sklearn warns where points coincide: rounding to float32 first makes "distinct" mean the same to it and to us.
    points = np.ascontiguousarray(vectors, dtype=np.float32)
    possible = min(num_clusters, count_distinct(points, num_clusters))
    if possible <= 1:
        return np.zeros(len(points), dtype=np.int64)
    kind = MiniBatchKMeans if len(points) >= _MINI_BATCH_FROM else KMeans
    labels = kind(n_clusters=possible, n_init=_NUM_STARTS, random_state=seed % 2**32).fit_predict(points)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def count_distinct(vectors: Float[np.ndarray, "num_questions num_dims"], limit: int) -> int:
    """How many different vectors there are; it stops counting at `limit`.

    >>> count_distinct(np.array([[1.0], [2.0], [1.0], [3.0]]), 10)
    3
    """
    seen: set[bytes] = set()
    for vector in vectors + 0.0:  # -0.0 and 0.0 are one point, but not the same bytes
        seen.add(vector.tobytes())
        if len(seen) >= limit:
            break
    return len(seen)
