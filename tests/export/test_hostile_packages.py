"""Packages and students as files from strangers: refused in one line, without a crash, a hang or a file elsewhere."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from exporting import export, run_it
from tiny_models import make_tiny_llama, make_tiny_t5
from typer.testing import CliRunner

from kpodx.cli import app
from kpodx.errors import KpodxError, RunError
from kpodx.export.manifest import models_of
from kpodx.export.parity import ask_package
from kpodx.runtime import died_of

if not hasattr(os, "fork"):
    pytest.skip("damaged files are tried in forks", allow_module_level=True)

WORKER = """
import importlib.util, json, os, resource, signal, sys, tempfile
from pathlib import Path

runner = Path(sys.argv[1])
sys.path.insert(0, str(runner.parent))
sys.argv = [str(runner)]
spec = importlib.util.spec_from_file_location("runner", runner)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for line in sys.stdin:
    model, text = json.loads(line)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as printed:
        given.write(text.encode())
        given.seek(0)
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.alarm(20)
            os.dup2(given.fileno(), 0), os.dup2(printed.fileno(), 1), os.dup2(said.fileno(), 2)
            sys.stdin = open(0, encoding="utf-8")
            status = 1
            try:
                status = module.main(
                    module.Model, "", "*.gguf", ["--model", model, "--max-new-tokens", "3", "--threads", "1"]
                )
            except BaseException:
                import traceback
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        print(json.dumps([os.waitstatus_to_exitcode(status), said.read().decode("utf-8", "replace")]), flush=True)
"""
"""A runner that is loaded once and forks for each file, so that hundreds of damaged files take seconds."""

QUESTION = "How many eggs has Tom?\n"


class Runner:
    """A package whose runner waits for damaged files.

    Args:
        package: its folder, which is written into.
        model: its model.
    """

    def __init__(self, package: Path, model: Path) -> None:
        self.package, self.model = package, model
        self.whole = model.read_bytes()
        command = [sys.executable, "-c", WORKER, str(package / "run.py")]
        # A panic of Rust prints its stack where this is set.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, text: str = QUESTION) -> tuple[int, str]:
        """Exit status and stderr, in a process that may take 6 GiB and 20 seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(self.model), text]) + "\n")
        self._process.stdin.flush()
        status, said = json.loads(self._process.stdout.readline())
        return int(status), str(said)

    def refuses(self, what: object, words: str = "", text: str = QUESTION) -> None:
        """Assert one `error:` line and status 2."""
        status, said = self.ask(text)
        assert status == 2, (what, status, said[-1000:])
        assert len(said.splitlines()) == 1, (what, said[-1000:])
        assert said.startswith("error: "), (what, said)
        assert words in said, (what, said)

    def survives(self, what: object, text: str = QUESTION) -> int:
        """Assert an answer, or one `error:` line; return the status."""
        status, said = self.ask(text)
        assert (status, said) == (0, "") or (status == 2 and said.startswith("error: ") and said.count("\n") == 1), (
            what,
            status,
            said[-1000:],
        )
        return status

    def with_file(self, name: str, content: bytes | str | dict[str, Any] | list[Any]) -> None:
        """Write a file of the package; `whole_again` puts back what was there."""
        path = self.package / name
        if isinstance(content, dict | list):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


def packaged(folder: Path, family: str, form: str) -> Path:
    """A tiny package."""
    make = make_tiny_t5 if family == "t5" else make_tiny_llama
    export(make(folder / family, seed=3), folder / "out", form, "f32" if form == "gguf" else "q8", count=2)
    return folder / "out"


@pytest.fixture(scope="module", params=["t5", "llama"])
def gguf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    pytest.importorskip("gguf", reason="gguf is not installed")
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    package = packaged(tmp_path_factory.mktemp("gguf"), request.param, "gguf")
    runner = Runner(package, package / "tiny-f32.gguf")
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def sound_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return packaged(tmp_path_factory.mktemp("onnx"), "t5", "onnx")


@pytest.fixture(scope="module")
def _onnx(sound_onnx: Path) -> Iterator[Runner]:
    copy = sound_onnx.with_name("copy")
    shutil.copytree(sound_onnx, copy)
    runner = Runner(copy, copy / "onnx" / "decoder_model_merged_quantized.onnx")
    yield runner
    runner.close()


