"""A T5 as two ONNX graphs with the inputs and outputs that optimum and transformers.js expect, and few nodes.

The decoder is one graph for the first and all later tokens: what differs between them, the keys and values of the encoder's
output, is all that its branches hold, so that no weight is there twice; an export by tracing has every product in both.
Attention is one operator each, queries, keys and values come from one product, and relative positions from a table over
distances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from kpodx.errors import ModelError
from kpodx.export.onnx_graph import CONTRIB, Array, GraphBuilder, floats, integers
from kpodx.export.weights import shared_embedding

EMBEDDING = "shared.weight"
HEAD = "lm_head"
JOINED = {"qkv": ("q", "k", "v"), "kv": ("k", "v"), "wi": ("wi_0", "wi_1")}
"""Products that are made as one, by the last part of their node's name: the modules of transformers that they stand for."""
MASKED = np.finfo(np.float32).min
ACTIVATIONS = {"relu": "Relu", "gelu_new": "FastGelu", "gelu_pytorch_tanh": "FastGelu"}


def t5_encoder(config: Mapping[str, Any], weights: Mapping[str, Array]) -> onnx.ModelProto:
    """`input_ids` and `attention_mask` [batch, tokens] to `last_hidden_state` [batch, tokens, d_model].

    Args:
        config: the student's config.json.
        weights: its parameters, in float32, by their names in transformers.

    Raises:
        ModelError: an activation that this does not know.
    """
    stack = _Stack(config, weights, "encoder")
    build = stack.build
    mask = build.node("Cast", ["attention_mask"], "mask", to=onnx.TensorProto.INT32)
    length = build.node(
        "Gather", [build.node("Shape", ["input_ids"], "ids_shape"), build.integers(1)], "length", axis=0
    )
    bias = stack.position_bias(build.integers(0), length)
    residual, update = (
        build.node("Gather", [build.weight(EMBEDDING, shared_embedding(weights)), "input_ids"], "embedding"),
        "",
    )
    for layer in range(int(config["num_layers"])):
        path = f"encoder.block.{layer}"
        normed, residual = stack.norm(residual, update, f"{path}.layer.0.layer_norm")
        queries, keys, values = stack.queries_keys_values(normed, f"{path}.layer.0.SelfAttention")
        attention = stack.attention([queries, keys, values, "", mask, bias], f"{path}.layer.0.SelfAttention")
        update = stack.linear(attention, f"{path}.layer.0.SelfAttention.o")
        normed, residual = stack.norm(residual, update, f"{path}.layer.1.layer_norm")
        update = stack.feed_forward(normed, f"{path}.layer.1.DenseReluDense")
    normed, _ = stack.norm(residual, update, "encoder.final_layer_norm")
    build.node("Identity", [normed], "last_hidden_state")
    return build.model(
        "encoder",
        [
            integers("input_ids", "batch_size", "encoder_sequence_length"),
            integers("attention_mask", "batch_size", "encoder_sequence_length"),
        ],
        [floats("last_hidden_state", "batch_size", "encoder_sequence_length", int(config["d_model"]))],
    )


