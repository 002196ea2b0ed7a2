"""K-means over question vectors, and its degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest

from kpodx.curriculum import clusters as clusters_module
from kpodx.curriculum.clusters import cluster_questions, count_distinct


def blobs(per_blob: int, centres: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.repeat(np.eye(centres) * 10, per_blob, axis=0) + rng.normal(0, 0.1, (per_blob * centres, centres))


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == k).tolist()) for k in np.unique(labels)}


def test_separate_groups_are_found() -> None:
    labels = cluster_questions(blobs(20), 4, seed=0)
    assert partition(labels) == {frozenset(range(20 * k, 20 * k + 20)) for k in range(4)}


def test_mini_batches_find_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters_module, "_MINI_BATCH_FROM", 50)
    labels = cluster_questions(blobs(50), 4, seed=0)
    assert partition(labels) == {frozenset(range(50 * k, 50 * k + 50)) for k in range(4)}


def test_the_seed_decides() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 8))
    assert np.array_equal(cluster_questions(vectors, 5, seed=3), cluster_questions(vectors, 5, seed=3))
    assert partition(cluster_questions(vectors, 5, seed=3)) != partition(cluster_questions(vectors, 5, seed=4))


def test_fewer_distinct_vectors_than_clusters() -> None:
    vectors = np.array([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0], [-0.0, 1.0]])
    labels = cluster_questions(vectors, 5, seed=0)
    assert labels[0] == labels[2] == labels[3] != labels[1]
    assert set(labels.tolist()) == {0, 1}


@pytest.mark.parametrize("vectors", [np.ones((3, 2)), np.zeros((1, 4))])
def test_one_distinct_vector_is_one_cluster(vectors: np.ndarray) -> None:
    assert not cluster_questions(vectors, 5, seed=0).any()


def test_vectors_that_differ_less_than_float32_tells_are_one() -> None:
    vectors = 1.0 + np.arange(6)[:, None] * 1e-12
    assert not cluster_questions(vectors, 3, seed=0).any()


def test_count_distinct_stops_at_its_limit() -> None:
    vectors = np.array([[1.0], [2.0], [1.0], [3.0], [4.0]])
    assert count_distinct(vectors, 10) == 4
    assert count_distinct(vectors, 2) == 2
