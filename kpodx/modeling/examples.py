"""Training and scoring examples: what a student reads, what it must say, and how much each token counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kpodx.modeling.loading import Model, Tokenizer, decoder_start_id
from kpodx.modeling.tokenization import TokenizedRationale
from kpodx.runtime import derive_seed

IGNORED = -100
"""The label of a position that is not a target (the field's convention)."""

Placement = Literal["decoder", "encoder"]
"""Where an encoder-decoder student reads given steps: forced in the decoder, or behind the question in the encoder."""


@dataclass(frozen=True)
class ModelFamily:
    """What the layout of an example depends on.

    `bos_id` starts a decoder-only sequence where its tokenizer starts one; None elsewhere.
    """

    encoder_decoder: bool
    eos_id: int
    pad_id: int
    bos_id: int | None = None
    decoder_start_id: int | None = None


def model_family(model: Model, tokenizer: Tokenizer) -> ModelFamily:
    """Read the family off a loaded model and its tokenizer."""
    encoder_decoder = bool(model.config.is_encoder_decoder)
    starts = tokenizer("box").input_ids[:1] == [tokenizer.bos_token_id]
    return ModelFamily(
        encoder_decoder=encoder_decoder,
        eos_id=int(tokenizer.eos_token_id),
        pad_id=int(tokenizer.pad_token_id),
        bos_id=int(tokenizer.bos_token_id) if starts and not encoder_decoder else None,
        decoder_start_id=decoder_start_id(model) if encoder_decoder else None,
    )


@dataclass(frozen=True)
class Example:
    """One example in ids.

    `labels` and `target_weight` run beside `input_ids` (decoder-only) or beside `decoder_ids` (encoder-decoder).
    `target_weight` is 0 exactly if `labels` is -100, and above 0 on targets.
    `rationale_labels` counts the leading targets that belong to the rationale; the rest is answer and end mark.
    `decoder_ids` is what an encoder-decoder's decoder says, forced steps included; the decoder reads it one place
    later. It is empty for a decoder-only student.
    """

    row: int
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    target_weight: npt.NDArray[np.float32]
    rationale_labels: int
    decoder_ids: tuple[int, ...] = ()


def prompt_with_steps(prompt_ids: Sequence[int], given_ids: Sequence[int], family: ModelFamily) -> tuple[int, ...]:
    """The ids that a student reads: the prompt and the steps that are given, framed as its family wants it."""
    if family.encoder_decoder:
        return (*prompt_ids, *given_ids, family.eos_id)
    start = () if family.bos_id is None else (family.bos_id,)
    return (*start, *prompt_ids, *given_ids)


def build_example(
    item: TokenizedRationale,
    token_weight: npt.NDArray[np.float32] | None,
    input_tokens: int,
    family: ModelFamily,
    *,
    row: int,
    placement: Placement = "decoder",
) -> Example:
    """Lay out one rationale whose first `input_tokens` tokens are given (equation 15; reading 9).

    Given tokens carry no loss. An encoder-decoder is forced to say them in its decoder, as log P(r_j | r_<j, x) has
    it, or reads them in its encoder; a decoder-only student reads them behind the prompt in either case.

    Args:
        item: the tokenized rationale.
        token_weight: weight of each of its rationale tokens [R]; None counts every token once. The *tail* of the
            weights goes with the tail of the rationale.
        input_tokens: how many rationale tokens are given, 0 to R.
        family: the student's layout.
        row: index of the rationale in its set.
        placement: where an encoder-decoder reads what is given.
    """
    given, rest = item.rationale_ids[:input_tokens], item.rationale_ids[input_tokens:]
    target = (*rest, *item.answer_ids, family.eos_id)
    weight = np.ones(len(target), dtype=np.float32)
    if token_weight is not None:
        assert len(token_weight) == len(item.rationale_ids), (len(token_weight), len(item.rationale_ids))
        weight[: len(rest)] = token_weight[input_tokens:]

    if family.encoder_decoder and placement == "encoder":
        return Example(row, prompt_with_steps(item.prompt_ids, given, family), target, weight, len(rest), target)
    if family.encoder_decoder:
        read = prompt_with_steps(item.prompt_ids, (), family)
        return Example(row, read, *_ignore_first(len(given), target, weight), len(rest), given + target)
    read = prompt_with_steps(item.prompt_ids, given, family)
    return Example(row, read + target, *_ignore_first(len(read), target, weight), len(rest))


def _ignore_first(
    count: int, target: tuple[int, ...], weight: npt.NDArray[np.float32]
) -> tuple[tuple[int, ...], npt.NDArray[np.float32]]:
    """Return labels and weights with `count` positions in front that are not targets."""
    return (IGNORED,) * count + target, np.concatenate([np.zeros(count, np.float32), weight])


def _pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    width = max(map(len, rows))
    result = np.full((len(rows), width), value, dtype=np.int64)
    for number, row in enumerate(rows):
        result[number, : len(row)] = row
    return torch.from_numpy(result)


def collate(examples: Sequence[Example], family: ModelFamily) -> dict[str, Tensor]:
    """Pad examples to the longest of the batch, on the right.

    Returns:
        input_ids, attention_mask int64 [B, S]; labels int64 [B, L], -100 on padding; target_weight float32 [B, L], 0 on padding; rows
        int64 [B]; for an encoder-decoder also decoder_input_ids [B, L]. L equals S for a decoder-only student.
    """
    input_ids = _pad([e.input_ids for e in examples], family.pad_id)
    # The mask comes from the lengths, not from pad_id: a decoder-only tokenizer may pad with its end mark.
    lengths = torch.tensor([len(e.input_ids) for e in examples])
    labels = _pad([e.labels for e in examples], IGNORED)
    weight = torch.zeros(labels.shape, dtype=torch.float32)
    for number, example in enumerate(examples):
        weight[number, : len(example.labels)] = torch.from_numpy(example.target_weight)
    batch = {
        "input_ids": input_ids,
        "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
        "labels": labels,
        "target_weight": weight,
        "rows": torch.tensor([e.row for e in examples]),
    }
    if family.encoder_decoder:
        assert family.decoder_start_id is not None
        decoder_ids = _pad([e.decoder_ids for e in examples], family.pad_id)
        batch["decoder_input_ids"] = shift_right(decoder_ids, family.decoder_start_id, family.pad_id)
    return batch


def shift_right(decoder_ids: Tensor, start_id: int, pad_id: int) -> Tensor:
    """Return an encoder-decoder's decoder inputs: its ids one place later, behind the start token; int64 [B, L].

    A label of -100 becomes padding.
    """
    shifted = decoder_ids.roll(1, dims=-1)
    shifted[:, 0] = start_id
    return shifted.masked_fill(shifted == IGNORED, pad_id)


def length_buckets(
    lengths: npt.NDArray[np.int64], batch_size: int, *, seed: int, epoch: int, window: int = 64
) -> Iterator[list[int]]:
    """Batches of examples of similar length, in random order; the same arguments give the same batches.

    The examples are shuffled, sorted by length inside windows of `window` batches, cut, and the batches are shuffled.

    Args:
        lengths: (sort key) length of each example in tokens, int64 [N] or [N, 2] (the first column decides, the second breaks ties).
        batch_size: examples a batch; one of them may be smaller.
        seed: seed of the run.
        epoch: epoch, so that each has another order.
        window: batches that are sorted together; 1 makes random batches.
    """
    rng = np.random.default_rng(derive_seed("length_buckets", seed, epoch))
    order = rng.permutation(len(lengths))
    keys = lengths.reshape(len(lengths), -1)
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), batch_size * window):
        part = order[start : start + batch_size * window]
        part = part[np.lexsort(keys[part].T[::-1])]
        # The smaller batch stands at a random length: cut off the end, it would hold the longest examples in every epoch.
        full, rest = divmod(len(part), batch_size)
        sizes = np.full(full + (rest > 0), batch_size)
        if rest:
            sizes[rng.integers(full + 1)] = rest
        batches.extend(np.split(part, np.cumsum(sizes)[:-1]))
    for number in rng.permutation(len(batches)):
        yield batches[number].tolist()


def to_device(batch: dict[str, Tensor], device: torch.device) -> dict[str, Any]:
    """The batch on `device`; the copy to a GPU does not wait."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
