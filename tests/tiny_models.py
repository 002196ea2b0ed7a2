"""Tiny random models with fast tokenizers, written to a folder in the hub's layout. Same arguments, same files."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

_TEXT = """
Q A Let s think step by Therefore the answer is has have buys gives gets loses sells finds keeps more
less friend to a an in of for from and it so we that this now then with How many much money does do did
go all kg km each Tom Anna Ben Mia Sam Lucy Omar Nina Leo Zoe apples books eggs pens shells cards stamps
coins cups plums rice flour sand corn bank box makes gives which result After week equal parts one part
"""
WORDS = tuple(_TEXT.split())


_CHARACTERS = string.ascii_letters + string.punctuation + "\n"


def t5_tokenizer() -> PreTrainedTokenizerFast:
    """A Unigram tokenizer as T5's: "▁" begins a word, every digit is a token, `</s>` ends what is encoded with special tokens."""
    pieces: dict[str, float] = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -3.0}
    pieces |= {"▁" + word: -4.0 for word in WORDS}
    pieces |= dict.fromkeys(string.digits, -4.0)
    pieces |= {character: -9.0 for character in _CHARACTERS if character not in pieces}
    tokenizer = Tokenizer(models.Unigram(list(pieces.items()), unk_id=2))
    tokenizer.normalizer = normalizers.Replace(" {2,}", " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def llama_tokenizer(*, bos: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE as GPT-2's and Llama 3's: a space belongs to the word behind it; `<s>` begins a sequence if `bos`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<pad>", "</s>", "<s>", *alphabet]
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        for text in (word, "Ġ" + word):
            for end in range(1, len(text)):
                merges[text[:end], text[end]] = None
                tokens.append(text[: end + 1])
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", bos_token="<s>", model_max_length=512
    )


def make_tiny_t5(
    folder: Path, *, width: int = 32, seed: int = 0, layers: int = 1, dropout: float = 0.0, **config: Any
) -> Path:
    """Write a random T5 (gated, tied, float32, with `layers` encoder and decoder layers) and its tokenizer; return `folder`."""
    tokenizer = t5_tokenizer()
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer) + 4,
        "d_model": width,
        "d_kv": width // 4,
        "d_ff": 2 * width,
        "num_layers": layers,
        "num_decoder_layers": layers,
        "num_heads": 4,
        "dropout_rate": dropout,
        "feed_forward_proj": "gated-gelu",
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(T5Config(**(settings | config)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tiny_llama(
    folder: Path, *, width: int = 32, seed: int = 0, layers: int = 1, bos: bool = True, **config: Any
) -> Path:
    """Write a random Llama (tied, float32) and its tokenizer; return `folder`."""
    tokenizer = llama_tokenizer(bos=bos)
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer) + 4,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**(settings | config)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
