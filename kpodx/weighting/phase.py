"""The weighting phase: rationales → token weights."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kpodx import artifacts
from kpodx.modeling.config import StudentConfig
from kpodx.modeling.examples import model_family
from kpodx.modeling.loading import Tokenizer, load_with_tokenizer
from kpodx.modeling.tokenization import (
    TokenizedRationale,
    check_lengths,
    encode_continuations,
    tokenize_rationales,
    tokenizer_hash,
)
from kpodx.runtime import PhaseContext, derive_seed, resolve_device, resolve_dtype, seed_everything
from kpodx.schema import Question, Rationale, TokenWeights
from kpodx.statistics import rank_separation
from kpodx.text.prompts import answer_sentence, student_prompt
from kpodx.text.token_types import TokenType, token_type
from kpodx.weighting.config import WeightingConfig
from kpodx.weighting.module import TokenWeightModule
from kpodx.weighting.predictor import AnswerPredictor, PredictorItem
from kpodx.weighting.training import LearningRates, MaskLearner, Stages, resume, run_until
from kpodx.weighting.validation import check_keep_share, check_rationale_gain, read_with_mask, report

logger = logging.getLogger(__name__)

CHECKPOINT = "mask_learning.pt"


def run(context: PhaseContext) -> dict[str, object]:
    """Learn a keep probability for every token of every rationale; see `docs/weighting.md`."""
    config: WeightingConfig = context.recipe.weighting
    student: StudentConfig = context.recipe.student
    device = resolve_device(context.recipe.runtime.device)
    questions = artifacts.load_questions(context.inputs["dataset"])
    rationales = artifacts.load_rationales(context.inputs["rationales"])
    student_model, tokenizer = load_with_tokenizer(student.model, context.revisions)
    tokenized = tokenize_rationales(tokenizer, rationales, questions)
    check_lengths(
        tokenized,
        max_input_tokens=student.max_input_tokens,
        max_target_tokens=student.max_target_tokens,
        encoder_decoder=bool(student_model.config.is_encoder_decoder),
    )
    embedding = student_model.get_input_embeddings().weight.detach().clone().to(device)
    del student_model

    seed_everything(context.seed)
    learner, items = _build_learner(context, config, tokenized, rationales, questions, tokenizer, embedding)
    fit, heldout = _hold_out(rationales, config.heldout_fraction, context.seed)
    heldout_items = [items[i] for i in heldout[: config.max_heldout]]
    fit_items = [items[i] for i in fit]
    readings = _learn(context, config, learner, fit_items, heldout_items)
    weights = _weigh(learner, tokenized, tokenizer_hash(tokenizer), context)
    artifacts.save_token_weights(context.output, weights)
    findings = report(readings)
    by_type = weights_by_type(weights, rationales, tokenizer)
    artifacts.write_json(
        context.output / artifacts.FINDINGS, {"masks": findings, "token_types": by_type, "history": learner.history}
    )
    (context.output / CHECKPOINT).unlink(missing_ok=True)
    if not findings["beats_random"]:
        context.progress.note(
            "WARNING: on held-out rationales the learnt mask reads no better than a random one that keeps as much "
            f"(answer loss {readings['learnt'].prefix_nll:.3f} against {readings['random'].prefix_nll:.3f} nats, accuracy "
            f"{readings['learnt'].whole_accuracy:.3f} against {readings['random'].whole_accuracy:.3f}). "
            "These token weights carry no signal."
        )
    return {
        "num_tokens": int(weights.offsets[-1]),
        "mean_token_weight": round(float(weights.token_weight.mean()), 4),
        "masks": findings,
        "token_types": by_type,
    }


def _build_learner(
    context: PhaseContext,
    config: WeightingConfig,
    tokenized: Sequence[TokenizedRationale],
    rationales: Sequence[Rationale],
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    embedding: torch.Tensor,
) -> tuple[MaskLearner, list[PredictorItem]]:
    name = context.recipe.student.model if config.predictor == "student" else config.predictor
    device = embedding.device
    dtype = resolve_dtype(context.recipe.runtime.dtype, device)
    model, predictor_tokenizer = load_with_tokenizer(name, context.revisions)
    predictor = AnswerPredictor(model, model_family(model, predictor_tokenizer)).to(device)
    width = embedding.shape[1]
    learner = MaskLearner(
        predictor,
        TokenWeightModule(width, config.hidden_size or width, config.logit_bound).to(device),
        embedding,
        stages=Stages(config.warmup_updates, config.random_mask_updates, config.mask_updates),
        rates=LearningRates(config.module_learning_rate, config.predictor_learning_rate, config.joint_learning_rate),
        batch_size=config.batch_size,
        num_prefixes=config.num_prefixes,
        mask_ratio_coef=config.mask_ratio_coef,
        target_keep_share=config.target_keep_share,
        keep_share_coef=config.keep_share_coef,
        temperature=config.temperature,
        random_mask_share=config.random_mask_share,
        dtype=dtype,
        seed=context.seed,
    )
    return learner, predictor_items(tokenized, rationales, questions, tokenizer, predictor_tokenizer)


def predictor_items(
    tokenized: Sequence[TokenizedRationale],
    rationales: Sequence[Rationale],
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    predictor_tokenizer: Tokenizer,
) -> list[PredictorItem]:
    """Each rationale in the predictor's vocabulary, with the characters that carry a mask over from the student's."""
    by_id = {question.id: question for question in questions}
    texts = [r.text for r in rationales]
    own = encode_continuations(predictor_tokenizer, texts)
    theirs = encode_continuations(tokenizer, texts)
    prompts = predictor_tokenizer(
        [student_prompt(by_id[r.question_id]) for r in rationales], add_special_tokens=False
    ).input_ids
    answers = encode_continuations(predictor_tokenizer, [answer_sentence(r.answer) for r in rationales])
    return [
        PredictorItem(tuple(prompt), ids, answer, item.rationale_ids, spans, student_spans)
        for item, prompt, (ids, spans), (_, student_spans), (answer, _) in zip(
            tokenized, prompts, own, theirs, answers, strict=True
        )
    ]


def _hold_out(rationales: Sequence[Rationale], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Rows to learn from and rows to measure on; all rationales of a question go the same way."""
    held: list[int] = []
    fit: list[int] = []
    for row, rationale in enumerate(rationales):
        (held if derive_seed("heldout", seed, rationale.question_id) % 10_000 < fraction * 10_000 else fit).append(row)
    if not held or not fit:
        # So few questions that the draw took none or all: the first question is measured on, the rest learnt from.
        first = rationales[0].question_id
        held = [row for row, rationale in enumerate(rationales) if rationale.question_id == first]
        fit = [row for row in range(len(rationales)) if row not in held] or held
    return fit, held


