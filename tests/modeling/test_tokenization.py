"""Characters, tokens and steps: weights must fall on the tokens that they were learnt for."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import llama_tokenizer, t5_tokenizer
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from kpodx.errors import DataError, ModelError
from kpodx.modeling.loading import load_tokenizer
from kpodx.modeling.tokenization import (
    TokenizedRationale,
    check_lengths,
    check_token_weights,
    encode_continuations,
    leading_space,
    overlap_matrix,
    rationale_token_spans,
    step_token_stops,
    tokenize_rationales,
    tokenizer_hash,
)
from kpodx.schema import Question, Rationale, Split, StepSpan, TokenWeights
from kpodx.text.steps import split_steps, step_texts

T5, LLAMA = t5_tokenizer(), llama_tokenizer()


@pytest.fixture(scope="module")
def real_t5(shared_data: Path) -> PreTrainedTokenizerFast:
    return load_tokenizer(str(shared_data / "tokenizers" / "t5"))


@pytest.fixture(scope="module")
def real_gpt2(shared_data: Path) -> PreTrainedTokenizerFast:
    folder = shared_data / "tokenizers" / "gpt2"
    bpe = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer = FastTokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>")


@pytest.fixture(scope="module")
def gold(shared_data: Path) -> list[str]:
    lines = (shared_data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:300]
    # T5 has no "<": the calculator marks would be unknown to it.
    return [re.sub("<<.*?>>", "", json.loads(line)["answer"].split("\n####")[0]) for line in lines]


def letters() -> PreTrainedTokenizerFast:
    """One token for each character, the space among them."""
    vocabulary = {chr(c): c - 32 for c in range(32, 127)} | {"</s>": 95}
    tokenizer = FastTokenizer(models.BPE(vocabulary, []))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>")


def bytes_only() -> PreTrainedTokenizerFast:
    """A byte-level BPE that has no merge at all, so no token for " box"."""
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))} | {"</s>": 256}
    tokenizer = FastTokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>")


def words_only() -> PreTrainedTokenizerFast:
    """Whole words; spaces are no tokens."""
    tokenizer = FastTokenizer(models.WordLevel({"a": 0, "box": 1, "</s>": 2}, unk_token="</s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>")


def test_a_leading_space_is_put_where_the_tokenizer_does_not(
    real_t5: PreTrainedTokenizerFast, real_gpt2: PreTrainedTokenizerFast
) -> None:
    assert leading_space(real_t5) == leading_space(T5) == leading_space(words_only()) == ""
    assert leading_space(real_gpt2) == leading_space(LLAMA) == " "


@pytest.mark.parametrize("make", [letters, bytes_only])
def test_a_leading_space_is_put_where_it_is_a_token_of_its_own(make: type) -> None:
    tokenizer = make()
    assert leading_space(tokenizer) == " "
    prompt = tokenizer("step by step.", add_special_tokens=False).input_ids
    [(ids, _)] = encode_continuations(tokenizer, ["Tom has 2."])
    assert [*prompt, *ids] == tokenizer("step by step. Tom has 2.", add_special_tokens=False).input_ids


def test_a_continuation_is_what_the_whole_text_would_be(
    real_t5: PreTrainedTokenizerFast, real_gpt2: PreTrainedTokenizerFast, gold: list[str]
) -> None:
    for tokenizer in (real_t5, real_gpt2, T5, LLAMA):
        prompt = "Q: How many? A: Let's think step by step."
        for text, (ids, _) in zip(gold[:40], encode_continuations(tokenizer, gold[:40]), strict=True):
            before = tokenizer(prompt, add_special_tokens=False).input_ids
            assert [*before, *ids] == tokenizer(f"{prompt} {text}", add_special_tokens=False).input_ids


def test_step_stops_by_hand() -> None:
    text = "He has 3.5 kg. So 2 left."
    spans = [StepSpan(0, 15), StepSpan(15, 25)]
    assert split_steps(text) == spans
    # He| has| 3.5| kg|.| So| 2| left|.   — the space before "So" belongs to the token and, ending inside step 2, to step 2.
    offsets = [(0, 2), (2, 6), (6, 10), (10, 13), (13, 14), (14, 17), (17, 19), (19, 24), (24, 25)]
    assert step_token_stops(spans, offsets) == (5, 9)
    trimmed = [(0, 2), (3, 6), (7, 10), (11, 13), (13, 14), (15, 17), (18, 19), (20, 24), (24, 25)]
    assert step_token_stops(spans, trimmed) == (5, 9)


def test_a_step_inside_one_token_vanishes() -> None:
    assert step_token_stops([StepSpan(0, 2), StepSpan(2, 4), StepSpan(4, 6)], [(0, 4), (4, 6)]) == (1, 2)
    assert step_token_stops([StepSpan(0, 3), StepSpan(3, 4)], [(0, 3)]) == (1,)
    assert step_token_stops([], []) == ()


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.data())
@settings(deadline=None, max_examples=150)
def test_step_stops_part_the_tokens(widths: list[int], data: st.DataObject) -> None:
    ends = np.cumsum(widths).tolist()
    offsets = list(zip([0, *ends[:-1]], ends, strict=True))
    cuts = sorted({*data.draw(st.lists(st.integers(1, ends[-1]), max_size=5)), ends[-1]})
    steps = [StepSpan(a, b) for a, b in zip([0, *cuts[:-1]], cuts, strict=True)]
    stops = step_token_stops(steps, offsets)
    assert stops[-1] == len(offsets)
    assert list(stops) == sorted(set(stops))
    # The k-th token lies in the step that holds its last character.
    owner = [next(i for i, s in enumerate(steps) if s.start <= b - 1 < s.stop) for _, b in offsets]
    expected = [place + 1 for place in range(len(owner)) if place + 1 == len(owner) or owner[place + 1] != owner[place]]
    assert list(stops) == expected


def test_tokens_tile_real_rationales_and_steps_end_with_their_mark(
    real_t5: PreTrainedTokenizerFast, real_gpt2: PreTrainedTokenizerFast, gold: list[str]
) -> None:
    for tokenizer in (real_t5, real_gpt2, LLAMA):
        for text, (ids, offsets) in zip(gold, encode_continuations(tokenizer, gold), strict=True):
            assert len(ids) == len(offsets)
            assert all(0 <= a <= b <= len(text) for a, b in offsets)
            assert [a for a, _ in offsets] == sorted(a for a, _ in offsets)
            covered = {c for a, b in offsets for c in range(a, b)}
            assert all(text[c].isspace() for c in range(len(text)) if c not in covered)
            stops = step_token_stops(split_steps(text), offsets)
            assert stops[-1] == len(ids)
            assert len(stops) == len(step_texts(text))
            for step, start, stop in zip(step_texts(text), [0, *stops[:-1]], stops, strict=True):
                said = "".join(tokenizer.decode(list(ids[start:stop])).split())
                assert said == "".join(step.split()) or "<unk>" in said


def test_weights_fall_on_the_tokens_of_their_text(
    real_t5: PreTrainedTokenizerFast, real_gpt2: PreTrainedTokenizerFast, gold: list[str]
) -> None:
    for tokenizer in (real_t5, real_gpt2):
        for text in gold[:60]:
            [(ids, _)] = encode_continuations(tokenizer, [text])
            for token, span in zip(ids, rationale_token_spans(tokenizer, text), strict=True):
                piece = tokenizer.decode([token])
                # A lone word mark covers the space before it or, in tokenizers 0.23, the character behind it.
                if piece.strip() and "\ufffd" not in piece and piece != "<unk>":
                    assert piece.strip() == text[span.start : span.stop].strip()


def test_nothing_to_encode() -> None:
    assert encode_continuations(T5, []) == []


@pytest.mark.parametrize("tokenizer", [T5, LLAMA], ids=["t5", "llama"])
def test_cutting_ids_is_not_tokenising_again(tokenizer: PreTrainedTokenizerFast) -> None:
    question = Question("q", Split.TRAIN, "How many apples?", "5")
    [item] = tokenize_rationales(tokenizer, [Rationale("r", "q", "Tom has 3. So 5.", "5", "t")], [question])
    assert "".join(tokenizer.decode(list(item.rationale_ids)).split()) == "Tomhas3.So5."
    assert tokenizer.decode(list(item.answer_ids)).strip() == "Therefore, the answer is 5."
    assert tokenizer.decode(list(item.prompt_ids)).strip() == "Q: How many apples? A: Let's think step by step."
    first = item.rationale_ids[: item.input_tokens(1)]
    assert tokenizer.decode(list(first)).strip() == "Tom has 3."
    special = {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id}
    assert not special & {*item.prompt_ids, *item.rationale_ids, *item.answer_ids}


def test_a_rationale_without_a_token_is_named() -> None:
    rationales = [Rationale("r1", "q", "Tom has 3.", "3", "t"), Rationale("r2", "q", "", "3", "t")]
    with pytest.raises(DataError, match="r2"):
        tokenize_rationales(LLAMA, rationales, [Question("q", Split.TRAIN, "How many?", "3")])


def test_overlap_by_hand() -> None:
    found = overlap_matrix([(0, 4), (4, 6), (6, 6)], [(0, 1), (1, 5), (5, 6), (6, 7)])
    assert found.dtype == np.float32
    assert found.tolist() == [[0.25, 0.75, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]]


def test_overlap_with_itself_is_the_identity_even_where_tokens_share_a_character() -> None:
    spans = [(0, 1), (0, 1), (1, 3), (3, 3)]
    assert (overlap_matrix(spans, spans) == np.eye(4)).all()


@given(st.text(alphabet="Tom has 3.5é,\n$x", min_size=1, max_size=60))
@settings(deadline=None, max_examples=80)
def test_overlap_rows_sum_to_one_for_any_text(text: str) -> None:
    spans = [encode_continuations(t, [text])[0][1] for t in (T5, LLAMA)]
    if not all(spans):
        return
    for first, second in (spans, spans[::-1]):
        matrix = overlap_matrix(first, second)
        assert matrix.shape == (len(first), len(second))
        assert matrix.sum(axis=1) == pytest.approx(np.ones(len(first)), abs=1e-6)
        assert (matrix >= 0).all()


def test_a_mask_carried_over_falls_on_the_same_words() -> None:
    text = "Tom has 12 apples, so 3."
    (_, t5), (_, llama) = encode_continuations(T5, [text])[0], encode_continuations(LLAMA, [text])[0]
    carried = overlap_matrix(t5, llama) @ np.array([float("12" in text[a:b] or text[a:b] in "12") for a, b in llama])
    kept = [text[a:b].strip() for (a, b), share in zip(t5, carried, strict=True) if share > 0.5]
    assert [piece for piece in kept if piece] == ["1", "2"]


def sized(name: str, prompt: int, body: int, answer: int) -> TokenizedRationale:
    return TokenizedRationale(name, "q", (5,) * prompt, (6,) * body, (7,) * answer, (body,))


@pytest.mark.parametrize(
    ("layout", "max_input", "max_target", "fits"),
    [
        ("steps in the encoder", 31, 26, True),  # the whole rationale in the encoder: 10 + 20 + 1; to say: 20 + 5 + 1
        ("steps in the encoder", 30, 26, False),
        ("steps in the encoder", 31, 25, False),
        ("steps in the decoder", 11, 26, True),  # the question and the end mark
        ("steps in the decoder", 10, 26, False),
        ("steps in the decoder", 11, 25, False),
        ("one sequence", 37, 26, True),  # start + 10 + 20 + 5 + end
        ("one sequence", 36, 26, False),
        ("one sequence", 37, 25, False),
    ],
)
def test_lengths_are_checked_to_the_token(layout: str, max_input: int, max_target: int, fits: bool) -> None:
    items = [sized("short", 2, 2, 2), sized("long", 10, 20, 5)]
    check = partial(
        check_lengths,
        items,
        max_input_tokens=max_input,
        max_target_tokens=max_target,
        encoder_decoder=layout != "one sequence",
        steps_in_encoder=layout == "steps in the encoder",
    )
    if fits:
        check()
        return
    with pytest.raises(ModelError, match=r"1 of 2 rationales .*\(long: input (31|11|37), target 26\)") as caught:
        check()
    assert caught.value.hint


def test_only_the_first_long_rationales_are_shown() -> None:
    with pytest.raises(ModelError, match=r"7 of 7 .* and 2 more"):
        check_lengths(
            [sized(f"r{i}", 9, 9, 9) for i in range(7)], max_input_tokens=8, max_target_tokens=8, encoder_decoder=True
        )


def test_the_hash_sees_the_vocabulary_but_not_padding_or_truncation() -> None:
    tokenizer = t5_tokenizer()
    plain = tokenizer_hash(tokenizer)
    tokenizer(["a", "a b"], padding=True, truncation=True, max_length=3)
    assert tokenizer_hash(tokenizer) == plain == tokenizer_hash(T5)
    assert plain != tokenizer_hash(LLAMA)
    tokenizer.add_tokens(["<<"])
    assert tokenizer_hash(tokenizer) != plain


def test_weights_of_other_tokens_or_rationales_are_refused() -> None:
    items = [sized("a", 1, 2, 1), sized("b", 1, 3, 1)]
    right = TokenWeights(("a", "b"), np.array([0, 2, 5]), np.full(5, 0.5, np.float32), tokenizer_hash(T5))
    check_token_weights(right, items, T5)
    for wrong in (
        TokenWeights(("b", "a"), right.offsets, right.token_weight, right.tokenizer_hash),
        TokenWeights(("a", "b"), np.array([0, 3, 5]), right.token_weight, right.tokenizer_hash),
        TokenWeights(("a", "b"), right.offsets, right.token_weight, tokenizer_hash(LLAMA)),
    ):
        with pytest.raises(ModelError, match="do not fit"):
            check_token_weights(wrong, items, T5)
