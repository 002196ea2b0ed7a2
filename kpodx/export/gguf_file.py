"""A student as a GGUF file, written on the `gguf` package: T5 (tied and not), Llama, Qwen2 and GPT-2; no other tool converts anything.

Layouts: llama.cpp's own converter; the traps of each are noted where they are avoided.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kpodx.artifacts import read_json
from kpodx.errors import MissingDependencyError, ModelError
from kpodx.export.manifest import PROMPT
from kpodx.export.weights import load_weights, shared_embedding

if TYPE_CHECKING:
    from gguf import GGUFWriter

CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'user' %}"
    + PROMPT.replace("{question}", "{{ message.content }}")
    + "{% endif %}{% endfor %}"
)
"""The same for programs that chat; a student knows one question, and no conversation."""

_FLOAT_TYPES = {"f32": (np.float32, 0), "f16": (np.float16, 1)}


def write_gguf(student: Path, target: Path, float_type: str = "f32", name: str = "student") -> None:
    """Write a student's weights, settings and tokenizer into one file.

    Args:
        student: folder in the hub's layout, low-rank updates merged.
        target: the file; it is written under another name first.
        float_type: number format of matrices, f32 or f16; vectors stay f32.
        name: the model's name in the file.

    Raises:
        ModelError: the architecture or tokenizer has no place in a GGUF file.
        MissingDependencyError: the `gguf` extra is not installed.
    """
    try:
        from gguf import GGUFWriter
    except ImportError as error:
        raise MissingDependencyError("GGUF export needs the package gguf.", hint="pip install 'kpodx[gguf]'") from error
    config, tokenizer = read_json(student / "config.json"), read_json(student / "tokenizer.json")
    architecture = str(config.get("model_type"))
    if architecture not in _FAMILIES:
        raise ModelError(
            f"{student}: a GGUF file cannot be written for model_type {architecture!r}; expected {', '.join(_FAMILIES)}.",
            hint="Export it to ONNX.",
        )
    partial = target.with_name(f".{target.name}.partial")
    writer = GGUFWriter(partial, architecture)
    try:
        writer.add_name(name)
        writer.add_string("kpodx.prompt", PROMPT)
        writer.add_file_type(_FLOAT_TYPES[float_type][1])
        writer.add_quantization_version(2)
        weights = load_weights(student)
        add_settings, tensors_of = _FAMILIES[architecture]
        add_settings(writer, config, tokenizer)
        for tensor_name, tensor in tensors_of(config, weights):
            kind = _FLOAT_TYPES[float_type][0] if tensor.ndim > 1 else np.float32
            writer.add_tensor(tensor_name, np.ascontiguousarray(tensor, dtype=kind))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _renamed(
    weights: Mapping[str, npt.NDArray[np.float32]], architecture: Any, layers: int
) -> Iterator[tuple[str, str, npt.NDArray[np.float32]]]:
    """(name in the file, name in the student, values)."""
    from gguf import get_tensor_name_map

    names = get_tensor_name_map(architecture, layers)
    for name, values in weights.items():
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if new is None:
            raise ModelError(f"The parameter {name} has no place in a GGUF file.", hint="Export the student to ONNX.")
        yield new, name, values


def t5_tensors(
    config: Mapping[str, Any], weights: Mapping[str, npt.NDArray[np.float32]]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Names and values of a T5's tensors; the shared embedding once.

    llama.cpp leaves out the factor d_model^-0.5 of tied embeddings (T5 v1.0), so that the output matrix holds it.
    """
    from gguf import MODEL_ARCH

    shared = shared_embedding(weights)
    copies = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    rest = {name: values for name, values in weights.items() if name not in copies}
    is_tied = bool(config.get("tie_word_embeddings", True))
    if is_tied:
        rest.pop("lm_head.weight", None)
    yield "token_embd.weight", shared
    if is_tied:
        yield "output.weight", shared * float(config["d_model"]) ** -0.5
    layers = max(int(config["num_layers"]), int(config.get("num_decoder_layers") or config["num_layers"]))
    for name, _, values in _renamed(rest, MODEL_ARCH.T5, layers):
        yield name, values


