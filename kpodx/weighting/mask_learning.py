"""Token weights by mask learning (equations 2 to 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kpodx.modeling.examples import model_family
from kpodx.modeling.loading import load_with_tokenizer
from kpodx.modeling.tokenization import check_lengths
from kpodx.runtime import PhaseContext, resolve_dtype
from kpodx.weighting.annealing import Ramp
from kpodx.weighting.config import WeightingConfig
from kpodx.weighting.features import EmbeddingFeatures, Features, LayerFeatures
from kpodx.weighting.items import hold_out, predictor_items
from kpodx.weighting.material import Material, Weights, load_student
from kpodx.weighting.module import TokenWeightModule
from kpodx.weighting.predictor import AnswerPredictor, PredictorItem, build_batch
from kpodx.weighting.training import Balance, Drawing, LearningRates, MaskLearner, Stages, resume, run_until
from kpodx.weighting.validation import (
    MaskKind,
    Scores,
    check_keep_share,
    check_rationale_gain,
    report,
    score_random,
    score_with_mask,
)

CHECKPOINT = "mask_learning.pt"


@dataclass(frozen=True)
class LearntWeights:
    """The weights, how their mask reads held-out rationales, and the figures of every 50th update."""

    weights: Weights
    masks: dict[str, object]
    history: list[dict[str, float]]


def learn_weights(context: PhaseContext, config: WeightingConfig, material: Material) -> LearntWeights:
    """Learn the mask and measure it; raise WeightingError if it cannot mean anything."""
    learner, items = build_learner(context, config, material)
    fit, held = hold_out(material.rationales, config.heldout_fraction, context.seed)
    scores = _learn(context, config, learner, [items[i] for i in fit], [items[i] for i in held[: config.max_heldout]])
    return LearntWeights(weigh(learner, items, context), report(scores), learner.history)


def build_learner(
    context: PhaseContext, config: WeightingConfig, material: Material
) -> tuple[MaskLearner, list[PredictorItem]]:
    """Load the predictor and return a learner at its first update, with all rationales as its items."""
    name = context.recipe.student.model if config.predictor == "student" else config.predictor
    device, features = material.embedding.device, build_features(context, config, material)
    model, tokenizer = load_with_tokenizer(name, context.revisions)
    learner = MaskLearner(
        AnswerPredictor(model, model_family(model, tokenizer)).to(device),
        TokenWeightModule(features.width, config.hidden_size or features.width, config.logit_bound).to(device),
        features,
        stages=Stages(config.warmup_updates, config.random_mask_updates, config.mask_updates),
        rates=LearningRates(config.module_learning_rate, config.predictor_learning_rate, config.joint_learning_rate),
        drawing=Drawing(
            batch_size=config.batch_size,
            num_targets=config.num_prefixes,
            whole_first=config.target == "answer",
            random_mask_share=config.random_mask_share,
            temperature=Ramp(config.temperature, config.final_temperature),
            gradient=config.gradient,
        ),
        balance=Balance(config.mask_ratio_coef, _keep_share(config), config.keep_share_coef),
        dtype=resolve_dtype(context.recipe.runtime.dtype, device),
        seed=context.seed,
    )
    items = predictor_items(
        material.rationales,
        material.questions,
        material.tokenizer,
        tokenizer,
        target=config.target,
        unit=config.unit,
    )
    return learner, items


def build_features(context: PhaseContext, config: WeightingConfig, material: Material) -> Features:
    """Return what the module reads of a rationale.

    Raises:
        ConfigError: the student has fewer layers than the one that is asked for.
        ModelError: question and rationale together are longer than the student's encoder may read.
    """
    if config.features == "embeddings":
        return EmbeddingFeatures(material.embedding)
    device, student = material.embedding.device, context.recipe.student
    model, tokenizer = load_student(context)
    family = model_family(model, tokenizer)
    check_lengths(
        material.tokenized,
        max_input_tokens=student.max_input_tokens,
        max_target_tokens=student.max_target_tokens,
        encoder_decoder=family.encoder_decoder,
        steps_in_encoder=True,
    )
    return LayerFeatures(
        model, family, config.feature_layer, device, resolve_dtype(context.recipe.runtime.dtype, device)
    )


def _keep_share(config: WeightingConfig) -> Ramp | None:
    if config.target_keep_share is None:
        return None
    return Ramp(config.target_keep_share, config.final_keep_share)


def _learn(
    context: PhaseContext,
    config: WeightingConfig,
    learner: MaskLearner,
    fit: Sequence[PredictorItem],
    heldout: Sequence[PredictorItem],
) -> dict[MaskKind, Scores]:
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
            score_with_mask(learner, heldout, "all", context.seed).reading(),
            score_with_mask(learner, heldout, "none", context.seed).reading(),
            config.min_rationale_gain,
        )
        context.progress.note(f"The rationale takes {gain:.2f} nats off the held-out target loss.")
    run_until(learner, fit, learner.stages.total, description="Mask learning", **loop)

    kinds: tuple[MaskKind, ...] = ("all", "none", "learnt")
    scores = {kind: score_with_mask(learner, heldout, kind, context.seed) for kind in kinds}
    scores["random"] = score_random(learner, heldout, context.seed)
    check_keep_share(scores["learnt"].reading().keep_share, config.min_keep_share, config.max_keep_share)
    return scores


def weigh(learner: MaskLearner, items: Sequence[PredictorItem], context: PhaseContext) -> Weights:
    """Return the keep probability of every token of every rationale."""
    learner.module.eval()
    counts = [len(item.student_ids) for item in items]
    result: Weights = [np.zeros(0, dtype=np.float32)] * len(items)
    order = sorted(range(len(items)), key=counts.__getitem__)
    batches = [order[i : i + 64] for i in range(0, len(order), 64)]
    for rows in context.progress.track(batches, total=len(batches), description="Token weights"):
        batch = build_batch([items[row] for row in rows], learner.device)
        weight = learner.keep_prob(batch).float().cpu().numpy()
        for place, row in enumerate(rows):
            result[row] = weight[place, : counts[row]]
    return result
