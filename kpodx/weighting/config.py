"""Settings of the weighting phase."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from kpodx.config import Config, Seed
from kpodx.text.token_types import TokenType

Share = Annotated[float, Field(ge=0, le=1)]

Method = Literal["mask-learning", "token-type", "gold", "learnability", "question-dependence", "conditional", "uniform"]
"""Where token weights come from."""

Target = Literal["next-step", "next-result", "answer"]
"""What the predictor is asked for behind each prefix of a masked rationale."""

Gradient = Literal["straight-through", "reinforce"]
"""How the loss reaches the probabilities that a mask was drawn from."""

FeatureSource = Literal["embeddings", "layer"]
"""What the mask module reads of a rationale."""

Unit = Literal["token", "word"]
"""What has a weight of its own."""


Weight = Annotated[float, Field(gt=0, le=1)]


class TokenTypeWeights(Config):
    """The weight of each type of token for the token-type method."""

    digit: Weight = 0.98
    """Weight of tokens with a digit."""
    operator: Weight = 0.98
    """Weight of operators such as +, = and %."""
    other_word: Weight = 0.23
    """Weight of words that are not function words."""
    function_word: Weight = 0.23
    """Weight of words such as "the", "has" and "so"."""
    punctuation: Weight = 0.23
    """Weight of everything else."""

    @property
    def by_type(self) -> dict[TokenType, float]:
        """The table by type."""
        return {kind: float(getattr(self, kind.value)) for kind in TokenType}


class GoldWeights(Config):
    """The two weights of the gold method."""

    keypoint: Weight = 0.98
    """Weight of tokens that overlap a keypoint marked in the rationale."""
    other: Weight = 0.23
    """Weight of all other tokens."""


_RIVAL_READS: dict[str, frozenset[str]] = {
    "token-type": frozenset({"token_type_weights"}),
    "gold": frozenset({"gold_weights"}),
    "learnability": frozenset({"reference_updates", "hardness_half", "batch_size", "predictor_learning_rate"}),
    "question-dependence": frozenset({"gain_half"}),
    "conditional": frozenset({"reference_updates", "gain_half", "batch_size", "predictor_learning_rate"}),
    "uniform": frozenset(),
}
"""The settings that each method without a mask reads."""

_RIVALS_ALONE = frozenset({"token_type_weights", "gold_weights", "reference_updates", "gain_half", "hardness_half"})
"""Settings that mask learning does not read."""


class WeightingConfig(Config):
    """Token weights: which tokens of a rationale matter?"""

    outside_fingerprint: ClassVar[frozenset[str]] = frozenset({"accept_uninformative"})

    seed: Seed | None = None
    """Seed of this phase; None derives it from the recipe's."""
    method: Method = "mask-learning"
    """Where the weights come from: mask-learning is the paper's; all others need no mask and read only the settings that name them."""
    target: Target = "next-step"
    """What a masked prefix must predict: the next step's text, the next step's last number, or the final answer (equation 5)."""
    gradient: Gradient = "straight-through"
    """How the loss reaches the mask: straight-through as in the paper, or reinforce with two masks of each rationale."""
    unit: Unit = "word"
    """What has one weight: each token as in the paper, or each word or number with all of its tokens."""
    features: FeatureSource = "embeddings"
    """What the mask module reads: the student's input embeddings as in the paper, or its states after feature_layer, which know context."""
    feature_layer: int = Field(default=1, ge=1)
    """Layers of the student, an encoder-decoder's encoder, that these states have passed; only with features=layer."""
    predictor: str = Field(default="student", min_length=1)
    """Model that predicts the answer from the masked rationale: a hub id, a local folder, or student for the student's own weights."""
    predictor_revision: str | None = None
    """Hub commit, tag or branch of the predictor."""
    mask_ratio_coef: float = Field(default=0.5, ge=0)
    """α of equation 7; both of its terms are divided by the rationale's length here, which leaves the paper's 0.5 what it is."""
    target_keep_share: Annotated[float, Field(gt=0, lt=1)] | None = 0.4
    """Mean keep probability that the mask is pulled to, so that it cannot collapse; None leaves it to α alone (the paper)."""
    final_keep_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Mean keep probability that it is pulled to in the last mask update, from target_keep_share in a straight line; None keeps that."""
    keep_share_coef: float = Field(default=50.0, ge=0)
    """Strength of that pull, in nats for each squared unit that the share is off."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature τ of the binary concrete distribution."""
    final_temperature: Annotated[float, Field(gt=0)] | None = None
    """Temperature in the last mask update, from temperature in a straight line; None keeps that."""
    logit_bound: float = Field(default=3.0, gt=0)
    """Largest absolute keep logit, so that no weight saturates; 3 keeps all weights between 0.05 and 0.95."""
    hidden_size: int | None = Field(default=None, ge=1, le=65536)
    """Width of the two-layer MLP f_w; None takes the student's embedding width."""
    num_prefixes: int = Field(default=4, ge=1)
    """Most prefixes of each rationale in an update, spread evenly over it (M; the paper sums over all)."""
    batch_size: int = Field(default=16, ge=1)
    """Rationales per update."""
    warmup_updates: int = Field(default=300, ge=0)
    """Updates in which the predictor reads unmasked rationales."""
    random_mask_updates: int = Field(default=300, ge=0)
    """Updates in which it reads randomly masked prefixes, after the warm-up."""
    mask_updates: int = Field(default=600, ge=1)
    """Updates in which the mask is learnt, after those."""
    random_mask_share: Share = 0.5
    """Share of rationales that are still masked at random while the mask is learnt, so that the predictor keeps reading any mask."""
    module_learning_rate: float = Field(default=1e-3, gt=0)
    """AdamW rate of the attention layer and the MLP."""
    predictor_learning_rate: float = Field(default=3e-4, gt=0)
    """AdamW rate of the predictor in the warm-ups."""
    joint_learning_rate: float = Field(default=1e-4, ge=0)
    """AdamW rate of the predictor while the mask is learnt; 0 freezes it."""
    heldout_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of questions kept out of mask learning to measure it."""
    max_heldout: int = Field(default=512, ge=1)
    """Most rationales to measure on."""
    min_rationale_gain: float = 0.2
    """Least drop of the held-out target loss that unmasked rationales must bring, in nats per target; below it the phase stops."""
    min_keep_share: Share = 0.03
    """Mean keep probability below which everything is masked and the phase stops."""
    max_keep_share: Share = 0.97
    """Mean keep probability above which nothing is masked and the phase stops."""
    accept_uninformative: bool = False
    """Whether to go on with weights that beat no random mask on held-out rationales; otherwise the phase stops with exit code 3."""
    token_type_weights: TokenTypeWeights = TokenTypeWeights()
    """Weight of each type of token; only for the token-type method."""
    gold_weights: GoldWeights = GoldWeights()
    """Weights of keypoints and of all other tokens; only for the gold method."""
    reference_updates: int = Field(default=600, ge=1)
    """Updates of each of the two plainly trained students that learnability and conditional compare with."""
    gain_half: float = Field(default=0.05, gt=0)
    """Likelihood that earns half of the weight's range in question-dependence and conditional, in nats per token."""
    hardness_half: float = Field(default=0.25, gt=0)
    """Loss at which a token counts as half hard in learnability, in nats per token."""
    checkpoint_every: int = Field(default=200, ge=1)
    """Updates between saved states, from which a killed phase resumes."""

    @property
    def unread(self) -> frozenset[str]:
        """Settings of other methods and choices: they may stay in a recipe and count for nothing."""
        if self.method == "mask-learning":
            unused = set() if self.features == "layer" else {"feature_layer"}
            # REINFORCE takes hard masks, which have no temperature.
            unused |= {"temperature", "final_temperature"} if self.gradient == "reinforce" else set()
            return _RIVALS_ALONE | unused
        return frozenset(type(self).model_fields) - _RIVAL_READS[self.method] - {"seed", "method"}

    @model_validator(mode="after")
    def _consistent(self) -> WeightingConfig:
        if self.min_keep_share >= self.max_keep_share:
            raise ValueError(f"min_keep_share {self.min_keep_share} is not below max_keep_share {self.max_keep_share}")
        if self.final_keep_share is not None and self.target_keep_share is None:
            raise ValueError("final_keep_share needs target_keep_share, the share that it starts from")
        return self
