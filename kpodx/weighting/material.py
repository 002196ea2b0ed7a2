"""What every method of weighting reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from kpodx import artifacts
from kpodx.modeling.config import StudentConfig
from kpodx.modeling.loading import Model, Tokenizer, load_with_tokenizer
from kpodx.modeling.tokenization import TokenizedRationale, check_lengths, tokenize_rationales, tokenizer_hash
from kpodx.runtime import PhaseContext, resolve_device
from kpodx.schema import Question, Rationale, TokenWeights

Weights = list[npt.NDArray[np.float32]]
"""The weight of every token of every rationale, in the order of the rationales."""


@dataclass(frozen=True)
class Material:
    """Questions, their rationales, and the same in the student's tokens; `embedding` is the student's, float [V, width]."""

    questions: Sequence[Question]
    rationales: Sequence[Rationale]
    tokenizer: Tokenizer
    tokenized: Sequence[TokenizedRationale]
    embedding: Tensor

    def pack(self, weights: Weights) -> TokenWeights:
        """Return the weights of all rationales as the record that later phases read."""
        offsets = np.concatenate([[0], np.cumsum([len(values) for values in weights])]).astype(np.int64)
        ids = tuple(item.rationale_id for item in self.tokenized)
        return TokenWeights(ids, offsets, np.concatenate(weights).astype(np.float32), tokenizer_hash(self.tokenizer))


def load_material(context: PhaseContext) -> Material:
    """Read the phase's inputs and cut the rationales into the student's tokens."""
    student: StudentConfig = context.recipe.student
    questions = artifacts.load_questions(context.inputs["dataset"])
    rationales = artifacts.load_rationales(context.inputs["rationales"])
    model, tokenizer = load_student(context)
    tokenized = tokenize_rationales(tokenizer, rationales, questions)
    check_lengths(
        tokenized,
        max_input_tokens=student.max_input_tokens,
        max_target_tokens=student.max_target_tokens,
        encoder_decoder=bool(model.config.is_encoder_decoder),
    )
    device = resolve_device(context.recipe.runtime.device)
    embedding = model.get_input_embeddings().weight.detach().clone().to(device)
    return Material(questions, rationales, tokenizer, tokenized, embedding)


def load_student(context: PhaseContext) -> tuple[Model, Tokenizer]:
    """Load the untrained student and its tokenizer."""
    return load_with_tokenizer(context.recipe.student.model, context.revisions)
