"""Decoding speed and memory of our runners against optimum, CTranslate2 and llama.cpp, with an encoder-decoder of Flan-T5-small's shape
(random weights; every engine writes exactly the tokens that are asked for).

Each engine lives in a process of its own with the same threads; they take turns, and figures are medians of one run. Memory counts
from what imports take, and our tokenizer (told apart): the others are given tokens.

    python benchmarks/decode.py --output decode.json
    python benchmarks/decode.py --input-tokens 384
    python benchmarks/decode.py --batch-size 8

First, files are made in build/decode (minutes, once). CTranslate2 is installed apart: pip install ctranslate2.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = REPOSITORY / "build" / "decode"
VOCABULARY = 32000
ENGINES = {
    "ours f32": ("onnx", "f32"),
    "ours int8": ("onnx", "int8"),
    "ours q8": ("onnx", "q8"),
    "ours q4": ("onnx", "q4"),
    "optimum f32": ("optimum", "f32"),
    "optimum int8": ("optimum", "int8"),
    "ctranslate2 f32": ("ctranslate2", "float32"),
    "ctranslate2 int8": ("ctranslate2", "int8"),
    "llama.cpp Q8_0": ("llama_cpp", "Q8_0"),
    "llama.cpp Q4_0": ("llama_cpp", "Q4_0"),
    "llama.cpp Q4_K_M": ("llama_cpp", "Q4_K_M"),
}
PEERS = [name for name in ENGINES if not name.startswith("ours")]
Answer = Callable[[list[list[int]], int], object]


def main() -> None:
    """Measure all engines and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input-tokens", type=int, default=96)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=list(ENGINES), metavar="ENGINE")
    parser.add_argument("--output", type=Path, help="JSON file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(*ENGINES[arguments.worker], arguments.threads)
        return
    make_files()
    workers = {name: start(name, arguments.threads) for name in arguments.engines}
    rng = np.random.default_rng(0)
    prompts = rng.integers(3, VOCABULARY, (arguments.batch_size, arguments.input_tokens)).tolist()
    times: dict[str, dict[int, list[float]]] = {name: {1: [], arguments.new_tokens: []} for name in workers}
    bandwidths = []
    for round_ in range(arguments.rounds + 1):
        bandwidths.append(read_bandwidth(arguments.threads))
        for name, worker in workers.items():
            for tokens, taken in times[name].items():
                seconds = ask(worker, {"prompts": prompts, "tokens": tokens})["seconds"]
                if round_:
                    taken.append(seconds)
    memory = {name: ask(worker, None) for name, worker in workers.items()}
    report(arguments, times, memory, statistics.median(bandwidths))


def report(
    arguments: argparse.Namespace, times: dict[str, dict[int, list[float]]], memory: dict[str, Any], bandwidth: float
) -> None:
    """Print the table, and write it."""
    found: dict[str, Any] = {}
    for name, taken in times.items():
        first, whole = (statistics.median(values) for values in taken.values())
        speed = arguments.batch_size * (arguments.new_tokens - 1) / (whole - first)
        files = sum(path.stat().st_size for path in files_of(*ENGINES[name])) / 1e6
        found[name] = {
            "first_token_ms": first * 1e3,
            "decode_tokens_per_second": speed,
            "answer_ms": whole * 1e3,
            "peak_rss_mb": memory[name]["peak_mb"],
            "above_imports_mb": memory[name]["peak_mb"] - memory[name]["imports_mb"],
            "files_mb": files,
            "cache_mb": cache_bytes(arguments) / 1e6,
        }
        if read := bytes_per_token(name):
            found[name]["share_of_bandwidth_floor"] = speed / arguments.batch_size * read / bandwidth
    print(
        f"{arguments.batch_size} × {arguments.input_tokens} tokens in, {arguments.new_tokens} out, "
        f"{arguments.threads} threads, {arguments.rounds} rounds"
    )
    print(f"memory is read at {bandwidth / 1e9:.1f} GB/s; the cache takes {cache_bytes(arguments) / 1e6:.1f} MB")
    print(
        f"{'engine':18} {'first token ms':>14} {'decode tokens/s':>15} {'peak MB':>8} {'above imports':>13} "
        f"{'files MB':>8} {'of (files+cache)':>16} {'of floor':>8}"
    )
    for name, row in found.items():
        ratio = row["above_imports_mb"] / (row["files_mb"] + row["cache_mb"])
        share = f"{row['share_of_bandwidth_floor']:.2f}" if "share_of_bandwidth_floor" in row else ""
        print(
            f"{name:18} {row['first_token_ms']:14.1f} {row['decode_tokens_per_second']:15.1f} {row['peak_rss_mb']:8.0f} "
            f"{row['above_imports_mb']:13.0f} {row['files_mb']:8.1f} {ratio:16.2f} {share:>8}"
        )
    peers = [name for name in found if name in PEERS]
    if peers:
        fastest = max(peers, key=lambda name: found[name]["decode_tokens_per_second"])
        print(f"fastest peer: {fastest}")
        for name in found:
            if name not in PEERS:
                ratio = found[name]["decode_tokens_per_second"] / found[fastest]["decode_tokens_per_second"]
                found[name]["over_fastest_peer"] = ratio
                print(f"  {name} / {fastest}: {ratio:.2f} ×")
    if arguments.output:
        arguments.output.write_text(
            json.dumps(
                {
                    "arguments": {k: v for k, v in vars(arguments).items() if k != "output"},
                    "bandwidth": bandwidth,
                    "engines": found,
                },
                indent=1,
            )
        )


def cache_bytes(arguments: argparse.Namespace) -> float:
    """Keys and values of 8 decoder layers with 6 heads of 64, in float32, of all answers: their own tokens and the prompt's."""
    return arguments.batch_size * (arguments.input_tokens + arguments.new_tokens) * 8 * 2 * 6 * 64 * 4


def bytes_per_token(name: str) -> int:
    """What our decoder must read for each token: its matrices and scales, without the embedding and what only the first token needs."""
    import onnx

    kind, quantization = ENGINES[name]
    if kind != "onnx":
        return 0
    model = onnx.load(decoder_file(quantization), load_external_data=False)
    return sum(
        int(np.prod(item.dims)) * (1 if item.data_type in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8) else 4)
        for item in model.graph.initializer
        if "kv.weight" not in item.name and not item.name.startswith("shared.")
    )


