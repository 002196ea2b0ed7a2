"""The records that cross from one phase to the next.

All are frozen and hold plain values or numpy arrays; `kpodx.artifacts` reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt


class Split(StrEnum):
    """Which part of a question set a question belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


Span = tuple[int, int]
"""A half-open range [start, stop) of characters."""


class AnswerKind(StrEnum):
    """How an answer is read and compared."""

    NUMBER = "number"
    CHOICE = "choice"
    YES_NO = "yes_no"
    TEXT = "text"
    MATH = "math"


@dataclass(frozen=True)
class Question:
    """One question with its reference answer.

    `answer` is in canonical form: a plain decimal for numbers, the upper-case letter for choices, "yes" or "no", LaTeX for
    mathematics.
    `choices` are the texts of options A, B, …, empty unless the kind is choice.
    `gold_rationales` are human or generated rationales that came with the question; those of the embedded set end with their own answer
    sentence, the others do not hold the final answer.
    `gold_keypoints` are the numbers and operators that the answer depends on, by their characters in each gold rationale; empty if
    the set does not mark them.
    `num_steps` counts the reference reasoning steps, None if the set does not say.
    """

    id: str
    split: Split
    question: str
    answer: str
    answer_kind: AnswerKind = AnswerKind.NUMBER
    choices: tuple[str, ...] = ()
    gold_rationales: tuple[str, ...] = ()
    gold_keypoints: tuple[tuple[Span, ...], ...] = ()
    num_steps: int | None = None


@dataclass(frozen=True)
class Rationale:
    """One kept rationale of a training question; `text` does not hold the answer sentence.

    `answer` is what the student learns to say: the question's own answer.
    `teacher` names who wrote it.
    `keypoints` are the characters of `text` that are known to be keypoints; None if nobody marked them.
    """

    id: str
    question_id: str
    text: str
    answer: str
    teacher: str
    keypoints: tuple[Span, ...] | None = None


@dataclass(frozen=True)
class StepSpan:
    """One reasoning step: the half-open range [start, stop) of characters or of tokens, as the user of it says."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class TokenWeights:
    """The keep probability w_j of every student token of every rationale (equation 3).

    `rationale_ids` has n entries; the tokens of rationale i are `token_weight[offsets[i]:offsets[i + 1]]`,
    float32 in (0, 1). `tokenizer_hash` names the student tokenizer they were cut with.
    """

    rationale_ids: tuple[str, ...]
    offsets: npt.NDArray[np.int64]
    token_weight: npt.NDArray[np.float32]
    tokenizer_hash: str

    def of(self, row: int) -> npt.NDArray[np.float32]:
        """The weights of the rationale at `row`, float32 [num_tokens]."""
        return self.token_weight[self.offsets[row] : self.offsets[row + 1]]


@dataclass(frozen=True)
class StepDifficulties:
    """The difficulty d_k of every step of every rationale (equation 8).

    The steps of rationale i are `difficulty[offsets[i]:offsets[i + 1]]`, float64 ≥ 0 in nats;
    `step_stop` holds, in the same layout, where each step ends in student tokens (its start is the stop of the one before).
    """

    rationale_ids: tuple[str, ...]
    offsets: npt.NDArray[np.int64]
    difficulty: npt.NDArray[np.float64]
    step_stop: npt.NDArray[np.int64]

    def of(self, row: int) -> npt.NDArray[np.float64]:
        """The difficulties of the rationale at `row`, float64 [num_steps]."""
        return self.difficulty[self.offsets[row] : self.offsets[row + 1]]

    def stops_of(self, row: int) -> npt.NDArray[np.int64]:
        """The token index after each step of the rationale at `row`, int64 [num_steps]."""
        return self.step_stop[self.offsets[row] : self.offsets[row + 1]]


@dataclass(frozen=True)
class Schedule:
    """How many leading steps of each rationale are given as input at each stage, c_i(t).

    `input_steps` is int16 [num_rationales, num_stages]; column t is stage t, from 0; after the last column nothing is given.
    `planned` is D(t)/B and `done` is Σh(t)/B, float64 [num_stages].
    """

    rationale_ids: tuple[str, ...]
    input_steps: npt.NDArray[np.int16]
    planned: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    done: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def num_stages(self) -> int:
        """Number of stages that are planned, T + 1."""
        return int(self.input_steps.shape[1])


@dataclass(frozen=True)
class Prediction:
    """One generated answer; `predicted` is None where no answer could be read.

    `answer_source` says how the output gives its answer: "announced", "stated" or "guessed", None if it gives none.
    """

    question_id: str
    output: str
    predicted: str | None
    correct: bool
    num_steps: int | None
    answer_source: str | None = None
