"""Does mask learning mean anything here? Measured on held-out rationales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kpodx.errors import WeightingError
from kpodx.modeling.likelihood import autocast
from kpodx.weighting.masking import spread_prefixes
from kpodx.weighting.predictor import PredictorBatch, PredictorItem, build_batch
from kpodx.weighting.training import MaskLearner


@dataclass(frozen=True)
class Reading:
    """What the predictor makes of held-out rationales under one mask: mean answer NLL in nats and share of exact answers."""

    whole_nll: float
    whole_accuracy: float
    prefix_nll: float
    keep_share: float


def top_tokens(
    score: Float[Tensor, "batch length"], valid: Bool[Tensor, "batch length"], share: Float[Tensor, " batch"]
) -> Float[Tensor, "batch length"]:
    """A mask that keeps the given share of each rationale's tokens, those of highest score; ties keep the earlier token.

    Args:
        score: what to rank by.
        valid: False on padding.
        share: of tokens to keep, in [0, 1]; rounded to whole tokens.
    """
    ranked = score.masked_fill(~valid, float("-inf")).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(ranked).scatter_(
        1, ranked, torch.arange(score.shape[1], device=score.device).expand_as(ranked)
    )
    count = (share * valid.sum(dim=1)).round()
    return ((rank < count[:, None]) & valid).to(score.dtype)


def _batches(learner: MaskLearner, items: Sequence[PredictorItem]) -> Iterator[PredictorBatch]:
    order = sorted(range(len(items)), key=lambda i: len(items[i].rationale_ids))
    for start in range(0, len(order), learner.batch_size * 2):
        yield build_batch([items[i] for i in order[start : start + learner.batch_size * 2]], learner.device)


def _mask(learner: MaskLearner, batch: PredictorBatch, kind: str, generator: torch.Generator) -> Tensor:
    valid = batch.student_valid
    if kind in ("all", "none"):
        return torch.full(valid.shape, float(kind == "all"), device=valid.device)
    weight = learner.module.keep_prob(learner.embedding[batch.student_ids].float(), valid)
    share = (weight * valid).sum(dim=1) / valid.sum(dim=1)
    score = weight if kind == "learnt" else torch.rand(valid.shape, generator=generator).to(valid.device)
    return top_tokens(score, valid, share)


@torch.no_grad()
def read_with_mask(learner: MaskLearner, items: Sequence[PredictorItem], kind: str, seed: int) -> Reading:
    """Let the predictor answer held-out questions from rationales under a mask.

    Args:
        learner: what was learnt so far.
        items: held-out rationales.
        kind: "all" tokens, "none" of them, the "learnt" mask (as many of the highest weights as they add up to), or as many at "random".
        seed: of the random mask.
    """
    generator = torch.Generator().manual_seed(seed)
    learner.predictor.eval()
    learner.module.eval()
    totals = torch.zeros(4, dtype=torch.float64)
    for batch in _batches(learner, items):
        keep = _mask(learner, batch, kind, generator)
        spread = spread_prefixes(batch.lengths, learner.num_prefixes, torch.zeros(len(batch.items)))
        with autocast(learner.device, learner.dtype):
            nll, correct = learner.predictor(batch, keep, spread)
        share = (keep * batch.student_valid).sum(dim=1) / batch.student_valid.sum(dim=1)
        figures = (nll[:, -1], correct[:, -1].float(), nll.mean(dim=1), share)
        totals += torch.stack([f.double().sum().cpu() for f in figures])
    return Reading(*(totals / len(items)).tolist())


def check_rationale_gain(with_rationale: Reading, without: Reading, min_gain: float) -> float:
    """How many nats the rationale takes off the answer's loss; WeightingError where it is too little to learn a mask from."""
    gain = without.whole_nll - with_rationale.whole_nll
    if not gain >= min_gain:
        raise WeightingError(
            f"The answer predictor cannot use rationales: its held-out answer loss is {with_rationale.whole_nll:.3f} nats with the "
            f"rationale and {without.whole_nll:.3f} without, a gain of {gain:.3f} where weighting.min_rationale_gain = {min_gain} is "
            "needed. Learning a mask now would mask everything.",
            hint="Raise weighting.warmup_updates or weighting.predictor_learning_rate, or name a stronger weighting.predictor "
            "(the paper uses google/flan-t5-large).",
        )
    return gain


def check_keep_share(keep_share: float, low: float, high: float) -> None:
    """WeightingError where the mask has collapsed to one of its ends."""
    if low <= keep_share <= high:
        return
    end, remedy = ("masked", "lower") if keep_share < low else ("kept", "raise")
    raise WeightingError(
        f"Mask learning collapsed: nearly everything is {end} (mean keep probability {keep_share:.3f}, allowed {low} to {high}).",
        hint=f"Set weighting.target_keep_share (for instance 0.5) so that α is steered, or {remedy} weighting.mask_ratio_coef; "
        "weighting.temperature and weighting.random_mask_updates help too.",
    )


def report(readings: dict[str, Reading]) -> dict[str, object]:
    """The readings as plain values, with what the learnt mask adds to a random one of the same share."""
    learnt, random = readings["learnt"], readings["random"]
    return {
        **{name: asdict(reading) for name, reading in readings.items()},
        "accuracy_over_random": learnt.whole_accuracy - random.whole_accuracy,
        "prefix_nll_under_random": random.prefix_nll - learnt.prefix_nll,
        "beats_random": learnt.prefix_nll < random.prefix_nll and learnt.whole_accuracy >= random.whole_accuracy,
    }
