"""Do programs that we did not write read the files of a package, and say the same? One line a check.

    python benchmarks/other_software.py --node-modules FOLDER --converter FILE --output other.json

Students are exported to ONNX and GGUF, asked through the package's own run.py, and then, from the same files, through optimum,
transformers.js (under Node, and the browser's build in WebAssembly) and llama-cpp-python's `Llama` class. CTranslate2 and llama.cpp's own
converter start from the student itself. What is missing is told as "not checked"; the exit code is 1 if anything unquantised differs.

    npm install --ignore-scripts @huggingface/transformers      # FOLDER is the node_modules that it makes
    pip install ctranslate2
    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python    # FILE is its vendor/llama.cpp/convert_hf_to_gguf.py
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from real_models import DATA, make_babyllama105, make_stories260k

REPOSITORY = Path(__file__).resolve().parents[1]
ONNX = {"f32": "fp32", "int8": "int8", "q8": "q8", "q4": "q4"}
"""Quantisations of graphs, and what transformers.js calls them."""
CTRANSLATE2 = {"f32": "float32", "int8": "int8"}
EXACT = ("f32", "f16")
"""Where every token must be the same; elsewhere another version of a runtime may round differently."""
QUESTIONS, NEW_TOKENS = 12, 48
GATED = 2
"""Questions of the export's own gate, which asks whether a package says what the student says; here it is asked who else reads it."""
Ids = list[list[int]]


@dataclass(frozen=True)
class Check:
    """One line: what was compared, and how much of it is the same (None where nothing could be compared)."""

    model: str
    files: str
    program: str
    compared: str
    same: int | None
    total: int
    note: str = ""
    must: bool = False

    @property
    def failed(self) -> bool:
        """Whether this may not be."""
        return self.must and self.same != self.total

    @property
    def result(self) -> str:
        """In words."""
        if self.same is None:
            return self.note
        words = f"same {self.same}/{self.total}" if self.same == self.total else f"{self.same} of {self.total} same"
        return f"{words}; {self.note}" if self.note else words


@dataclass(frozen=True)
class Packages:
    """A student, its packages, and what they read and say.

    Attributes:
        name: of the model.
        student: its folder.
        config: its config.json.
        onnx: folder of one package.
        gguf: folder of the other.
        prompts: what is asked, as text.
        read: the same as token ids.
        said: answers of each package's own runner, by format and quantisation.
        refused: what kpodx would not export, and why.
    """

    name: str
    student: Path
    config: dict[str, Any]
    onnx: Path
    gguf: Path
    prompts: list[str]
    read: Ids
    said: dict[str, Ids]
    refused: dict[str, str]

    @property
    def is_pair(self) -> bool:
        """Whether it is an encoder-decoder."""
        return bool(self.config.get("is_encoder_decoder"))

    def gguf_file(self, quantization: str) -> Path:
        """A model's file."""
        return self.gguf / f"{self.name}-{quantization}.gguf"

    def until_end(self, answers: Ids) -> Ids:
        """Answers without the end mark and what follows it."""
        end = self.config["eos_token_id"]
        return [ids[: ids.index(end)] if end in ids else ids for ids in answers]

    def compare(self, files: str, program: str, found: tuple[Ids, Ids], against: str = "") -> Check:
        """Answers of a program beside those of our runner; a prompt that is read differently counts as different."""
        form, quantization = files.split()
        pairs = list(zip(found[0], self.until_end(found[1]), strict=True))
        expected = list(zip(self.read, self.said[against or files], strict=True))
        note = ""
        if differing := [number for number, both in enumerate(zip(pairs, expected, strict=True)) if both[0] != both[1]]:
            theirs, ours = pairs[differing[0]], expected[differing[0]]
            part = 0 if theirs[0] != ours[0] else 1
            place = next((i for i, (a, b) in enumerate(zip(theirs[part], ours[part], strict=False)) if a != b), -1)
            note = f"first: question {differing[0]}, {('prompt', 'answer')[part]}, " + (
                f"token {place}: {theirs[part][place]}, ours {ours[part][place]}"
                if place >= 0
                else f"{len(theirs[part])} tokens, ours {len(ours[part])}"
            )
        beside = f"answers' token ids with run.py's{f' of {against}' if against else ''}"
        same = len(pairs) - len(differing)
        return Check(
            self.name, f"{form} {quantization}", program, beside, same, len(pairs), note, quantization in EXACT
        )

    def not_checked(self, files: str, program: str, why: str) -> Check:
        """A line for what is not there to compare with."""
        return Check(self.name, files, program, "", None, 0, f"not checked: {why}")

    def does_not_run(self, files: str, program: str, error: object) -> Check:
        """A line for a program that stops."""
        return Check(self.name, files, program, "", None, 0, f"does not run: {error}", files.split()[1] in EXACT)


