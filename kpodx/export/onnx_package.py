"""ONNX packages, in the folder layout that optimum and transformers.js read: settings and tokenizer above, graphs in onnx/."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from kpodx.artifacts import read_json, write_json
from kpodx.export.manifest import ONNX_SUFFIXES, PROMPT, Written
from kpodx.export.onnx_graph import graphs
from kpodx.export.onnx_quantization import PRODUCTS, quantize_graph
from kpodx.export.reference import Reference
from kpodx.export.sensitivity import sensitive_modules
from kpodx.export.t5_graph import JOINED
from kpodx.export.weights import load_weights

BLOCKWISE = ("q8", "q4", "mixed")
FOUR_BITS = ("q4", "mixed")
TOKENIZER_FILES = ("tokenizer", "special_tokens", "added_tokens", "vocab", "merges", "spiece", "chat_template")
ELSEWHERE = "optimum (`ORTModelForCausalLM`) and transformers.js load this folder as it is."
ELSEWHERE_PAIR = """optimum loads this folder as it is (`ORTModelForSeq2SeqLM.from_pretrained(folder, subfolder="onnx")`; where heads times
d_kv is not d_model, set `model.decoder.embed_size_per_head = model.config.d_kv`), and so does transformers.js under Node. How to load
other quantisations, and in browsers, is in kpodx's docs/export.md."""
MUCH_WORSE = 2.0
"""Blockwise products with rounded inputs (accuracy level 4, the fast one) are kept if they diverge at most this much more."""
NOISE = 1e-4
"""Divergence, in nats a token, below which there is nothing to choose."""
SMALL = 1024
"""Tensors that both graphs hold stay in each of them up to this many bytes."""
MAPPED = 65_536
"""Tensors from this many bytes lie beside the graph, where they are mapped into memory: inside, each is in memory twice while it loads."""
ALIGNMENT = 4096
"""Where tensors begin in a file that is mapped into memory, in bytes."""