def read_bandwidth(threads: int) -> float:
    """Bytes a second that threads read from memory."""
    blocks = [np.ones(32 * 1024 * 1024 // 4, np.float32) for _ in range(4 * threads)]

    def read(number: int) -> None:
        for block in blocks[number::threads]:
            block.max()

    workers = [threading.Thread(target=read, args=(number,)) for number in range(threads)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(block.nbytes for block in blocks) / (time.perf_counter() - begun)


# Files


def decoder_file(quantization: str) -> Path:
    """Our decoder's graph."""
    from kpodx.export.manifest import ONNX_SUFFIXES

    return BUILD / "onnx-package" / "onnx" / f"decoder_model_merged{ONNX_SUFFIXES[quantization]}.onnx"


def files_of(kind: str, variant: str) -> list[Path]:
    """Model files of an engine, which count as its size."""
    if kind == "onnx":
        name = decoder_file(variant).name
        graphs = (name, name.replace("decoder_model_merged", "encoder_model"))
        return [
            path for path in (BUILD / "onnx-package" / "onnx").iterdir() if path.name.removesuffix("_data") in graphs
        ]
    if kind == "llama_cpp":
        return [BUILD / f"{variant}.gguf"]
    if kind == "optimum":
        return sorted((BUILD / f"optimum-{variant}").glob("*.onnx"))
    return [BUILD / f"ctranslate2-{variant}" / "model.bin"]


def make_files() -> None:
    """What the engines run, made from one student."""
    from real_models import make_flan_t5_small

    BUILD.mkdir(parents=True, exist_ok=True)
    student = BUILD / "student"
    if not student.is_dir():
        make_flan_t5_small(student)
    if not (BUILD / "onnx-package").is_dir():
        words = ["export", str(student), "--format", "onnx", "--questions", "2", "--max-new-tokens", "16"]
        quants = [word for quant in ("f32", "int8", "q8", "q4") for word in ("--quant", quant)]
        run([str(Path(sys.executable).with_name("kpodx")), *words, *quants, "--output", str(BUILD / "onnx-package")])
    for variant in ("Q8_0", "Q4_0", "Q4_K_M"):
        if not (BUILD / f"{variant}.gguf").is_file():
            from kpodx.export.gguf_file import write_gguf
            from kpodx.export.quantization import quantize

            write_gguf(student, BUILD / "f32.gguf")
            quantize(BUILD / "f32.gguf", BUILD / f"{variant}.gguf", variant)
    if not (BUILD / "optimum-int8").is_dir():
        make_optimum(student)
    for variant in ("float32", "int8"):
        if not (BUILD / f"ctranslate2-{variant}").is_dir():
            converter = str(Path(sys.executable).with_name("ct2-transformers-converter"))
            target = str(BUILD / f"ctranslate2-{variant}")
            run([converter, "--model", str(student), "--output_dir", target, "--quantization", variant])


def make_optimum(student: Path) -> None:
    """optimum's own export, and its own dynamic int8 for the processor."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from optimum.exporters.onnx import main_export

    main_export(str(student), output=BUILD / "optimum-f32", task="text2text-generation-with-past", do_validation=False)
    for path in (BUILD / "optimum-f32").glob("decoder*model.onnx"):
        path.unlink()
    partial = BUILD / "optimum-int8.partial"
    partial.mkdir(exist_ok=True)
    for path in (BUILD / "optimum-f32").iterdir():
        if path.suffix == ".onnx":
            # What optimum's quantiser does with its avx512_vnni settings.
            options = {"EnableSubgraph": True, "MatMulConstBOnly": True}
            quantize_dynamic(
                path, partial / path.name, per_channel=True, weight_type=QuantType.QInt8, extra_options=options
            )
        else:
            (partial / path.name).write_bytes(path.read_bytes())
    partial.rename(BUILD / "optimum-int8")


def run(command: list[str]) -> None:
    """Run a program, which must succeed."""
    subprocess.run(command, check=True)


# Engines, each in its process


def start(name: str, threads: int) -> subprocess.Popen[str]:
    """A process that answers with one engine."""
    command = [sys.executable, __file__, "--worker", name, "--threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert worker.stdout is not None
    if worker.stdout.readline().strip() != "ready":
        sys.exit(f"{name} does not start")
    return worker


def ask(worker: subprocess.Popen[str], request: dict[str, Any] | None) -> dict[str, Any]:
    """One request and its answer; None asks for its memory and ends it."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(json.dumps(request) + "\n")
    worker.stdin.flush()
    answer: dict[str, Any] = json.loads(worker.stdout.readline())
    return answer


def work(kind: str, variant: str, threads: int) -> None:
    """Answer requests on stdin until one is null."""
    load = {"onnx": ours, "optimum": optimum, "ctranslate2": ctranslate2, "llama_cpp": llama_cpp}[kind]()
    before = memory_mb("VmRSS")
    answer = load(variant, threads)
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request is None:
            print(json.dumps({"peak_mb": memory_mb("VmHWM"), "imports_mb": before}), flush=True)
            return
        begun = time.perf_counter()
        answer(request["prompts"], request["tokens"])
        print(json.dumps({"seconds": time.perf_counter() - begun}), flush=True)


def memory_mb(field: str) -> float:
    """This process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(field))


Loader = Callable[[str, int], Answer]


def ours() -> Loader:
    """Our runner for ONNX Runtime, its end mark forgotten."""
    from kpodx.config import shipped
    from kpodx.export.divergence import load_runner

    runner = load_runner(shipped("export") / "runners" / "onnxruntime" / "run.py")
    before = memory_mb("VmRSS")
    tokenizer = runner._tokenizer(BUILD / "onnx-package" / "tokenizer.json")
    print(f"the tokenizer takes {memory_mb('VmRSS') - before:.0f} MB", file=sys.stderr)
    runner._tokenizer = lambda _path: tokenizer

    def load(variant: str, threads: int) -> Answer:
        model = runner.Model(decoder_file(variant), threads)
        model._ends = frozenset()
        return lambda prompts, tokens: list(
            model.generate(prompts, tokens, lambda _row, logits: int(np.argmax(logits)))
        )

    return load


def optimum() -> Loader:
    """optimum's class for ONNX Runtime, through transformers' generate."""
    import onnxruntime
    import torch
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    def load(variant: str, threads: int) -> Answer:
        torch.set_num_threads(threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        model = ORTModelForSeq2SeqLM.from_pretrained(
            BUILD / f"optimum-{variant}", session_options=options, use_merged=True, local_files_only=True
        )
        model.decoder.embed_size_per_head = model.config.d_kv

        def answer(prompts: list[list[int]], tokens: int) -> object:
            ids = torch.tensor(prompts)
            return model.generate(
                ids, attention_mask=torch.ones_like(ids), min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False
            )

        return answer

    return load


def ctranslate2() -> Loader:
    """CTranslate2's translator."""
    import ctranslate2

    def load(variant: str, threads: int) -> Answer:
        folder = BUILD / f"ctranslate2-{variant}"
        model = ctranslate2.Translator(
            str(folder), device="cpu", compute_type=variant, intra_threads=threads, inter_threads=1
        )
        words = json.loads((folder / "shared_vocabulary.json").read_text())

        def answer(prompts: list[list[int]], tokens: int) -> object:
            texts = [[words[i] for i in ids] for ids in prompts]
            return model.translate_batch(texts, beam_size=1, min_decoding_length=tokens, max_decoding_length=tokens)

        return answer

    return load


def llama_cpp() -> Loader:
    """llama.cpp with its own defaults (half-precision cache, flash attention where it can), one prompt after the other."""
    import llama_cpp

    from kpodx.config import shipped
    from kpodx.export.divergence import load_runner

    runner = load_runner(shipped("export") / "runners" / "llama_cpp" / "run.py")

    def load(variant: str, threads: int) -> Answer:
        llama_cpp.llama_log_set(runner._quiet, None)
        parameters = llama_cpp.llama_model_default_params()
        parameters.use_extra_bufts = not runner.has_amx()
        model = llama_cpp.llama_model_load_from_file(os.fsencode(BUILD / f"{variant}.gguf"), parameters)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = 512
        settings.n_threads = settings.n_threads_batch = threads
        context = llama_cpp.llama_init_from_model(model, settings)
        size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))

        def feed(function: Any, ids: list[int]) -> None:
            array = (llama_cpp.llama_token * len(ids))(*ids)
            assert function(context, llama_cpp.llama_batch_get_one(array, len(ids))) == 0

        def answer(prompts: list[list[int]], tokens: int) -> object:
            for prompt in prompts:
                llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
                feed(llama_cpp.llama_encode, prompt)
                token = llama_cpp.llama_model_decoder_start_token(model)
                for _ in range(tokens):
                    feed(llama_cpp.llama_decode, [token])
                    token = int(np.argmax(np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, -1), (size,))))
            return model

        return answer

    return load


if __name__ == "__main__":
    main()