def main() -> int:
    """Command line; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--student", type=Path, action="append", help="student's folder; the newest in runs/ by default"
    )
    parser.add_argument("--only-students", action="store_true", help="leave out stories260K and babyllama105")
    parser.add_argument("--node-modules", type=Path, default=os.environ.get("NODE_MODULES"))
    parser.add_argument("--converter", type=Path, help="llama.cpp's convert_hf_to_gguf.py")
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    checks: list[Check] = []
    with tempfile.TemporaryDirectory() as scratch:
        for student in students(arguments, Path(scratch)):
            packages = export(student, Path(scratch) / f"{student.name}-packages")
            for check in all_checks(packages, arguments, Path(scratch)):
                print(
                    f"{check.model} | {check.files} | {check.program} | {check.compared} | {check.result}", flush=True
                )
                checks.append(check)
    if arguments.output:
        rows = [{**asdict(check), "result": check.result} for check in checks]
        arguments.output.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    failed = sum(check.failed for check in checks)
    print(f"{len(checks)} checks, {failed} failed")
    return 1 if failed else 0


def students(arguments: argparse.Namespace, scratch: Path) -> Iterator[Path]:
    """Folders in the hub's layout, under the names that the models are shown by."""
    given = arguments.student or [newest_student()]
    for number, folder in enumerate(given):
        link = scratch / f"student{number or ''}"
        print(f"{link.name} is {os.path.relpath(folder, REPOSITORY)}")
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield link
    if arguments.only_students:
        return
    for make, name in ((make_stories260k, "stories260K"), (make_babyllama105, "babyllama105")):
        if (DATA / "models" / name).is_dir():
            yield make(scratch / name)
        else:
            print(f"{name}: skipped, there is no {os.path.relpath(DATA / 'models' / name, REPOSITORY)}")


def newest_student() -> Path:
    """The newest student of a run; the one that the quickstart begins with where there is none."""
    found = sorted(REPOSITORY.glob("runs/*/distillation/*/student"), key=lambda folder: folder.stat().st_mtime)
    return found[-1] if found else REPOSITORY / "recipes" / "quickstart-student"


