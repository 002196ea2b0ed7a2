"""GGUF files of students: read by llama.cpp itself, through the program that users run, and compared token for token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exporting import RUNNERS, export, make_other_model, run_it
from tiny_models import llama_tokenizer, make_tiny_llama, make_tiny_t5

from kpodx.artifacts import read_json
from kpodx.cli.export import generated_questions
from kpodx.errors import GateError, ModelError, UsageError
from kpodx.export.divergence import load_runner
from kpodx.export.gguf_file import pre_tokenizer_name, rotary_rows, write_gguf
from kpodx.export.manifest import QUANTIZATIONS, SHARED
from kpodx.export.parity import Agreement, compare
from kpodx.export.quantization import QUANTIZATIONS as FILE_TYPES

pytest.importorskip("gguf", reason="gguf is not installed")
pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

RUNNER = RUNNERS / "llama_cpp" / "run.py"


@pytest.mark.parametrize("tied", [True, False])
def test_a_t5_says_the_same(tmp_path: Path, tied: bool) -> None:
    student = make_tiny_t5(tmp_path / "t5", layers=2, tie_word_embeddings=tied, seed=3)
    (exact,) = export(student, tmp_path / "out", "gguf", "f32")
    assert exact.agreement == Agreement(4, 4, (), 1.0, pytest.approx(0, abs=1e-6))


@pytest.mark.parametrize("key_heads", [4, 2])
def test_a_llama_says_the_same(tmp_path: Path, key_heads: int) -> None:
    student = make_tiny_llama(tmp_path / "llama", layers=2, num_key_value_heads=key_heads, seed=3)
    (exact,) = export(student, tmp_path / "out", "gguf", "f32")
    assert exact.agreement == Agreement(4, 4, (), 1.0, pytest.approx(0, abs=1e-6))


@pytest.mark.parametrize(("kind", "settings"), [("qwen2", {"tie_word_embeddings": True}), ("qwen2", {}), ("gpt2", {})])
def test_a_qwen2_and_a_gpt2_say_the_same(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    student = make_other_model(tmp_path / kind, kind, **settings)
    exact, small = export(student, tmp_path / "out", "gguf", "f32", "Q8_0")
    assert exact.agreement == Agreement(4, 4, (), 1.0, pytest.approx(0, abs=1e-6))
    assert small.size < exact.size


def test_an_answer_ends_with_the_context(tmp_path: Path) -> None:
    longest = max(
        len(llama_tokenizer()(f"Q: {q} A: Let's think step by step.").input_ids) for q in generated_questions(4)
    )
    student = make_tiny_llama(tmp_path / "llama", layers=2, seed=1, max_position_embeddings=longest + 3)
    (exact,) = export(student, tmp_path / "out", "gguf", "f32")
    assert exact.agreement.equal == 4
    short = make_tiny_llama(tmp_path / "short", max_position_embeddings=longest)
    with pytest.raises(UsageError, match=f"does not fit into the student's context of {longest}"):
        export(short, tmp_path / "other", "gguf", "f32")


def test_a_package_is_whole_and_says_how_it_came_about(tmp_path: Path) -> None:
    student = make_tiny_t5(tmp_path / "t5")
    done = export(student, tmp_path / "out", "gguf", "f16", "Q8_0", "Q4_0", "Q8_0")
    assert [item.name for item in done] == ["tiny-f16.gguf", "tiny-Q8_0.gguf", "tiny-Q4_0.gguf"]
    assert done[0].size > done[1].size > done[2].size
    manifest = read_json(tmp_path / "out" / "package.json")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"README.md", "package.json", "run.py", *SHARED, *(item.name for item in done)}
    assert manifest["files"].keys() == names - {"package.json"}
    assert all(len(entry["sha256"]) == 64 for entry in manifest["files"].values())
    assert manifest["origin"]["folder"] == "tiny"
    assert len(manifest["origin"]["student"]) == 64
    assert [model["agreement"]["prompts"] for model in manifest["models"]] == [4, 4, 4]
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize("bos", [True, False])
def test_other_programs_chat_with_a_decoder_only_student(tmp_path: Path, bos: bool) -> None:
    """The high-level class of llama-cpp-python, with the chat template in the file: the same ids as the runner's."""
    import llama_cpp

    student = make_tiny_llama(tmp_path / "llama", layers=2, seed=1, bos=bos)
    export(student, tmp_path / "out", "gguf", "f32")
    assert "TEMPLATE" in (tmp_path / "out" / "Modelfile").read_text()
    question = "How many eggs?"
    model = str(tmp_path / "out" / "tiny-f32.gguf")
    ours = json.loads(run_it(RUNNER, "--model", model, "--max-new-tokens", "6", text=question + "\n").stdout)
    # Bytes that are no character are shown by one and dropped by the other.
    unbroken = ours["output"].replace("\N{REPLACEMENT CHARACTER}", "").strip()
    theirs = llama_cpp.Llama(model, n_ctx=256, verbose=False, flash_attn=False, type_k=0, type_v=0)
    try:
        message = [{"role": "user", "content": question}]
        done = theirs.create_chat_completion(messages=message, temperature=0.0, max_tokens=6)  # type: ignore[arg-type]
    finally:
        theirs.close()
    assert done["choices"][0]["message"]["content"].strip() == unbroken  # type: ignore[index]
    assert done["usage"]["prompt_tokens"] == ours["prompt_tokens"]  # type: ignore[index]


