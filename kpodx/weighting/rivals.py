"""Token weights without a mask: what each rival method reads, and its formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kpodx.artifacts import read_arrays, write_arrays
from kpodx.modeling.examples import model_family
from kpodx.modeling.rationale_likelihood import rationale_nll
from kpodx.modeling.tokenization import TokenizedRationale, encode_continuations
from kpodx.runtime import PhaseContext, derive_seed, resolve_dtype
from kpodx.text.prompts import student_prompt
from kpodx.weighting.config import Method, WeightingConfig
from kpodx.weighting.gold import gold_weights, marked_keypoints
from kpodx.weighting.learnability import learnability_weight
from kpodx.weighting.likelihood_gain import gain_weight, other_questions
from kpodx.weighting.material import Material, Weights, load_student
from kpodx.weighting.reference import halves, train_plainly
from kpodx.weighting.targets import answer_words
from kpodx.weighting.token_table import table_weights

Losses = list[npt.NDArray[np.float32]]
"""The loss of every token of every rationale, in nats."""

LOW, HIGH = 0.2, 0.98
"""The range of weights that are made from likelihoods: nothing is left out of the student's loss altogether."""


def uniform(_context: PhaseContext, _config: WeightingConfig, material: Material) -> Weights:
    """Give every token the weight 1, which makes the loss of equation 15 that of equation 14."""
    return [np.ones(len(item.rationale_ids), dtype=np.float32) for item in material.tokenized]


def token_type(_context: PhaseContext, config: WeightingConfig, material: Material) -> Weights:
    """Look every token up in the recipe's table of types."""
    texts = [rationale.text for rationale in material.rationales]
    table = config.token_type_weights.by_type
    encoded = encode_continuations(material.tokenizer, texts)
    return [table_weights(text, spans, table) for text, (_, spans) in zip(texts, encoded, strict=True)]


def gold(_context: PhaseContext, config: WeightingConfig, material: Material) -> Weights:
    """Give the tokens of known keypoints one weight and all others another; the upper bound of what weights can know."""
    known = marked_keypoints(material.rationales)
    encoded = encode_continuations(material.tokenizer, [rationale.text for rationale in material.rationales])
    return [
        gold_weights(spans, keypoints, keypoint=config.gold_weights.keypoint, other=config.gold_weights.other)
        for (_, spans), keypoints in zip(encoded, known, strict=True)
    ]


def question_dependence(context: PhaseContext, config: WeightingConfig, material: Material) -> Weights:
    """Compare each token's loss given its own question with that given another's."""
    own = list(material.tokenized)
    chosen = other_questions([item.question_id for item in own], derive_seed("other_questions", context.seed))
    strange = [replace(item, prompt_ids=own[other].prompt_ids) for item, other in zip(own, chosen, strict=True)]
    return [
        gain_weight(without, beside, half=config.gain_half, low=LOW, high=HIGH)
        for without, beside in zip(
            untrained_losses(context, material, strange), untrained_losses(context, material, own), strict=True
        )
    ]


def learnability(context: PhaseContext, config: WeightingConfig, material: Material) -> Weights:
    """Compare each token's loss under the untrained student with that under one trained on the other half of the questions."""
    [trained] = cross_fitted(context, config, material, [material.tokenized])
    return [
        learnability_weight(before, after, half=config.hardness_half, low=LOW, high=HIGH)
        for before, after in zip(untrained_losses(context, material, material.tokenized), trained, strict=True)
    ]


def conditional(context: PhaseContext, config: WeightingConfig, material: Material) -> Weights:
    """Compare each token's loss without the answer with that beside it, under a student trained to read both prompts."""
    answered = with_answers(material)
    without, beside = cross_fitted(context, config, material, [material.tokenized, answered])
    return [
        gain_weight(first, second, half=config.gain_half, low=LOW, high=HIGH)
        for first, second in zip(without, beside, strict=True)
    ]


RIVALS: dict[Method, Callable[[PhaseContext, WeightingConfig, Material], Weights]] = {
    "uniform": uniform,
    "token-type": token_type,
    "gold": gold,
    "question-dependence": question_dependence,
    "learnability": learnability,
    "conditional": conditional,
}


