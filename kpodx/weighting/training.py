"""The loop of mask learning: warm the predictor up, teach it to read any mask, then learn the mask."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kpodx.artifacts import atomic_open
from kpodx.errors import DivergedError
from kpodx.modeling.likelihood import autocast
from kpodx.runtime import Progress, derive_seed
from kpodx.weighting.annealing import Ramp
from kpodx.weighting.config import Gradient
from kpodx.weighting.features import Features
from kpodx.weighting.losses import (
    answer_prediction_loss,
    keep_share_penalty,
    leave_one_out_loss,
    mask_learning_loss,
    mask_ratio_loss,
    mean_per_rationale,
)
from kpodx.weighting.masking import keep_log_prob, logistic_noise, sample_keep, spread_targets
from kpodx.weighting.module import TokenWeightModule
from kpodx.weighting.predictor import AnswerPredictor, PredictorBatch, PredictorItem, Row, build_batch
from kpodx.weighting.units import mean_over_units

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stages:
    """Updates of each part of the loop, in order."""

    warmup: int
    random_mask: int
    mask: int

    @property
    def total(self) -> int:
        """All updates."""
        return self.warmup + self.random_mask + self.mask

    def of(self, update: int) -> str:
        """The part that an update (counted from 0) belongs to."""
        if update < self.warmup:
            return "warmup"
        return "random_mask" if update < self.warmup + self.random_mask else "mask"


@dataclass(frozen=True)
class LearningRates:
    """AdamW rates: of the module, of the predictor in its warm-ups, and of the predictor while the mask is learnt."""

    module: float
    predictor: float
    joint: float


@dataclass(frozen=True)
class Drawing:
    """What an update draws, and how the gradient passes what it draws.

    Attributes:
        batch_size: rationales per update.
        num_targets: targets of each rationale per update, M.
        whole_first: whether a target can be read only from a whole rationale, as the answer can: the warm-up then reads whole
            ones, and the last prefix of each row that the module has no say in is whole.
        random_mask_share: share of rationales still masked at random while the mask is learnt.
        temperature: τ of the straight-through sample, over the updates that learn the mask.
        gradient: how the loss reaches the module.
    """

    batch_size: int
    num_targets: int
    whole_first: bool
    random_mask_share: float
    temperature: Ramp
    gradient: Gradient


@dataclass(frozen=True)
class Balance:
    """What the losses of an update count.

    Attributes:
        mask_ratio_coef: α.
        target_keep_share: mean keep probability that the mask is pulled to, over the updates that learn it; None for α alone.
        keep_share_coef: strength of that pull.
    """

    mask_ratio_coef: float
    target_keep_share: Ramp | None
    keep_share_coef: float


@dataclass(frozen=True)
class UpdateMask:
    """The mask of one update.

    `keep` float [B, m]; `learnt` bool [B] marks the rows that the module made; `logit` [B, m] is empty until the mask is learnt, and
    so is `other`, a second mask from the same probabilities, which only REINFORCE draws.
    """

    keep: Tensor
    learnt: Tensor
    logit: Tensor
    other: Tensor


class MaskLearner:
    """Holds what mask learning changes; every update depends on its number and the seed alone, so it can resume anywhere.

    Args:
        predictor: the answer predictor, on its device.
        module: the token-weight module, on the same device.
        features: what the module reads of a rationale, on the same device; frozen.
        stages: updates of each part.
        rates: learning rates.
        drawing: what an update draws.
        balance: how its losses count.
        dtype: number format of the predictor's matrix products.
        seed: of the phase.
    """

    def __init__(
        self,
        predictor: AnswerPredictor,
        module: TokenWeightModule,
        features: Features,
        *,
        stages: Stages,
        rates: LearningRates,
        drawing: Drawing,
        balance: Balance,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        self.predictor, self.module, self.features = predictor, module, features
        self.stages, self.rates, self.drawing, self.balance = stages, rates, drawing, balance
        self.dtype, self.seed = dtype, seed
        self.update = 0
        self.history: list[dict[str, float]] = []
        self.predictor_optimizer = torch.optim.AdamW(predictor.parameters(), lr=rates.predictor, weight_decay=0.0)
        self.module_optimizer = torch.optim.AdamW(module.parameters(), lr=rates.module, weight_decay=0.01)

    @property
    def device(self) -> torch.device:
        """Where all of it is."""
        return self.features.device

    def logit(self, batch: PredictorBatch) -> Tensor:
        """Return keep logits of the batch, float [B, m], equal within each unit."""
        logit: Tensor = self.module(self.features(batch), batch.student_valid)
        return mean_over_units(logit, batch.leaders)

    @torch.no_grad()
    def keep_prob(self, batch: PredictorBatch) -> Tensor:
        """Return w_j, the probability that token j is kept (equation 3), float [B, m]."""
        return torch.sigmoid(self.logit(batch))

    def _uniform(self, generator: torch.Generator, *shape: int) -> Tensor:
        # Drawn on the CPU, so that the same seed gives the same masks on every device.
        return torch.rand(*shape, generator=generator).to(self.device)

    def _choose(self, generator: torch.Generator, items: Sequence[PredictorItem]) -> list[PredictorItem]:
        """A window of rationales of similar length: sort a few batches' worth and take one batch of them."""
        size = self.drawing.batch_size
        wide = torch.randint(len(items), (size * 8,), generator=generator).tolist()
        wide.sort(key=lambda i: len(items[i].rationale_ids))
        start = int(torch.randint(8, (1,), generator=generator)) * size
        return [items[i] for i in wide[start : start + size]]

    def step(self, items: Sequence[PredictorItem]) -> dict[str, float]:
        """Take one update and return its figures. Raise DivergedError if the loss is not finite."""
        part = self.stages.of(self.update)
        generator = torch.Generator().manual_seed(derive_seed("mask_learning", self.seed, self.update))
        torch.manual_seed(derive_seed("dropout", self.seed, self.update))
        batch = build_batch(self._choose(generator, items), self.device)
        shift = torch.rand(len(batch.items), generator=generator)
        mask = self._mask(part, batch, generator)
        rows = self._rows(part, batch, shift, mask.learnt)

        loss, figures = self._loss(part, batch, mask, rows)
        figures.update(update=float(self.update), loss=float(loss.detach()))
        if not np.isfinite(figures["loss"]):
            raise DivergedError(
                f"Mask learning: the loss became {figures['loss']} at update {self.update} ({part}).",
                hint="Lower weighting.predictor_learning_rate and weighting.joint_learning_rate, or use runtime.dtype=float32.",
            )

        self._apply(loss, part)
        self.update += 1
        return figures

    def _rows(self, part: str, batch: PredictorBatch, shift: Tensor, learnt: Tensor) -> list[Row]:
        """Draw what this update predicts."""
        sizes = torch.tensor([len(item.stops) for item in batch.items])
        numbers = spread_targets(sizes, self.drawing.num_targets, shift)
        if self.drawing.whole_first:
            # Most prefixes do not hold the answer, and a predictor that begins with them learns to ignore them all.
            numbers[~learnt.cpu(), -1] = sizes[~learnt.cpu()]
            numbers = sizes[:, None] if part == "warmup" else numbers
        return [(i, number - 1) for i, row in enumerate(numbers.tolist()) for number in sorted(set(row))]

    def _mask(self, part: str, batch: PredictorBatch, generator: torch.Generator) -> UpdateMask:
        shape, empty = batch.student_valid.shape, torch.empty(0, device=self.device)
        learnt = torch.zeros(shape[0], dtype=torch.bool, device=self.device)
        if part == "warmup":
            return UpdateMask(torch.ones(shape, device=self.device), learnt, empty, empty)
        # A random mask of a random density, from a third to all (three in ten rows): what the predictor must cope with, whatever the
        # module does. Rows that are whole keep it from forgetting how to read.
        density = self._uniform(generator, shape[0], 1) + 0.3
        random_keep = (self._unit_noise(generator, batch) < density).float()
        if part == "random_mask":
            return UpdateMask(random_keep, learnt, empty, empty)
        noise, choice = logistic_noise(self._unit_noise(generator, batch)), self._uniform(generator, shape[0])
        logit, learnt = self.logit(batch), choice >= self.drawing.random_mask_share
        temperature = self._now(self.drawing.temperature)
        keep, other = sample_keep(logit, noise, temperature), empty
        if self.drawing.gradient == "reinforce":
            second = logistic_noise(self._unit_noise(generator, batch))
            keep, other = keep.detach(), sample_keep(logit, second, temperature).detach()
        return UpdateMask(torch.where(learnt[:, None], keep, random_keep), learnt, logit, other)

    def _now(self, ramp: Ramp) -> float:
        """Return a figure's value in this update, which is one of those that learn the mask."""
        return ramp.at(self.update - self.stages.warmup - self.stages.random_mask, self.stages.mask)

    def _unit_noise(self, generator: torch.Generator, batch: PredictorBatch) -> Tensor:
        """Draw one number in (0, 1) per unit, so that its tokens are kept or masked together."""
        return self._uniform(generator, *batch.student_valid.shape).gather(1, batch.leaders)

    def _loss(
        self, part: str, batch: PredictorBatch, mask: UpdateMask, rows: Sequence[Row]
    ) -> tuple[Tensor, dict[str, float]]:
        """L_k of equation 7 and the figures that the history keeps."""
        owner, count = batch.owners(rows), len(batch.items)
        with autocast(self.device, self.dtype):
            nll, _ = self.predictor(batch, mask.keep, rows)
        loss = answer_prediction_loss(nll, owner, count)
        figures = {"answer_nll": float(loss.detach())}
        if part != "mask":
            return loss, figures

        prob = torch.sigmoid(mask.logit)
        figures["keep_share"] = float(mask_ratio_loss(prob.detach(), batch.student_valid))
        if mask.learnt.any():
            figures["answer_nll_learnt_mask"] = float(nll.detach()[mask.learnt[owner]].mean())
            loss = loss + self._score_function(batch, mask, rows, nll)
            # The expected kept share is known, so that only the straight-through sample has to be differentiated as drawn.
            kept = prob if self.drawing.gradient == "reinforce" else mask.keep
            ratio = mask_ratio_loss(kept[mask.learnt], batch.student_valid[mask.learnt])
            # L_p is a mean over all rows, and the module made only some of them: counted alike, α means the same for any share.
            loss = mask_learning_loss(loss, ratio * mask.learnt.float().mean(), self.balance.mask_ratio_coef)
            if self.balance.target_keep_share is not None:
                target = self._now(self.balance.target_keep_share)
                penalty = keep_share_penalty(prob, batch.student_valid, target)
                loss = loss + self.balance.keep_share_coef * penalty
        return loss, figures

    def _score_function(self, batch: PredictorBatch, mask: UpdateMask, rows: Sequence[Row], nll: Tensor) -> Tensor:
        """Return a term of value 0 whose gradient is REINFORCE's; 0 if the gradient passes the mask itself."""
        if self.drawing.gradient != "reinforce":
            return nll.new_zeros(())
        places = [place for place, (i, _) in enumerate(rows) if mask.learnt[i]]
        mine = [rows[place] for place in places]
        with torch.no_grad(), autocast(self.device, self.dtype):
            second_nll, _ = self.predictor(batch, mask.other, mine)
        owner = batch.owners(mine)
        # Each unit is drawn once, so that only its first token counts; a prefix that shows any of it shows that one.
        first_of_unit = batch.leaders == torch.arange(batch.leaders.shape[1], device=self.device)
        counted = batch.visible(mine) & (first_of_unit & batch.student_valid)[owner]
        log_probs = [keep_log_prob(mask.logit[owner], keep[owner], counted) for keep in (mask.keep, mask.other)]
        credit = leave_one_out_loss(nll[places], second_nll, *log_probs)
        term = mean_per_rationale(credit, owner, len(batch.items)).mean()
        return term - term.detach()

    def _apply(self, loss: Tensor, part: str) -> None:
        optimizers = [self.predictor_optimizer, *([self.module_optimizer] if part == "mask" else [])]
        for group in self.predictor_optimizer.param_groups:
            group["lr"] = self.rates.joint if part == "mask" else self.rates.predictor
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        # Clipped apart: the predictor's gradients are larger by orders of magnitude and would silence the module's.
        torch.nn.utils.clip_grad_norm_(self.predictor.parameters(), 1.0)
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()

    def state(self) -> dict[str, Any]:
        """All that an update changes."""
        return {
            "update": self.update,
            "history": self.history,
            "predictor": self.predictor.state_dict(),
            "module": self.module.state_dict(),
            "predictor_optimizer": self.predictor_optimizer.state_dict(),
            "module_optimizer": self.module_optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.update, self.history = state["update"], state["history"]
        self.predictor.load_state_dict(state["predictor"])
        self.module.load_state_dict(state["module"])
        self.predictor_optimizer.load_state_dict(state["predictor_optimizer"])
        self.module_optimizer.load_state_dict(state["module_optimizer"])


def save_checkpoint(learner: MaskLearner, path: Path) -> None:
    """Write the learner's state atomically."""
    with atomic_open(path, "wb") as stream:
        torch.save(learner.state(), stream)


def resume(learner: MaskLearner, path: Path) -> bool:
    """Load the state at `path` if there is one (tensors only, no code); return whether there was."""
    if not path.exists():
        return False
    try:
        state = torch.load(path, map_location=learner.device, weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        logger.warning("%s is damaged (%s): mask learning begins again.", path, type(error).__name__)
        return False
    learner.load_state(state)
    logger.info("Mask learning resumes at update %d of %d.", learner.update, learner.stages.total)
    return True


def run_until(
    learner: MaskLearner,
    items: Sequence[PredictorItem],
    stop: int,
    *,
    checkpoint: Path,
    checkpoint_every: int,
    progress: Progress,
    description: str,
) -> None:
    """Take updates up to number `stop`, saving the state every `checkpoint_every` and at the end."""
    first = learner.update
    if first >= stop:
        return
    learner.predictor.train()
    learner.module.train()
    for _ in progress.track(range(first, stop), total=stop, description=description, done=first):
        figures = learner.step(items)
        if learner.update % 50 == 0 or learner.update == stop:
            learner.history.append(figures)
            logger.info("mask learning %s", {k: round(v, 4) for k, v in figures.items()})
        if learner.update % checkpoint_every == 0 or learner.update == stop:
            save_checkpoint(learner, checkpoint)