def test_a_t5_package_says_why_ollama_cannot_run_it(tmp_path: Path) -> None:
    export(make_tiny_t5(tmp_path / "t5"), tmp_path / "out", "gguf", "f32")
    assert not (tmp_path / "out" / "Modelfile").exists()
    assert "ollama issue 10666" in (tmp_path / "out" / "README.md").read_text()


def test_a_file_that_says_something_else_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = make_tiny_llama(tmp_path / "llama", seed=3)
    # The mistake that every converter made once: queries and keys not in llama.cpp's order.
    monkeypatch.setattr("kpodx.export.gguf_file.rotary_rows", lambda matrix, _heads: matrix)
    with pytest.raises(GateError, match=r"tiny-f32\.gguf does not say what the student says: \d of 4 answers differ"):
        export(student, tmp_path / "out", "gguf", "f32")
    assert [path.name for path in tmp_path.iterdir()] == ["llama"]


def test_bad_input(tmp_path: Path, tiny_t5: Path) -> None:
    with pytest.raises(UsageError, match="--quant Q9: expected one of f32, f16, Q8_0"):
        export(tiny_t5, tmp_path / "out", "gguf", "Q9")
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        export(tiny_t5, tmp_path / "there", "gguf", "f32")
    deep = make_tiny_t5(tmp_path / "deep", num_layers=1, num_decoder_layers=2)
    with pytest.raises(ModelError, match="2 decoder layers and 1 encoder layers"):
        write_gguf(deep, tmp_path / "x.gguf")
    config = json.loads((deep / "config.json").read_text())
    (deep / "config.json").write_text(json.dumps({**config, "model_type": "bloom"}))
    with pytest.raises(ModelError, match="'bloom'; expected t5, llama, qwen2, gpt2"):
        write_gguf(deep, tmp_path / "x.gguf")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "x.gguf").exists()


def test_the_runner_answers_questions_and_tells_its_time(tmp_path: Path) -> None:
    student = make_tiny_t5(tmp_path / "t5")
    export(student, tmp_path / "out", "gguf", "f32")
    model = str(tmp_path / "out" / "tiny-f32.gguf")
    lines = 'How many eggs?\n\n{"question": "How many pens?", "id": 7}\n'
    done = run_it(RUNNER, "--model", model, "--max-new-tokens", "5", text=lines)
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["question"], second["id"]) == ("How many eggs?", 7)
    assert len(first["tokens"]) <= 5
    assert first["prompt_tokens"] > 8
    assert 0 < first["first_token_seconds"] <= first["seconds"]
    (tmp_path / "q.txt").write_text("How many eggs?\n")
    again = run_it(RUNNER, "--model", model, "--max-new-tokens", "5", "--questions", str(tmp_path / "q.txt"))
    assert json.loads(again.stdout)["tokens"] == first["tokens"]
    streamed = run_it(RUNNER, "--model", model, "--max-new-tokens", "5", "How many eggs?")
    assert streamed.stdout.strip() == first["output"]
    draws = [
        run_it(RUNNER, "--model", model, "--temperature", "2", "--seed", seed, text="Eggs?\n").stdout
        for seed in ("1", "1", "2")
    ]
    tokens = [json.loads(draw)["tokens"] for draw in draws]
    assert tokens[0] == tokens[1] != tokens[2]


def test_the_runner_refuses_what_it_cannot_run(tmp_path: Path) -> None:
    student = make_tiny_t5(tmp_path / "t5")
    export(student, tmp_path / "out", "gguf", "f32")
    model = tmp_path / "out" / "tiny-f32.gguf"
    long = run_it(RUNNER, "--model", str(model), "--context-tokens", "32", text="eggs " * 100 + "\n")
    assert (long.returncode, long.stdout) == (2, "")
    assert "the context holds 32" in long.stderr
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(model.read_bytes()[:5000])
    for path, words in (
        (cut, "cannot load"),
        (student / "config.json", "is no GGUF file"),
        (tmp_path / "none", "there is no file"),
    ):
        done = run_it(RUNNER, "--model", str(path), text="x\n")
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    bad = run_it(RUNNER, "--model", str(model), text='{"text": "x"}\n')
    assert bad.returncode == 2
    assert "line 1: expected plain text" in bad.stderr


