"""Running a student over held-out rationales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kpodx.errors import KpodxError
from kpodx.evaluation.mimicry import KeypointMimicry, Scores, held_out_rationales, keypoint_mask, score_tokens
from kpodx.modeling.config import StudentConfig
from kpodx.modeling.examples import ModelFamily, model_family
from kpodx.modeling.loading import Model, Tokenizer
from kpodx.modeling.rationale_likelihood import rationale_scores
from kpodx.modeling.tokenization import (
    TokenizedRationale,
    encode_continuations,
    input_and_target,
    tokenize_rationales,
)
from kpodx.runtime import Progress
from kpodx.schema import Question, Rationale

MOST_TOGETHER = 32
"""Rationales that are scored at a time, at most: all logits of a batch are held at once, unlike in answering."""


def measure_mimicry(
    model: Model,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    limits: StudentConfig,
    *,
    max_rationales: int,
    batch_size: int,
    dtype: torch.dtype,
    progress: Progress,
) -> KeypointMimicry | None:
    """Score a student on the right gold rationales of questions; return None if none of them can be scored.

    Args:
        model: the student in evaluation mode.
        tokenizer: its tokenizer.
        questions: held-out questions; those without a right gold rationale are passed over.
        limits: the lengths that the student has room for.
        max_rationales: most rationales to score.
        batch_size: rationales at a time, up to `MOST_TOGETHER`.
        dtype: number format of the matrix products.
        progress: where progress is shown.
    """
    source, rationales = held_out_rationales(questions, max_rationales)
    family = model_family(model, tokenizer)
    known = {rationale.id: rationale for rationale in rationales}
    items = tokenize_rationales(tokenizer, _with_tokens(tokenizer, rationales), questions)
    fitting = [item for item in items if _fits(item, limits, family)]
    if not items:
        return None

    scores: list[Scores] = [np.zeros((2, 0), dtype=np.float32)] * len(fitting)
    scored = rationale_scores(model, family, fitting, batch_size=min(batch_size, MOST_TOGETHER), dtype=dtype)
    for row, values in progress.track(scored, total=len(fitting), description="Keypoint mimicry"):
        scores[row] = values
    _check_finite(fitting, scores)

    chosen = [known[item.rationale_id] for item in fitting]
    encoded = encode_continuations(tokenizer, [rationale.text for rationale in chosen])
    masks = [keypoint_mask(r.text, spans, r.keypoints) for r, (_, spans) in zip(chosen, encoded, strict=True)]
    others = [~mask for mask in masks]
    num_too_long = len(items) - len(fitting)
    return KeypointMimicry(
        source, len(fitting), num_too_long, score_tokens(scores, masks), score_tokens(scores, others)
    )


def _with_tokens(tokenizer: Tokenizer, rationales: Sequence[Rationale]) -> list[Rationale]:
    """Return the rationales in which the tokenizer sees anything: a text of odd characters may have no token."""
    encoded = encode_continuations(tokenizer, [rationale.text for rationale in rationales])
    return [rationale for rationale, (ids, _) in zip(rationales, encoded, strict=True) if ids]


def _fits(item: TokenizedRationale, limits: StudentConfig, family: ModelFamily) -> bool:
    whole, target = input_and_target(item, encoder_decoder=family.encoder_decoder)
    return whole <= limits.max_input_tokens and target <= limits.max_target_tokens


def _check_finite(items: Sequence[TokenizedRationale], scores: Sequence[Scores]) -> None:
    bad = [item.question_id for item, values in zip(items, scores, strict=True) if not np.isfinite(values).all()]
    if bad:
        raise KpodxError(
            f"The student's loss is not finite on the gold rationales of {len(bad)} test questions, the first of them "
            f"{', '.join(bad[:5])}.",
            hint="Its weights may be damaged, or overflow: use runtime.dtype=float32. evaluation.max_keypoint_rationales=0 skips "
            "this measurement.",
        )
