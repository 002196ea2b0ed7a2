"""Settings of the weighting phase."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from kpodx.config import Config, Seed

Share = Annotated[float, Field(ge=0, le=1)]


class WeightingConfig(Config):
    """Mask learning: which tokens of a rationale does an answer predictor need?"""

    seed: Seed | None = None
    """Seed of this phase; None derives it from the recipe's."""
    predictor: str = Field(default="student", min_length=1)
    """Model that predicts the answer from the masked rationale: a hub id, a local folder, or student for the student's own weights."""
    predictor_revision: str | None = None
    """Hub commit, tag or branch of the predictor."""
    mask_ratio_coef: float = Field(default=0.5, ge=0)
    """α of equation 7; both of its terms are divided by the rationale's length here, which leaves the paper's 0.5 what it is."""
    target_keep_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Mean keep probability that the mask is pulled to, so that it cannot collapse; None leaves it to α alone (the paper)."""
    keep_share_coef: float = Field(default=50.0, ge=0)
    """Strength of that pull, in nats for each squared unit that the share is off."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature τ of the binary concrete distribution."""
    logit_bound: float = Field(default=4.0, gt=0)
    """Largest absolute keep logit, so that no weight saturates."""
    hidden_size: int | None = Field(default=None, ge=1, le=65536)
    """Width of the two-layer MLP f_w; None takes the student's embedding width."""
    num_prefixes: int = Field(default=4, ge=1)
    """Prefixes of each rationale in an update, spread evenly over it (M; the paper sums over all)."""
    batch_size: int = Field(default=16, ge=1)
    """Rationales an update."""
    warmup_updates: int = Field(default=300, ge=0)
    """Updates in which the predictor reads whole, unmasked rationales."""
    random_mask_updates: int = Field(default=300, ge=0)
    """Updates in which it reads randomly masked prefixes, after the warm-up."""
    mask_updates: int = Field(default=600, ge=1)
    """Updates in which the mask is learnt, after those."""
    random_mask_share: Share = 0.5
    """Share of rationales that are still masked at random while the mask is learnt, so that the predictor keeps reading any mask."""
    module_learning_rate: float = Field(default=1e-3, gt=0)
    """AdamW rate of the attention layer and the MLP."""
    predictor_learning_rate: float = Field(default=1e-3, gt=0)
    """AdamW rate of the predictor in the warm-ups."""
    joint_learning_rate: float = Field(default=1e-4, ge=0)
    """AdamW rate of the predictor while the mask is learnt; 0 freezes it."""
    heldout_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of questions kept out of mask learning to measure it."""
    max_heldout: int = Field(default=512, ge=1)
    """Most rationales to measure on."""
    min_rationale_gain: float = 0.2
    """Least drop of the held-out answer loss that the whole rationale must bring, in nats an answer; below it the phase stops."""
    min_keep_share: Share = 0.03
    """Mean keep probability below which everything is masked and the phase stops."""
    max_keep_share: Share = 0.97
    """Mean keep probability above which nothing is masked and the phase stops."""
    checkpoint_every: int = Field(default=200, ge=1)
    """Updates between saved states, from which a killed phase resumes."""

    @model_validator(mode="after")
    def _consistent(self) -> WeightingConfig:
        if self.min_keep_share >= self.max_keep_share:
            raise ValueError(f"min_keep_share {self.min_keep_share} is not below max_keep_share {self.max_keep_share}")
        return self
