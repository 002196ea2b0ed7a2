"""ONNX graphs of students: run by ONNX Runtime, through the program that users run, and compared token for token."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exporting import RUNNERS, export, make_other_model, run_it
from tiny_models import make_tiny_llama, make_tiny_t5
from transformers import AutoTokenizer, T5ForConditionalGeneration

from kpodx.artifacts import read_json
from kpodx.cli.export import generated_questions
from kpodx.errors import GateError, KpodxError, MissingDependencyError, ModelError
from kpodx.export import parity
from kpodx.export.divergence import load_runner
from kpodx.export.manifest import PROMPT, SHARED
from kpodx.export.parity import Agreement
from kpodx.export.weights import load_weights

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from kpodx.export import t5_graph  # noqa: E402

RUNNER = RUNNERS / "onnxruntime" / "run.py"
SAME = Agreement(4, 4, (), 1.0, pytest.approx(0, abs=1e-6))


def session(model: Any) -> Any:
    """ONNX Runtime, as strict as it is: an error is an error."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    "settings",
    [
        {"tie_word_embeddings": True},
        {"tie_word_embeddings": False},
        {"feed_forward_proj": "relu", "tie_word_embeddings": True},
        {"num_heads": 3, "d_kv": 5},
    ],
    ids=["tied", "untied", "t5-v1.0", "narrow-heads"],
)
def test_a_t5_says_the_same(tmp_path: Path, settings: dict[str, Any]) -> None:
    student = make_tiny_t5(tmp_path / "t5", layers=2, seed=3, **settings)
    (exact,) = export(student, tmp_path / "out", "onnx", "f32")
    assert exact.agreement == SAME


@pytest.mark.parametrize(
    "settings", [{}, {"tie_word_embeddings": False, "num_key_value_heads": 4}], ids=["tied", "untied"]
)
def test_a_llama_says_the_same(tmp_path: Path, settings: dict[str, Any]) -> None:
    pytest.importorskip("optimum.onnxruntime", reason="optimum-onnx is not installed")
    student = make_tiny_llama(tmp_path / "llama", layers=2, seed=3, **settings)
    exact, small = export(student, tmp_path / "out", "onnx", "f32", "q8")
    assert exact.agreement == SAME
    assert small.agreement.divergence < 0.01


@pytest.mark.parametrize(("kind", "settings"), [("qwen2", {"tie_word_embeddings": True}), ("gpt2", {})])
def test_a_qwen2_and_a_gpt2_say_the_same(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    pytest.importorskip("optimum.onnxruntime", reason="optimum-onnx is not installed")
    student = make_other_model(tmp_path / kind, kind, **settings)
    exact, rows, blocks = export(student, tmp_path / "out", "onnx", "f32", "int8", "q8")
    assert exact.agreement == SAME
    assert max(rows.agreement.divergence, blocks.agreement.divergence) < 0.05
    assert max(rows.size, blocks.size) < exact.size
    # Tied: neither a second matrix with a row for each token, nor the embedding in float32 beside the quantised one.
    graph = onnx.load(tmp_path / "out" / "onnx" / "model_int8.onnx").graph
    vocabulary = read_json(student / "config.json")["vocab_size"]
    tables = [item for item in graph.initializer if vocabulary in item.dims and len(item.dims) == 2]
    assert [item.data_type for item in tables] == [onnx.TensorProto.INT8]


def feeds_of(decoder: Any, states: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """What the decoder reads before its first token."""
    past = [item for item in decoder.get_inputs() if item.name.startswith("past_key_values")]
    nothing = {item.name: np.zeros((len(mask), item.shape[1], 0, item.shape[3]), np.float32) for item in past}
    return {**nothing, "encoder_hidden_states": states, "encoder_attention_mask": mask}


@pytest.mark.parametrize("farthest", [6, 128])
def test_the_t5_graphs_give_the_logits_of_transformers(tmp_path: Path, farthest: int) -> None:
    """Two prompts of different length, longer than the farthest distance; all tokens at once and one by one."""
    folder = make_tiny_t5(
        tmp_path / "t5", layers=2, seed=5, relative_attention_max_distance=farthest, relative_attention_num_buckets=6
    )
    config, weights = read_json(folder / "config.json"), load_weights(folder)
    model = T5ForConditionalGeneration.from_pretrained(folder).eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 60, (2, 20), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 13:] = 0
    target = torch.randint(3, 60, (2, 18), generator=generator)
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask, decoder_input_ids=target).logits.numpy()
    encoder, decoder = session(t5_graph.t5_encoder(config, weights)), session(t5_graph.t5_decoder(config, weights))
    (states,) = encoder.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    feeds = feeds_of(decoder, states, mask.numpy())
    first = np.array([False])
    (logits,) = decoder.run(["logits"], {**feeds, "input_ids": target.numpy(), "use_cache_branch": first})
    np.testing.assert_allclose(logits, expected, atol=2e-5)
    names = [item.name for item in decoder.get_outputs()]
    for position in range(target.shape[1]):
        feeds |= {"input_ids": target[:, position : position + 1].numpy(), "use_cache_branch": np.array([position > 0])}
        results = dict(zip(names, decoder.run(names, feeds), strict=True))
        np.testing.assert_allclose(results.pop("logits")[:, 0], expected[:, position], atol=2e-5)
        kept = {name: value for name, value in results.items() if ".decoder." in name or position == 0}
        feeds |= {name.replace("present", "past_key_values"): value for name, value in kept.items()}


