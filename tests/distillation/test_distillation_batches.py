"""Examples by stage, and batches: each rationale once, the same updates however they are cut."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import skip_first_batches
from distillation_runs import NUM_STAGES, questions_and_rationales, schedule_for, weights_for
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import llama_tokenizer, t5_tokenizer

from kpodx.distillation.batches import StageBatchSampler, StagedRationales, StageLoader
from kpodx.distillation.config import DistillationConfig, WeightUse
from kpodx.distillation.phase import answer_only
from kpodx.distillation.weight_use import RAW, LossWeights
from kpodx.modeling.examples import IGNORED, ModelFamily, collate
from kpodx.modeling.tokenization import tokenize_rationales

T5 = ModelFamily(encoder_decoder=True, eos_id=1, pad_id=0, decoder_start_id=0)
LLAMA = ModelFamily(encoder_decoder=False, eos_id=1, pad_id=0, bos_id=2)
FAMILIES = {"t5": (T5, t5_tokenizer), "llama": (LLAMA, llama_tokenizer)}


def staged(
    count: int = 11, family: str = "t5", *, plain: bool = False, loss_weights: LossWeights = RAW
) -> StagedRationales:
    layout, make_tokenizer = FAMILIES[family]
    questions, rationales = questions_and_rationales(count, 0)
    items = tokenize_rationales(make_tokenizer(), rationales, questions)
    if plain:
        return StagedRationales(items, layout)
    return StagedRationales(
        items, layout, weights=weights_for(items, ""), schedule=schedule_for(items), loss_weights=loss_weights
    )


@pytest.mark.parametrize("family", ["t5", "llama"])
def test_stage_decides_what_is_given(family: str) -> None:
    """Stage 0 gives every step, stage 1 all but the last, later ones none; the rest is learnt, with its own tail of the weights."""
    data = staged(family=family)
    assert data.weights is not None
    for row, item in enumerate(data.items):
        whole, weight = item.rationale_ids, data.weights.of(row)
        for stage in range(NUM_STAGES + 1):
            steps_given = [len(item.step_stops), len(item.step_stops) - 1, 0][stage]
            given_tokens = item.step_stops[steps_given - 1] if steps_given else 0
            example = data[stage * len(data) + row]
            labels = [label for label in example.labels if label != IGNORED]
            assert labels == [*whole[given_tokens:], *item.answer_ids, 1]
            expected = [*weight[given_tokens:], *[1.0] * (len(item.answer_ids) + 1)]
            np.testing.assert_array_equal(example.target_weight[example.target_weight > 0], np.float32(expected))
            if family == "t5":
                assert example.input_ids == (*item.prompt_ids, 1)
                assert example.decoder_ids == (*whole, *item.answer_ids, 1)
            else:
                assert example.input_ids == (2, *item.prompt_ids, *whole, *item.answer_ids, 1)
            assert data.target_lengths(stage)[row] == len(labels)


@pytest.mark.parametrize("family", ["t5", "llama"])
@pytest.mark.parametrize("use", ["floor", "mean-one", "annealed"])
def test_the_loss_takes_what_is_made_of_the_targets_weights(family: str, use: WeightUse) -> None:
    """Of those of the target tokens alone, in every epoch by its own number, also after the schedule; answers keep weight 1."""
    loss_weights = LossWeights(use, floor=0.5, epochs=5)
    data = staged(family=family, loss_weights=loss_weights)
    assert data.weights is not None
    raw = data.weights.token_weight.copy()
    for epoch in range(5):
        for row, item in enumerate(data.items):
            given = item.input_tokens(data.input_steps(row, data.stage_of(epoch)))
            expected = loss_weights.at(epoch, data.weights.of(row)[given:])
            found = data[epoch * len(data) + row].target_weight
            np.testing.assert_array_equal(found[found > 0], [*expected, *[1.0] * (len(item.answer_ids) + 1)])
    assert np.array_equal(data.weights.token_weight, raw), "the stored weights stay as they are"


@pytest.mark.parametrize("num_workers", [0, 1])
def test_annealed_weights_follow_the_epoch_that_the_loader_is_in(num_workers: int) -> None:
    """Epochs 2, 3 and 4 share a stage, and differ in weights all the same; the last one has none but 1."""
    data = staged(loss_weights=LossWeights("annealed", epochs=5))
    loader = StageLoader(
        data,
        batch_sampler=StageBatchSampler(data, batch_size=4, seed=0),
        collate_fn=partial(collate, family=T5),
        num_workers=num_workers,
    )
    totals = []
    for epoch in (2, 3, 4, 2):
        loader.set_epoch(epoch)
        totals.append(sum(float(batch["target_weight"].sum()) for batch in loader))
    assert totals[0] < totals[1] < totals[2]
    assert totals[2] == data.target_lengths(NUM_STAGES).sum()
    assert totals[3] == pytest.approx(totals[0], rel=1e-6)


def test_bucket_keys_follow_what_each_side_of_an_encoder_decoder_reads() -> None:
    """Forced steps lengthen the decoder's sequence; steps in the encoder shorten it, and lengthen the encoder's."""
    decoder, encoder = staged(40), staged(40)
    encoder.placement = "encoder"
    prompt = np.array([len(item.prompt_ids) for item in decoder.items])
    given = np.array([len(item.rationale_ids) for item in decoder.items])
    assert np.abs(decoder.bucket_keys(0)[:, 1]).tolist() == prompt.tolist()
    assert np.abs(encoder.bucket_keys(0)[:, 1]).tolist() == (prompt + given).tolist()
    assert decoder.bucket_keys(0).tolist() == decoder.bucket_keys(NUM_STAGES).tolist()
    assert decoder.bucket_keys(NUM_STAGES).tolist() == encoder.bucket_keys(NUM_STAGES).tolist()


def test_epochs_after_the_schedule_share_its_last_stage() -> None:
    """Where nothing is given; without a schedule that is every epoch."""
    assert [staged().stage_of(epoch) for epoch in range(5)] == [0, 1, 2, 2, 2]
    assert [staged(plain=True).stage_of(epoch) for epoch in range(3)] == [0, 0, 0]
    assert staged(plain=True)[4].target_weight.tolist() == [1.0] * len(staged(plain=True)[4].labels)


def test_another_sets_weights_are_refused() -> None:
    """Rows would point at the wrong weights."""
    data, other = staged(11), staged(10)
    with pytest.raises(AssertionError, match="other rationales"):
        StagedRationales(data.items, T5, weights=other.weights)
    with pytest.raises(AssertionError, match="other rationales"):
        StagedRationales(data.items, T5, schedule=other.schedule)


@pytest.mark.parametrize("family", ["t5", "llama"])
def test_answer_only_learns_nothing_but_the_answer(family: str) -> None:
    """Empty rationales pass through lengths, examples and batches."""
    data = staged(family=family, plain=True)
    bare = StagedRationales([answer_only(item) for item in data.items], data.family)
    for row, item in enumerate(bare.items):
        assert [label for label in bare[row].labels if label != IGNORED] == [*data.items[row].answer_ids, 1]
        assert bare[row].rationale_labels == 0
        assert bare.target_lengths(0)[row] == len(item.answer_ids) + 1
    batch = collate([bare[row] for row in range(len(bare))], bare.family)
    assert int((batch["labels"] != IGNORED).sum()) == int(bare.target_lengths(0).sum())


def test_weights_follow_rows_in_every_shuffled_batch() -> None:
    """Looked up by place in the batch, they would be another rationale's."""
    data = staged()
    assert data.weights is not None
    sampler = StageBatchSampler(data, batch_size=3, seed=1)
    sampler.set_epoch(NUM_STAGES)
    for indices in sampler:
        batch = collate([data[i] for i in indices], T5)
        assert batch["rows"].tolist() == [i % len(data) for i in indices]
        for place, row in enumerate(batch["rows"].tolist()):
            length = len(data.items[row].rationale_ids)
            np.testing.assert_array_equal(batch["target_weight"][place, :length].numpy(), data.weights.of(row))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_loader_changes_stage_by_epoch(num_workers: int) -> None:
    """The stage travels in the index, so a worker process that was forked earlier cannot lag behind."""
    data = staged()
    loader = StageLoader(
        data,
        batch_sampler=StageBatchSampler(data, batch_size=4, seed=0),
        collate_fn=partial(collate, family=T5),
        num_workers=num_workers,
    )
    for epoch in (0, 1, 2, 3, 1):
        loader.set_epoch(epoch)
        batches = list(loader)
        targets = sum(int((batch["labels"] != IGNORED).sum()) for batch in batches)
        assert targets == int(data.target_lengths(data.stage_of(epoch)).sum())
        assert sorted(row for batch in batches for row in batch["rows"].tolist()) == list(range(len(data)))