def with_answers(material: Material) -> list[TokenizedRationale]:
    """Return the rationales behind prompts whose question already says the answer."""
    by_id = {question.id: question for question in material.questions}
    pairs = [
        (by_id[rationale.question_id], answer_words(by_id[rationale.question_id], rationale))
        for rationale in material.rationales
    ]
    prompts = [
        student_prompt(replace(question, question=f"{question.question} The answer is {answer}."))
        for question, answer in pairs
    ]
    ids = material.tokenizer(prompts, add_special_tokens=False).input_ids
    return [replace(item, prompt_ids=tuple(prompt)) for item, prompt in zip(material.tokenized, ids, strict=True)]


def untrained_losses(context: PhaseContext, material: Material, items: Sequence[TokenizedRationale]) -> Losses:
    """Return the loss of every token under the student as it was before distillation."""
    device = material.embedding.device
    model, tokenizer = load_student(context)
    model.to(device).eval()
    dtype = resolve_dtype(context.recipe.runtime.dtype, device)
    scored = dict(rationale_nll(model, model_family(model, tokenizer), items, batch_size=SCORED_TOGETHER, dtype=dtype))
    return [scored[row] for row in range(len(items))]


SCORED_TOGETHER = 32
"""Rationales that are scored at a time."""


def cross_fitted(
    context: PhaseContext, config: WeightingConfig, material: Material, versions: Sequence[Sequence[TokenizedRationale]]
) -> list[Losses]:
    """Return each version's token losses under a student that was trained on the other half of the questions.

    Each student learns from all versions of its half. What a finished half scored is kept in the phase's folder, so that a killed
    phase trains only what is missing.

    Args:
        context: of the phase.
        config: its settings.
        material: what it reads.
        versions: the same rationales behind different prompts.
    """
    rows = halves([item.question_id for item in material.tokenized], context.seed)
    results: list[Losses] = [[np.zeros(0, dtype=np.float32)] * len(version) for version in versions]
    for number, scored_rows in enumerate(rows):
        path = context.output / f"reference-{number}.safetensors"
        parts = [[version[row] for row in scored_rows] for version in versions]
        if scored_rows and not path.exists():
            taught_rows = rows[1 - number] or scored_rows
            taught = [version[row] for version in versions for row in taught_rows]
            _score_half(context, config, material, taught, parts, path)
        for result, losses in zip(results, _read_half(path, parts) if scored_rows else [], strict=False):
            for row, values in zip(scored_rows, losses, strict=True):
                result[row] = values
    return results


def _score_half(
    context: PhaseContext,
    config: WeightingConfig,
    material: Material,
    taught: Sequence[TokenizedRationale],
    parts: Sequence[Sequence[TokenizedRationale]],
    path: Path,
) -> None:
    """Train a student on what is taught, and write its losses on the other half."""
    device = material.embedding.device
    model, tokenizer = load_student(context)
    model.to(device)
    family, dtype = model_family(model, tokenizer), resolve_dtype(context.recipe.runtime.dtype, device)
    train_plainly(
        model,
        family,
        taught,
        updates=config.reference_updates,
        batch_size=config.batch_size,
        learning_rate=config.predictor_learning_rate,
        dtype=dtype,
        seed=derive_seed("reference", context.seed, path.name),
        progress=context.progress,
    )
    arrays = {}
    for number, part in enumerate(parts):
        scored = dict(rationale_nll(model, family, part, batch_size=SCORED_TOGETHER, dtype=dtype))
        arrays[f"version_{number}"] = np.concatenate([scored[row] for row in range(len(part))])
    write_arrays(path, arrays)


def _read_half(path: Path, parts: Sequence[Sequence[TokenizedRationale]]) -> list[Losses]:
    arrays = read_arrays(path)[0]
    result: list[Losses] = []
    for number, part in enumerate(parts):
        stops = np.cumsum([len(item.rationale_ids) for item in part])
        result.append(np.split(arrays[f"version_{number}"], stops[:-1]))
    return result


def clean_up(output: Path) -> None:
    """Remove what a killed phase would have resumed from."""
    for path in output.glob("reference-*.safetensors"):
        path.unlink()
