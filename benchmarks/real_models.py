"""Make model folders in the hub's layout from what is at hand offline, for benchmarks and tests on real data.

    python benchmarks/real_models.py flan-t5-small --output build/flan-t5-small
    python benchmarks/real_models.py gpt2-shape --output build/gpt2-shape
    python benchmarks/real_models.py stories260K --output build/stories260K
    python benchmarks/real_models.py babyllama105 --output build/babyllama105

`flan-t5-small` has the exact shape and the real tokenizer of google/flan-t5-small, but *random* weights: it shows the path and the cost,
not what the model can do; `gpt2-shape` is a random GPT-2 whose tokenizer is trained on GSM8K's questions. `stories260K`
(karpathy/tinyllamas) and `babyllama105` (EN10/BabyLlama) are real pretrained Llamas of 260 and 936 thousand parameters.
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizerFast,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def make_flan_t5_small(folder: Path, data: Path = DATA, seed: int = 0) -> Path:
    """A T5 of Flan-T5-small's shape (77 million parameters) with random weights and the real tokenizer."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=32128,
        d_model=512,
        d_kv=64,
        d_ff=1024,
        num_layers=8,
        num_decoder_layers=8,
        num_heads=6,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        n_positions=512,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(data / "tokenizers" / "t5").save_pretrained(folder)
    return folder


def interleaved_to_half(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of a query or key projection from llama2.c's interleaved rotary pairs to transformers' two halves."""
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).transpose(0, 2, 1, 3).reshape(rows, width)


def read_llama2c(path: Path) -> tuple[LlamaConfig, dict[str, torch.Tensor]]:
    """Configuration and weights of a llama2.c export (seven int32, then float32 arrays)."""
    raw = path.read_bytes()
    dim, hidden, layers, heads, kv_heads, vocabulary, length = struct.unpack("7i", raw[:28])
    flat = np.frombuffer(raw, dtype="<f4", offset=28)
    kv_width, place = dim // heads * kv_heads, 0

    def take(*shape: int) -> np.ndarray:
        nonlocal place
        size = int(np.prod(shape))
        part = flat[place : place + size].reshape(shape)
        place += size
        return part

    embedding = take(abs(vocabulary), dim)
    names = {
        "input_layernorm.weight": (dim,),
        "self_attn.q_proj.weight": (dim, dim),
        "self_attn.k_proj.weight": (kv_width, dim),
        "self_attn.v_proj.weight": (kv_width, dim),
        "self_attn.o_proj.weight": (dim, dim),
        "post_attention_layernorm.weight": (dim,),
        "mlp.gate_proj.weight": (hidden, dim),
        "mlp.down_proj.weight": (dim, hidden),
        "mlp.up_proj.weight": (hidden, dim),
    }
    state = {"model.embed_tokens.weight": embedding}
    for name, shape in names.items():
        stacked = take(layers, *shape)
        for layer in range(layers):
            weight = stacked[layer]
            if name.startswith(("self_attn.q", "self_attn.k")):
                weight = interleaved_to_half(weight, heads if ".q" in name else kv_heads)
            state[f"model.layers.{layer}.{name}"] = weight
    state["model.norm.weight"] = take(dim)
    config = LlamaConfig(
        vocab_size=abs(vocabulary),
        hidden_size=dim,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=length,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    return config, {name: torch.from_numpy(weight.copy()) for name, weight in state.items()}


def make_stories260k(folder: Path, data: Path = DATA) -> Path:
    """The pretrained stories260K Llama with its own tokenizer."""
    source = data / "models" / "stories260K"
    return make_llama2c(folder, source / "stories260K.bin", source / "tok512.model")


def make_babyllama105(folder: Path, data: Path = DATA) -> Path:
    """The pretrained BabyLlama of 105 characters with its own tokenizer."""
    source = data / "models" / "babyllama105"
    return make_llama2c(folder, source / "model5000.bin", source / "tok105.model")


def make_llama2c(folder: Path, weights: Path, vocabulary: Path) -> Path:
    """A Llama in the layout of karpathy/llama2.c, and its SentencePiece tokenizer, as a folder in the hub's."""
    config, state = read_llama2c(weights)
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= {"lm_head.weight"}, missing
    model.tie_weights()
    model.save_pretrained(folder)
    LlamaTokenizerFast(vocab_file=str(vocabulary), legacy=True, add_prefix_space=True).save_pretrained(folder)
    return folder


def make_gpt2_shape(folder: Path, data: Path = DATA, seed: int = 0) -> Path:
    """A GPT-2 of half the usual depth (6 layers of 768, 49 million parameters) with random weights; its words are learnt from GSM8K."""
    lines = (data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=8000, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((json.loads(line)["question"] for line in lines), trainer)
    end = "<|endoftext|>"
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end)
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(fast),
        n_positions=512,
        n_layer=6,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        initializer_range=0.05,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


MAKERS = {
    "flan-t5-small": make_flan_t5_small,
    "gpt2-shape": make_gpt2_shape,
    "stories260K": make_stories260k,
    "babyllama105": make_babyllama105,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MAKERS)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    print(MAKERS[arguments.model](arguments.output, arguments.data))


if __name__ == "__main__":
    main()
