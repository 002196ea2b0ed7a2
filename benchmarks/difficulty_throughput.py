"""Rationale tokens a second of the difficulty phase's scoring, against the bare forward pass over the same padded batches,
with a model of Flan-T5-small's shape.

The two take turns, and the ratio is that of the medians of one run.

    python benchmarks/difficulty_throughput.py --output difficulty.json
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from gsm8k_student import build_model, load_rationales, now, parser, report

from kpodx.difficulty.scoring import score_in_shards
from kpodx.modeling.examples import ModelFamily, build_example, collate, model_family, to_device
from kpodx.modeling.tokenization import TokenizedRationale
from kpodx.runtime import SilentProgress

GOAL = 0.8
SHAPE = "flan-t5-small"


def padded_batches(
    items: list[TokenizedRationale], family: ModelFamily, batch_size: int
) -> list[dict[str, torch.Tensor]]:
    """The batches that scoring makes, ready before the clock starts."""
    order = sorted(range(len(items)), key=lambda i: (len(items[i].rationale_ids), len(items[i].prompt_ids)))
    cut = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return [collate([build_example(items[i], None, 0, family, row=i) for i in rows], family) for rows in cut]


@torch.inference_mode()
def forward_only(model: Any, batches: list[dict[str, torch.Tensor]]) -> None:
    """The model's own work and nothing else."""
    for batch in batches:
        on_device = to_device(batch, model.device)
        model(
            **{name: on_device[name] for name in ("input_ids", "attention_mask", "decoder_input_ids")}, use_cache=False
        )
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure both and report."""
    arguments = parser(__doc__ or "", rationales=96, batch_size=16).parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    tokenizer, items = load_rationales(arguments.data, arguments.rationales)
    model = build_model(SHAPE).to(arguments.device).eval()
    family = model_family(model, tokenizer)
    batches = padded_batches(items, family, arguments.batch_size)
    tokens = sum(len(item.rationale_ids) for item in items)
    forward_only(model, batches[:1])
    seconds: dict[str, list[float]] = {"scoring": [], "forward": []}
    for _ in range(arguments.repetitions):
        begun = now()
        forward_only(model, batches)
        seconds["forward"].append(now() - begun)
        with tempfile.TemporaryDirectory() as folder:
            begun = now()
            score_in_shards(
                model,
                family,
                items,
                Path(folder),
                batch_size=arguments.batch_size,
                shard_size=len(items),
                dtype=torch.float32,
                progress=SilentProgress(),
            )
            seconds["scoring"].append(now() - begun)
    rate = {name: tokens / statistics.median(times) for name, times in seconds.items()}
    figures = {
        "rationale_tokens": tokens,
        "seconds": seconds,
        "rationale_tokens_per_second": rate,
        "ratio": rate["scoring"] / rate["forward"],
        "goal": GOAL,
    }
    report(arguments, SHAPE, figures)


if __name__ == "__main__":
    main()