def test_the_table_of_distances_by_hand() -> None:
    """Four buckets, farthest 4, one way: distances 0 and 1 have their own, 2 and 3 share by logarithm, 4 and all beyond have the last."""
    config = {"relative_attention_num_buckets": 4, "relative_attention_max_distance": 4}
    values = np.array([[10.0], [11.0], [12.0], [13.0]], np.float32)
    weights = {"decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": values}
    table = t5_graph.distance_table(config, weights, "decoder")
    # 2 + log(n / 2) / log(4 / 2) · 2, rounded down, at most 3: 2 → 2, 3 → 3.17, 4 → 4.
    assert table.tolist() == [[10.0, 11.0, 12.0, 13.0, 13.0, float(np.finfo(np.float32).min)]]


def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_t5(tmp_path / "t5")
    config = {**read_json(folder / "config.json"), "dense_act_fn": "swish"}
    with pytest.raises(ModelError, match="'swish'; expected one of relu"):
        t5_graph.t5_encoder(config, load_weights(folder))


def test_settings_that_claim_more_layers_than_there_are_weights_are_refused_at_once(tmp_path: Path) -> None:
    folder = make_tiny_t5(tmp_path / "t5")
    (folder / "config.json").write_text(json.dumps({**read_json(folder / "config.json"), "num_layers": 1_000_000}))
    with pytest.raises(ModelError, match="claims 1,000,000 layers"):
        export(folder, tmp_path / "out", "onnx", "f32")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tied", [True, False])
def test_the_embedding_lies_in_a_package_once(tmp_path: Path, tied: bool) -> None:
    student = make_tiny_t5(tmp_path / "t5", width=64, tie_word_embeddings=tied)
    # Untied, it keeps 8 bits.
    table = "shared.weight.q4" if tied else "shared.weight.int8"
    for quantization, suffix, embedding in (("f32", "", "shared.weight"), ("q4", "_q4", table)):
        output = tmp_path / quantization
        (done,) = export(student, output, "onnx", quantization)
        graphs = [
            onnx.load(output / "onnx" / f"{name}{suffix}.onnx", load_external_data=False)
            for name in ("encoder_model", "decoder_model_merged")
        ]
        outside = [
            {
                (item.name, entry.value)
                for item in graph.graph.initializer
                for entry in item.external_data
                if entry.key in ("location", "offset")
            }
            for graph in graphs
        ]
        both = outside[0] & outside[1]
        assert embedding in {name for name, _ in both}
        assert {name for name, _ in outside[0]} & {name for name, _ in outside[1]} == {name for name, _ in both}
        inside = [{item.name for item in graph.graph.initializer if len(item.raw_data) > 1024} for graph in graphs]
        assert not inside[0] & inside[1]
        # Tied: the head reads the same bytes, so that nothing else has as many rows.
        rows = read_json(student / "config.json")["vocab_size"]
        held = {
            item.name
            for graph in graphs
            for item in graph.graph.initializer
            if item.dims[:1] == [rows] and len(item.dims) > 1
        }
        heads = {name for name in held if "lm_head" in name and "scales" not in name}
        assert bool(heads) is (not tied and quantization == "q4")
        sizes = sum(path.stat().st_size for path in (output / "onnx").iterdir())
        assert done.size == sizes


