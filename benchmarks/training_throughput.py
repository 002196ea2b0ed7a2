"""Target tokens a second in training: batches of similar length against random batches in a plain Seq2SeqTrainer.

Both sides train the same model on the same rationales, whole and unweighted, for one epoch with the same optimiser; they take turns, and
the ratio is that of the medians of one run. Writing checkpoints is not counted.

    python benchmarks/training_throughput.py --output training.json
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from gsm8k_student import build_model, load_rationales, now, parser, report
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from kpodx.distillation.batches import StagedRationales
from kpodx.distillation.config import DistillationConfig
from kpodx.distillation.training import build_trainer
from kpodx.modeling.examples import model_family
from kpodx.runtime import SilentProgress

GOAL = 1.3


class Clock(TrainerCallback):  # type: ignore[misc]
    """Seconds from the first update's beginning to the last one's end."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self.begun = now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Take the time so far."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds = now() - self.begun


def ours(shape: str, tokenizer: Any, data: StagedRationales, batch_size: int, device: str, output: Path) -> float:
    """Seconds of one epoch with the distillation trainer."""
    trainer = build_trainer(
        build_model(shape),
        tokenizer,
        data,
        [item.question_id for item in data.items],
        config=DistillationConfig(method="std-cot", epochs=1, batch_size=batch_size),
        dtype=torch.float32,
        use_cpu=device == "cpu",
        seed=0,
        output=output,
        validate=None,
        progress=SilentProgress(),
    )
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    return clock.seconds


def plain(shape: str, tokenizer: Any, data: StagedRationales, batch_size: int, device: str, output: Path) -> float:
    """Seconds of one epoch with Seq2SeqTrainer, random batches padded to their longest."""
    examples = [data[row] for row in range(len(data))]
    rows = [
        {"input_ids": list(e.input_ids), "attention_mask": [1] * len(e.input_ids), "labels": list(e.labels)}
        for e in examples
    ]
    model, clock = build_model(shape), Clock()
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(output),
        num_train_epochs=1,
        per_device_train_batch_size=batch_size,
        learning_rate=5e-5,
        optim="adamw_torch_fused",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=device == "cpu",
        log_level="error",
    )
    trainer = Seq2SeqTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.seconds


def main() -> None:
    """Measure both and report."""
    options = parser(__doc__ or "", rationales=192, batch_size=4)
    options.add_argument("--flan-t5-small", action="store_true", help="the exact shape of Flan-T5-small")
    arguments = options.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    shape = "flan-t5-small" if arguments.flan_t5_small else "small"
    tokenizer, items = load_rationales(arguments.data, arguments.rationales)
    data = StagedRationales(items, model_family(build_model(shape), tokenizer))
    tokens = int(data.target_lengths(0).sum())
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(arguments.repetitions):
        for name, side in (("plain", plain), ("ours", ours)):
            with tempfile.TemporaryDirectory() as folder:
                seconds[name].append(side(shape, tokenizer, data, arguments.batch_size, arguments.device, Path(folder)))
    rate = {name: tokens / statistics.median(times) for name, times in seconds.items()}
    figures = {
        "target_tokens": tokens,
        "seconds": seconds,
        "target_tokens_per_second": rate,
        "ratio": rate["ours"] / rate["plain"],
        "goal": GOAL,
    }
    report(arguments, shape, figures)


if __name__ == "__main__":
    main()