@pytest.fixture
def onnx(_onnx: Runner, sound_onnx: Path) -> Iterator[Runner]:
    yield _onnx
    shutil.rmtree(_onnx.package)
    shutil.copytree(sound_onnx, _onnx.package)


@pytest.fixture
def sound(gguf: Runner) -> Iterator[Runner]:
    yield gguf
    gguf.model.write_bytes(gguf.whole)


# GGUF


def head_of(path: Path) -> tuple[int, list[tuple[int, int]]]:
    """Where a file's weights begin, and (offset, type) of each setting's value."""
    from gguf import GGUFReader

    reader, content = GGUFReader(str(path)), path.read_bytes()
    values = []
    for name, field in reader.fields.items():
        if not name.startswith("GGUF."):
            at = field.offset + 8 + struct.unpack_from("<Q", content, field.offset)[0]
            values.append((at + 4, struct.unpack_from("<I", content, at)[0]))
    return int(reader.data_offset), values


def test_a_gguf_file_cut_off_anywhere_is_refused(sound: Runner) -> None:
    head, _ = head_of(sound.model)
    rng = random.Random(0)
    for size in [0, 3, 4, 8, 23, 24, head - 1, head, *(rng.randrange(len(sound.whole) - 64) for _ in range(40))]:
        sound.model.write_bytes(sound.whole[:size])
        sound.refuses(size)


def test_a_gguf_file_with_flipped_bits_never_crashes_the_runner(sound: Runner) -> None:
    head, _ = head_of(sound.model)
    for seed in range(200):
        rng, damaged = random.Random(seed), bytearray(sound.whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(head)] ^= 1 << rng.randrange(8)
        sound.model.write_bytes(damaged)
        sound.survives(seed)


def test_a_gguf_file_with_impossible_counts_is_refused(sound: Runner) -> None:
    _, settings = head_of(sound.model)

    def write(at: int, kind: str, value: float) -> None:
        damaged = bytearray(sound.whole)
        struct.pack_into(kind, damaged, at, value)
        sound.model.write_bytes(damaged)

    for value in (0, 1, 4, 2**32 - 1):
        write(4, "<I", value)
        sound.refuses(("version", value), "cannot load")
    for value in (2**20, 2**31, 2**40, 2**63 - 1, 2**64 - 1):
        for place in (8, 16):
            write(place, "<Q", value)
            sound.refuses(("count", place, value), "cannot load")
        for at, kind in settings:
            if kind in (8, 9):
                write(at + (4 if kind == 9 else 0), "<Q", value)
                sound.refuses(("length", at, value), "cannot load")
    for at, kind in settings:
        for number in (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1) if kind in (4, 5) else ():
            write(at, "<I", number)
            sound.survives(("number", at, number))
        for real in (0.0, -1.0, float("nan"), 1e38) if kind == 6 else ():
            write(at, "<f", real)
            sound.survives(("number", at, real))


def test_a_gguf_file_with_impossible_tensors_is_refused(sound: Runner) -> None:
    from gguf import GGUFReader

    for tensor in GGUFReader(str(sound.model)).tensors[::3]:
        at = tensor.field.offset + 8 + struct.unpack_from("<Q", sound.whole, tensor.field.offset)[0]
        count = struct.unpack_from("<I", sound.whole, at)[0]
        kind = at + 4 + 8 * count
        for place, form, value in (
            *((at, "<I", value) for value in (0, 5, 2**32 - 1)),
            *((at + 4, "<Q", value) for value in (2**31, 2**61, 2**62 + 1, 2**64 - 1)),
            *((kind, "<I", value) for value in (1, 2, 39, 99, 2**32 - 1)),
            *((kind + 4, "<Q", value) for value in (2**40, 2**64 - 32)),
        ):
            damaged = bytearray(sound.whole)
            struct.pack_into(form, damaged, place, value)
            sound.model.write_bytes(damaged)
            sound.survives((tensor.name, place - at, value))