def test_a_package_is_whole(tmp_path: Path) -> None:
    student = make_tiny_t5(tmp_path / "t5")
    done = export(student, tmp_path / "out", "onnx", "f32", "int8", "q8", "q4", "mixed")
    assert [item.name for item in done] == [
        f"onnx/decoder_model_merged{suffix}.onnx" for suffix in ("", "_int8", "_quantized", "_q4", "_mixed")
    ]
    manifest = read_json(tmp_path / "out" / "package.json")
    present = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert manifest["files"].keys() == present - {"package.json"}
    assert {"config.json", "tokenizer.json", "run.py", *SHARED, "README.md"} <= present
    by_name = {model["quantization"]: model for model in manifest["models"]}
    assert by_name["q4"]["chosen"]["accuracy_level"] in (0, 4)
    assert set(by_name["q4"]["chosen"]["divergence_at_level"]) == {"0", "4"}
    assert 0 < len(by_name["mixed"]["chosen"]["sensitive"]) < 20
    assert by_name["f32"]["size"] > by_name["q8"]["size"] > by_name["mixed"]["size"] > by_name["q4"]["size"]
    assert by_name["f32"]["agreement"]["divergence"] < 1e-6 < by_name["q4"]["agreement"]["divergence"]


def test_a_graph_that_says_something_else_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = make_tiny_t5(tmp_path / "t5", layers=2, seed=3, tie_word_embeddings=False)
    # A mistake that a converter might make: no relative positions.
    table = t5_graph.distance_table
    monkeypatch.setattr(t5_graph, "distance_table", lambda *arguments: np.minimum(table(*arguments), 0.0))
    with pytest.raises(GateError, match=r"decoder_model_merged\.onnx does not say what the student says: \d of 4"):
        export(student, tmp_path / "out", "onnx", "f32")
    assert [path.name for path in tmp_path.iterdir()] == ["t5"]


@pytest.mark.parametrize("family", ["t5", "llama"])
def test_optimum_loads_the_folder_and_says_the_same(tmp_path: Path, family: str) -> None:
    pytest.importorskip("optimum.onnxruntime", reason="optimum-onnx is not installed")
    from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSeq2SeqLM

    make = make_tiny_t5 if family == "t5" else make_tiny_llama
    student = make(tmp_path / family, layers=2, seed=3)
    (done,) = export(student, tmp_path / "out", "onnx", "f32")
    kind = ORTModelForSeq2SeqLM if family == "t5" else ORTModelForCausalLM
    model = kind.from_pretrained(tmp_path / "out", subfolder="onnx", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    question = generated_questions(1)[0]
    read = tokenizer(PROMPT.replace("{question}", question), return_tensors="pt")
    theirs = model.generate(
        input_ids=read.input_ids, attention_mask=read.attention_mask, max_new_tokens=8, do_sample=False
    )
    theirs = theirs[0, (1 if family == "t5" else read.input_ids.shape[1]) :].tolist()
    answered = run_it(tmp_path / "out" / "run.py", "--max-new-tokens", "8", text=question + "\n")
    ours = json.loads(answered.stdout)["tokens"]
    end = model.config.eos_token_id
    assert (theirs[: theirs.index(end)] if end in theirs else theirs) == ours
    assert done.agreement.equal == 4


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5's package with f32 and q8; read it, never write into it."""
    folder = tmp_path_factory.mktemp("package")
    # Random weights of this seed say different things to different questions; most seeds repeat one token.
    export(make_tiny_t5(folder / "t5", layers=2, seed=11), folder / "out", "onnx", "f32", "q8")
    return folder / "out"


@pytest.mark.parametrize("model", ["decoder_model_merged.onnx", "decoder_model_merged_quantized.onnx"])
def test_a_batch_says_what_each_question_says_alone(package: Path, model: str) -> None:
    text = "".join(question + "\n" for question in generated_questions(9))
    arguments = ("--model", str(package / "onnx" / model), "--max-new-tokens", "12", "--threads", "1")
    alone, together = (
        [
            json.loads(line)
            for line in run_it(package / "run.py", *arguments, "--batch-size", size, text=text).stdout.splitlines()
        ]
        for size in ("1", "4")
    )
    assert [record["question"] for record in together] == generated_questions(9)
    assert [record["tokens"] for record in together] == [record["tokens"] for record in alone]
    assert len({tuple(record["tokens"]) for record in alone}) > 1


def test_a_llama_in_a_batch_says_what_it_says_alone(tmp_path: Path) -> None:
    pytest.importorskip("optimum.onnxruntime", reason="optimum-onnx is not installed")
    export(make_tiny_llama(tmp_path / "llama", layers=2, seed=3), tmp_path / "out", "onnx", "f32")
    text = "".join(question + "\n" for question in generated_questions(6))
    alone, together = (
        [
            json.loads(line)["tokens"]
            for line in run_it(
                tmp_path / "out" / "run.py", "--max-new-tokens", "9", "--batch-size", size, text=text
            ).stdout.splitlines()
        ]
        for size in ("1", "4")
    )
    assert together == alone


def test_the_real_stories260k_tells_its_story(shared_data: Path, repository: Path, tmp_path: Path) -> None:
    """The sentence that its authors' program gives; nobody here wrote it."""
    pytest.importorskip("optimum.onnxruntime", reason="optimum-onnx is not installed")
    real_models = load_runner(repository / "benchmarks" / "real_models.py")
    real_models.make_stories260k(tmp_path / "stories", shared_data)
    export(tmp_path / "stories", tmp_path / "out", "onnx", "f32", count=1)
    with load_runner(RUNNER).Model(tmp_path / "out" / "onnx" / "model.onnx", threads=1) as model:
        prompt = model.tokenize("Once upon a time")
        tokens = [token for _, token in model.generate([prompt], 64, lambda _row, logits: int(np.argmax(logits)))]
        text = model.detokenize(tokens)
    assert text.startswith(", there was a little girl named Lily. She loved to play outside in the park.")


def test_the_runner_answers_streams_and_draws(package: Path) -> None:
    runner = package / "run.py"
    lines = 'How many eggs?\n\n{"question": "How many pens?", "id": 7}\n'
    done = run_it(runner, "--max-new-tokens", "5", text=lines)
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["question"], second["id"]) == ("How many eggs?", 7)
    assert 0 < first["first_token_seconds"] <= first["seconds"]
    streamed = run_it(runner, "--max-new-tokens", "5", "How many eggs?")
    assert streamed.stdout.strip() == first["output"]
    draws = [
        json.loads(run_it(runner, "--temperature", "2", "--seed", seed, text="Eggs?\n").stdout)["tokens"]
        for seed in ("1", "1", "2")
    ]
    assert draws[0] == draws[1] != draws[2]


