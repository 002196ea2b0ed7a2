"""Loading: what is refused and why, float32 islands, low-rank updates."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import make_tiny_t5
from transformers import PreTrainedTokenizerFast

from kpodx.errors import ModelError
from kpodx.modeling.config import LoraSettings
from kpodx.modeling.likelihood import autocast
from kpodx.modeling.loading import (
    add_lora,
    check_vocabulary,
    copy_vocabulary_files,
    decoder_start_id,
    keep_wo_in_float32,
    load_model,
    load_tokenizer,
    merge_lora,
)

INPUTS = {"input_ids": torch.tensor([[5, 6, 7, 1]]), "decoder_input_ids": torch.tensor([[0, 8, 9]])}


@pytest.fixture
def t5(tiny_t5: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(tiny_t5, tmp_path / "t5"))


def test_both_families_load(tiny_t5: Path, tiny_llama: Path) -> None:
    assert load_model(str(tiny_t5)).config.is_encoder_decoder
    model = load_model(str(tiny_llama), {str(tiny_llama): "main"})
    assert not model.config.is_encoder_decoder
    assert model.dtype == torch.float32


def test_a_missing_folder_and_an_unknown_hub_id(tmp_path: Path) -> None:
    for name in (str(tmp_path / "absent"), "kpodx-tests/absent"):
        for load, what in ((load_model, "model"), (load_tokenizer, "tokenizer")):
            with pytest.raises(ModelError, match=f"(?s)Cannot load the {what} of .*absent") as caught:
                load(name)
            assert "HF_HUB_OFFLINE" in (caught.value.hint or "")


def test_a_folder_without_weights_says_what_it_holds(t5: Path) -> None:
    (t5 / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="Cannot load the model") as caught:
        load_model(str(t5))
    assert "config.json" in (caught.value.hint or "")
    assert "tokenizer.json" in (caught.value.hint or "")


def test_pickled_weights_are_refused(t5: Path) -> None:
    state = load_file(t5 / "model.safetensors")
    (t5 / "model.safetensors").unlink()
    torch.save(state, t5 / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        load_model(str(t5))


def test_missing_parameters_are_refused_not_drawn_at_random(t5: Path) -> None:
    state = load_file(t5 / "model.safetensors")
    del state["encoder.block.0.layer.0.SelfAttention.q.weight"]
    save_file(state, t5 / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight"):
        load_model(str(t5))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["", "{", "{}", "{\x00}"])
def test_damaged_files_are_told_as_such(t5: Path, file: str, content: str) -> None:
    (t5 / file).write_text(content)
    load = load_tokenizer if file == "tokenizer.json" else load_model
    with pytest.raises(ModelError, match="Cannot load"):
        load(str(t5))


def test_truncated_weights_are_told_as_such(t5: Path) -> None:
    content = (t5 / "model.safetensors").read_bytes()
    (t5 / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="Cannot load the model"):
        load_model(str(t5))


def test_a_tokenizer_without_an_end_mark_is_refused(t5: Path) -> None:
    tokenizer = load_tokenizer(str(t5))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, pad_token="<pad>").save_pretrained(t5)
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        load_tokenizer(str(t5))


def test_a_tokenizer_without_padding_pads_with_its_end_mark(t5: Path) -> None:
    tokenizer = load_tokenizer(str(t5))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="</s>").save_pretrained(t5)
    assert load_tokenizer(str(t5)).pad_token_id == 1


def test_a_vocabulary_larger_than_the_model_is_refused(tiny_t5: Path) -> None:
    model, tokenizer = load_model(str(tiny_t5)), load_tokenizer(str(tiny_t5))
    rows = model.get_input_embeddings().num_embeddings
    tokenizer.add_tokens([f"<{i}>" for i in range(rows - len(tokenizer))])
    check_vocabulary(model, tokenizer, "x")
    tokenizer.add_tokens(["<one more>"])
    with pytest.raises(ModelError, match=f"'x' has {rows + 1:,} tokens, but its model has embeddings for {rows:,}"):
        check_vocabulary(model, tokenizer, "x")


def wo_results(model: torch.nn.Module, dtype: torch.dtype) -> list[tuple[torch.dtype, torch.dtype]]:
    """(weight, output) number formats of every `wo` in one forward pass under autocast to `dtype`."""
    seen = []
    for name, layer in model.named_modules():
        if name.endswith("DenseReluDense.wo"):
            layer.register_forward_hook(lambda m, _, out: seen.append((m.weight.dtype, out.dtype)))
    with torch.no_grad(), autocast(torch.device("cpu"), dtype):
        model(**INPUTS)
    return seen


@pytest.mark.parametrize("loaded", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("computed", [torch.float32, torch.bfloat16])
def test_wo_computes_in_float32(tiny_t5: Path, loaded: torch.dtype, computed: torch.dtype) -> None:
    model = load_model(str(tiny_t5), dtype=loaded).eval()
    assert model.shared.weight.dtype == loaded
    assert wo_results(model, computed) == [(torch.float32, torch.float32)] * 2


def test_wo_is_found_and_gives_the_same_numbers(tiny_t5: Path, tiny_llama: Path) -> None:
    from transformers import T5ForConditionalGeneration

    plain = T5ForConditionalGeneration.from_pretrained(tiny_t5).eval()
    with torch.no_grad():
        expected = plain(**INPUTS).logits
        assert keep_wo_in_float32(plain) == 2
        assert torch.equal(plain(**INPUTS).logits, expected)
    assert keep_wo_in_float32(load_model(str(tiny_llama))) == 0


def test_wo_still_learns_and_is_saved(tiny_t5: Path, tmp_path: Path) -> None:
    model = load_model(str(tiny_t5))
    layer = model.encoder.block[0].layer[1].DenseReluDense.wo
    torch.autograd.backward(model(**INPUTS).logits.square().sum())
    assert layer.weight.grad is not None
    assert bool(layer.weight.grad.any())
    with torch.no_grad():
        layer.weight.mul_(2)
    model.save_pretrained(tmp_path / "saved")
    again = load_model(str(tmp_path / "saved"))
    assert torch.equal(again.encoder.block[0].layer[1].DenseReluDense.wo.weight, layer.weight)


LORA = LoraSettings(rank=4, alpha=8.0, dropout=0.0)


def inputs_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return INPUTS if model.config.is_encoder_decoder else {"input_ids": INPUTS["input_ids"]}


def test_lora_trains_only_its_updates_and_merges_into_the_same_model(tiny_t5: Path, tiny_llama: Path) -> None:
    for folder in (tiny_t5, tiny_llama):
        plain = load_model(str(folder)).eval()
        with torch.no_grad():
            before = plain(**inputs_of(plain)).logits
        model = add_lora(plain, LORA).eval()
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        assert trained
        assert all("lora_" in name for name in trained)
        assert not any("lm_head" in name for name in trained)
        with torch.no_grad():
            assert torch.allclose(model(**inputs_of(model)).logits, before, atol=1e-6)
            torch.manual_seed(0)
            for name, p in model.named_parameters():
                if name in trained:
                    p.copy_(torch.randn_like(p) * 0.1)
            changed = model(**inputs_of(model)).logits
            merged = merge_lora(model)
            result = merged(**inputs_of(merged)).logits
        assert not torch.allclose(changed, before, atol=1e-2)
        assert torch.allclose(result, changed, atol=1e-4)
        assert not any("lora" in name for name, _ in merged.named_modules())


def test_a_model_without_lora_is_returned_as_it_is(tiny_t5: Path) -> None:
    model = load_model(str(tiny_t5))
    assert merge_lora(model) is model


@pytest.mark.parametrize(("targets", "layers"), [(("q", "v"), 6), ("q", 3), (("SelfAttention.q",), 2)])
def test_lora_targets_by_name(tiny_t5: Path, targets: str | tuple[str, ...], layers: int) -> None:
    model = add_lora(load_model(str(tiny_t5)), LoraSettings(rank=2, target_modules=targets))
    assert sum("lora_A" in name for name, p in model.named_parameters() if p.requires_grad) == layers


@pytest.mark.parametrize("targets", [("q_proj",), "q_proj", ("q", "q_proj"), ()])
def test_names_of_no_layer_are_refused(tiny_t5: Path, targets: str | tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=r"names no layer .* k, lm_head, o, q, v, wi_0, wi_1, wo"):
        add_lora(load_model(str(tiny_t5)), LoraSettings(rank=2, target_modules=targets))


def test_the_start_of_the_output(tmp_path: Path) -> None:
    model = load_model(str(make_tiny_t5(tmp_path, decoder_start_token_id=3)))
    assert decoder_start_id(model) == 3
    model.config.decoder_start_token_id = None
    assert decoder_start_id(model) == 0
    model.config.pad_token_id = None
    with pytest.raises(ModelError, match="decoder_start_token_id"):
        decoder_start_id(model)


def test_vocabulary_files_are_copied_once(t5: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    copy_vocabulary_files(str(t5), out)
    assert list(out.iterdir()) == []
    (t5 / "spiece.model").write_bytes(b"pieces")
    copy_vocabulary_files(str(t5), out)
    assert (out / "spiece.model").read_bytes() == b"pieces"
    (out / "spiece.model").write_bytes(b"the student's own")
    copy_vocabulary_files(str(t5), out)
    assert (out / "spiece.model").read_bytes() == b"the student's own"


def test_vocabulary_files_of_a_downloaded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    commit = "1" * 40
    snapshot = tmp_path / "models--org--name" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.model").write_bytes(b"pieces")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    out = tmp_path / "out"
    out.mkdir()
    copy_vocabulary_files("org/name", out, {"org/name": commit})
    assert [p.name for p in out.iterdir()] == ["tokenizer.model"]
    copy_vocabulary_files("org/unknown", out)
    assert [p.name for p in out.iterdir()] == ["tokenizer.model"]


@pytest.mark.parametrize("load", [load_model, load_tokenizer], ids=["model", "tokenizer"])
def test_a_program_that_a_model_brings_along_is_not_run(
    tiny_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Any
) -> None:
    """transformers would ask on the terminal whether to run it, and take a `y` that comes through a pipe."""
    folder, mark = tmp_path / "student", tmp_path / "ran"
    shutil.copytree(tiny_t5, folder)
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Own: ...\n")
    classes = dict.fromkeys(("AutoConfig", "AutoModelForSeq2SeqLM"), "own.Own")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": classes}))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **own}))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 10))
    with contextlib.suppress(ModelError):
        load(str(folder))
    assert not mark.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "ALQCAA=x"}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}},
        {"normalizer": {"type": "Nothing"}},
        {"model": {"type": "Unigram", "vocab": [], "unk_id": 10**9}},
        {"model": 3},
    ],
    ids=str,
)
def test_a_damaged_tokenizer_is_one_error_also_when_its_rust_gives_up(
    tiny_t5: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = tmp_path / "student"
    shutil.copytree(tiny_t5, folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(ModelError, match="Cannot load the tokenizer"):
        load_tokenizer(str(folder))