def test_epochs_differ_and_repeat_themselves() -> None:
    """Another epoch or seed, another order; the same again, the same again."""
    data = staged(40)

    def batches(epoch: int, seed: int) -> list[list[int]]:
        sampler = StageBatchSampler(data, batch_size=4, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert batches(2, 7) == batches(2, 7)
    assert batches(2, 7) != batches(3, 7)
    assert batches(2, 7) != batches(2, 8)


def test_skipping_resumes_inside_an_epoch() -> None:
    """What the Trainer does when it resumes: skip the first batches of the epoch that was cut short."""
    data = staged()
    loader = StageLoader(
        data, batch_sampler=StageBatchSampler(data, batch_size=2, seed=0), collate_fn=partial(collate, family=T5)
    )
    loader.set_epoch(1)
    whole = [batch["rows"].tolist() for batch in loader]
    assert [batch["rows"].tolist() for batch in skip_first_batches(loader, 3)] == whole[3:]


@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 5),
    accumulation=st.integers(1, 4),
    processes=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
@settings(deadline=None, max_examples=60)
def test_every_rationale_once_and_all_processes_in_step(
    count: int, batch_size: int, accumulation: int, processes: int, epoch: int
) -> None:
    """Over any number of processes, each with as many batches as `len` says, none larger than asked for."""
    data = staged(count)
    seen: Counter[int] = Counter()
    for index in range(processes):
        sampler = StageBatchSampler(
            data,
            batch_size=batch_size,
            seed=0,
            gradient_accumulation=accumulation,
            num_processes=processes,
            process_index=index,
        )
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert -(-len(batches) // accumulation) == sampler.updates_per_epoch
        assert all(1 <= len(batch) <= batch_size for batch in batches)
        seen.update(i for batch in batches for i in batch if i >= 0)
    offset = epoch * count
    assert seen == Counter(range(offset, offset + count))


@given(count=st.integers(1, 40), epoch=st.integers(0, 3))
@settings(deadline=None, max_examples=30)
def test_the_same_updates_however_they_are_cut(count: int, epoch: int) -> None:
    """Eight rationales an update: in one batch, in two, in eight, on two processes."""

    def updates(batch_size: int, accumulation: int, processes: int) -> list[list[int]]:
        result: list[list[int]] = []
        for index in range(processes):
            sampler = StageBatchSampler(
                staged(count),
                batch_size=batch_size,
                seed=4,
                gradient_accumulation=accumulation,
                num_processes=processes,
                process_index=index,
            )
            sampler.set_epoch(epoch)
            for number, batch in enumerate(sampler):
                if number // accumulation == len(result):
                    result.append([])
                result[number // accumulation] += [i for i in batch if i >= 0]
        return [sorted(rows) for rows in result]

    whole = updates(8, 1, 1)
    assert [len(rows) for rows in whole[:-1]] == [8] * (len(whole) - 1), "a smaller update comes last"
    for cut in ((4, 2, 1), (2, 4, 1), (1, 8, 1), (4, 1, 2), (1, 4, 2)):
        assert updates(*cut) == whole


def test_a_process_with_nothing_left_computes_on_no_target() -> None:
    """Of nine rationales in updates of four, the last one falls to process 0."""
    data = staged(9)
    sampler = StageBatchSampler(data, batch_size=2, seed=0, num_processes=2, process_index=1)
    sampler.set_epoch(1)
    [filler] = list(sampler)[-1]
    assert filler < 0
    batch = collate([data[filler]], T5)
    assert (batch["labels"] == IGNORED).all()
    assert (batch["target_weight"] == 0).all()
    assert batch["input_ids"].shape[1] > 1


def test_a_limit_empties_the_epochs_behind_it() -> None:
    """A run killed between its last checkpoint and the end must not take one more update when it resumes."""
    sampler = StageBatchSampler(staged(), batch_size=4, seed=0, max_updates=4)
    counts = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        counts.append(len(list(sampler)))
    assert counts == [3, 1, 0]
    assert len(sampler) == 3


@pytest.mark.parametrize("family", ["t5", "llama"])
@pytest.mark.parametrize("num_updates", [0, 1, 3, 5, 9, 11])
def test_target_tokens_are_counted_exactly(family: str, num_updates: int) -> None:
    """Against a count over the collated batches."""
    data = staged(family=family)
    sampler = StageBatchSampler(data, batch_size=4, seed=0)
    count, left = 0, num_updates
    for epoch in range(5):
        sampler.set_epoch(epoch)
        for indices in list(sampler)[:left]:
            count += int((collate([data[i] for i in indices], data.family)["labels"] != IGNORED).sum())
            left -= 1
    assert left == 0
    assert sampler.target_tokens(num_updates) == count


def test_buckets_waste_less_than_random_batches() -> None:
    """Padding among the targets of 120 rationales of one to three sentences."""

    def padding(bucketed: bool) -> float:
        data = staged(120, plain=True)
        shapes = [
            collate([data[i] for i in rows], T5)["labels"]
            for rows in StageBatchSampler(data, batch_size=4, seed=0, bucketed=bucketed)
        ]
        return sum(int((labels == IGNORED).sum()) for labels in shapes) / sum(labels.numel() for labels in shapes)

    assert padding(True) < 0.1 < 0.2 < padding(False)


def test_a_wider_window_makes_updates_more_alike() -> None:
    """The spread of target lengths inside an update of 4, over windows of 1, 4 and all 30 updates; 64 is the default."""
    data = staged(120, plain=True)
    lengths = data.target_lengths(0)

    def spread(window: int) -> float:
        sampler = StageBatchSampler(data, batch_size=4, seed=0, bucket_window=window)
        assert sorted(row for rows in sampler.updates(0) for row in rows) == list(range(120))
        return float(np.mean([np.ptp(lengths[rows]) for rows in sampler.updates(0)]))

    assert spread(30) < 0.5 * spread(4) < 0.5 * spread(1)
    default = StageBatchSampler(data, batch_size=4, seed=0)
    assert default.updates(3) == StageBatchSampler(data, batch_size=4, seed=0, bucket_window=64).updates(3)
    assert DistillationConfig().bucket_window == default.bucket_window


def test_a_window_of_one_draws_updates_at_random() -> None:
    """As often as without buckets, two given rationales of like length fall into one update; inside it they are sorted."""
    data = staged(40, plain=True)
    keys = data.bucket_keys(0)

    def together(**settings: Any) -> float:
        sampler = StageBatchSampler(data, batch_size=4, seed=0, **settings)
        pairs = [{0, 3} <= set(rows) for epoch in range(600) for rows in sampler.updates(epoch)]
        return sum(pairs) / 600

    assert together(bucket_window=1) == pytest.approx(3 / 39, abs=0.04)
    assert together(bucketed=False) == pytest.approx(3 / 39, abs=0.04)
    for rows in StageBatchSampler(data, batch_size=4, seed=0, bucket_window=1).updates(0):
        assert keys[rows].tolist() == sorted(keys[rows].tolist())


def test_the_window_counts_for_nothing_without_buckets() -> None:
    """So that the same training has the same fingerprint."""
    plain, other = (DistillationConfig(length_bucketing=False, bucket_window=window) for window in (1, 64))
    assert plain.deciding_settings() == other.deciding_settings()
    assert "bucket_window" in DistillationConfig().deciding_settings()


def test_the_smaller_update_is_not_always_of_the_longest() -> None:
    """It is as likely to hold short rationales, or the longest would always weigh more."""
    data = staged(9, plain=True)
    sampler = StageBatchSampler(data, batch_size=4, seed=0)
    lengths = data.target_lengths(0)
    last = [int(lengths[sampler.updates(epoch)[-1]].max()) for epoch in range(40)]
    assert min(last) < np.median(lengths) <= max(last)
    assert torch.tensor(last, dtype=torch.float64).std() > 0