def t5_decoder(config: Mapping[str, Any], weights: Mapping[str, Array]) -> onnx.ModelProto:
    """The decoder with its cache, for the first token (`use_cache_branch` false) and the later ones (true).

    `input_ids` [batch, tokens], `encoder_hidden_states` [batch, source, d_model], `encoder_attention_mask` [batch, source] and
    `past_key_values.N.{decoder,encoder}.{key,value}` [batch, heads, past or source, d_kv] to `logits` [batch, tokens, vocabulary]
    and `present.N.….…`. Before the first token all of the past has length 0.

    Raises:
        ModelError: an activation that this does not know.
    """
    stack = _Stack(config, weights, "decoder")
    build, layers = stack.build, stack.layers
    mask = build.node("Cast", ["encoder_attention_mask"], "mask", to=onnx.TensorProto.INT32)
    new = build.node(
        "Gather", [build.node("Shape", ["input_ids"], "ids_shape"), build.integers(1)], "new_length", axis=0
    )
    shape = build.node("Shape", ["past_key_values.0.decoder.key"], "past_shape")
    past = build.node("Gather", [shape, build.integers(2)], "past_length", axis=0)
    bias = stack.position_bias(past, new)
    residual, update = (
        build.node("Gather", [build.weight(EMBEDDING, shared_embedding(weights)), "input_ids"], "embedding"),
        "",
    )
    for layer in range(layers):
        path = f"decoder.block.{layer}"
        normed, residual = stack.norm(residual, update, f"{path}.layer.0.layer_norm")
        queries, keys, values = stack.queries_keys_values(normed, f"{path}.layer.0.SelfAttention")
        before = [f"past_key_values.{layer}.decoder.{kind}" for kind in ("key", "value")]
        after = [f"present.{layer}.decoder.{kind}" for kind in ("key", "value")]
        attention = stack.attention(
            [queries, keys, values, "", "", bias, *before], f"{path}.layer.0.SelfAttention", present=after
        )
        update = stack.linear(attention, f"{path}.layer.0.SelfAttention.o")
        normed, residual = stack.norm(residual, update, f"{path}.layer.1.layer_norm")
        queries = stack.linear(normed, f"{path}.layer.1.EncDecAttention.q")
        attention = _cross_attention(stack, queries, mask, layer)
        update = stack.linear(attention, f"{path}.layer.1.EncDecAttention.o")
        normed, residual = stack.norm(residual, update, f"{path}.layer.2.layer_norm")
        update = stack.feed_forward(normed, f"{path}.layer.2.DenseReluDense")
    is_tied = bool(config.get("tie_word_embeddings", True))
    # T5 v1.0 multiplies by d_model^-0.5 before its tied head: the last norm's weight does that here.
    normed, _ = stack.norm(
        residual, update, "decoder.final_layer_norm", scale=float(config["d_model"]) ** -0.5 if is_tied else 1.0
    )
    if is_tied:
        build.node_with("FusedMatMul", [normed, EMBEDDING], ["logits"], HEAD, domain=CONTRIB, transB=1)
    else:
        build.node_with(
            "MatMul", [normed, build.weight(f"{HEAD}.weight", weights[f"{HEAD}.weight"].T)], ["logits"], HEAD
        )
    heads, width = stack.heads, stack.head_width
    kinds = [
        (layer, side, kind) for layer in range(layers) for side in ("decoder", "encoder") for kind in ("key", "value")
    ]
    lengths = {"decoder": "past_decoder_sequence_length", "encoder": "encoder_sequence_length"}
    grown = {
        "decoder": "past_decoder_sequence_length + decoder_sequence_length",
        "encoder": "encoder_sequence_length_out",
    }
    return build.model(
        "decoder",
        [
            integers("encoder_attention_mask", "batch_size", "encoder_sequence_length"),
            integers("input_ids", "batch_size", "decoder_sequence_length"),
            floats("encoder_hidden_states", "batch_size", "encoder_sequence_length", int(config["d_model"])),
            *(
                floats(f"past_key_values.{layer}.{side}.{kind}", "batch_size", heads, lengths[side], width)
                for layer, side, kind in kinds
            ),
            helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, (1,)),
        ],
        [
            floats("logits", "batch_size", "decoder_sequence_length", int(config["vocab_size"])),
            *(
                floats(f"present.{layer}.{side}.{kind}", "batch_size", heads, grown[side], width)
                for layer, side, kind in kinds
            ),
        ],
    )


