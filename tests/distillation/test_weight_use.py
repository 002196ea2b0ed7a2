"""What the loss makes of token weights, by hand and by its properties."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kpodx.distillation.config import DistillationConfig, WeightUse
from kpodx.distillation.weight_use import LossWeights, annealed_weights, floor_weights, mean_one_weights

USES = get_args(WeightUse)
some_weights = st.lists(st.floats(2**-7, 1, width=32), min_size=1, max_size=30).map(
    lambda values: np.array(values, dtype=np.float32)
)


def weights(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_a_floor_by_hand() -> None:
    assert floor_weights(weights(0.125, 0.5, 0.75), 0.25).tolist() == [0.25, 0.5, 0.75]


def test_mean_one_by_hand() -> None:
    """The mean of 0.2, 0.4 and 0.9 is 0.5."""
    assert mean_one_weights(weights(0.2, 0.4, 0.9)) == pytest.approx([0.4, 0.8, 1.8])


def test_annealing_by_hand() -> None:
    """Over five epochs, a fifth token weight of 0.2 gains a quarter of 0.8 per epoch."""
    found = [float(annealed_weights(weights(0.2), epoch, 5)[0]) for epoch in range(5)]
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("use", USES)
def test_of_no_target_there_is_no_weight(use: WeightUse) -> None:
    """All steps of a rationale may be given."""
    found = LossWeights(use, floor=0.5, epochs=3).at(1, weights())
    assert (found.shape, found.dtype) == ((0,), np.float32)


@pytest.mark.parametrize("use", USES)
@given(length=st.integers(1, 20), epoch=st.integers(0, 4))
def test_uniform_weights_are_left_alike(use: WeightUse, length: int, epoch: int) -> None:
    """Then each use of them is equation 14."""
    assert LossWeights(use, floor=0.3, epochs=5).at(epoch, np.ones(length, np.float32)).tolist() == [1.0] * length


@pytest.mark.parametrize("use", USES)
@given(token_weight=some_weights, epoch=st.integers(0, 4))
def test_every_use_keeps_the_order_and_leaves_no_token_out(
    use: WeightUse, token_weight: np.ndarray[Any, np.dtype[np.float32]], epoch: int
) -> None:
    before = token_weight.copy()
    found = LossWeights(use, floor=0.3, epochs=5).at(epoch, token_weight)
    assert found.dtype == np.float32
    assert found.min() > 0
    assert (np.diff(found[np.argsort(token_weight)]) >= 0).all()
    assert np.array_equal(token_weight, before)


@given(some_weights)
def test_mean_one_has_mean_one_at_any_scale(token_weight: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    found = mean_one_weights(token_weight)
    assert found.mean(dtype=np.float64) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(mean_one_weights(token_weight / 8), found, rtol=1e-5)


@given(some_weights, st.integers(2, 100))
def test_annealing_begins_with_the_weights_and_ends_uniform(
    token_weight: np.ndarray[Any, np.dtype[np.float32]], epochs: int
) -> None:
    assert np.array_equal(annealed_weights(token_weight, 0, epochs), token_weight)
    assert (annealed_weights(token_weight, epochs - 1, epochs) == 1).all()


@given(some_weights, st.floats(0.01, 1))
def test_a_floor_lifts_the_low_and_leaves_the_high(
    token_weight: np.ndarray[Any, np.dtype[np.float32]], floor: float
) -> None:
    found = floor_weights(token_weight, floor)
    assert found.min() >= np.float32(floor)
    assert np.array_equal(found[token_weight >= np.float32(floor)], token_weight[token_weight >= np.float32(floor)])


def test_settings_are_read() -> None:
    config = DistillationConfig(weight_use="floor", weight_floor=0.4, epochs=7)
    assert LossWeights.of(config) == LossWeights("floor", 0.4, 7)
    assert LossWeights.of(DistillationConfig()).use == "raw"


def test_annealing_needs_two_epochs() -> None:
    with pytest.raises(ValidationError, match="'annealed' needs epochs of 2 or more"):
        DistillationConfig(weight_use="annealed", epochs=1)
    DistillationConfig(weight_use="annealed", epochs=1, method="std-cot")  # No weight is used.


@pytest.mark.parametrize("floor", [0.0, 1.5])
def test_a_floor_is_a_weight(floor: float) -> None:
    with pytest.raises(ValidationError, match="weight_floor"):
        DistillationConfig(weight_floor=floor)


def test_settings_that_count_for_nothing_do_not_train_again() -> None:
    def deciding(**settings: Any) -> dict[str, Any]:
        return DistillationConfig(**settings).deciding_settings()

    assert deciding(weight_floor=0.5) == deciding()
    assert deciding(weight_use="floor", weight_floor=0.5) != deciding(weight_use="floor")
    assert deciding(weight_use="mean-one") != deciding()
    assert deciding(method="std-cot", weight_use="mean-one") == deciding(method="std-cot")
    assert deciding(weights_in_loss=False, weight_use="floor") == deciding(weights_in_loss=False)
