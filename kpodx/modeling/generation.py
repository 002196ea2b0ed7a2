"""Greedy answers of a student, in batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kpodx.modeling.examples import model_family, prompt_with_steps
from kpodx.modeling.loading import Model, Tokenizer
from kpodx.runtime import Progress, SilentProgress
from kpodx.schema import Prediction, Question
from kpodx.text.judging import judge
from kpodx.text.prompts import student_prompt


@torch.no_grad()
def generate_ids(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int,
    progress: Progress | None = None,
    description: str = "Answering",
) -> list[list[int]]:
    """The greedy continuation of each prompt as token ids, up to the end mark, in the order of the prompts.

    Args:
        model: a student, put in evaluation mode for the call.
        tokenizer: its tokenizer.
        prompts: texts from `student_prompt`.
        max_new_tokens: most tokens to write.
        batch_size: prompts at a time; those of similar length go together.
        progress: where progress is shown.
        description: what the progress bar says.
    """
    family = model_family(model, tokenizer)
    encoded = tokenizer(list(prompts), add_special_tokens=False).input_ids if prompts else []
    read = [prompt_with_steps(ids, (), family) for ids in encoded]
    order = sorted(range(len(read)), key=lambda i: -len(read[i]))
    written: list[list[int]] = [[] for _ in prompts]
    was_training = model.training
    model.eval()
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    for rows in (progress or SilentProgress()).track(batches, total=len(batches), description=description):
        width = max(len(read[i]) for i in rows)
        # A decoder-only model continues from the last position, so its padding stands on the left.
        padded, mask = zip(
            *(_pad_row(read[i], width, family.pad_id, left=not family.encoder_decoder) for i in rows), strict=True
        )
        output = model.generate(
            input_ids=torch.tensor(padded, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            # Some hub models ship other defaults in generation_config.json; a student on a device answers without them.
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            min_length=0,
            eos_token_id=family.eos_id,
            pad_token_id=family.pad_id,
        )
        new = output[:, 1:] if family.encoder_decoder else output[:, width:]
        for row, ids in zip(rows, new.tolist(), strict=True):
            written[row] = ids[: ids.index(family.eos_id)] if family.eos_id in ids else ids
    model.train(was_training)
    return written


def generate_texts(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int,
    progress: Progress | None = None,
    description: str = "Answering",
) -> list[str]:
    """The greedy continuation of each prompt as text, special tokens removed; see `generate_ids` for the arguments."""
    written = generate_ids(
        model,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        progress=progress,
        description=description,
    )
    # Of no rows at all, transformers 5 makes one text.
    texts = tokenizer.batch_decode(written, skip_special_tokens=True) if written else []
    return [text.strip() for text in texts]


def _pad_row(ids: Sequence[int], width: int, pad_id: int, *, left: bool) -> tuple[list[int], list[int]]:
    padding, ones = [pad_id] * (width - len(ids)), [1] * len(ids)
    zeros = [0] * len(padding)
    return ([*padding, *ids], zeros + ones) if left else ([*ids, *padding], ones + zeros)


def answer_questions(
    model: Model,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    *,
    max_new_tokens: int,
    batch_size: int,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Let the student answer questions greedily and judge the answers."""
    prompts = [student_prompt(question) for question in questions]
    outputs = generate_texts(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size, progress=progress
    )
    return list(judge(questions, outputs))