def _cross_attention(stack: _Stack, queries: str, mask: str, layer: int) -> str:
    """Attention to the encoder's output; its keys and values come from the cache, or are made for the first token.

    Both branches hold the attention itself: handing the cache out of a branch would copy it for every token.
    """
    path, build = f"decoder.block.{layer}.layer.1.EncDecAttention", stack.build
    kinds = ("key", "value")
    shapes = [(f"present.{layer}.encoder.{kind}", ("batch", stack.heads, "source", stack.head_width)) for kind in kinds]

    def branch(name: str, inner: GraphBuilder, keys: str, values: str, presents: list[str]) -> onnx.GraphProto:
        attention = stack.attention([queries, keys, values, "", mask], f"{path}.{name}", into=inner)
        outputs = [floats(attention, "batch", "target", stack.heads * stack.head_width)]
        outputs += [floats(present, *shape) for present, (_, shape) in zip(presents, shapes, strict=True)]
        return helper.make_graph(inner.nodes, name, [], outputs)

    later = GraphBuilder()
    nothing = build.weight("nothing", np.zeros((0, stack.heads, 1, stack.head_width), np.float32))
    empty = [later.node("Identity", [nothing], f"{path}.later.{kind}") for kind in kinds]
    past = [f"past_key_values.{layer}.encoder.{kind}" for kind in kinds]
    first = GraphBuilder()
    weights = [stack.weights[f"{path}.{part}.weight"].T for part in JOINED["kv"]]
    joined = build.weight(f"{path}.kv.weight", np.concatenate(weights, axis=1))
    both = first.node("MatMul", ["encoder_hidden_states", joined], f"{path}.kv")
    shaped = first.node("Reshape", [both, build.integers(0, 0, 2, stack.heads, stack.head_width)], f"{path}.kv.shaped")
    turned = first.node("Transpose", [shaped], f"{path}.kv.turned", perm=[2, 0, 3, 1, 4])
    ones = build.integers(1, 1)
    pieces = first.node_with(
        "Split", [turned, ones], [f"{path}.kv.{kind}" for kind in kinds], f"{path}.kv.split", axis=0
    )
    made = [
        first.node("Squeeze", [piece, build.integers(0)], f"{path}.first.{kind}")
        for piece, kind in zip(pieces, kinds, strict=True)
    ]
    outputs = [f"{path}.attention", *(name for name, _ in shapes)]
    return build.node_with(
        "If",
        ["use_cache_branch"],
        outputs,
        f"{path}.choice",
        then_branch=branch("later", later, past[0], past[1], empty),
        else_branch=branch("first", first, made[0], made[1], made),
    )[0]


