"""From text to tokens and back to characters.

A text is tokenised **once** and its ids are cut: tokenising the pieces again would shift weights off their tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kpodx.errors import DataError, ModelError
from kpodx.modeling.loading import Tokenizer
from kpodx.modeling.token_spans import backend_hash, encode_texts, leading_space_of, token_spans
from kpodx.schema import Question, Rationale, StepSpan, TokenWeights
from kpodx.text.prompts import answer_sentence, student_prompt
from kpodx.text.steps import split_steps


@dataclass(frozen=True)
class TokenizedRationale:
    """A question, its rationale and its answer in a student's tokens, without special tokens.

    `prompt_ids` [P], `rationale_ids` [R] and `answer_ids` [A] hold token ids; `step_stops` [K] holds where each step ends in
    `rationale_ids`, rising, the last one R.
    """

    rationale_id: str
    question_id: str
    prompt_ids: tuple[int, ...]
    rationale_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    step_stops: tuple[int, ...]

    def input_tokens(self, input_steps: int) -> int:
        """How many rationale tokens the first `input_steps` steps have (the start of the first target step)."""
        return self.step_stops[input_steps - 1] if input_steps else 0


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """A hash of all that decides how the tokenizer cuts text: equal hashes, equal tokens."""
    return backend_hash(tokenizer.backend_tokenizer)


def leading_space(tokenizer: Tokenizer) -> str:
    """What to put before a text that continues another: " " for byte-level tokenizers, "" for those that add it themselves."""
    return leading_space_of(tokenizer.backend_tokenizer)


def encode_continuations(
    tokenizer: Tokenizer, texts: Sequence[str]
) -> list[tuple[tuple[int, ...], tuple[tuple[int, int], ...]]]:
    """Token ids and character ranges (in the text as given) of texts that continue a prompt; see `encode_texts`."""
    return encode_texts(tokenizer.backend_tokenizer, texts)


def rationale_token_spans(tokenizer: Tokenizer, text: str) -> list[StepSpan]:
    """The character range of each token of a rationale, in order."""
    return token_spans(tokenizer.backend_tokenizer, text)


def step_token_stops(steps: Sequence[StepSpan], offsets: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Where each step ends in tokens.

    A token belongs to the step in which it ends (so that a leading space goes with its word). Steps without a token vanish.

    Args:
        steps: character ranges that tile the text.
        offsets: character range of each token.

    Returns:
        Rising token counts, the last one `len(offsets)`.
    """
    ends = (
        np.maximum.accumulate(np.array([max(b - 1, a) for a, b in offsets], dtype=np.int64)) if offsets else np.zeros(0)
    )
    stops = [bisect_left(ends, step.stop) for step in steps]
    if stops:
        stops[-1] = len(offsets)
    return tuple(sorted({stop for stop in stops if stop > 0}))


def overlap_matrix(first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]]) -> npt.NDArray[np.float32]:
    """How the tokens of one vocabulary lie over those of another, by characters (docs/method.md, reading 5).

    Args:
        first: (start, stop) characters of n tokens.
        second: (start, stop) characters of m tokens of the same text.

    Returns:
        float32 [n, m]; row i holds the share of token i's characters that lie in each token of `second`, and sums to 1. A token
        without characters (a lone word mark) takes the token of `second` that stands at its place.
    """
    a, b = np.asarray(first, dtype=np.int64).reshape(-1, 2), np.asarray(second, dtype=np.int64).reshape(-1, 2)
    if len(a) == len(b) and bool((a == b).all()):
        return np.eye(len(a), dtype=np.float32)
    shared = np.minimum(a[:, None, 1], b[None, :, 1]) - np.maximum(a[:, None, 0], b[None, :, 0])
    shares = np.maximum(shared, 0).astype(np.float32)
    lonely = shares.sum(axis=1) == 0
    if lonely.any():
        distance = np.abs(a[lonely, None, 0] - b[None, :, 0])
        shares[np.flatnonzero(lonely), distance.argmin(axis=1)] = 1.0
    result: npt.NDArray[np.float32] = shares / shares.sum(axis=1, keepdims=True)
    return result