def _learn(
    context: PhaseContext,
    config: WeightingConfig,
    learner: MaskLearner,
    fit: Sequence[PredictorItem],
    heldout: Sequence[PredictorItem],
) -> dict[str, Any]:
    """Warm up, check that rationales help, learn the mask, check that it has not collapsed, and measure it."""
    checkpoint = context.output / CHECKPOINT
    resume(learner, checkpoint)
    loop: dict[str, Any] = {
        "checkpoint": checkpoint,
        "checkpoint_every": config.checkpoint_every,
        "progress": context.progress,
    }
    warm = learner.stages.warmup + learner.stages.random_mask
    run_until(learner, fit, warm, description="Predictor warm-up", **loop)
    if learner.update == warm:
        gain = check_rationale_gain(
            read_with_mask(learner, heldout, "all", context.seed),
            read_with_mask(learner, heldout, "none", context.seed),
            config.min_rationale_gain,
        )
        context.progress.note(f"The rationale takes {gain:.2f} nats off the held-out answer loss.")
    run_until(learner, fit, learner.stages.total, description="Mask learning", **loop)
    readings = {
        kind: read_with_mask(learner, heldout, kind, context.seed) for kind in ("all", "none", "learnt", "random")
    }
    check_keep_share(readings["learnt"].keep_share, config.min_keep_share, config.max_keep_share)
    return readings


def _weigh(
    learner: MaskLearner, tokenized: Sequence[TokenizedRationale], name: str, context: PhaseContext
) -> TokenWeights:
    """The keep probability of every token of every rationale."""
    counts = np.array([len(item.rationale_ids) for item in tokenized], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    result = np.zeros(int(offsets[-1]), dtype=np.float32)
    learner.module.eval()
    order = np.argsort(counts, kind="stable")
    batches = [order[i : i + 64] for i in range(0, len(order), 64)]
    for rows in context.progress.track(batches, total=len(batches), description="Token weights"):
        width = int(counts[rows].max())
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : counts[row]] = torch.tensor(tokenized[row].rationale_ids)
        valid = (torch.arange(width) < torch.from_numpy(counts[rows])[:, None]).to(learner.device)
        weight = learner.module.keep_prob(learner.embedding[ids.to(learner.device)].float(), valid).cpu().numpy()
        for place, row in enumerate(rows):
            result[offsets[row] : offsets[row + 1]] = weight[place, : counts[row]]
    return TokenWeights(tuple(item.rationale_id for item in tokenized), offsets, result, name)


def weights_by_type(weights: TokenWeights, rationales: Sequence[Rationale], tokenizer: Tokenizer) -> dict[str, object]:
    """Mean weight and count of each type of token, and how surely digits and operators stand above function words.

    `keypoints_over_function_words` is the probability that a random digit or operator outweighs a random function word (the
    Mann-Whitney statistic over its largest value; 0.5 is chance).
    """
    groups: dict[TokenType, list[float]] = defaultdict(list)
    texts = [r.text for r in rationales]
    for row, (text, (_, spans)) in enumerate(zip(texts, encode_continuations(tokenizer, texts), strict=True)):
        for (start, stop), weight in zip(spans, weights.of(row).tolist(), strict=True):
            groups[token_type(text[start:stop])].append(weight)
    high = np.array(groups[TokenType.DIGIT] + groups[TokenType.OPERATOR])
    low = np.array(groups[TokenType.FUNCTION_WORD])
    filled = {kind: values for kind, values in groups.items() if values}
    table: dict[str, object] = {
        kind.value: {"mean": round(float(np.mean(values)), 4), "count": len(values)}
        for kind, values in sorted(filled.items(), key=lambda item: -float(np.mean(item[1])))
    }
    if len(high) and len(low):
        table["keypoints_over_function_words"] = round(rank_separation(high, low), 4)
    return table
