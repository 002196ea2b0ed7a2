"""Layouts of examples for both families, padding, and batches of similar length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.modeling.examples import (
    IGNORED,
    Example,
    ModelFamily,
    Placement,
    build_example,
    collate,
    length_buckets,
    model_family,
    prompt_with_steps,
    shift_right,
)
from kpodx.modeling.likelihood import token_nll
from kpodx.modeling.loading import load_model, load_tokenizer
from kpodx.modeling.tokenization import TokenizedRationale

SEQ2SEQ = ModelFamily(encoder_decoder=True, eos_id=1, pad_id=0, decoder_start_id=9)
CAUSAL = ModelFamily(encoder_decoder=False, eos_id=1, pad_id=1, bos_id=2)
ITEM = TokenizedRationale("r", "q", (10, 11), (20, 21, 22, 23, 24), (30, 31), (2, 5))
WEIGHT = np.array([0.1, 0.2, 0.3, 0.4, 0.5], dtype=np.float32)


def test_the_start_of_the_first_target_step() -> None:
    assert [ITEM.input_tokens(steps) for steps in (0, 1, 2)] == [0, 2, 5]


def test_encoder_decoder_is_forced_to_say_the_given_steps() -> None:
    example = build_example(ITEM, WEIGHT, 2, SEQ2SEQ, row=7)
    assert example.input_ids == (10, 11, 1)
    assert example.decoder_ids == (20, 21, 22, 23, 24, 30, 31, 1)
    assert example.labels == (IGNORED, IGNORED, 22, 23, 24, 30, 31, 1)
    assert example.rationale_labels == 3
    assert example.target_weight.tolist() == pytest.approx([0, 0, 0.3, 0.4, 0.5, 1, 1, 1])


def test_forced_steps_are_read_by_the_decoder_and_not_learnt() -> None:
    batch = collate([build_example(ITEM, WEIGHT, k, SEQ2SEQ, row=k) for k in (2, 0)], SEQ2SEQ)
    assert batch["decoder_input_ids"].tolist() == [[9, 20, 21, 22, 23, 24, 30, 31]] * 2
    assert batch["labels"][0].tolist() == [IGNORED, IGNORED, 22, 23, 24, 30, 31, 1]
    assert batch["labels"][1].tolist() == [20, 21, 22, 23, 24, 30, 31, 1]


def test_encoder_decoder_can_read_the_given_steps_in_the_encoder() -> None:
    example = build_example(ITEM, WEIGHT, 2, SEQ2SEQ, row=7, placement="encoder")
    assert example.row == 7
    assert example.input_ids == (10, 11, 20, 21, 1)
    assert example.labels == example.decoder_ids == (22, 23, 24, 30, 31, 1)
    assert example.rationale_labels == 3
    # The tail of the rationale carries the tail of the weights; answer and end mark count once.
    assert example.target_weight.tolist() == pytest.approx([0.3, 0.4, 0.5, 1, 1, 1])
    assert example.target_weight.dtype == np.float32


def test_decoder_only_reads_the_given_steps_behind_the_prompt() -> None:
    example = build_example(ITEM, WEIGHT, 2, CAUSAL, row=0)
    assert example.input_ids == (2, 10, 11, 20, 21, 22, 23, 24, 30, 31, 1)
    assert example.labels == (*[IGNORED] * 5, 22, 23, 24, 30, 31, 1)
    assert example.target_weight.tolist() == pytest.approx([0, 0, 0, 0, 0, 0.3, 0.4, 0.5, 1, 1, 1])
    assert example.rationale_labels == 3


@pytest.mark.parametrize("family", [SEQ2SEQ, CAUSAL])
@pytest.mark.parametrize("given_tokens", [0, 2, 5])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("placement", ["decoder", "encoder"])
def test_every_target_has_a_weight_and_nothing_else_has(
    family: ModelFamily, given_tokens: int, weight: np.ndarray | None, placement: Placement
) -> None:
    example = build_example(ITEM, weight, given_tokens, family, row=0, placement=placement)
    assert [w > 0 for w in example.target_weight] == [label != IGNORED for label in example.labels]
    targets = [label for label in example.labels if label != IGNORED]
    assert targets == [*ITEM.rationale_ids[given_tokens:], *ITEM.answer_ids, 1]
    assert example.rationale_labels == 5 - given_tokens
    if weight is None:
        assert sorted(set(example.target_weight.tolist())) in ([1.0], [0.0, 1.0])


def test_weights_of_another_length_are_refused() -> None:
    with pytest.raises(AssertionError):
        build_example(ITEM, WEIGHT[:4], 2, SEQ2SEQ, row=0)


def test_reading_without_a_start_mark() -> None:
    assert prompt_with_steps((5, 6), (), ModelFamily(False, 1, 0)) == (5, 6)
    assert prompt_with_steps((5, 6), (7,), CAUSAL) == (2, 5, 6, 7)
    assert prompt_with_steps((5, 6), (7,), SEQ2SEQ) == (5, 6, 7, 1)


def test_collate_pads_labels_with_the_ignored_label_and_weights_with_zero() -> None:
    short, long = (
        build_example(ITEM, WEIGHT, given, SEQ2SEQ, row=row, placement="encoder") for given, row in ((5, 4), (0, 2))
    )
    batch = collate([short, long], SEQ2SEQ)
    assert batch["labels"].tolist() == [[30, 31, 1, *[IGNORED] * 5], [20, 21, 22, 23, 24, 30, 31, 1]]
    assert batch["target_weight"].tolist() == [
        [1, 1, 1, 0, 0, 0, 0, 0],
        pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 1, 1, 1]),
    ]
    assert batch["input_ids"].tolist() == [[10, 11, 20, 21, 22, 23, 24, 1], [10, 11, 1, 0, 0, 0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1] * 8, [1, 1, 1, 0, 0, 0, 0, 0]]
    assert batch["decoder_input_ids"].tolist() == [[9, 30, 31, 1, 0, 0, 0, 0], [9, 20, 21, 22, 23, 24, 30, 31]]
    assert batch["rows"].tolist() == [4, 2]


def test_padding_with_the_end_mark_leaves_the_end_mark_attended_and_learnt() -> None:
    family = ModelFamily(encoder_decoder=False, eos_id=1, pad_id=1)
    batch = collate([build_example(ITEM, None, k, family, row=k) for k in (0, 0)], family)
    assert bool(batch["attention_mask"].all())
    assert batch["labels"][0, -1] == 1
    item = TokenizedRationale("s", "q", (10,), (20,), (30,), (1,))
    batch = collate([build_example(i, None, 0, family, row=0) for i in (item, ITEM)], family)
    assert batch["input_ids"][0].tolist() == [10, 20, 30, *[1] * 7]
    assert batch["attention_mask"][0].tolist() == [1, 1, 1, 1, *[0] * 6]
    assert batch["labels"][0].tolist() == [IGNORED, 20, 30, 1, *[IGNORED] * 6]
    assert "decoder_input_ids" not in batch


@given(st.permutations(range(6)))
@settings(deadline=None, max_examples=20)
def test_weights_follow_their_rationale_through_any_order(order: list[int]) -> None:
    items = [TokenizedRationale(f"r{i}", "q", (10,), (20 + i,) * (i + 1), (30,), (i + 1,)) for i in range(6)]
    weights = [np.full(i + 1, (i + 1) / 10, dtype=np.float32) for i in range(6)]
    for family in (SEQ2SEQ, CAUSAL):
        batch = collate([build_example(items[i], weights[i], 0, family, row=i) for i in order], family)
        for place, row in enumerate(batch["rows"].tolist()):
            mine = batch["labels"][place] == 20 + row
            assert int(mine.sum()) == row + 1
            assert batch["target_weight"][place][mine].tolist() == pytest.approx([(row + 1) / 10] * (row + 1))


def test_shift_right_by_hand() -> None:
    labels = torch.tensor([[5, 6, 1], [7, 1, IGNORED]])
    assert shift_right(labels, 9, 0).tolist() == [[9, 5, 6], [9, 7, 1]]
    assert labels.tolist() == [[5, 6, 1], [7, 1, IGNORED]]


def test_families_of_real_layouts(tiny_t5: Path, tiny_llama: Path) -> None:
    families = [model_family(load_model(str(f)), load_tokenizer(str(f))) for f in (tiny_t5, tiny_llama)]
    assert families[0] == ModelFamily(True, eos_id=1, pad_id=0, bos_id=None, decoder_start_id=0)
    assert families[1] == ModelFamily(False, eos_id=1, pad_id=0, bos_id=2, decoder_start_id=None)


LENGTHS = np.random.default_rng(0).integers(5, 200, 1000)


def padding(lengths: np.ndarray, batches: list[list[int]]) -> int:
    return int(sum(len(b) * lengths[b].max() - lengths[b].sum() for b in batches))


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 5), st.integers(0, 5))
@settings(deadline=None, max_examples=50)
def test_buckets_hold_each_example_once(count: int, batch_size: int, seed: int, epoch: int) -> None:
    lengths = np.random.default_rng(count).integers(1, 50, count)
    batches = list(length_buckets(lengths, batch_size, seed=seed, epoch=epoch, window=3))
    assert sorted(i for batch in batches for i in batch) == list(range(count))
    assert sorted(map(len, batches), reverse=True)[:-1] == [batch_size] * (len(batches) - 1)


def test_buckets_depend_on_seed_and_epoch_alone() -> None:
    def of(**changes: int) -> list[list[int]]:
        return list(length_buckets(LENGTHS, 8, **({"seed": 1, "epoch": 2} | changes)))

    assert of() == of()
    assert of() != of(seed=3)
    assert of() != of(epoch=3)


def test_buckets_pad_much_less_than_random_batches() -> None:
    bucketed = padding(LENGTHS, list(length_buckets(LENGTHS, 8, seed=0, epoch=0)))
    random = padding(LENGTHS, list(length_buckets(LENGTHS, 8, seed=0, epoch=0, window=1)))
    assert bucketed < 0.2 * random


def test_buckets_come_in_random_order() -> None:
    means = [LENGTHS[b].mean() for b in length_buckets(LENGTHS, 8, seed=0, epoch=0)]
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3


def test_the_second_length_breaks_ties() -> None:
    lengths = np.stack([np.full(40, 7), np.arange(40)[::-1]], axis=1)
    batches = list(length_buckets(lengths, 4, seed=0, epoch=0))
    assert sorted(sorted(b) for b in batches) == [list(range(i, i + 4)) for i in range(0, 40, 4)]


def test_examples_are_immutable() -> None:
    example = build_example(ITEM, None, 0, SEQ2SEQ, row=0)
    with pytest.raises(AttributeError):
        example.row = 3  # type: ignore[misc]
    assert isinstance(example, Example)


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_where_nothing_is_given_both_placements_have_the_same_loss(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(f"tiny_{kind}")
    model, tokenizer = load_model(str(folder)).eval(), load_tokenizer(str(folder))
    family = model_family(model, tokenizer)
    losses = []

    for placement in ("decoder", "encoder"):
        batch = collate([build_example(ITEM, WEIGHT, 0, family, row=0, placement=placement)], family)
        losses.append(token_nll(model, batch, encoder_decoder=family.encoder_decoder))

    assert torch.equal(losses[0], losses[1])


def test_forced_tokens_carry_no_gradient(tiny_t5: Path) -> None:
    """The gradient is that of the whole rationale whose given tokens have weight 0."""
    model, tokenizer = load_model(str(tiny_t5)).eval(), load_tokenizer(str(tiny_t5))
    family = model_family(model, tokenizer)

    def gradient(given: int, weight: np.ndarray) -> torch.Tensor:
        batch = collate([build_example(ITEM, weight, given, family, row=0)], family)
        model.zero_grad()
        (token_nll(model, batch, encoder_decoder=True) * batch["target_weight"]).sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    none_for_the_first = np.where(np.arange(5) < 2, 0, WEIGHT).astype(np.float32)
    torch.testing.assert_close(gradient(2, WEIGHT), gradient(0, none_for_the_first))
    assert not torch.allclose(gradient(2, WEIGHT), gradient(0, WEIGHT))