def tokenize_rationales(
    tokenizer: Tokenizer, rationales: Sequence[Rationale], questions: Iterable[Question]
) -> list[TokenizedRationale]:
    """Tokenise each rationale once, with its prompt, its answer sentence and the ends of its steps.

    DataError names the rationales that are empty or have no token: they have no step, and nothing in them can be weighed.
    """
    by_id = {question.id: question for question in questions}
    prompts = [student_prompt(by_id[r.question_id]) for r in rationales]
    prompt_ids = tokenizer(prompts, add_special_tokens=False).input_ids if prompts else []
    bodies = encode_continuations(tokenizer, [r.text for r in rationales])
    empty = [r.id for r, (ids, _) in zip(rationales, bodies, strict=True) if not ids or not r.text.strip()]
    if empty:
        raise DataError(
            f"{len(empty)} of {len(rationales)} rationales are empty: {', '.join(empty[:5])}.",
            hint="Drop the empty ones from the rationales.",
        )
    answers = encode_continuations(tokenizer, [answer_sentence(r.answer) for r in rationales])
    return [
        TokenizedRationale(
            rationale_id=rationale.id,
            question_id=rationale.question_id,
            prompt_ids=tuple(prompt),
            rationale_ids=ids,
            answer_ids=answer,
            step_stops=step_token_stops(split_steps(rationale.text), offsets),
        )
        for rationale, prompt, (ids, offsets), (answer, _) in zip(rationales, prompt_ids, bodies, answers, strict=True)
    ]


def input_and_target(item: TokenizedRationale, *, encoder_decoder: bool) -> tuple[int, int]:
    """Return how many tokens a student's input and target take; a decoder-only student's input holds the target too."""
    target = len(item.rationale_ids) + len(item.answer_ids) + 1
    prompt = len(item.prompt_ids) + 1
    return (prompt if encoder_decoder else prompt + target), target


def check_lengths(
    rationales: Sequence[TokenizedRationale],
    *,
    max_input_tokens: int,
    max_target_tokens: int,
    encoder_decoder: bool,
    steps_in_encoder: bool = False,
) -> None:
    """Raise ModelError naming the rationales that do not fit; nothing is ever cut silently.

    A decoder-only student holds prompt, rationale, answer, start and end mark in one sequence. An encoder-decoder reads
    the prompt and an end mark, and the whole rationale too if steps can be given in its encoder.
    """
    too_long = []
    for item in rationales:
        whole, target = input_and_target(item, encoder_decoder=encoder_decoder)
        if encoder_decoder and steps_in_encoder:
            whole += len(item.rationale_ids)
        if target > max_target_tokens or whole > max_input_tokens:
            too_long.append((item.rationale_id, whole, target))
    if too_long:
        shown = "; ".join(f"{name}: input {whole}, target {target}" for name, whole, target in too_long[:5])
        more = f" and {len(too_long) - 5} more" if len(too_long) > 5 else ""
        raise ModelError(
            f"{len(too_long)} of {len(rationales)} rationales are longer than student.max_input_tokens = {max_input_tokens} or "
            f"student.max_target_tokens = {max_target_tokens} ({shown}{more}).",
            hint="Raise these limits if the model allows it, or drop long rationales with rationales.max_characters.",
        )


def check_token_weights(weights: TokenWeights, tokenized: Sequence[TokenizedRationale], tokenizer: Tokenizer) -> None:
    """Raise ModelError where stored weights were cut with another tokenizer or belong to other rationales."""
    counts = np.diff(weights.offsets).tolist()
    same_tokens = counts == [len(item.rationale_ids) for item in tokenized]
    same_rows = weights.rationale_ids == tuple(item.rationale_id for item in tokenized)
    if weights.tokenizer_hash != tokenizer_hash(tokenizer) or not same_tokens or not same_rows:
        raise ModelError(
            "The token weights do not fit the student's tokens: they were made with another tokenizer or from other rationales.",
            hint="Run the weighting phase again: add `--force weighting`.",
        )
