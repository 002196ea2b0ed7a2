"""Does mask learning mean anything here? Measured on held-out rationales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kpodx.errors import GateError, WeightingError
from kpodx.modeling.likelihood import autocast
from kpodx.weighting.losses import mean_per_rationale
from kpodx.weighting.masking import spread_targets
from kpodx.weighting.predictor import PredictorBatch, PredictorItem, build_batch
from kpodx.weighting.training import MaskLearner

Values = npt.NDArray[np.float64]

MaskKind = Literal["all", "none", "learnt", "random"]

RANDOM_DRAWS = 4
"""Random masks that the learnt one is compared with; their mean keeps a lucky draw out of the verdict."""

SURE = 2.0
"""Standard errors of a mean difference within which it may be chance."""


@dataclass(frozen=True)
class Reading:
    """What the predictor makes of held-out rationales under one mask, as means over them.

    `whole_nll` (nats) and `whole_accuracy` are of the answer after the whole rationale, `prefix_nll` (nats) of all targets.
    """

    whole_nll: float
    whole_accuracy: float
    prefix_nll: float
    keep_share: float


@dataclass(frozen=True)
class Scores:
    """A reading of each held-out rationale, float64 [N] each, with the names of `Reading`."""

    whole_nll: Values
    whole_accuracy: Values
    prefix_nll: Values
    keep_share: Values

    def reading(self) -> Reading:
        """Return the means."""
        return Reading(*(float(getattr(self, field.name).mean()) for field in fields(self)))


def mean_scores(draws: Sequence[Scores]) -> Scores:
    """Average several readings of the same rationales."""
    columns = ([getattr(draw, field.name) for draw in draws] for field in fields(Scores))
    return Scores(*(np.mean(values, axis=0) for values in columns))


def mean_and_error(difference: Values) -> tuple[float, float]:
    """Return the mean of paired differences and its standard error, which is infinite for a single pair.

    >>> mean_and_error(np.array([1.0, 3.0]))
    (2.0, 1.0)
    """
    if len(difference) < 2:
        return float(difference.mean()), float("inf")
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


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


def _mask(learner: MaskLearner, batch: PredictorBatch, kind: MaskKind, generator: torch.Generator) -> Tensor:
    valid = batch.student_valid
    if kind in ("all", "none"):
        return torch.full(valid.shape, float(kind == "all"), device=valid.device)
    weight = learner.keep_prob(batch)
    share = (weight * valid).sum(dim=1) / valid.sum(dim=1)
    drawn = torch.rand(valid.shape, generator=generator).to(valid.device).gather(1, batch.leaders)
    return top_tokens(weight if kind == "learnt" else drawn, valid, share)


@torch.no_grad()
def score_with_mask(learner: MaskLearner, items: Sequence[PredictorItem], kind: MaskKind, seed: int) -> Scores:
    """Let the predictor read held-out rationales under a mask.

    Args:
        learner: what was learnt so far.
        items: held-out rationales.
        kind: "all" tokens, "none" of them, the "learnt" mask (as many of the highest weights as they add up to), or as many at "random".
        seed: of the random mask.
    """
    generator = torch.Generator().manual_seed(seed)
    learner.predictor.eval()
    learner.module.eval()
    order = sorted(range(len(items)), key=lambda i: len(items[i].rationale_ids))
    result = np.zeros((4, len(items)))
    size = learner.drawing.batch_size * 2
    for start in range(0, len(order), size):
        part = order[start : start + size]
        batch = build_batch([items[i] for i in part], learner.device)
        keep = _mask(learner, batch, kind, generator)
        result[:, part] = _score(learner, batch, keep).double().cpu().numpy()
    return Scores(*result)


def _score(learner: MaskLearner, batch: PredictorBatch, keep: Tensor) -> Tensor:
    """Return the four figures of `Scores` for each rationale of a batch, float [4, B]."""
    count = len(batch.items)
    sizes = torch.tensor([len(item.stops) for item in batch.items])
    numbers = spread_targets(sizes, learner.drawing.num_targets, torch.zeros(count)).tolist()
    rows = [(i, number - 1) for i, row in enumerate(numbers) for number in sorted(set(row))]
    # Without a shift the last target of each rationale, the answer after all of it, is always among them.
    last = [place for place, (i, k) in enumerate(rows) if k == sizes[i] - 1]

    with autocast(learner.device, learner.dtype):
        nll, correct = learner.predictor(batch, keep, rows)
    share = (keep * batch.student_valid).sum(dim=1) / batch.student_valid.sum(dim=1)
    return torch.stack([nll[last], correct[last].float(), mean_per_rationale(nll, batch.owners(rows), count), share])


def score_random(learner: MaskLearner, items: Sequence[PredictorItem], seed: int) -> Scores:
    """Return the mean reading under several random masks that keep as much as the learnt one."""
    return mean_scores([score_with_mask(learner, items, "random", seed + draw) for draw in range(RANDOM_DRAWS)])


def check_rationale_gain(with_rationale: Reading, without: Reading, min_gain: float) -> float:
    """Return how many nats rationales take off the target's loss; raise WeightingError if that is too little to learn from."""
    gain = without.prefix_nll - with_rationale.prefix_nll
    if not gain >= min_gain:
        raise WeightingError(
            f"The answer predictor cannot use rationales: its held-out target loss is {with_rationale.prefix_nll:.3f} nats with the "
            f"rationale and {without.prefix_nll:.3f} without. That is a gain of {gain:.3f}; expected weighting.min_rationale_gain = "
            f"{min_gain} or more. Learning a mask now would mask everything.",
            hint="Raise weighting.warmup_updates or weighting.predictor_learning_rate, or name a stronger weighting.predictor "
            "(the paper uses google/flan-t5-large).",
        )
    return gain


