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
from kpodx.weighting.losses import (
    answer_prediction_loss,
    keep_share_penalty,
    mask_learning_loss,
    mask_ratio_loss,
)
from kpodx.weighting.masking import logistic_noise, sample_keep, spread_prefixes
from kpodx.weighting.module import TokenWeightModule
from kpodx.weighting.predictor import AnswerPredictor, PredictorBatch, PredictorItem, build_batch

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


class MaskLearner:
    """Holds what mask learning changes; every update depends on its number and the seed alone, so it can resume anywhere.

    Args:
        predictor: the answer predictor, on its device.
        module: the token-weight module, on the same device.
        embedding: the student's frozen input embeddings, float [V, width].
        stages: updates of each part.
        rates: learning rates.
        batch_size: rationales an update.
        num_prefixes: M.
        mask_ratio_coef: α.
        target_keep_share: mean keep probability that the mask is pulled to, None for α alone.
        keep_share_coef: strength of that pull.
        temperature: τ.
        random_mask_share: share of rationales still masked at random while the mask is learnt.
        dtype: number format of the predictor's matrix products.
        seed: of the phase.
    """

    def __init__(
        self,
        predictor: AnswerPredictor,
        module: TokenWeightModule,
        embedding: Tensor,
        *,
        stages: Stages,
        rates: LearningRates,
        batch_size: int,
        num_prefixes: int,
        mask_ratio_coef: float,
        target_keep_share: float | None,
        keep_share_coef: float,
        temperature: float,
        random_mask_share: float,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        self.predictor, self.module, self.embedding = predictor, module, embedding
        self.stages, self.rates = stages, rates
        self.batch_size, self.num_prefixes = batch_size, num_prefixes
        self.mask_ratio_coef = mask_ratio_coef
        self.target_keep_share, self.keep_share_coef = target_keep_share, keep_share_coef
        self.temperature, self.random_mask_share = temperature, random_mask_share
        self.dtype, self.seed = dtype, seed
        self.update = 0
        self.history: list[dict[str, float]] = []
        self.predictor_optimizer = torch.optim.AdamW(predictor.parameters(), lr=rates.predictor, weight_decay=0.0)
        self.module_optimizer = torch.optim.AdamW(module.parameters(), lr=rates.module, weight_decay=0.01)

    @property
    def device(self) -> torch.device:
        """Where all of it is."""
        return self.embedding.device

    def logit(self, batch: PredictorBatch) -> Tensor:
        """Keep logits of the batch, float [B, m]."""
        logit: Tensor = self.module(self.embedding[batch.student_ids].float(), batch.student_valid)
        return logit

    def _uniform(self, generator: torch.Generator, *shape: int) -> Tensor:
        # Drawn on the CPU, so that the same seed gives the same masks on every device.
        return torch.rand(*shape, generator=generator).to(self.device)

    def _choose(self, generator: torch.Generator, items: Sequence[PredictorItem]) -> list[PredictorItem]:
        """A window of rationales of similar length: sort a few batches' worth and take one batch of them."""
        wide = torch.randint(len(items), (self.batch_size * 8,), generator=generator).tolist()
        wide.sort(key=lambda i: len(items[i].rationale_ids))
        start = int(torch.randint(8, (1,), generator=generator)) * self.batch_size
        return [items[i] for i in wide[start : start + self.batch_size]]

    def step(self, items: Sequence[PredictorItem]) -> dict[str, float]:
        """One update; returns its figures. Raises DivergedError where the loss is not finite."""
        part = self.stages.of(self.update)
        generator = torch.Generator().manual_seed(derive_seed("mask_learning", self.seed, self.update))
        torch.manual_seed(derive_seed("dropout", self.seed, self.update))
        batch = build_batch(self._choose(generator, items), self.device)
        shift = torch.rand(len(batch.items), generator=generator)
        prefixes = spread_prefixes(batch.lengths, self.num_prefixes, shift)
        if part == "warmup":
            # Whole rationales only: most prefixes do not hold the answer, and a predictor that begins with them learns to ignore them all.
            prefixes = batch.lengths[:, None]
        keep, learnt, logit, figures = self._keep(part, batch, generator)
        # Where the module has no say, the last prefix is the whole rationale: only there is the answer itself to be read.
        prefixes[~learnt.cpu(), -1] = batch.lengths[~learnt.cpu()]
        with autocast(self.device, self.dtype):
            nll, _ = self.predictor(batch, keep, prefixes)
        prediction = answer_prediction_loss(nll)
        loss = prediction
        if part == "mask" and learnt.any():
            kept = mask_ratio_loss(keep[learnt], batch.student_valid[learnt])
            # L_p is a mean over all rows, and the module made only some of them: counted alike, α means the same for any share.
            loss = mask_learning_loss(prediction, kept * learnt.float().mean(), self.mask_ratio_coef)
            if self.target_keep_share is not None:
                penalty = keep_share_penalty(torch.sigmoid(logit), batch.student_valid, self.target_keep_share)
                loss = loss + self.keep_share_coef * penalty
            figures["answer_nll_learnt_mask"] = float(nll[learnt].detach().mean())
        figures.update(update=float(self.update), loss=float(loss.detach()), answer_nll=float(prediction.detach()))
        if not np.isfinite(figures["loss"]):
            raise DivergedError(
                f"Mask learning: the loss became {figures['loss']} at update {self.update} ({part}).",
                hint="Lower weighting.predictor_learning_rate and weighting.joint_learning_rate, or use runtime.dtype=float32.",
            )
        self._apply(loss, part)
        self.update += 1
        return figures

    def _keep(
        self, part: str, batch: PredictorBatch, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, float]]:
        """The mask of one update, which of its rows the module made, its logits (empty before it is learnt), and its kept share."""
        shape = batch.student_valid.shape
        learnt = torch.zeros(shape[0], dtype=torch.bool, device=self.device)
        if part == "warmup":
            return torch.ones(shape, device=self.device), learnt, torch.empty(0), {}
        # A random mask of a random density, from a third to all (three in ten rows): what the predictor must cope with, whatever the
        # module does. Rows that are whole keep it from forgetting how to read.
        density = self._uniform(generator, shape[0], 1) + 0.3
        random_keep = (self._uniform(generator, *shape) < density).float()
        uniform, choice = self._uniform(generator, *shape), self._uniform(generator, shape[0])
        if part == "random_mask":
            return random_keep, learnt, torch.empty(0), {}
        logit = self.logit(batch)
        learnt = choice >= self.random_mask_share
        keep = sample_keep(logit, logistic_noise(uniform), self.temperature)
        valid = batch.student_valid
        share = (torch.sigmoid(logit.detach()) * valid).sum() / valid.sum()
        return torch.where(learnt[:, None], keep, random_keep), learnt, logit, {"keep_share": float(share)}

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
