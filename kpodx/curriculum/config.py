"""Settings of the progressive schedule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from kpodx.config import Config, FilePath
from kpodx.scheduling.strategy import Strategy

if TYPE_CHECKING:
    from kpodx.scheduling.schedule import Pace

QuestionVectors = Literal["student", "glove", "tfidf"]

REFERENCE_NUM_RATIONALES = 7473
"""The size of GSM8K's training set, where the paper chose its diversity coefficient."""


class CurriculumConfig(Config):
    """How fast the student moves from the last steps of a rationale to the whole of it."""

    strategy: Strategy = "kpod"
    """What is released first: kpod (easy steps over diverse questions), none (everything at once), random, length
    (steps with few tokens) or reverse (hard steps)."""
    growth_exponent: float = Field(default=0.5, ge=0, le=100, allow_inf_nan=False)
    """Exponent p of the growth of the difficulty budget; 0 grows it linearly."""
    initial_fraction: float = Field(default=0.3, ge=0, le=1)
    """Share C0/B of the total difficulty that the student learns at stage 0."""
    full_stage: int | None = Field(default=None, ge=1, le=10_000)
    """Stage T, in epochs, whose budget is the total difficulty; None takes half of distillation.epochs."""
    remeasure_every: int | None = Field(default=None, ge=1)
    """Epochs between two measurements of the step difficulties with the student in training, each of which solves the
    rest of the schedule again; None measures them once, before training."""
    given_steps: Literal["decoder", "encoder"] = "decoder"
    """Where an encoder-decoder student reads the steps that are given: forced in the decoder, or behind the question in
    the encoder. A decoder-only student always reads them behind the question."""
    steps_per_increase: int = Field(default=1, ge=1, le=32_767)
    """Steps Δs by which a selected rationale's target grows in one stage."""
    num_clusters: int = Field(default=5, ge=1)
    """Clusters K of questions over which a selection is spread."""
    diversity_coef: float = Field(default=12.0, ge=0, le=1e12, allow_inf_nan=False)
    """Weight β of the spread over clusters against the difficulty used, in nats."""
    scale_diversity: bool = True
    """Whether β is multiplied by √(rationales / 7473), as it was chosen for 7473 rationales."""
    question_vectors: QuestionVectors = "student"
    """What questions are clustered by: mean input embeddings of the student, mean GloVe vectors, or tf-idf."""
    glove_path: FilePath | None = None
    """GloVe text file (a word and its numbers a line) for question_vectors=glove."""

    @model_validator(mode="after")
    def _glove_has_a_file(self) -> CurriculumConfig:
        if self.question_vectors == "glove" and self.glove_path is None:
            raise ValueError("question_vectors is 'glove', which needs glove_path, the file with the vectors")
        return self

    @model_validator(mode="after")
    def _something_to_solve_again(self) -> CurriculumConfig:
        if self.remeasure_every is not None and self.strategy == "none":
            raise ValueError(
                f"remeasure_every is {self.remeasure_every}, but strategy 'none' gives no steps at any stage: "
                "expected another strategy, or no remeasure_every"
            )
        return self

    def resolve_full_stage(self, num_epochs: int) -> int:
        """Stage T: `full_stage`, or half of the epochs of the distillation, rounded down, at least 1."""
        return self.full_stage if self.full_stage is not None else max(1, num_epochs // 2)

    def remeasured_stages(self, num_epochs: int) -> tuple[int, ...]:
        """Return the stages before which difficulties are measured again, as long as steps are still given then.

        Stage T is not among them: its budget holds all that is left, however hard it is.
        """
        if self.remeasure_every is None:
            return ()
        return tuple(
            range(self.remeasure_every, min(self.resolve_full_stage(num_epochs), num_epochs), self.remeasure_every)
        )

    def resolve_pace(self, num_epochs: int) -> Pace:
        """Return how fast the budget grows in a distillation of `num_epochs`."""
        from kpodx.scheduling.schedule import Pace

        return Pace(
            self.resolve_full_stage(num_epochs), self.initial_fraction, self.growth_exponent, self.steps_per_increase
        )

    def resolve_diversity_coef(self, num_rationales: int) -> float:
        """The β in use for a set of `num_rationales`, in nats."""
        scale = math.sqrt(num_rationales / REFERENCE_NUM_RATIONALES) if self.scale_diversity else 1.0
        return self.diversity_coef * scale
