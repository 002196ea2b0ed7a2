"""The difficulty phase: rationales and token weights → step difficulties."""

from __future__ import annotations

import shutil

import numpy as np

from kpodx import artifacts
from kpodx.difficulty.config import DifficultyConfig
from kpodx.difficulty.scoring import score_in_shards
from kpodx.errors import KpodxError
from kpodx.modeling.config import StudentConfig
from kpodx.modeling.examples import model_family
from kpodx.modeling.loading import load_with_tokenizer
from kpodx.modeling.tokenization import check_lengths, check_token_weights, tokenize_rationales
from kpodx.runtime import PhaseContext, resolve_device, resolve_dtype
from kpodx.scheduling.difficulty import step_difficulties, step_lengths
from kpodx.schema import StepDifficulties


def run(context: PhaseContext) -> dict[str, object]:
    """Score every step with the student as it is before distillation."""
    config: DifficultyConfig = context.recipe.difficulty
    student: StudentConfig = context.recipe.student
    device = resolve_device(context.recipe.runtime.device)
    questions = artifacts.load_questions(context.inputs["dataset"])
    rationales = artifacts.load_rationales(context.inputs["rationales"])
    dtype = resolve_dtype(context.recipe.runtime.dtype, device)
    model, tokenizer = load_with_tokenizer(student.model, context.revisions, dtype=dtype)
    model = model.to(device).eval()
    family = model_family(model, tokenizer)
    tokenized = tokenize_rationales(tokenizer, rationales, questions)
    check_lengths(
        tokenized,
        max_input_tokens=student.max_input_tokens,
        max_target_tokens=student.max_target_tokens,
        encoder_decoder=family.encoder_decoder,
    )
    weights = artifacts.load_token_weights(context.inputs["weighting"]) if config.uses_weights else None
    if weights is not None:
        check_token_weights(weights, tokenized, tokenizer)
    shards = context.output / "shards"
    losses = score_in_shards(
        model,
        family,
        tokenized,
        shards,
        batch_size=config.batch_size,
        shard_size=config.shard_size,
        dtype=dtype,
        progress=context.progress,
    )
    per_rationale = []
    for row, (item, loss) in enumerate(zip(tokenized, losses, strict=True)):
        stops = np.array(item.step_stops)
        if config.measure == "length":
            per_rationale.append(step_lengths(stops))
        else:
            per_rationale.append(step_difficulties(loss, None if weights is None else weights.of(row), stops))
    difficulty = np.concatenate(per_rationale)
    bad = [item.rationale_id for item, d in zip(tokenized, per_rationale, strict=True) if not np.isfinite(d).all()]
    if bad:
        raise KpodxError(
            f"The student's loss is not finite on {len(bad)} rationales, the first of them {', '.join(bad[:5])}.",
            hint="Its weights may be damaged, or overflow: use runtime.dtype=float32.",
        )
    offsets = np.concatenate([[0], np.cumsum([len(d) for d in per_rationale])])
    stops = np.concatenate([np.array(item.step_stops, dtype=np.int64) for item in tokenized])
    artifacts.save_step_difficulties(
        context.output, StepDifficulties(tuple(i.rationale_id for i in tokenized), offsets, difficulty, stops)
    )
    shutil.rmtree(shards)
    return {
        "num_steps": len(difficulty),
        "mean_step_difficulty": round(float(difficulty.mean()), 4),
        "steps_per_rationale": round(len(difficulty) / len(tokenized), 2),
        "deciles": np.quantile(difficulty, np.linspace(0, 1, 11)).round(4).tolist(),
    }
