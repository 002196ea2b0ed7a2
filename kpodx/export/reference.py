"""What a student says, as the measure of its packages: greedy answers, and its distributions over the vocabulary along some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kpodx.errors import UsageError
from kpodx.export.manifest import PROMPT
from kpodx.export.weights import check_layers
from kpodx.modeling.examples import model_family, prompt_with_steps
from kpodx.modeling.generation import generate_ids
from kpodx.modeling.loading import Model, load_with_tokenizer
from kpodx.modeling.tokenization import tokenize_rationales
from kpodx.runtime import Progress
from kpodx.schema import Question, Rationale

Array = npt.NDArray[np.float32]
SCORED_ANSWERS = 8
SCORED_TOKENS = 32
"""Distributions are kept of this many answers, and of this many tokens of each: 32,000 words take 4 MB an answer."""


@dataclass(frozen=True)
class Reference:
    """A student and its answers.

    Attributes:
        model: the student.
        questions: what it was asked.
        answers: token ids of its greedy answers, in the same order, each up to its end mark or the end of the context.
        read: the token ids that it reads for each question.
        log_probabilities: along the first answers, [tokens, vocabulary] each, natural logarithms.
        calibration: token ids of what it reads and of what it learnt to say, of rationales that it was trained with.
    """

    model: Model
    questions: tuple[str, ...]
    answers: tuple[tuple[int, ...], ...]
    read: tuple[tuple[int, ...], ...]
    log_probabilities: tuple[Array, ...]
    calibration: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()

    def divergence(self) -> float:
        """Mean Kullback-Leibler divergence a token, in nats, of the model as it is now from what it was."""
        pairs = zip(self.log_probabilities, log_probabilities(self.model, self.read, self.answers), strict=True)
        return float(np.mean(np.concatenate([kl_divergence(before, now) for before, now in pairs])))


def ask_student(
    student: Path,
    questions: Sequence[str],
    max_new_tokens: int,
    progress: Progress,
    calibration: tuple[Sequence[Rationale], Sequence[Question]] = ((), ()),
) -> Reference:
    """Load a student and let it answer.

    Args:
        student: its folder, in the hub's layout.
        questions: what it is asked.
        max_new_tokens: longest answer, in tokens.
        progress: where progress is shown.
        calibration: rationales that it was trained with, and their questions.

    Raises:
        UsageError: a question does not fit into its context.
        ModelError: it cannot be loaded.
    """
    check_layers(student)
    model, tokenizer = load_with_tokenizer(str(student))
    prompts = [PROMPT.replace("{question}", question) for question in questions]
    context = context_tokens(model.config)
    family = model_family(model, tokenizer)
    read = [prompt_with_steps(ids, (), family) for ids in tokenizer(prompts, add_special_tokens=False).input_ids]
    lengths = [len(ids) for ids in read]
    if max(lengths) >= context:
        raise UsageError(
            f"A question of {max(lengths)} tokens does not fit into the student's context of {context}.",
            hint="Compare on fewer questions with --questions, or export a student with a longer context.",
        )
    # One by one, as a device answers: another padding could round otherwise.
    written = generate_ids(
        model,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        batch_size=1,
        progress=progress,
        description="The student answers",
    )
    # transformers goes on beyond the positions that a model was trained with; a device stops there.
    rooms = [context - (0 if model.config.is_encoder_decoder else length) for length in lengths]
    answers = tuple(tuple(ids[:room]) for ids, room in zip(written, rooms, strict=True))
    learnt = tuple(
        (prompt_with_steps(item.prompt_ids, (), family), (*item.rationale_ids, *item.answer_ids))
        for item in tokenize_rationales(tokenizer, *calibration)
    )
    return Reference(
        model, tuple(questions), answers, tuple(read), tuple(log_probabilities(model, read, answers)), learnt
    )


@torch.no_grad()
def log_probabilities(model: Model, read: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[Array]:
    """Log-probabilities [tokens, vocabulary] along the first answers that are not empty, each token given those before it."""
    model.eval()
    found = []
    for ids, answer in scored(read, answers):
        if model.config.is_encoder_decoder:
            start = [model.config.decoder_start_token_id, *answer[:-1]]
            logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([start])).logits[0]
        else:
            logits = model(input_ids=torch.tensor([[*ids, *answer[:-1]]])).logits[0, -len(answer) :]
        found.append(torch.log_softmax(logits.float(), -1).numpy())
    return found


def scored(read: Sequence[Any], answers: Sequence[Sequence[int]]) -> list[tuple[Any, tuple[int, ...]]]:
    """(what was read, answer) of those whose distributions are compared, the answers cut."""
    pairs = [(ids, tuple(answer[:SCORED_TOKENS])) for ids, answer in zip(read, answers, strict=True) if answer]
    return pairs[:SCORED_ANSWERS]


def kl_divergence(reference: Array, other: Array) -> Array:
    """Kullback-Leibler divergence of each row, in nats, of log-probabilities [rows, vocabulary].

    >>> half = np.log(np.array([[0.5, 0.5]], np.float32))
    >>> round(float(kl_divergence(half, np.log(np.array([[0.25, 0.75]], np.float32)))[0]), 6)
    0.143841
    """
    gap = reference.astype(np.float64) - other
    return np.sum(np.exp(reference.astype(np.float64)) * gap, axis=-1).astype(np.float32)


def context_tokens(config: Any) -> int:
    """The positions of a model, in tokens; 512 for a T5 that names none, as GGUF has it."""
    positions = getattr(config, "n_positions", None) or getattr(config, "max_position_embeddings", None)
    return int(positions or 512)