class _Stack:
    """What encoder and decoder share; names of weights are those of transformers."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Array], side: str) -> None:
        self.build = GraphBuilder()
        self.config, self.weights, self.side = config, weights, side
        self.heads, self.head_width = int(config["num_heads"]), int(config["d_kv"])
        self.layers = int(config.get("num_decoder_layers") or config["num_layers"])
        self.activation = str(
            config.get("dense_act_fn") or str(config.get("feed_forward_proj", "relu")).removeprefix("gated-")
        )
        if self.activation not in ACTIVATIONS:
            raise ModelError(
                f"The student's activation is {self.activation!r}; expected one of {', '.join(ACTIVATIONS)}."
            )

    def linear(self, values: str, name: str) -> str:
        """A product with a weight [out, in] of transformers."""
        return self.build.node(
            "MatMul", [values, self.build.weight(f"{name}.weight", self.weights[f"{name}.weight"].T)], name
        )

    def _joined(self, values: str, path: str, name: str) -> list[str]:
        """Several products with the same values, as one."""
        parts = JOINED[name]
        matrices = [self.weights[f"{path}.{part}.weight"].T for part in parts]
        joined = self.build.weight(f"{path}.{name}.weight", np.concatenate(matrices, axis=1))
        together = self.build.node("MatMul", [values, joined], f"{path}.{name}")
        sizes = self.build.integers(*(matrix.shape[1] for matrix in matrices))
        return self.build.node_with(
            "Split", [together, sizes], [f"{path}.{part}" for part in parts], f"{path}.{name}.split", axis=-1
        )

    def queries_keys_values(self, values: str, path: str) -> list[str]:
        """Three times [batch, tokens, heads · d_kv]."""
        return self._joined(values, path, "qkv")

    def attention(
        self, inputs: list[str], path: str, *, present: Sequence[str] = (), into: GraphBuilder | None = None
    ) -> str:
        """Attention over all heads; T5 does not scale its scores."""
        outputs = [f"{path}.attention", *present]
        attributes = {"num_heads": self.heads, "scale": 1.0, "mask_filter_value": float(MASKED)}
        build = into or self.build
        return build.node_with(
            "MultiHeadAttention", inputs, outputs, f"{path}.attention", domain=CONTRIB, **attributes
        )[0]

    def feed_forward(self, values: str, path: str) -> str:
        """The two or three matrices after attention."""
        operator = ACTIVATIONS[self.activation]
        domain = CONTRIB if operator == "FastGelu" else ""
        if f"{path}.wi_0.weight" in self.weights:
            gate, up = self._joined(values, path, "wi")
            active = self.build.node(operator, [gate], f"{path}.act", domain=domain)
            return self.linear(self.build.node("Mul", [active, up], f"{path}.gated"), f"{path}.wo")
        return self.linear(
            self.build.node(operator, [self.linear(values, f"{path}.wi")], f"{path}.act", domain=domain), f"{path}.wo"
        )

    def norm(self, residual: str, update: str, name: str, scale: float = 1.0) -> tuple[str, str]:
        """(normed, residual + update): T5's norm has no mean and no bias."""
        gamma = self.build.weight(f"{name}.weight", self.weights[f"{name}.weight"] * np.float32(scale))
        epsilon = float(self.config["layer_norm_epsilon"])
        if not update:
            return self.build.node(
                "SimplifiedLayerNormalization", [residual, gamma], name, axis=-1, epsilon=epsilon, stash_type=1
            ), residual
        outputs = [name, "", "", f"{name}.residual"]
        self.build.node_with(
            "SkipSimplifiedLayerNormalization",
            [residual, update, gamma],
            outputs,
            name,
            domain=CONTRIB,
            epsilon=epsilon,
        )
        return name, outputs[3]

    def position_bias(self, past: str, new: str) -> str:
        """Bias [1, heads, new, past + new] of relative positions, from a table over distances; what lies ahead of a decoder is masked."""
        build, name = self.build, f"{self.side}.position_bias"
        table = distance_table(self.config, self.weights, self.side)
        farthest = int(self.config["relative_attention_max_distance"])
        nearest = -farthest if self.side == "encoder" else -1
        total = build.node("Add", [past, new], f"{name}.total")
        scalars = [build.node("Squeeze", [value], f"{name}.{word}") for word, value in (("past", past), ("end", total))]
        zero, one = build.weight("zero", np.array(0, np.int64)), build.weight("one", np.array(1, np.int64))
        rows = build.node("Range", [*scalars, one], f"{name}.rows")
        columns = build.node("Range", [zero, scalars[1], one], f"{name}.columns")
        behind = build.node(
            "Sub", [build.node("Unsqueeze", [rows, build.integers(1)], f"{name}.rows_up"), columns], f"{name}.behind"
        )
        bounds = [
            build.weight(f"{name}.{word}", np.array(value, np.int64))
            for word, value in (("nearest", nearest), ("farthest", farthest))
        ]
        # Index -1 of the decoder's table is what must not be seen; the encoder's begins at the distance -farthest.
        index = build.node("Clip", [behind, *bounds], f"{name}.clipped")
        if self.side == "encoder":
            index = build.node("Add", [index, bounds[1]], f"{name}.index")
        looked_up = build.node("Gather", [build.weight(f"{name}.table", table), index], f"{name}.looked_up", axis=1)
        return build.node("Unsqueeze", [looked_up, build.integers(0)], name)


def distance_table(config: Mapping[str, Any], weights: Mapping[str, Array], side: str) -> Array:
    """Bias [heads, distances] by how far a key lies behind its query.

    The encoder's distances go from -farthest to farthest, the decoder's from 0 to farthest, and one more that masks: beyond
    `relative_attention_max_distance` all are alike (Raffel et al. 2020, section 2.1).
    """
    import torch
    from transformers.models.t5.modeling_t5 import T5Attention

    farthest = int(config["relative_attention_max_distance"])
    behind = torch.arange(-farthest if side == "encoder" else 0, farthest + 1)
    buckets = T5Attention._relative_position_bucket(
        -behind,
        bidirectional=side == "encoder",
        num_buckets=int(config["relative_attention_num_buckets"]),
        max_distance=farthest,
    )
    table = weights[f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"][buckets.numpy()].T
    if side == "encoder":
        return table
    return np.concatenate([table, np.full((len(table), 1), MASKED, np.float32)], axis=1)
