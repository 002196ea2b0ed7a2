"""Loading models and tokenizers from the Hugging Face hub or from a folder in its layout. Safetensors only, no remote code."""

from __future__ import annotations

import logging
import shutil
import textwrap
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from kpodx.errors import ModelError
from kpodx.modeling.config import LoraSettings

logger = logging.getLogger(__name__)

# transformers 5 draws a bar of its own for every load and save; kpodx shows its progress itself.
disable_progress_bar()

ALL_LINEAR = "all-linear"
"""The name that stands for every linear layer but the output's."""

Model = Any
"""A transformers `PreTrainedModel`, with or without peft around it."""
Tokenizer = Any
"""A transformers `PreTrainedTokenizerFast`."""

# What a missing or damaged file, or an unknown architecture, is told with.
_UNLOADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError)


def _explain(name: str, what: str, error: BaseException) -> ModelError:
    if Path(name).is_dir():
        files = ", ".join(sorted(p.name for p in Path(name).iterdir())) or "nothing"
        hint = (
            f"The folder holds {files}; kpodx needs config.json, model.safetensors and the tokenizer's files, whole: "
            "copy or download again what is missing or damaged."
        )
    else:
        hint = "Check the name on the Hugging Face hub and the network; HF_HUB_OFFLINE=1 allows only models that were downloaded before."
    return ModelError(f"Cannot load the {what} of {name!r}: {textwrap.shorten(str(error), 200)}", hint=hint)


def load_tokenizer(name: str, revisions: Mapping[str, str] | None = None) -> Tokenizer:
    """Load a fast tokenizer; ModelError where there is none.

    Args:
        name: hub id or local folder.
        revisions: hub commit by model id.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=(revisions or {}).get(name), use_fast=True, trust_remote_code=False
        )
    except Exception as error:
        # The tokenizers library raises a bare Exception for a damaged tokenizer.json.
        if type(error) is not Exception and not isinstance(error, _UNLOADABLE):
            raise
        raise _explain(name, "tokenizer", error) from error
    except BaseException as error:
        # What its Rust raises when it gives up is not an Exception, and has no name in Python.
        if type(error).__name__ != "PanicException":
            raise
        raise _explain(name, "tokenizer", error) from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"The tokenizer of {name!r} is not a fast one, and only those tell where in the text a token stands.",
            hint="Save it as tokenizer.json, for instance with `AutoTokenizer.from_pretrained(…, use_fast=True).save_pretrained(…)`.",
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"The tokenizer of {name!r} has no end-of-sequence token.",
            hint="Set eos_token in its tokenizer_config.json.",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(name: str, revisions: Mapping[str, str] | None = None, *, dtype: torch.dtype = torch.float32) -> Model:
    """Load an encoder-decoder or decoder-only language model with its weights in `dtype` (T5's `wo` always in float32).

    ModelError where it cannot be loaded, or where its files lack a parameter (transformers would draw that one at random).

    Args:
        name: hub id or local folder.
        revisions: hub commit by model id.
        dtype: number format of the parameters.
    """
    revision = (revisions or {}).get(name)
    try:
        # Without this, transformers asks on the terminal whether to run a program that the model brings along.
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, found = kind.from_pretrained(
            name,
            revision=revision,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
    except _UNLOADABLE as error:
        raise _explain(name, "model", error) from error
    missing = sorted(found["missing_keys"])
    if missing:
        raise ModelError(
            f"The weights of {name!r} lack {len(missing)} parameters of {type(model).__name__}: {', '.join(missing[:5])}"
            + (f" and {len(missing) - 5} more." if len(missing) > 5 else "."),
            hint="Its files are incomplete, or it is no language model; take the weights that belong to its config.json.",
        )
    keep_wo_in_float32(model)
    return model


def load_with_tokenizer(
    name: str, revisions: Mapping[str, str] | None = None, *, dtype: torch.dtype = torch.float32
) -> tuple[Model, Tokenizer]:
    """A model and its tokenizer, checked against each other; see `load_model` for the arguments."""
    tokenizer = load_tokenizer(name, revisions)
    model = load_model(name, revisions, dtype=dtype)
    check_vocabulary(model, tokenizer, name)
    return model, tokenizer


def check_vocabulary(model: Model, tokenizer: Tokenizer, name: str) -> None:
    """Raise ModelError where the tokenizer has more tokens than the model has embeddings for."""
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ModelError(
            f"The tokenizer of {name!r} has {len(tokenizer):,} tokens, but its model has embeddings for {rows:,}.",
            hint="The tokenizer files belong to another model; copy those that came with the weights.",
        )


def _float32_linear(module: nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
    with torch.autocast(hidden.device.type, enabled=False):
        return nn.functional.linear(
            hidden.float(), module.weight.float(), None if module.bias is None else module.bias.float()
        )


def keep_wo_in_float32(model: nn.Module) -> int:
    """Let T5's feed-forward output projections (`wo`) compute in float32, also under autocast; return how many there are.

    Their sums overflow float16 and lose digits in bfloat16 (transformers issues 5651 and 20287).
    """
    layers = [m for n, m in model.named_modules() if n.endswith("DenseReluDense.wo") and isinstance(m, nn.Linear)]
    for layer in layers:
        layer.to(torch.float32)
        layer.forward = types.MethodType(_float32_linear, layer)  # type: ignore[method-assign]
    return len(layers)


def add_lora(model: Model, settings: LoraSettings) -> Model:
    """Wrap `model` so that only low-rank updates are trained (Hu et al. 2022), through peft.

    ModelError where one of the target names is of no linear layer.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    paths = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    wanted = settings.target_modules
    targets = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [t for t in targets if t != ALL_LINEAR and not any(f".{path}".endswith(f".{t}") for path in paths)]
    if unknown or not targets:
        raise ModelError(
            f"student.lora.target_modules: {', '.join(unknown) or 'an empty list'} names no layer of the student; it has "
            f"{', '.join(sorted({path.split('.')[-1] for path in paths}))}.",
            hint=f"Use {ALL_LINEAR!r} or some of these names.",
        )
    return get_peft_model(
        model,
        LoraConfig(
            task_type=TaskType.SEQ_2_SEQ_LM if model.config.is_encoder_decoder else TaskType.CAUSAL_LM,
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=ALL_LINEAR if ALL_LINEAR in targets else targets,
        ),
    )


def merge_lora(model: Model) -> Model:
    """The plain model with low-rank updates added into its weights; a model without any is returned as it is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def decoder_start_id(model: Model) -> int:
    """The token that an encoder-decoder's output starts from."""
    start = model.config.decoder_start_token_id
    if start is None:
        start = model.config.pad_token_id
    if start is None:
        raise ModelError(
            "The student's config.json has neither decoder_start_token_id nor pad_token_id.", hint="Add one (T5: 0)."
        )
    return int(start)


def copy_vocabulary_files(name: str, folder: Path, revisions: Mapping[str, str] | None = None) -> None:
    """Copy a model's own SentencePiece file beside a saved student; transformers 5 does not write it, and exporters read it.

    A model that has none is left without, and a file that is already in `folder` is kept.
    """
    for file in ("spiece.model", "tokenizer.model"):
        found = _find_file(name, file, (revisions or {}).get(name))
        if found is not None and not (folder / file).exists():
            shutil.copyfile(found, folder / file)


def _find_file(name: str, file: str, revision: str | None) -> Path | None:
    """A file of a local folder or of a hub model; None where there is none."""
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except EntryNotFoundError:
        return None