def export(student: Path, folder: Path) -> Packages:
    """Write both packages, and ask them."""
    from transformers import AutoTokenizer

    from kpodx.errors import GateError
    from kpodx.export.manifest import ONNX_SUFFIXES, PROMPT
    from kpodx.export.package import export_package
    from kpodx.export.parity import ask_package
    from kpodx.export.reference import context_tokens
    from kpodx.runtime import SilentProgress

    config = json.loads((student / "config.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(student)
    most = context_tokens(argparse.Namespace(**config)) - (0 if config.get("is_encoder_decoder") else NEW_TOKENS)
    questions = fitting_questions(lambda text: len(tokenizer(text).input_ids) <= most)
    prompts = [PROMPT.replace("{question}", question) for question in questions]
    name = student.name
    packages = Packages(
        name,
        student,
        config,
        folder / "onnx-package",
        folder / "gguf-package",
        prompts,
        tokenizer(prompts).input_ids,
        {},
        {},
    )
    quantizations = {"onnx": list(ONNX), "gguf": ["f32", "f16", *([] if packages.is_pair else ["Q8_0", "Q4_K_M"])]}
    for form, wanted in quantizations.items():
        output = packages.onnx if form == "onnx" else packages.gguf

        def write(chosen: list[str], form: str = form, output: Path = output) -> None:
            export_package(
                student.resolve(),
                output,
                form,
                chosen,
                questions[:GATED],
                name=name,
                origin={"folder": name},
                max_new_tokens=NEW_TOKENS,
                threads=1,
                progress=SilentProgress(),
            )

        try:
            write(wanted)
        except GateError as error:
            # Half precision may tip a student that wavers between two words; then the package is written without it.
            packages.refused[f"{form} f16"] = str(error)
            wanted = [quantization for quantization in wanted if quantization != "f16"]
            write(wanted)
        for quantization in wanted:
            graph = (
                f"{'decoder_model_merged' if packages.is_pair else 'model'}{ONNX_SUFFIXES.get(quantization, '')}.onnx"
            )
            model = output / "onnx" / graph if form == "onnx" else packages.gguf_file(quantization)
            said = ask_package(output / "run.py", model, questions, NEW_TOKENS, 1)
            packages.said[f"{form} {quantization}"] = said
    return packages


def fitting_questions(fits: Callable[[str], bool]) -> list[str]:
    """Questions whose prompt and answer the context holds, so that nobody has to say what happens at its end."""
    from kpodx.cli.export import generated_questions
    from kpodx.export.manifest import PROMPT

    found = []
    for question in generated_questions(QUESTIONS):
        sentences = re.split(r"(?<=[.?]) ", question)
        # Of a story that is too long, the end, which asks.
        rest = (" ".join(sentences[start:]) for start in range(len(sentences)))
        found += [text for text in rest if fits(PROMPT.replace("{question}", text))][:1]
    return found


def all_checks(packages: Packages, arguments: argparse.Namespace, scratch: Path) -> Iterator[Check]:
    """Everything that can be asked of one student."""
    for files, why in packages.refused.items():
        yield packages.not_checked(files, "all", f"kpodx export refuses it: {why}")
    yield from check_optimum(packages)
    yield from check_transformers_js(packages, arguments.node_modules)
    if packages.is_pair:
        yield from check_ctranslate2(packages, scratch / f"{packages.name}-ctranslate2")
    else:
        yield from check_llama_class(packages)
    yield from check_converter(packages, arguments.converter, scratch)


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own; a crash, or an exception, comes back as RuntimeError."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise RuntimeError("it crashed") from None
        except Exception as error:  # noqa: BLE001 - whatever another program raises is a result here
            raise RuntimeError(f"{type(error).__name__}: {str(error)[:300]}") from None


def installed(*names: str) -> str:
    """Names and versions of installed packages."""
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} ?")
    return ", ".join(found)


# optimum


def check_optimum(packages: Packages) -> Iterator[Check]:
    """The ONNX package's folder, through transformers' generate."""
    program = installed("optimum-onnx", "onnxruntime", "transformers")
    if find_spec("optimum") is None or find_spec("optimum.onnxruntime") is None:
        yield packages.not_checked("onnx", "optimum-onnx", "optimum-onnx is not installed")
        return
    for quantization in ONNX:
        files = f"onnx {quantization}"
        try:
            yield packages.compare(files, program, alone(ask_optimum, packages, quantization))
        except RuntimeError as error:
            yield packages.does_not_run(files, program, error)


def ask_optimum(packages: Packages, quantization: str) -> tuple[Ids, Ids]:
    """Prompts and answers."""
    import onnxruntime
    import torch
    from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSeq2SeqLM
    from transformers import AutoTokenizer

    from kpodx.export.manifest import ONNX_SUFFIXES

    torch.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    settings: dict[str, Any] = {"subfolder": "onnx", "local_files_only": True, "session_options": options}
    suffix = ONNX_SUFFIXES[quantization]
    if packages.is_pair:
        if suffix:
            settings["encoder_file_name"] = f"encoder_model{suffix}.onnx"
            settings["decoder_file_name"] = f"decoder_model_merged{suffix}.onnx"
            # Where the decoder is named and a cache is wanted, optimum looks for decoder_with_past, which a merged graph needs no
            # more: without a cache here, and with one in generate, it takes the one graph for both.
            settings["use_cache"] = False
        model = ORTModelForSeq2SeqLM.from_pretrained(packages.onnx, **settings)
        # optimum takes d_model / num_heads for it.
        model.decoder.embed_size_per_head = model.config.d_kv
    else:
        if suffix:
            settings["file_name"] = f"model{suffix}.onnx"
        model = ORTModelForCausalLM.from_pretrained(packages.onnx, **settings)
    tokenizer = AutoTokenizer.from_pretrained(packages.onnx)
    read: Ids = tokenizer(packages.prompts).input_ids
    answers = []
    for ids in read:
        inputs = torch.tensor([ids])
        done = model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            num_beams=1,
            use_cache=True,
        )
        answers.append(done[0, 1 if packages.is_pair else len(ids) :].tolist())
    return read, answers


