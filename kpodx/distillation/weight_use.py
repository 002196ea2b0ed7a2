"""What the loss makes of token weights: the weights themselves, or weights with a floor, with mean 1, or on their way to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kpodx.distillation.config import DistillationConfig, WeightUse

Weights = npt.NDArray[np.float32]


def floor_weights(token_weight: Weights, floor: float) -> Weights:
    """Return max(w_j, floor), so that no token counts for less.

    >>> floor_weights(np.array([0.25, 0.75], dtype=np.float32), 0.5).tolist()
    [0.5, 0.75]
    """
    return np.maximum(token_weight, np.float32(floor))


def mean_one_weights(token_weight: Weights) -> Weights:
    """Return w_j divided by the mean of all w_j; their sum is the number of tokens, so that only their proportions count.

    >>> mean_one_weights(np.array([0.25, 0.75], dtype=np.float32)).tolist()
    [0.5, 1.5]
    """
    if not len(token_weight):
        return token_weight
    return (token_weight / token_weight.mean(dtype=np.float64)).astype(np.float32)


def annealed_weights(token_weight: Weights, epoch: int, epochs: int) -> Weights:
    """Return (1 - a) w_j + a with a = epoch / (epochs - 1): w in the first epoch, 1 in the last one.

    Args:
        token_weight: w.
        epoch: from 0.
        epochs: all epochs, at least 2.

    >>> annealed_weights(np.array([0.5], dtype=np.float32), 1, 3).tolist()
    [0.75]
    """
    assert 0 <= epoch < epochs, (epoch, epochs)
    share = np.float32(epoch / (epochs - 1))
    return (1 - share) * token_weight + share


@dataclass(frozen=True)
class LossWeights:
    """Makes the loss's weights of a rationale's target tokens from their token weights.

    Attributes:
        use: which of the ways.
        floor: least weight, for "floor".
        epochs: of the whole training, for "annealed".
    """

    use: WeightUse = "raw"
    floor: float = 0.0
    epochs: int = 1

    @classmethod
    def of(cls, config: DistillationConfig) -> LossWeights:
        """Read the phase's settings."""
        return cls(config.weight_use, config.weight_floor, config.epochs)

    def at(self, epoch: int, token_weight: Weights) -> Weights:
        """Return the weights of one epoch.

        Args:
            epoch: from 0.
            token_weight: weight of each token of the rationale that is a target, float32 [n]; n may be 0.
        """
        if self.use == "floor":
            return floor_weights(token_weight, self.floor)
        if self.use == "mean-one":
            return mean_one_weights(token_weight)
        return annealed_weights(token_weight, epoch, self.epochs) if self.use == "annealed" else token_weight


RAW = LossWeights()
"""The weights themselves, as in equation 15."""