def test_an_assertion_of_llama_cpp_is_one_line(sound: Runner) -> None:
    """Such a file once made it attach a debugger, print its stack, and abort."""
    name = b".block_count"
    at = sound.whole.index(name) + len(name) + 4
    sound.model.write_bytes(sound.whole[:at] + b"\0\0\0\0" + sound.whole[at + 4 :])
    sound.refuses("no layers", "llama.cpp gave up: llama-model.cpp")


def test_a_gguf_file_without_its_vocabulary_or_of_another_kind_is_refused(sound: Runner) -> None:
    for old, new in (
        (b"tokenizer.ggml.tokens", b"tokenizer.ggml.nothin"),
        (b"tokenizer.ggml.model", b"tokenizer.ggml.mxdel"),
        (b"general.architecture", b"general.architecturx"),
    ):
        sound.model.write_bytes(sound.whole.replace(old, new))
        sound.refuses(old, "cannot load")
    sound.model.write_bytes(sound.whole.replace(b"{question}", b"[question]"))
    sound.refuses("prompt", "the package's prompt has no {question}")


def test_a_model_that_is_a_pipe_does_not_hang(sound: Runner) -> None:
    sound.model.unlink()
    os.mkfifo(sound.model)
    try:
        sound.refuses("pipe", "there is no file")
    finally:
        sound.model.unlink()


# ONNX


NOT_NUMBERS: list[Any] = [[1], ["a"], "x", "1", -7, 2**31, 2**63, 10**30, 1.5, True, {}, [1, [2]], [{}]]


@pytest.mark.parametrize("name", ["n_positions", "max_position_embeddings", "pad_token_id", "decoder_start_token_id"])
def test_a_setting_that_is_no_number_is_refused(onnx: Runner, name: str) -> None:
    config = json.loads((onnx.package / "config.json").read_text())
    for value in NOT_NUMBERS:
        onnx.with_file("config.json", {**config, name: value})
        onnx.refuses((name, value), f"error: {name} is")


def test_an_end_mark_that_is_no_number_is_refused(onnx: Runner) -> None:
    for value in [value for value in NOT_NUMBERS if value != [1]]:
        onnx.with_file("generation_config.json", {"eos_token_id": value})
        onnx.refuses(value, "error: eos_token_id")
    onnx.with_file("generation_config.json", {"eos_token_id": [1, 2]})
    assert onnx.survives("a list") == 0


def test_tokens_beyond_the_vocabulary_are_refused(onnx: Runner) -> None:
    config = json.loads((onnx.package / "config.json").read_text())
    onnx.with_file("config.json", {**config, "decoder_start_token_id": 10**6})
    onnx.refuses("start", "token 1000000 is none of the model's")
    onnx.with_file("config.json", config)
    tokenizer = json.loads((onnx.package / "tokenizer.json").read_text())
    tokenizer["model"] = {"type": "WordLevel", "vocab": {"<pad>": 0, "</s>": 1, "<unk>": 700}, "unk_token": "<unk>"}
    onnx.with_file("tokenizer.json", {**tokenizer, "added_tokens": []})
    onnx.refuses("tokenizer", "token 700 is none of the model's")


def test_a_prompt_without_a_place_for_the_question_is_refused(onnx: Runner) -> None:
    config = json.loads((onnx.package / "config.json").read_text())
    for prompt in ("", "Q:", 3, True, ["{question}"], {}):
        onnx.with_file("config.json", {**config, "kpodx_prompt": prompt})
        onnx.refuses(prompt, "the package's prompt has no {question}")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json"])
def test_what_is_no_json_object_is_refused(onnx: Runner, name: str) -> None:
    for content in (
        "",
        "x",
        "null",
        "[]",
        "[" * 100_000,
        '{"a":' * 100_000,
        b"\xff\xfe",
        "\0" * 50,
        '{"a":' + "9" * 5000,
    ):
        onnx.with_file(name, content)
        onnx.refuses((name, content[:20]), name)
    (onnx.package / name).unlink()
    (onnx.package / name).mkdir()
    onnx.refuses((name, "folder"), "is not a regular file")
    (onnx.package / name).rmdir()
    os.mkfifo(onnx.package / name)
    onnx.refuses((name, "pipe"), "is not a regular file")


def test_a_file_that_would_fill_the_memory_is_refused(onnx: Runner) -> None:
    for name in ("config.json", "tokenizer.json"):
        with (onnx.package / name).open("wb") as stream:
            stream.truncate(2**40)
        onnx.refuses(name, "has more than")


