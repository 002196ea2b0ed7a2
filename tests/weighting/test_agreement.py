"""How token weights agree with each other, with known keypoints, and with frequencies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpodx.errors import DataError
from kpodx.schema import TokenWeights
from kpodx.statistics import rank_correlation
from kpodx.weighting.agreement import (
    KeypointSeparation,
    keypoint_separation,
    weight_by_frequency,
    weights_rank_correlation,
)

VALUES = st.lists(st.integers(-5, 5), min_size=2, max_size=12)


def weights_of(*rows: list[float]) -> TokenWeights:
    offsets = np.cumsum([0, *map(len, rows)])
    names = tuple(f"r{number}" for number in range(len(rows)))
    return TokenWeights(names, offsets, np.concatenate(rows).astype(np.float32), "h")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3], [5, 6, 9], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 2, 3], [1, 2, 3, 4], 4.5 / (4.5 * 5) ** 0.5),
        ([1, 1, 1], [1, 2, 3], None),
        ([1], [2], None),
        ([], [], None),
    ],
)
def test_rank_correlation_by_hand(first: list[float], second: list[float], expected: float | None) -> None:
    assert rank_correlation(first, second) == (None if expected is None else pytest.approx(expected))


@given(VALUES, st.integers(0, 999))
def test_rank_correlation_knows_order_alone(values: list[int], seed: int) -> None:
    other = np.random.default_rng(seed).permutation(len(values)).astype(float)
    found = rank_correlation(values, other)
    if found is None:
        assert len(set(values)) == 1
        return
    assert -1 - 1e-9 <= found <= 1 + 1e-9
    assert rank_correlation(np.exp(np.array(values, dtype=float)), other) == pytest.approx(found)
    assert rank_correlation(other, values) == pytest.approx(found)
    assert rank_correlation(-other, values) == pytest.approx(-found)


def test_two_runs_are_compared_token_by_token() -> None:
    first = weights_of([0.1, 0.2], [0.3, 0.4])
    assert weights_rank_correlation(first, weights_of([0.2, 0.3], [0.4, 0.9])) == pytest.approx(1)
    assert weights_rank_correlation(first, weights_of([0.9, 0.8], [0.7, 0.6])) == pytest.approx(-1)
    assert weights_rank_correlation(first, weights_of([0.5, 0.5], [0.5, 0.5])) is None


@pytest.mark.parametrize(
    "other",
    [
        weights_of([0.1], [0.2, 0.3, 0.4]),
        weights_of([0.1, 0.2]),
        replace(weights_of([0.1, 0.2], [0.3, 0.4]), tokenizer_hash="x"),
        replace(weights_of([0.1, 0.2], [0.3, 0.4]), rationale_ids=("r1", "r0")),
    ],
)
def test_weights_of_other_tokens_are_not_compared(other: TokenWeights) -> None:
    with pytest.raises(DataError, match="cannot be compared"):
        weights_rank_correlation(weights_of([0.1, 0.2], [0.3, 0.4]), other)


def test_separation_from_keypoints_by_hand() -> None:
    texts = ["so 3+4 is 7", "9"]
    spans = [[(0, 2), (2, 4), (4, 5), (5, 6), (6, 9), (9, 11)], [(0, 1)]]
    weights = weights_of([0.5, 0.9, 0.8, 0.2, 0.1, 0.6], [0.4])
    found = keypoint_separation(weights, texts, spans, [[(3, 5), (10, 11)], []])
    # Keypoints: 3 (0.9), + (0.8), 7 (0.6). Others: so 0.5, 4 0.2, is 0.1, 9 0.4. Keypoint numbers 0.9, 0.6 against 0.2, 0.4.
    assert found == KeypointSeparation(1.0, 1.0)
    assert keypoint_separation(weights, texts, spans, [[(5, 6)], []]) == KeypointSeparation(round(1 / 6, 4), 0.0)


def test_a_weight_that_knows_only_the_type_is_at_chance_among_numbers() -> None:
    weights = weights_of([0.9, 0.1, 0.9])
    found = keypoint_separation(weights, ["1 a 2"], [[(0, 1), (2, 3), (4, 5)]], [[(0, 1)]])
    assert found == KeypointSeparation(0.75, 0.5)


def test_without_keypoints_nothing_is_separated() -> None:
    assert keypoint_separation(weights_of([0.9]), ["1"], [[(0, 1)]], [[]]) == KeypointSeparation(None, None)


def test_weight_by_frequency_by_hand() -> None:
    rows = [[7] * 10 + [3], [3, 5]]
    weights = weights_of([0.5] * 10 + [0.1], [0.3, 0.9])
    found = weight_by_frequency(weights, rows)
    # Mean weights: 3 → 0.2, 5 → 0.9, 7 → 0.5; counts 2, 1, 10.
    assert found["rank_correlation"] == -0.5
    assert found["bands"] == [
        {"at_most": 9, "distinct": 2, "count": 3, "mean": 0.4333},
        {"at_most": 99, "distinct": 1, "count": 10, "mean": 0.5},
    ]