class OnnxPackage:
    """Writes the graphs of one student.

    Args:
        folder: of the package, empty.
        student: its folder, in the hub's layout.
        reference: the student's answers, which sensitive matrices are found by.

    Raises:
        ModelError: the architecture cannot be exported.
        MissingDependencyError: the `onnx` extra is not installed.
    """

    tools = ("onnx", "onnxruntime")
    exact = ("f32",)

    def __init__(self, folder: Path, student: Path, reference: Reference) -> None:
        self.folder, self.student, self.reference = folder, student, reference
        self.config: dict[str, Any] = read_json(student / "config.json")
        (folder / "onnx").mkdir()
        for path in sorted(student.iterdir()):
            if path.name.startswith(TOKENIZER_FILES) or path.name == "generation_config.json":
                shutil.copyfile(path, folder / path.name)
        write_json(folder / "config.json", {**self.config, "kpodx_prompt": PROMPT})
        self._models = self._build()
        self._sensitive: dict[str, float] | None = None

    def _build(self) -> dict[str, onnx.ModelProto]:
        if self.config.get("model_type") == "t5":
            from kpodx.export.t5_graph import t5_decoder, t5_encoder

            weights = load_weights(self.student)
            return {
                "encoder_model": t5_encoder(self.config, weights),
                "decoder_model_merged": t5_decoder(self.config, weights),
            }
        from kpodx.export.traced_graph import traced_decoder

        return {"model": traced_decoder(self.student)}

    def write(self, quantization: str, divergence: Callable[[Path], float]) -> Written:
        """Write the graphs with one quantisation.

        Args:
            quantization: one of `ONNX_SUFFIXES`.
            divergence: measures a written model against the student.
        """
        chosen: dict[str, Any] = {}
        kinds = self._kinds(quantization, chosen)
        paths = self._save(quantization, kinds, accuracy_level=4)
        if quantization in FOUR_BITS:
            # Rounded inputs are the fast way, and now and then the wrong one: both are tried.
            rounded = divergence(paths[-1])
            paths = self._save(quantization, kinds, accuracy_level=0)
            exact = divergence(paths[-1])
            chosen["accuracy_level"] = 4 if rounded <= MUCH_WORSE * exact + NOISE else 0
            chosen["divergence_at_level"] = {"4": rounded, "0": exact}
            if chosen["accuracy_level"] == 4:
                paths = self._save(quantization, kinds, accuracy_level=4)
        return Written(paths[-1], sum(path.stat().st_size for path in paths), chosen)

    def finish(self, done: Sequence[str]) -> str:
        """What the card says of other programs."""
        del done
        return ELSEWHERE_PAIR if self.config.get("is_encoder_decoder") else ELSEWHERE

    def _kinds(self, quantization: str, chosen: dict[str, Any]) -> dict[str, str]:
        """What becomes of each product and lookup, by the name of its node."""
        nodes = [
            node for model in self._models.values() for node in quantizable_nodes(model, int(self.config["vocab_size"]))
        ]
        if quantization == "f32":
            return {}
        if quantization != "mixed":
            return dict.fromkeys(nodes, quantization) | self._own_tables(quantization, nodes)
        if self._sensitive is None:
            self._sensitive = sensitive_modules(self.reference, {name: modules_of(name) for name in nodes})
        chosen["sensitive"] = self._sensitive
        return {name: "q8" if name in self._sensitive else "q4" for name in nodes} | self._own_tables(
            quantization, nodes
        )

    def _own_tables(self, quantization: str, names: Collection[str]) -> dict[str, str]:
        """Lookups in an embedding that no head shares have 8 bits by rows: fewer steps than blocks, and no worse."""
        if quantization not in BLOCKWISE:
            return {}
        nodes = [node for model in self._models.values() for graph in graphs(model) for node in graph.node]
        heads = {node.input[1] for node in nodes if node.op_type in PRODUCTS}
        tables = [node for node in nodes if node.op_type == "Gather" and node.name in names]
        return {node.name: "int8" for node in tables if node.input[0] not in heads}

    def _save(self, quantization: str, kinds: Mapping[str, str], accuracy_level: int) -> list[Path]:
        """Write the graphs, their weights in a file beside each; what both hold, above all the embedding, lies in the first's.

        The decoder's graph comes last.
        """
        suffix, places = ONNX_SUFFIXES[quantization], {}
        models = {name: _copy(model) for name, model in self._models.items()}
        for model in models.values():
            quantize_graph(model, kinds, accuracy_level)
        held = [{item.name for item in model.graph.initializer} for model in models.values()]
        shared = set.intersection(*held) if len(held) > 1 else set()
        paths = []
        for name, model in models.items():
            paths.append(self.folder / "onnx" / f"{name}{suffix}.onnx")
            # transformers.js and the hub look for a graph's data under this name.
            data = paths[-1].with_name(f"{paths[-1].name}_data")
            data.unlink(missing_ok=True)
            for item in model.graph.initializer:
                size = len(item.raw_data)
                if size >= MAPPED or (size > SMALL and item.name in shared):
                    if item.name not in places:
                        places[item.name] = _append(data, item.raw_data)
                    _refer(item, *places[item.name])
            onnx.save(model, paths[-1])
        written = {paths[0].with_name(place[0]) for place in places.values()}
        return [*sorted(written), *paths]


def quantizable_nodes(model: onnx.ModelProto, vocabulary: int) -> Iterator[str]:
    """Names of products with a constant matrix, and of lookups in the embedding."""
    shapes = {item.name: list(item.dims) for item in model.graph.initializer}
    for graph in graphs(model):
        for node in graph.node:
            if node.op_type in PRODUCTS:
                is_wanted = len(shapes.get(node.input[1], [])) == 2
            else:
                table = shapes.get(node.input[0], []) if node.op_type == "Gather" else []
                is_wanted = len(table) == 2 and table[0] == vocabulary
            if is_wanted:
                yield node.name


def modules_of(node: str) -> list[str]:
    """The modules of transformers whose matrices a node holds.

    >>> modules_of("decoder.block.0.layer.0.SelfAttention.qkv")[2]
    'decoder.block.0.layer.0.SelfAttention.v'
    >>> modules_of("/model/layers.0/self_attn/q_proj/MatMul")
    ['model.layers.0.self_attn.q_proj']
    """
    if node.startswith("/"):
        return [".".join(node.strip("/").split("/")[:-1])]
    if node == "embedding":
        return ["shared"]
    path, _, last = node.rpartition(".")
    return [f"{path}.{part}" for part in JOINED[last]] if last in JOINED else [node]


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Not by way of its bytes, which end at 2 GiB."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _append(path: Path, content: bytes) -> tuple[str, int, int]:
    """Add bytes to a file where a page begins: (name, offset, length)."""
    with path.open("ab") as stream:
        stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
        offset = stream.tell()
        stream.write(content)
    return path.name, offset, len(content)


def _refer(item: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Let a tensor's values lie in a file beside the graph."""
    item.ClearField("raw_data")
    item.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        item.external_data.add(key=key, value=value)