def test_a_tokenizer_of_another_kind_never_crashes_the_runner(onnx: Runner) -> None:
    tokenizer = json.loads((onnx.package / "tokenizer.json").read_text())
    for name in tokenizer:
        for value in (None, [], {}, "x", 5, [{}], {"type": "Other"}):
            onnx.with_file("tokenizer.json", {**tokenizer, name: value})
            onnx.survives((name, value))


def test_a_tokenizer_that_panics_is_told(onnx: Runner) -> None:
    """Rust prints a line of its own before ours."""
    tokenizer = json.loads((onnx.package / "tokenizer.json").read_text())
    slow = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    onnx.with_file("tokenizer.json", {**tokenizer, "pre_tokenizer": slow})
    status, said = onnx.ask("a" * 3000 + "b\n")
    assert status == 2
    assert said.startswith("error: the tokenizer stopped")
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["decoder_model_merged_quantized.onnx", "encoder_model_quantized.onnx"])
def test_a_damaged_graph_never_crashes_the_runner(onnx: Runner, name: str) -> None:
    whole = (onnx.package / "onnx" / name).read_bytes()
    for seed in range(50):
        rng, damaged = random.Random(seed), bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        onnx.with_file(f"onnx/{name}", bytes(damaged))
        onnx.survives((name, seed))
        if seed % 4 == 0:
            onnx.with_file(f"onnx/{name}", whole[: rng.randrange(len(whole))])
            onnx.refuses((name, "cut", seed))


def changed(path: Path, change: Callable[[Any], None]) -> None:
    """Change a graph."""
    import onnx as library

    graph = library.load(path, load_external_data=False)
    change(graph.graph)
    library.save(graph, path)


@pytest.mark.parametrize("location", ["../../../../../../../../etc/passwd", "/etc/passwd", "/dev/zero", "..", ""])
def test_data_outside_the_package_is_not_read(onnx: Runner, location: str) -> None:
    def elsewhere(graph: Any) -> None:
        for item in graph.initializer:
            for entry in item.external_data:
                if entry.key == "location":
                    entry.value = location

    changed(onnx.package / "onnx" / "encoder_model_quantized.onnx", elsewhere)
    onnx.refuses(location, "onnxruntime cannot load")


def test_a_graph_with_other_inputs_is_refused(onnx: Runner) -> None:
    import onnx as library
    from onnx import helper

    def more(graph: Any) -> None:
        graph.input.append(helper.make_tensor_value_info("another", library.TensorProto.FLOAT, [1]))

    def wide(graph: Any) -> None:
        for item in graph.input:
            if item.name.startswith("past_key_values"):
                item.type.tensor_type.shape.dim[1].dim_value = 2**40

    def no_cache(graph: Any) -> None:
        del graph.output[1:]

    def not_a_number(graph: Any) -> None:
        for item in graph.initializer:
            if item.data_type == library.TensorProto.FLOAT and item.raw_data:
                item.raw_data = struct.pack("<f", float("nan")) * (len(item.raw_data) // 4)

    whole = onnx.model.read_bytes()
    for change, words in (
        (more, "another"),
        (wide, "is no decoder with a cache"),
        (no_cache, "onnxruntime stopped"),
        (not_a_number, "the model computes no numbers"),
    ):
        onnx.model.write_bytes(whole)
        changed(onnx.model, change)
        onnx.refuses(change.__name__, words)


# Questions


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"question": "\\ud800"}\n', "line 1: expected plain text"),
        ('x\n{"question": "x", "id": "\\ud800"}\n', "line 2: expected plain text"),
        ('{"question": ' + "[" * 50_000 + "\n", "line 1: expected plain text"),
        ("x\na\0b\n", "line 2: expected UTF-8 text, got a NUL byte"),
        ("a" * 50_000_000 + "\n", "line 1 has more than"),
        ("a" * 900_000 + "\n", "the prompt has 9"),
    ],
    ids=["half-a-character", "half-a-character-beside-it", "deep", "nul", "50-MB", "long"],
)
def test_questions_that_nobody_asks_are_refused(onnx: Runner, text: str, words: str) -> None:
    onnx.refuses(text[:40], words, text)


