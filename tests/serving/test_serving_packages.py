"""Packages of every kind behind the service: the official client and curl get what run.py says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from exporting import export, run_it
from tiny_models import make_tiny_llama, make_tiny_t5

for name in ("fastapi", "uvicorn", "httpx", "openai", "onnxruntime", "llama_cpp", "gguf", "optimum.onnxruntime"):
    pytest.importorskip(name, reason=f"{name} is not installed")

import openai  # noqa: E402
from serving_runs import Running, running  # noqa: E402

from kpodx.artifacts import read_json, write_json  # noqa: E402
from kpodx.cli.export import generated_questions  # noqa: E402
from kpodx.errors import DataError, RunError, UsageError  # noqa: E402
from kpodx.export.manifest import shipped_runner  # noqa: E402
from kpodx.serving.catalogue import ServedModel, served_models  # noqa: E402

QUESTIONS = generated_questions(6)
LONGEST = 24
KINDS = ("t5-onnx", "llama-onnx", "t5-gguf", "llama-gguf")


def make_package(kind: str, folder: Path) -> Path:
    """A tiny package of one kind."""
    student, form = kind.split("-")
    source = (make_tiny_t5 if student == "t5" else make_tiny_llama)(folder / "student", layers=2, seed=3)
    export(source, folder / kind, form, "f32", count=1, name=kind, max_new_tokens=4)
    return folder / kind


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kind that no other server runs."""
    return make_package("t5-gguf", tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def service(package: Path) -> Iterator[Running]:
    """It is served."""
    with running(*served_models([package], threads=1)) as found:
        yield found


@pytest.fixture
def client(service: Running) -> Iterator[openai.OpenAI]:
    with client_of(service) as found:
        yield found


def client_of(service: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{service.address}/v1", api_key="none", max_retries=0)


def said_by_run_py(model: ServedModel, *arguments: str) -> list[dict[str, Any]]:
    """The records of run.py, one question at a time."""
    command = ["--model", str(model.path), "--threads", "1", "--max-new-tokens", str(LONGEST), *arguments]
    done = run_it(model.runner, *command, text="".join(f"{question}\n" for question in QUESTIONS))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.removesuffix("\n").split("\n")]


def ask(client: openai.OpenAI, model: str, question: str, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": question}]
    return client.chat.completions.create(model=model, messages=messages, max_tokens=LONGEST, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_the_official_client_gets_what_run_py_says(tmp_path: Path, kind: str) -> None:
    """Whole and streamed, all questions at a time, so that they are answered in batches; and drawn with a seed."""
    with running(*served_models([make_package(kind, tmp_path)], threads=1)) as service, client_of(service) as client:
        (model,) = service.settings.models

        def whole(question: str) -> tuple[str, int, int]:
            answer = ask(client, model.id, question)
            return answer.choices[0].message.content, answer.usage.prompt_tokens, answer.usage.completion_tokens

        def streamed(question: str) -> tuple[str, int, int]:
            *chunks, last = ask(client, model.id, question, stream=True, stream_options={"include_usage": True})
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            return text, last.usage.prompt_tokens, last.usage.completion_tokens

        expected = said_by_run_py(model)
        wanted = [(record["output"], record["prompt_tokens"], len(record["tokens"])) for record in expected]
        assert len(set(wanted)) > 1
        with ThreadPoolExecutor(len(QUESTIONS)) as pool:
            assert list(pool.map(whole, QUESTIONS)) == wanted
            assert list(pool.map(streamed, QUESTIONS)) == wanted
        drawn = said_by_run_py(model, "--temperature", "1.5", "--top-p", "0.9", "--seed", "7")[0]["output"]
        found = [ask(client, model.id, QUESTIONS[0], temperature=1.5, top_p=0.9, seed=7) for _ in range(2)]
        assert [answer.choices[0].message.content for answer in found] == [drawn, drawn] != [expected[0]["output"]] * 2


def test_a_completion_takes_the_whole_prompt(client: openai.OpenAI) -> None:
    prompt = f"Q: {QUESTIONS[0]} A: Let's think step by step."
    wrapped = ask(client, "t5-gguf-f32", QUESTIONS[0])
    raw = client.completions.create(model="t5-gguf-f32", prompt=prompt, max_tokens=LONGEST)
    streamed = client.completions.create(model="t5-gguf-f32", prompt=prompt, max_tokens=LONGEST, stream=True)
    assert (
        raw.choices[0].text
        == wrapped.choices[0].message.content
        == "".join(chunk.choices[0].text for chunk in streamed)
    )
    assert raw.usage == wrapped.usage


def test_errors_are_those_that_the_official_client_knows(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["t5-gguf-f32"]
    with pytest.raises(openai.NotFoundError, match="there are t5-gguf-f32"):
        ask(client, "other", "eggs")
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "t5-gguf-f32", "eggs " * 600)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="tools"):
        ask(client, "t5-gguf-f32", "eggs", tools=[{"type": "function", "function": {"name": "add"}}])


def test_plain_curl(service: Running) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    body = json.dumps({"model": "t5-gguf-f32", "messages": [{"role": "user", "content": QUESTIONS[0]}], "stream": True})
    command = [
        "curl",
        "-sS",
        "-N",
        "-i",
        f"{service.address}/v1/chat/completions",
        "-H",
        "Content-Type: application/json",
    ]
    done = subprocess.run([*command, "-d", body], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("HTTP/1.1 200 OK")
    assert done.stdout.endswith("data: [DONE]\n\n")
    large = subprocess.run([*command, "-d", "@-"], input="x" * 2**21, capture_output=True, text=True, check=False)
    assert "413" in large.stdout
    assert "body_too_large" in large.stdout


def test_which_models_are_served(package: Path, tmp_path: Path) -> None:
    for word in ("f32", "t5-gguf-f32", "t5-gguf-f32.gguf"):
        (model,) = served_models([package], [word], threads=3)
        assert (model.id, model.runner, model.threads) == ("t5-gguf-f32", shipped_runner("gguf"), 3)
    with pytest.raises(UsageError, match=r"There is no Q9 in .*; it has t5-gguf-f32"):
        served_models([package], ["f32", "Q9"])
    with pytest.raises(UsageError, match="Two models are called t5-gguf-f32"):
        served_models([package, package])
    with pytest.raises(RunError, match="is no package"):
        served_models([tmp_path])
    other = shutil.copytree(package, tmp_path / "other")
    manifest = read_json(other / "package.json")
    manifest["models"][0]["quantization"] = "int8"
    write_json(other / "package.json", {**manifest, "profile": {"threads": 3}})
    (model,) = served_models([other])
    assert (model.id, model.threads, model.context_tokens, model.is_exact_in_batches) == (
        "t5-gguf-int8",
        3,
        None,
        False,
    )
    manifest["models"][0]["quantization"] = 4
    write_json(other / "package.json", manifest)
    with pytest.raises(RunError, match="is no manifest of a package"):
        served_models([other])
    manifest["models"][0]["quantization"] = "f32"
    write_json(other / "package.json", manifest)
    (other / "t5-gguf-f32.gguf").write_bytes(b"GGUF and nothing more")
    with pytest.raises(DataError, match="is not the file that was exported"):
        served_models([other])