def llama_tensors(
    config: Mapping[str, Any], weights: Mapping[str, npt.NDArray[np.float32]]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Names and values of a Llama's tensors; rows of queries and keys in llama.cpp's order of rotary pairs."""
    from gguf import MODEL_ARCH

    heads = int(config["num_attention_heads"])
    key_heads = int(config.get("num_key_value_heads") or heads)
    for name, old, values in _renamed(weights, MODEL_ARCH.LLAMA, int(config["num_hidden_layers"])):
        if name == "output.weight" and config.get("tie_word_embeddings", False):
            continue
        if old.endswith(("q_proj.weight", "k_proj.weight")):
            values = rotary_rows(values, heads if old.endswith("q_proj.weight") else key_heads)
        yield name, values


def qwen2_tensors(
    config: Mapping[str, Any], weights: Mapping[str, npt.NDArray[np.float32]]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Names and values of a Qwen2's tensors; rotary pairs stay as transformers has them."""
    from gguf import MODEL_ARCH

    for name, _, values in _renamed(weights, MODEL_ARCH.QWEN2, int(config["num_hidden_layers"])):
        if name != "output.weight" or not config.get("tie_word_embeddings", False):
            yield name, values


def gpt2_tensors(
    config: Mapping[str, Any], weights: Mapping[str, npt.NDArray[np.float32]]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Names and values of a GPT-2's tensors; its matrices lie the other way round there (Conv1D), the output is the embedding."""
    from gguf import MODEL_ARCH

    ours = {name: values for name, values in weights.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}
    for name, old, values in _renamed(ours, MODEL_ARCH.GPT2, int(config["n_layer"])):
        if name == "output.weight":
            continue
        yield name, values.T if old.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")) else values
        if name == "token_embd.weight":
            yield "output.weight", values


def rotary_rows(matrix: npt.NDArray[np.float32], num_heads: int) -> npt.NDArray[np.float32]:
    """Rows [heads · 2 · half, width] from transformers' order (halves) into llama.cpp's (pairs).

    >>> rotary_rows(np.arange(4, dtype=np.float32)[:, None], 1)[:, 0].tolist()
    [0.0, 2.0, 1.0, 3.0]
    """
    rows, width = matrix.shape
    half = rows // num_heads // 2
    return matrix.reshape(num_heads, 2, half, width).swapaxes(1, 2).reshape(rows, width)


def _add_t5(writer: GGUFWriter, config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> None:
    decoder_layers = int(config.get("num_decoder_layers") or config["num_layers"])
    if decoder_layers > int(config["num_layers"]):
        raise ModelError(
            f"The student has {decoder_layers} decoder layers and {config['num_layers']} encoder layers; llama.cpp loads no T5 "
            "with more of the former.",
            hint="Export it to ONNX.",
        )
    epsilon = float(config["layer_norm_epsilon"])
    writer.add_context_length(int(config.get("n_positions") or 512))
    writer.add_embedding_length(int(config["d_model"]))
    writer.add_feed_forward_length(int(config["d_ff"]))
    writer.add_block_count(int(config["num_layers"]))
    writer.add_decoder_block_count(decoder_layers)
    writer.add_head_count(int(config["num_heads"]))
    writer.add_key_length(int(config["d_kv"]))
    writer.add_value_length(int(config["d_kv"]))
    writer.add_layer_norm_eps(epsilon)
    writer.add_layer_norm_rms_eps(epsilon)
    writer.add_relative_attn_buckets_count(int(config["relative_attention_num_buckets"]))
    writer.add_decoder_start_token_id(int(config.get("decoder_start_token_id") or 0))
    _add_unigram(writer, tokenizer, int(config["vocab_size"]), config)


def _add_unigram(writer: GGUFWriter, tokenizer: Mapping[str, Any], size: int, config: Mapping[str, Any]) -> None:
    """T5's tokenizer, from the tokenizer.json that the student itself uses."""
    from gguf import TokenType

    model = tokenizer["model"]
    if model.get("type") != "Unigram":
        raise ModelError(f"The tokenizer is of type {model.get('type')!r}; a T5 in GGUF needs Unigram.")
    tokens = [str(piece) for piece, _ in model["vocab"]]
    scores = [float(score) for _, score in model["vocab"]]
    types = [int(TokenType.NORMAL)] * len(tokens)
    added = {int(item["id"]): item for item in tokenizer.get("added_tokens", ())}
    for number in range(len(tokens), size):
        # The embedding has more rows than the tokenizer has tokens; every row needs a name.
        tokens.append(str(added[number]["content"]) if number in added else f"<unused{number}>")
        scores.append(-1e4)
        types.append(int(TokenType.UNUSED))
    for number, item in added.items():
        types[number] = int(TokenType.CONTROL if item["special"] else TokenType.USER_DEFINED)
    types[int(model["unk_id"])] = int(TokenType.UNKNOWN)
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    spelled = json.dumps([tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")])
    writer.add_add_space_prefix('"prepend_scheme": "always"' in spelled or '"add_prefix_space": true' in spelled)
    writer.add_remove_extra_whitespaces("{2,}" in spelled or '"Strip"' in spelled)
    if charsmap := _charsmap(tokenizer.get("normalizer")):
        writer.add_precompiled_charsmap(charsmap)
    writer.add_eos_token_id(int(config["eos_token_id"]))
    writer.add_unk_token_id(int(model["unk_id"]))
    writer.add_pad_token_id(int(config["pad_token_id"]))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(True)


def _charsmap(normalizer: Any) -> bytes | None:
    """SentencePiece's own normalisation table, if the tokenizer holds one."""
    if not isinstance(normalizer, dict):
        return None
    if normalizer.get("type") == "Precompiled":
        return base64.b64decode(normalizer["precompiled_charsmap"])
    found = (_charsmap(part) for part in normalizer.get("normalizers", ()))
    return next((table for table in found if table), None)


def _add_gpt2(writer: GGUFWriter, config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> None:
    if config.get("activation_function", "gelu_new") not in ("gelu_new", "gelu_pytorch_tanh"):
        raise ModelError(
            f"The student's activation is {config['activation_function']!r}; llama.cpp's GPT-2 has gelu_new."
        )
    writer.add_context_length(int(config["n_positions"]))
    writer.add_embedding_length(int(config["n_embd"]))
    writer.add_feed_forward_length(int(config.get("n_inner") or 4 * config["n_embd"]))
    writer.add_block_count(int(config["n_layer"]))
    writer.add_head_count(int(config["n_head"]))
    writer.add_layer_norm_eps(float(config["layer_norm_epsilon"]))
    _add_bpe(writer, tokenizer, config)


def _add_llama(writer: GGUFWriter, config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> None:
    """Settings of a Llama or a Qwen2, which have the same names."""
    heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
    head_width = int(config.get("head_dim") or width // heads)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(head_width)
    writer.add_value_length(head_width)
    writer.add_rope_dimension_count(head_width)
    scaling = config.get("rope_parameters") or {}
    writer.add_rope_freq_base(float(config.get("rope_theta") or scaling.get("rope_theta") or 10000.0))
    if config.get("rope_scaling") or scaling.get("rope_type", "default") != "default":
        raise ModelError(
            "The student scales its rotary positions, which is not written to GGUF yet.", hint="Export it to ONNX."
        )
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(int(config["vocab_size"]))
    _add_bpe(writer, tokenizer, config)


def _add_bpe(writer: GGUFWriter, tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """A Llama's tokenizer: SentencePiece's BPE with byte pieces, or a byte-level one as GPT-2's."""
    from gguf import TokenType

    model = tokenizer["model"]
    if model.get("type") != "BPE":
        raise ModelError(f"The tokenizer is of type {model.get('type')!r}; a Llama in GGUF needs BPE.")
    by_id = {int(number): str(token) for token, number in model["vocab"].items()}
    added = {int(item["id"]): item for item in tokenizer.get("added_tokens", ())}
    by_id |= {number: str(item["content"]) for number, item in added.items()}
    size = int(config["vocab_size"])
    tokens = [by_id.get(number, f"<unused{number}>") for number in range(size)]
    is_piece = bool(model.get("byte_fallback"))
    types = [int(TokenType.NORMAL if number in by_id else TokenType.UNUSED) for number in range(size)]
    for number, token in enumerate(tokens):
        if is_piece and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            types[number] = int(TokenType.BYTE)
    for number, item in added.items():
        types[number] = int(TokenType.CONTROL if item["special"] else TokenType.USER_DEFINED)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    writer.add_token_list(tokens)
    if is_piece:
        # SentencePiece merges the pair whose result has the highest score: the order of the merges, told as scores.
        rank = {"".join(pair.split(" ")): number for number, pair in reversed(list(enumerate(merges)))}
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores([-float(rank.get(token, len(merges))) for token in tokens])
        unknown = model.get("unk_token")
        if unknown in model["vocab"]:
            types[int(model["vocab"][unknown])] = int(TokenType.UNKNOWN)
            writer.add_unk_token_id(int(model["vocab"][unknown]))
        spelled = json.dumps([tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")])
        writer.add_add_space_prefix(
            '"Prepend"' in spelled or '"prepend_scheme": "always"' in spelled or '"first"' in spelled
        )
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre_tokenizer_name(tokenizer))
        writer.add_token_merges(merges)
    writer.add_token_types(types)
    starts = config.get("bos_token_id") is not None and _begins_with(tokenizer, tokens[int(config["bos_token_id"])])
    # A chat template stands for the whole prompt: whoever renders it adds no start mark of its own.
    writer.add_chat_template(("{{ bos_token }}" if starts else "") + CHAT_TEMPLATE)
    start = config.get("bos_token_id")
    if start is not None:
        writer.add_bos_token_id(int(start))
    end = config["eos_token_id"]
    writer.add_eos_token_id(int(end[0] if isinstance(end, list) else end))
    writer.add_add_bos_token(starts)
    writer.add_add_eos_token(False)


def _begins_with(tokenizer: Mapping[str, Any], token: str) -> bool:
    """Whether the tokenizer puts this token in front of every text."""
    return token in json.dumps(tokenizer.get("post_processor") or {}, ensure_ascii=False)


_SPLITS = {
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}": "llama-bpe",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|": "qwen2",
}


def pre_tokenizer_name(tokenizer: Mapping[str, Any]) -> str:
    """llama.cpp's name for how a byte-level tokenizer cuts words; ModelError where it has none for it."""
    pre = tokenizer.get("pre_tokenizer") or {}
    parts = pre.get("pretokenizers", [pre])
    kinds = [part.get("type") for part in parts]
    if kinds == ["ByteLevel"]:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits"):
        return "smollm"
    pattern = str(((parts[0].get("pattern") or {}).get("Regex")) or "")
    for beginning, name in _SPLITS.items():
        if kinds[0] == "Split" and pattern.startswith(beginning):
            return name
    raise ModelError(
        f"The tokenizer cuts words in a way that llama.cpp has no name for here ({', '.join(map(str, kinds))}).",
        hint="Export the student to ONNX.",
    )


_FAMILIES: dict[str, tuple[Callable[..., None], Callable[..., Iterator[tuple[str, npt.NDArray[np.float32]]]]]] = {
    "t5": (_add_t5, t5_tensors),
    "llama": (_add_llama, llama_tensors),
    "qwen2": (_add_llama, qwen2_tensors),
    "gpt2": (_add_gpt2, gpt2_tensors),
}
"""What writes the settings and the tensors, by transformers' model_type, which is llama.cpp's architecture too."""