def test_the_runner_needs_nothing_of_ours() -> None:
    for path in RUNNERS.rglob("*.py"):
        lines = path.read_text().splitlines()
        imported = {line.split()[1].split(".")[0] for line in lines if line.lstrip().startswith(("import ", "from "))}
        assert not imported & {"kpodx", "torch", "transformers"}


def test_rotary_rows_are_a_permutation_within_each_head() -> None:
    matrix = np.arange(24, dtype=np.float32).reshape(12, 2)
    moved = rotary_rows(matrix, 2)
    assert moved[:6, 0].tolist() == [0, 6, 2, 8, 4, 10]
    assert sorted(moved[:, 0]) == sorted(matrix[:, 0])


def test_unknown_ways_to_cut_words_are_refused() -> None:
    with pytest.raises(ModelError, match="no name for here"):
        pre_tokenizer_name({"pre_tokenizer": {"type": "Whitespace"}})
    assert pre_tokenizer_name({"pre_tokenizer": {"type": "ByteLevel"}}) == "gpt-2"


def test_agreement_by_hand() -> None:
    assert compare([[1, 2], [3], []], [[1, 2, 9], [3], []]) == Agreement(3, 2, (2,), 1.0, 0.0)
    assert compare([], []) == Agreement(0, 0, (), 1.0, 0.0)


def test_the_real_stories260k_tells_its_story(shared_data: Path, repository: Path, tmp_path: Path) -> None:
    """The sentence that its authors' program gives; nobody here wrote it."""
    real_models = load_runner(repository / "benchmarks" / "real_models.py")
    real_models.make_stories260k(tmp_path / "stories", shared_data)
    write_gguf(tmp_path / "stories", tmp_path / "s.gguf")
    with load_runner(RUNNER).Model(str(tmp_path / "s.gguf"), threads=1) as model:
        text = model.detokenize(
            [
                token
                for _, token in model.generate(
                    [model.tokenize("Once upon a time")], 64, lambda _row, logits: int(np.argmax(logits))
                )
            ]
        )
    assert text.startswith(", there was a little girl named Lily. She loved to play outside in the park.")


def test_the_runner_takes_a_quantisation_for_a_models_name(tmp_path: Path) -> None:
    export(make_tiny_t5(tmp_path / "t5"), tmp_path / "out", "gguf", "f32", "Q8_0")
    runner = tmp_path / "out" / "run.py"
    by_name, by_file = (
        run_it(runner, "--max-new-tokens", "4", "--model", model, text="Eggs?\n")
        for model in ("Q8_0", str(tmp_path / "out" / "tiny-Q8_0.gguf"))
    )
    assert json.loads(by_name.stdout)["tokens"] == json.loads(by_file.stdout)["tokens"]
    unknown = run_it(runner, "--model", "Q9", text="Eggs?\n")
    assert (unknown.returncode, "no such model: there are f32, Q8_0" in unknown.stderr) == (2, True)


@pytest.mark.parametrize("family", ["t5", "llama"])
def test_a_batch_says_what_each_question_says_alone(tmp_path: Path, family: str) -> None:
    make = make_tiny_t5 if family == "t5" else make_tiny_llama
    export(make(tmp_path / family, layers=2, seed=3), tmp_path / "out", "gguf", "f32")
    text = "".join(question + "\n" for question in generated_questions(9))
    runner = tmp_path / "out" / "run.py"
    alone, together = (
        run_it(runner, "--max-new-tokens", "12", "--threads", "1", "--batch-size", size, text=text)
        for size in ("1", "4")
    )
    records = [[json.loads(line) for line in done.stdout.splitlines()] for done in (alone, together)]
    assert [record["question"] for record in records[1]] == generated_questions(9)
    assert [record["tokens"] for record in records[0]] == [record["tokens"] for record in records[1]]
    many = run_it(runner, "--max-new-tokens", "1", "--batch-size", "300", text="Eggs?\n" * 300)
    assert (many.returncode, "--batch-size must be at most 256" in many.stderr) == (2, True)


@pytest.mark.parametrize(
    "settings", [{"num_heads": "many"}, {"d_kv": 0}, {"n_positions": [1]}, {"layer_norm_epsilon": None}]
)
def test_a_student_whose_settings_make_no_sense_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = make_tiny_t5(tmp_path / "t5")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(ModelError):
        export(folder, tmp_path / "out", "gguf", "f32")
    assert not (tmp_path / "out").exists()


def test_the_quantisations_that_are_offered_are_those_that_can_be_written() -> None:
    assert tuple(FILE_TYPES) == QUANTIZATIONS["gguf"]