# transformers.js


def check_transformers_js(packages: Packages, modules: Path | None) -> Iterator[Check]:
    """The ONNX package's folder, as a local model under Node and as a served one in the browser's build."""
    node = shutil.which("node")
    library = modules and modules / "@huggingface" / "transformers"
    if node is None or library is None or not library.is_dir():
        why = "there is no node" if node is None else "no --node-modules with @huggingface/transformers"
        yield packages.not_checked("onnx", "transformers.js", why)
        return
    assert modules is not None
    for where, runtime in (("Node", "onnxruntime-node"), ("browser's build", "onnxruntime-web")):
        versions = [
            json.loads((folder / "package.json").read_text())["version"] for folder in (library, modules / runtime)
        ]
        program = f"transformers.js {versions[0]} ({where}), {runtime} {versions[1]}"
        for quantization in ONNX:
            files = f"onnx {quantization}"
            try:
                found = ask_transformers_js(packages, quantization, modules, node, web=where != "Node")
                yield packages.compare(files, program, found)
            except RuntimeError as error:
                yield packages.does_not_run(files, program, error)


def ask_transformers_js(
    packages: Packages, quantization: str, modules: Path, node: str, *, web: bool
) -> tuple[Ids, Ids]:
    """Prompts and answers; the tokenizer is its own, too."""
    from kpodx.export.manifest import ONNX_SUFFIXES

    suffix = f"model{ONNX_SUFFIXES[quantization]}.onnx_data", f"merged{ONNX_SUFFIXES[quantization]}.onnx_data"
    data = sorted(path.name for path in (packages.onnx / "onnx").iterdir() if path.name.endswith(suffix))
    request = {
        "modules": str(modules.resolve()),
        "folder": str(packages.onnx),
        "is_pair": packages.is_pair,
        "dtype": ONNX[quantization],
        "data": data,
        "prompts": packages.prompts,
        "max_new_tokens": NEW_TOKENS,
        "web": web,
    }
    program = Path(__file__).with_suffix(".mjs")
    # Otherwise Node spends a minute on making the WebAssembly fast.
    flags = ["--liftoff-only", "--wasm-lazy-compilation"] if web else []
    done = subprocess.run(
        [node, *flags, str(program)], input=json.dumps(request), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()[-1:] or [f"it ended with status {done.returncode}"]
        raise RuntimeError(lines[0][:300])
    found = json.loads(done.stdout)
    return found["prompts"], found["answers"]


# CTranslate2


def check_ctranslate2(packages: Packages, folder: Path) -> Iterator[Check]:
    """The student's folder, through CTranslate2's own converter."""
    if find_spec("ctranslate2") is None:
        yield packages.not_checked("student", "ctranslate2", "ctranslate2 is not installed")
        return
    program = installed("ctranslate2")
    for quantization in CTRANSLATE2:
        files = f"student {quantization}"
        try:
            found = packages.read, alone(ask_ctranslate2, packages, quantization, folder / quantization)
            yield packages.compare(files, program, found, against="onnx f32")
        except RuntimeError as error:
            yield packages.does_not_run(files, program, error)


def ask_ctranslate2(packages: Packages, quantization: str, folder: Path) -> Ids:
    """Answers; it reads and writes words, of which the vocabulary has one for each row of the embedding."""
    import ctranslate2

    variant = CTRANSLATE2[quantization]
    ctranslate2.converters.TransformersConverter(str(packages.student)).convert(str(folder), quantization=variant)
    model = ctranslate2.Translator(str(folder), device="cpu", compute_type=variant, intra_threads=1, inter_threads=1)
    words: list[str] = json.loads((folder / "shared_vocabulary.json").read_text(encoding="utf-8"))
    ids_of = {word: number for number, word in reversed(list(enumerate(words)))}
    answers = []
    for ids in packages.read:
        (done,) = model.translate_batch(
            [[words[number] for number in ids]], beam_size=1, max_decoding_length=NEW_TOKENS
        )
        answers.append([ids_of[word] for word in done.hypotheses[0]])
    return answers


# llama.cpp


def check_llama_class(packages: Packages) -> Iterator[Check]:
    """The GGUF files, through llama-cpp-python's high-level class."""
    program = installed("llama-cpp-python")
    has_amx = "amx_tile" in Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else False
    for files in packages.said:
        form, quantization = files.split()
        if form != "gguf":
            continue
        if has_amx and quantization not in EXACT:
            why = "this CPU has AMX, where quantised files crash llama.cpp unless use_extra_bufts is off, which Llama cannot say"
            yield packages.not_checked(files, f"{program}, Llama", why)
            continue
        try:
            found = alone(ask_llama_class, packages, str(packages.gguf_file(quantization)))
            yield packages.compare(files, f"{program}, Llama", found)
        except RuntimeError as error:
            yield packages.does_not_run(files, f"{program}, Llama", error)


def ask_llama_class(packages: Packages, model: str) -> tuple[Ids, Ids]:
    """Prompts and answers; keys and values in float32, as run.py has them (0 is GGML_TYPE_F32)."""
    import llama_cpp

    program = llama_cpp.Llama(model, n_ctx=0, n_threads=1, verbose=False, flash_attn=False, type_k=0, type_v=0)
    read: Ids = []
    answers: Ids = []
    for prompt in packages.prompts:
        ids = program.tokenize(prompt.encode("utf-8"), add_bos=True, special=False)
        answer: list[int] = []
        program.reset()  # type: ignore[no-untyped-call]
        for token in program.generate(ids, temp=0.0, repeat_penalty=1.0):
            if token == program.token_eos() or len(answer) == NEW_TOKENS:
                break
            answer.append(token)
        read.append(ids)
        answers.append(answer)
    program.close()
    return read, answers


def check_converter(packages: Packages, converter: Path | None, scratch: Path) -> Iterator[Check]:
    """llama.cpp's converter beside our writer, byte by byte."""
    if converter is None or not converter.is_file():
        yield packages.not_checked("gguf", "convert_hf_to_gguf.py", "no --converter")
        return
    # It brings a gguf package of its own.
    environment = {**os.environ, "PYTHONPATH": str(converter.resolve().parent / "gguf-py"), "HF_HUB_OFFLINE": "1"}
    program = f"convert_hf_to_gguf.py of {installed('llama-cpp-python')}"
    for quantization in EXACT:
        if not packages.gguf_file(quantization).is_file():
            continue
        files, theirs = f"gguf {quantization}", scratch / f"{packages.name}-{quantization}.gguf"
        command = [sys.executable, str(converter), str(packages.student), "--outfile", str(theirs)]
        command += ["--outtype", quantization]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not theirs.is_file():
            words = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
            yield packages.does_not_run(files, program, words[0][:300])
            continue
        yield compare_tensors(packages, files, program, theirs)
        yield compare_metadata(packages, files, program, theirs)


def compare_tensors(packages: Packages, files: str, program: str, theirs: Path) -> Check:
    """Names, shapes, types and bytes of all tensors."""
    from gguf import GGUFReader

    ours = {tensor.name: tensor for tensor in GGUFReader(packages.gguf_file(files.split()[1])).tensors}
    others = {tensor.name: tensor for tensor in GGUFReader(theirs).tensors}
    names = sorted({*ours, *others})
    differing = [
        name for name in names if name not in ours or name not in others or not equal(ours[name], others[name])
    ]
    note = f"differing: {', '.join(differing[:6])}" if differing else ""
    if differing == ["output.weight"] and "output.weight" not in others and is_scaled(packages, ours["output.weight"]):
        note = (
            "and output.weight, which only ours has: the embedding times d_model^-0.5 (llama.cpp leaves the factor out)"
        )
        names.remove("output.weight")
        differing = []
    compared = "names, shapes, types and bytes of tensors"
    return Check(packages.name, files, program, compared, len(names) - len(differing), len(names), note, must=True)


def equal(ours: Any, other: Any) -> bool:
    """Whether two tensors are the same to the last bit."""
    same = ours.shape.tolist() == other.shape.tolist() and ours.tensor_type == other.tensor_type
    return bool(same and ours.data.tobytes() == other.data.tobytes())


def is_scaled(packages: Packages, tensor: Any) -> bool:
    """Whether a tied T5's output is its embedding times d_model^-0.5."""
    from kpodx.export.weights import load_weights, shared_embedding

    if not packages.is_pair or not packages.config.get("tie_word_embeddings", True):
        return False
    scaled = shared_embedding(load_weights(packages.student)) * float(packages.config["d_model"]) ** -0.5
    return bool(scaled.astype(tensor.data.dtype).tobytes() == tensor.data.tobytes())


OWN = (
    "general.name",
    "general.size_label",
    "general.type",
    "general.basename",
    "general.finetune",
    "general.version",
    "kpodx.prompt",
)
"""What each program says of the file, and no model reads."""
TEMPLATE = "tokenizer.chat_template"


def compare_metadata(packages: Packages, files: str, program: str, theirs: Path) -> Check:
    """Everything beside the tensors; what differs is named, with the reason where it is known."""
    from gguf import GGUFReader

    ours, others = (
        {key: field.contents() for key, field in GGUFReader(path).fields.items() if not key.startswith("GGUF.")}
        for path in (packages.gguf_file(files.split()[1]), theirs)
    )
    tokens, types = others["tokenizer.ggml.tokens"], others["tokenizer.ggml.token_type"]
    explained, unexplained = [], []
    keys = sorted({*ours, *others})
    for key in keys:
        mine, other = ours.get(key), others.get(key)
        if mine == other:
            continue
        is_ranked = others["tokenizer.ggml.model"] == "llama"
        reason = why_metadata_differs(key, mine, other, tokens, types, is_ranked=is_ranked)
        if reason:
            explained.append(f"{key} ({reason})")
        else:
            shown = (str(value)[:60] for value in (mine, other))
            unexplained.append(f"{key} ours {' theirs '.join(shown)}")
    note = "; ".join([*(f"UNEXPLAINED {item}" for item in unexplained), f"differing: {', '.join(explained)}"])
    return Check(packages.name, files, program, "metadata", len(keys) - len(unexplained), len(keys), note, must=True)


def why_metadata_differs(
    key: str, ours: Any, other: Any, tokens: list[str], types: list[int], *, is_ranked: bool
) -> str:
    """Why a value may differ; empty where it may not.

    Args:
        key: of the value.
        ours: our value, None where there is none.
        other: the converter's.
        tokens: the converter's vocabulary.
        types: of its tokens.
        is_ranked: whether only the order of scores counts, as in a BPE tokenizer.
    """
    from gguf import TokenType

    if key in OWN:
        return "a name"
    if key == TEMPLATE and other is None:
        return "ours only"
    if not ours and not other:
        return "false, or left out"
    if not isinstance(ours, list) or not isinstance(other, list) or len(ours) != len(other):
        return ""
    differing = [number for number, (a, b) in enumerate(zip(ours, other, strict=True)) if a != b]
    is_beyond = all(tokens[number] == f"[PAD{number}]" for number in differing)
    if key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type") and is_beyond:
        # It reads spiece.model, which ends before the tokens that tokenizer.json adds and the rows that have no token.
        return "rows beyond spiece.model, which it has no names for"
    if key == "tokenizer.ggml.token_type":
        pairs = {(ours[number], other[number]) for number in differing}
        if pairs <= {(int(TokenType.UNKNOWN), int(TokenType.CONTROL))}:
            return f"{', '.join(tokens[number] for number in differing)}: unknown, there control"
    if key == "tokenizer.ggml.scores" and all(types[number] != TokenType.NORMAL for number in differing):
        return "only of added and unused tokens, which are not chosen by score"
    if key == "tokenizer.ggml.scores" and is_ranked:
        # tokenizer.json has merges in order and no scores: what counts is which pair is merged first.
        normal = [number for number, kind in enumerate(types) if kind == TokenType.NORMAL]
        ranked = [ours[number] for number in sorted(normal, key=lambda number: -other[number])]
        if all(before >= after for before, after in itertools.pairwise(ranked)):
            return "the same order"
    return ""


if __name__ == "__main__":
    sys.exit(main())