def test_odd_questions_are_answered(onnx: Runner) -> None:
    for text in ("\n\n", '{"question": "\\u0000"}\n', '{"question": "x", "output": {}, "tokens": 3}\n', "x"):
        assert onnx.survives(text, text) == 0


def test_question_files_that_are_none_are_refused(onnx: Runner, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9?\n")
    for name, words in (
        ("none", "No such file"),
        ("", "Is a directory"),
        ("latin", "line 1: expected UTF-8 text, got the byte 0xe9"),
    ):
        done = run_it(onnx.package / "run.py", "--questions", str(tmp_path / name))
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
        assert words in done.stderr
    bad = run_it(onnx.package / "run.py", "--seed", "-1", "x")
    assert (bad.returncode, "Traceback" in bad.stderr) == (2, False)


# Manifests, and what kpodx makes of them


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "onnx/../../x"])
def test_the_runner_opens_no_model_outside_its_package(onnx: Runner, name: str) -> None:
    onnx.with_file("package.json", {"models": [{"name": name}]})
    done = run_it(onnx.package / "run.py", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: package.json names a model outside the package: {name!r}\n"


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        "[" * 100_000,
        '{"models": 3, "profile": {"threads": "many"}}',
        '{"profile": {"threads": 1000000000}}',
        '{"profile": {"context_tokens": [1]}}',
    ],
    ids=["list", "cut", "deep", "threads", "many-threads", "context"],
)
def test_the_runner_refuses_a_manifest_that_is_none(onnx: Runner, content: str) -> None:
    onnx.with_file("package.json", content)
    done = run_it(onnx.package / "run.py", "x")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr[-500:]
    assert done.stderr.startswith("error: ")


def manifest(folder: Path, content: object) -> Path:
    """A folder with a manifest and one file."""
    folder.mkdir(exist_ok=True)
    (folder / "x.gguf").write_bytes(b"GGUF")
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "package.json").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("config.json", content) for content in (b"[]", b"\0", b"\xff", b'{"model_type": "other"}')),
        *(("tokenizer.json", content) for content in (b"[]", b"{}", b"\xff", b"x")),
        *(("model.safetensors", content) for content in (b"", b"\xff" * 8, b"\xff" * 100, b"\0" * 100)),
    ],
)
def test_kpodx_refuses_to_export_a_damaged_student_and_leaves_nothing(
    tmp_path: Path, tiny_t5: Path, name: str, content: bytes
) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed")
    shutil.copytree(tiny_t5, tmp_path / "student")
    (tmp_path / "student" / name).write_bytes(content)
    with pytest.raises(KpodxError):
        export(tmp_path / "student", tmp_path / "out", "gguf", "f32", count=1)
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def model(name: Any) -> dict[str, Any]:
    return {"models": [{"name": name, "quantization": "f32"}]}


@pytest.mark.parametrize(
    "content",
    [
        *(
            [],
            "null",
            "{",
            "[" * 100_000,
            {},
            {"models": []},
            {"models": "x"},
            {"models": {"name": 3}},
            {"models": [3]},
        ),
        *(
            model("../x.gguf"),
            model("/etc/passwd"),
            model("a/../../x"),
            model("none.gguf"),
            model("a\0b"),
            model("\ud800"),
        ),
        model(["x"]),
    ],
)
def test_kpodx_refuses_a_manifest_that_names_no_model_of_its_own(tmp_path: Path, content: object) -> None:
    with pytest.raises(RunError):
        models_of(manifest(tmp_path / "package", content))


