"""What the student sees in each epoch: examples by stage, in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from kpodx.modeling.examples import Example, ModelFamily, build_example, length_buckets
from kpodx.modeling.tokenization import TokenizedRationale
from kpodx.schema import Schedule, TokenWeights


class StagedRationales(Dataset[Example]):
    """Rationales whose leading steps are given by stage.

    The index of an example is `stage · N + row`: the stage travels with the index, so that no worker process can lag behind it, and the
    weights of a rationale are looked up by its row and never by its place in a batch.

    Args:
        items: N tokenised rationales.
        family: the student's layout.
        weights: their token weights, in the same order; None counts each token once.
        schedule: their schedule, in the same order; None gives no steps.
    """

    def __init__(
        self,
        items: Sequence[TokenizedRationale],
        family: ModelFamily,
        *,
        weights: TokenWeights | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        ids = tuple(item.rationale_id for item in items)
        assert weights is None or weights.rationale_ids == ids, "token weights of other rationales"
        assert schedule is None or schedule.rationale_ids == ids, "a schedule of other rationales"
        self.items, self.family, self.weights, self.schedule = items, family, weights, schedule

    def __len__(self) -> int:
        """Rationales in one epoch."""
        return len(self.items)

    def stage_of(self, epoch: int) -> int:
        """The stage of an epoch: the epoch itself while the schedule lasts, then the first one after it, where nothing is given."""
        return 0 if self.schedule is None else min(epoch, self.schedule.num_stages)

    def input_steps(self, row: int, stage: int) -> int:
        """c_i(t): leading steps that are given."""
        if self.schedule is None or stage >= self.schedule.num_stages:
            return 0
        return int(self.schedule.input_steps[row, stage])

    def __getitem__(self, index: int) -> Example:
        """The example of row `index % N` at stage `index // N`."""
        stage, row = divmod(index, len(self.items))
        item = self.items[row]
        weight = None if self.weights is None else self.weights.of(row)
        return build_example(item, weight, item.input_tokens(self.input_steps(row, stage)), self.family, row=row)

    def lengths(self, stage: int) -> npt.NDArray[np.int64]:
        """(target, input) tokens of each example at a stage, int64 [N, 2]."""
        result = np.empty((len(self.items), 2), dtype=np.int64)
        for row, item in enumerate(self.items):
            given = item.input_tokens(self.input_steps(row, stage))
            target = len(item.rationale_ids) - given + len(item.answer_ids) + 1
            read = len(item.prompt_ids) + given
            result[row] = (target, read) if self.family.encoder_decoder else (target + read, target)
        return result


class StageBatchSampler:
    """Batches of indices of `StagedRationales`, the same for the same seed and epoch; accelerate deals them out to the devices.

    Args:
        data: the rationales.
        batch_size: rationales a batch.
        seed: of the run.
        bucketed: whether a batch holds rationales of similar length.
    """

    def __init__(self, data: StagedRationales, *, batch_size: int, seed: int, bucketed: bool = True) -> None:
        self.data, self.batch_size, self.seed, self.bucketed = data, batch_size, seed, bucketed
        self.drop_last = False
        self.epoch = 0
        # accelerate tells a wrapped batch sampler the epoch through this name.
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """The batches of the epoch."""
        stage = self.data.stage_of(self.epoch)
        lengths = self.data.lengths(stage)
        window = 64 if self.bucketed else 1
        for rows in length_buckets(lengths, self.batch_size, seed=self.seed, epoch=self.epoch, window=window):
            yield [stage * len(self.data) + row for row in rows]
