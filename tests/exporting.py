"""What tests of packages share: students to export, the export itself, and runners as programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from tiny_models import llama_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

from kpodx.cli.export import generated_questions
from kpodx.config import shipped
from kpodx.export.package import Exported, export_package
from kpodx.runtime import SilentProgress

RUNNERS = shipped("export") / "runners"


def export(
    student: Path, output: Path, form: str, *quantizations: str, count: int = 4, **settings: Any
) -> list[Exported]:
    """Export a student and compare it on a few generated questions."""
    arguments: dict[str, Any] = {
        "name": "tiny",
        "origin": {"folder": "tiny"},
        "max_new_tokens": 12,
        "threads": 1,
        "progress": SilentProgress(),
    }
    return export_package(student, output, form, quantizations, generated_questions(count), **(arguments | settings))


def run_it(runner: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a runner's program with questions on stdin."""
    command = [sys.executable, str(runner), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, encoding="utf-8")


def make_other_model(folder: Path, kind: str, **settings: Any) -> Path:
    """A random Qwen2 or GPT-2 with the tiny Llama's tokenizer."""
    tokenizer = llama_tokenizer(bos=False)
    tokens = {"vocab_size": len(tokenizer) + 4, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    torch.manual_seed(1)
    if kind == "qwen2":
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = Qwen2Config(
            **tokens, **shape, num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3, **settings
        )
        model: Any = Qwen2ForCausalLM(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.3)
    else:
        model = GPT2LMHeadModel(
            GPT2Config(**tokens, n_positions=256, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3)
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