def ask(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`kpodx ask`, as a person calls it."""
    command = [sys.executable, "-m", "kpodx", "ask", "--package", str(package), "--", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def ask_with(program: str, package: Path, question: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`kpodx ask` in this process, with another program in place of the runner that ships."""
    (package / "other.py").write_text(program)
    monkeypatch.setattr("kpodx.export.manifest.shipped_runner", lambda _kind: package / "other.py")
    return CliRunner().invoke(app, ["ask", "--package", str(package), "--", question])


def test_kpodx_tells_a_runner_that_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = manifest(tmp_path / "package", model("x.gguf"))
    program = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    (package / "run.py").write_text(program)
    crashed = ask_with(program, package, "Why?", monkeypatch).exception
    assert isinstance(crashed, RunError)
    assert crashed.message == "run.py cannot run x.gguf: it died of SIGSEGV."
    with pytest.raises(KpodxError, match=r"run\.py cannot run x\.gguf: it died of SIGSEGV"):
        ask_package(package / "run.py", package / "x.gguf", ["x"], 3, 1)
    assert died_of(-200) == "it died of signal 200"


def test_kpodx_survives_what_a_runner_prints(tmp_path: Path) -> None:
    package = manifest(tmp_path / "package", model("x.gguf"))
    (package / "run.py").write_text("import sys\nsys.stderr.buffer.write(b'error: \\xff\\n')\nsys.exit(2)\n")
    with pytest.raises(KpodxError, match="\N{REPLACEMENT CHARACTER}"):
        ask_package(package / "run.py", package / "x.gguf", ["x"], 3, 1)
    # A line separator in an answer is no end of its JSON line.
    (package / "run.py").write_text('print(\'{"output": "a\\u2028b\\x85", "tokens": [4]}\')\n', encoding="utf-8")
    assert ask_package(package / "run.py", package / "x.gguf", ["x"], 3, 1) == [[4]]


def test_a_question_may_begin_with_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    package = manifest(tmp_path / "package", model("x.gguf"))
    ask_with("import sys\nprint(sys.argv[-2:])\n", package, "--seed=3", monkeypatch)
    assert capfd.readouterr().out == "['--', '--seed=3']\n"


def test_the_program_in_a_package_is_not_run(gguf: Runner, tmp_path: Path) -> None:
    shutil.copytree(gguf.package, tmp_path / "package")
    (tmp_path / "package" / "run.py").write_text("print('mine')\n")
    (tmp_path / "package" / "command_line.py").write_text("print('mine')\n")
    done = ask(tmp_path / "package", "How many eggs?")
    assert (done.returncode, "mine" in done.stdout) == (0, False), done.stderr


def test_kpodx_ask_refuses_a_damaged_model_in_one_line(gguf: Runner, tmp_path: Path) -> None:
    shutil.copytree(gguf.package, tmp_path / "package")
    (tmp_path / "package" / "tiny-f32.gguf").write_bytes(gguf.whole[:3000])
    begun = time.monotonic()
    done = ask(tmp_path / "package", "Why?")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert done.stderr.startswith("error: llama.cpp cannot load")
    assert time.monotonic() - begun < 20


def test_a_damaged_tokenizer_is_one_line_without_what_rust_prints(onnx: Runner) -> None:
    whole = (onnx.package / "tokenizer.json").read_text()
    tokenizer = json.loads(whole)
    for content in (
        {**tokenizer, "normalizer": {"type": "Precompiled", "precompiled_charsmap": "ALQCAA=x"}},
        {**tokenizer, "normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}},
        {**tokenizer, "model": {**tokenizer["model"], "vocab": [["a", 1e308]], "unk_id": 10**9}},
        whole.replace("{", '{"x":' + "9" * 5000 + ",", 1),
        whole.replace("{", '{"x":' + "[" * 200 + "]" * 200 + ",", 1),
        whole.replace("{", '{"\\ud800": 1,', 1),
        whole.replace("{", '{"x": 1e999,', 1),
        whole[:-5],
    ):
        onnx.with_file("tokenizer.json", content)
        onnx.refuses(str(content)[:60])
    (onnx.package / "tokenizer.json").unlink()
    onnx.refuses("missing", "there is no file")


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "tokenizer.json",
        "package.json",
        "onnx/decoder_model_merged_quantized.onnx",
        "onnx/encoder_model_quantized.onnx",
    ],
)
def test_links_that_lead_nowhere_or_to_themselves_are_refused(onnx: Runner, name: str) -> None:
    path = onnx.package / name
    for target in (path.name, "/nowhere", "/dev/zero", "."):
        path.unlink()
        path.symlink_to(target)
        if name == "package.json" and target in (path.name, "/nowhere"):
            # As if there were no manifest.
            onnx.survives((name, target))
        else:
            onnx.refuses((name, target))
    path.unlink()