def test_the_runner_refuses_what_it_cannot_run(package: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(package, broken)
    model = broken / "onnx" / "decoder_model_merged.onnx"
    whole = model.read_bytes()

    def refused(words: str, *arguments: str, text: str = "x\n") -> None:
        done = run_it(broken / "run.py", "--model", str(model), *arguments, text=text)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr

    refused("the context holds 32", "--context-tokens", "32", text="eggs " * 100 + "\n")
    refused("line 1: expected plain text", text='{"text": "x"}\n')
    refused("the question is no text", text='{"question": 3}\n')
    refused("--batch-size must be at least 1", "--batch-size", "0")
    model.write_bytes(whole[: len(whole) // 2])
    refused("onnxruntime cannot load")
    shutil.copyfile(broken / "onnx" / "encoder_model.onnx", model)
    refused("is no decoder with a cache")
    model.write_bytes(whole)
    (broken / "onnx" / "encoder_model.onnx_data").unlink()
    refused("onnxruntime cannot load")
    (broken / "tokenizer.json").write_text("{}")
    refused("tokenizer.json cannot be read")
    (broken / "config.json").write_text("[]")
    refused("holds no object")
    model.unlink()
    refused("")


def test_a_runner_that_fails_is_told(package: Path, tmp_path: Path) -> None:
    from kpodx.export.parity import ask_package

    with pytest.raises(KpodxError, match=r"run.py cannot run none.onnx"):
        ask_package(package / "run.py", tmp_path / "onnx" / "none.onnx", ["x"], 3, 1)


def test_logits_along_an_answer_are_those_of_its_making(package: Path) -> None:
    with load_runner(RUNNER).Model(package / "onnx" / "decoder_model_merged.onnx", 1) as model:
        prompt = model.tokenize("How many eggs?")
        seen: list[np.ndarray] = []

        def choose(_row: int, logits: np.ndarray) -> int:
            seen.append(logits.copy())
            return int(np.argmax(logits))

        answer = [token for _, token in model.generate([prompt], 6, choose)]
        np.testing.assert_allclose(model.logits(prompt, answer), np.stack(seen)[: len(answer)], atol=1e-5)


def test_a_package_without_onnx_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="needs the packages onnx and onnxruntime"):
        export(make_tiny_t5(tmp_path / "t5"), tmp_path / "out", "onnx", "f32")
    assert not (tmp_path / "out").exists()


def test_the_helper_runs_no_module_of_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KpodxError, match="cannot run model"):
        parity.measure_divergence(tmp_path / "run.py", tmp_path / "model", tmp_path / "reference.npz", 1)
    assert not (tmp_path / "seen").exists()