def check_keep_share(keep_share: float, low: float, high: float) -> None:
    """Raise WeightingError if the mask has collapsed to one of its ends."""
    if low <= keep_share <= high:
        return
    end, remedy = ("masked", "lower") if keep_share < low else ("kept", "raise")
    raise WeightingError(
        f"Mask learning collapsed: nearly everything is {end} (mean keep probability {keep_share:.3f}, allowed {low} to {high}).",
        hint=f"Set weighting.target_keep_share (for instance 0.5) so that α is steered, or {remedy} weighting.mask_ratio_coef; "
        "weighting.temperature and weighting.random_mask_updates help too.",
    )


def report(scores: Mapping[MaskKind, Scores]) -> dict[str, object]:
    """Return the readings as plain values, and whether the learnt mask beats a random one of the same share.

    It does if its target loss is lower by more than twice the standard error of the paired difference, and its answers after
    the whole rationale are not surely fewer.
    """
    learnt, random = scores["learnt"], scores["random"]
    margin, margin_error = mean_and_error(random.prefix_nll - learnt.prefix_nll)
    accuracy, accuracy_error = mean_and_error(learnt.whole_accuracy - random.whole_accuracy)
    return {
        **{kind: asdict(score.reading()) for kind, score in scores.items()},
        "num_rationales": len(learnt.prefix_nll),
        "accuracy_over_random": accuracy,
        "prefix_nll_under_random": margin,
        "prefix_nll_standard_error": margin_error if np.isfinite(margin_error) else None,
        "beats_random": bool(margin > SURE * margin_error and accuracy >= -SURE * accuracy_error),
    }


def check_beats_random(found: Mapping[str, Any], findings: Path) -> None:
    """Raise GateError if the learnt mask is no better than a random one.

    Args:
        found: what `report` returned.
        findings: the file that holds it.
    """
    if found["beats_random"]:
        return
    learnt, random = found["learnt"], found["random"]
    raise GateError(
        "The learnt token weights carry no signal: on held-out rationales their mask should beat a random one that keeps as much. "
        f"Its target loss is {learnt['prefix_nll']:.3f} nats against {random['prefix_nll']:.3f}, its answers are right in "
        f"{learnt['whole_accuracy']:.3f} against {random['whole_accuracy']:.3f} of {found['num_rationales']} cases. See {findings}.",
        hint="Raise weighting.warmup_updates and weighting.mask_updates, choose another weighting.target, or name a stronger "
        "weighting.predictor. To distill without weights, set distillation.weights_in_loss=false and difficulty.measure=nll; to "
        "use these weights all the same, set weighting.accept_uninformative=true.",
    )
