"""GSM8K's human rationales in T5 tokens, and a T5 with random weights: what the throughput benchmarks share."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import T5Config, T5ForConditionalGeneration

from kpodx.artifacts import write_json
from kpodx.modeling.loading import keep_wo_in_float32, load_tokenizer
from kpodx.modeling.tokenization import TokenizedRationale, tokenize_rationales
from kpodx.schema import Question, Rationale, Split

SHAPES: dict[str, dict[str, Any]] = {
    "small": {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4},
    "flan-t5-small": {
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 1024,
        "num_layers": 8,
        "num_decoder_layers": 8,
        "num_heads": 6,
    },
}


def now() -> float:
    """Seconds on a clock: on a GPU the wall's; else the processor's, for which other programs on the machine do not count."""
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def parser(description: str, *, rationales: int, batch_size: int) -> argparse.ArgumentParser:
    """The options that both benchmarks have."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder with gsm8k/ and tokenizers/t5/"
    )
    result.add_argument(
        "--rationales", type=int, default=rationales, help="how many of GSM8K's training set, the first ones"
    )
    result.add_argument("--batch-size", type=int, default=batch_size)
    result.add_argument("--repetitions", type=int, default=3, help="of each side, taken in turns")
    result.add_argument("--threads", type=int, default=None, help="CPU threads")
    result.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    result.add_argument("--output", type=Path, default=None, help="JSON file")
    return result


def load_rationales(data: Path, count: int) -> tuple[Any, list[TokenizedRationale]]:
    """The T5 tokenizer, and the first `count` human rationales tokenised with it."""
    tokenizer = load_tokenizer(str(data / "tokenizers" / "t5"))
    lines = (data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    questions, rationales = [], []
    for number, line in enumerate(lines):
        record = json.loads(line)
        text, answer = (part.strip() for part in record["answer"].rsplit("####", 1))
        while "<<" in text:
            text = text[: text.index("<<")] + text[text.index(">>") + 2 :]
        questions.append(Question(str(number), Split.TRAIN, record["question"], answer))
        rationales.append(Rationale(str(number), str(number), text, answer, "human"))
    return tokenizer, tokenize_rationales(tokenizer, rationales, questions)


def build_model(shape: str) -> T5ForConditionalGeneration:
    """A T5 with Flan-T5's vocabulary and feed-forward, the same random weights every time."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32128,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        **SHAPES[shape],
    )
    model = T5ForConditionalGeneration(config)
    keep_wo_in_float32(model)
    return model


def report(arguments: argparse.Namespace, shape: str, figures: dict[str, Any]) -> None:
    """Write what was measured and where, to the output file or to the terminal."""
    result = {
        **figures,
        "shape": shape,
        "rationales": arguments.rationales,
        "batch_size": arguments.batch_size,
        "device": arguments.device,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if arguments.output is None:
        json.dump(result, sys.stdout, indent=2)
        print()
    else:
        write_json(arguments.output, result)
