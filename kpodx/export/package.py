"""Packages: files that run without torch, checked against the student, with a manifest that says how they came about."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import kpodx
from kpodx.artifacts import hash_model, hash_path, read_json, write_json, write_text
from kpodx.config import shipped
from kpodx.errors import GateError, UsageError
from kpodx.export.gguf_file import PROMPT, write_gguf
from kpodx.export.manifest import PACKAGE
from kpodx.export.parity import Agreement, ask_package, compare
from kpodx.export.quantization import QUANTIZATIONS, quantize
from kpodx.modeling.generation import generate_ids
from kpodx.modeling.loading import load_with_tokenizer
from kpodx.runtime import Progress

MODELFILE = """FROM ./{model}
TEMPLATE \"\"\"{prompt}\"\"\"
PARAMETER temperature 0
"""
"""For Ollama; `ollama create NAME -f Modelfile` reads it."""

OLLAMA_CAN = "llama.cpp's own programs run these files, and Ollama does: `ollama create {name} -f Modelfile`."
OLLAMA_CANNOT = (
    "This is an encoder-decoder (T5). `llama-cli` runs it; Ollama and `llama-server` do not, since they have no encoder "
    "(ollama issue 10666, llama.cpp pull request 17956), and llama-cpp-python's `Llama` class would abort: take `run.py`."
)
EXACT = ("f32", "f16")
"""Number formats whose answers must be the student's own."""


@dataclass(frozen=True)
class Exported:
    """One finished file: its quantisation, size in bytes, and agreement with the student."""

    name: str
    quantization: str
    size: int
    agreement: Agreement


def export_gguf(
    student: Path,
    output: Path,
    quantizations: Sequence[str],
    questions: Sequence[str],
    *,
    name: str,
    origin: dict[str, Any],
    max_new_tokens: int,
    threads: int,
    progress: Progress,
) -> list[Exported]:
    """Write GGUF files of a student, and keep them only if the unquantised ones say exactly what it says.

    Args:
        student: its folder, in the hub's layout.
        output: folder of the package; it must not exist yet.
        quantizations: names from `QUANTIZATIONS`.
        questions: what both are asked.
        name: the model's name.
        origin: where the student comes from, for the manifest.
        max_new_tokens: longest answer that is compared, in tokens.
        threads: CPU threads of the package.
        progress: where progress is shown.

    Raises:
        UsageError: the folder exists, or a quantisation is unknown.
        GateError: an unquantised file says something else; nothing is left behind.
    """
    unknown = [quantization for quantization in quantizations if quantization not in QUANTIZATIONS]
    if unknown:
        raise UsageError(f"--quant {unknown[0]}: expected one of {', '.join(QUANTIZATIONS)}.")
    if output.exists():
        raise UsageError(f"{output} exists already.", hint="Name another folder with --output, or remove it.")
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        runner = partial / "run.py"
        shutil.copyfile(shipped("export") / "runners" / "llama_cpp" / "run.py", runner)
        expected = student_answers(student, questions, max_new_tokens, progress)
        exact = partial / ".f32.gguf"
        write_gguf(student, exact, "f32", name)
        done = []
        wanted = list(dict.fromkeys(quantizations))
        for quantization in progress.track(wanted, total=len(wanted), description="Exporting"):
            target = partial / f"{name}-{quantization}.gguf"
            if quantization == "f32":
                shutil.copyfile(exact, target)
            elif quantization == "f16":
                write_gguf(student, target, "f16", name)
            else:
                quantize(exact, target, quantization)
            agreement = compare(expected, ask_package(runner, target, questions, max_new_tokens, threads))
            _gate(target, quantization, agreement)
            done.append(Exported(target.name, quantization, target.stat().st_size, agreement))
        exact.unlink()
        is_pair = bool(read_json(student / "config.json").get("is_encoder_decoder"))
        if not is_pair:
            write_text(
                partial / "Modelfile",
                MODELFILE.format(model=done[0].name, prompt=PROMPT.replace("{question}", "{{ .Prompt }}")),
            )
        _write_card(partial / "README.md", name, done, origin, is_pair=is_pair)
        write_json(partial / PACKAGE, _manifest(partial, name, student, done, origin))
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return done


def student_answers(
    student: Path, questions: Sequence[str], max_new_tokens: int, progress: Progress
) -> list[list[int]]:
    """Token ids of the student's own greedy answers, up to the end of its context.

    Raises:
        UsageError: a question does not fit into it.
    """
    model, tokenizer = load_with_tokenizer(str(student))
    prompts = [PROMPT.replace("{question}", question) for question in questions]
    context = context_tokens(model.config)
    lengths = [len(ids) for ids in tokenizer(prompts).input_ids]
    if max(lengths) >= context:
        raise UsageError(
            f"A question of {max(lengths)} tokens does not fit into the student's context of {context}.",
            hint="Compare on fewer questions with --questions, or export a student with a longer context.",
        )
    # One by one, as a device answers: another padding could round otherwise.
    written = generate_ids(
        model,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        batch_size=1,
        progress=progress,
        description="The student answers",
    )
    # transformers goes on beyond the positions that a model was trained with; a device stops there.
    rooms = [context - (0 if model.config.is_encoder_decoder else length) for length in lengths]
    return [ids[:room] for ids, room in zip(written, rooms, strict=True)]


def context_tokens(config: Any) -> int:
    """The positions of a model, in tokens; 512 for a T5 that names none, as GGUF has it."""
    positions = getattr(config, "n_positions", None) or getattr(config, "max_position_embeddings", None)
    return int(positions or 512)


def _gate(target: Path, quantization: str, agreement: Agreement) -> None:
    if quantization in EXACT and agreement.equal < agreement.prompts:
        raise GateError(
            f"{target.name} does not say what the student says: {agreement.prompts - agreement.equal} of {agreement.prompts} "
            f"answers differ, the first at token {min(agreement.first_differing)}. Nothing was exported.",
            hint="An f16 file rounds: export f32 or Q8_0 instead. An f32 file that differs is a fault of kpodx: please report it.",
        )


def _manifest(
    folder: Path, name: str, student: Path, done: Sequence[Exported], origin: dict[str, Any]
) -> dict[str, Any]:
    from importlib import metadata

    return {
        "format": 1,
        "name": name,
        "kpodx": kpodx.__version__,
        "origin": {**origin, "student": hash_model(student)},
        "tools": {tool: metadata.version(tool) for tool in ("gguf", "llama-cpp-python", "transformers", "torch")},
        "models": [asdict(item) for item in done],
        "files": {
            path.name: {"size": path.stat().st_size, "sha256": hash_path(path)} for path in sorted(folder.iterdir())
        },
    }


def _write_card(path: Path, name: str, done: Sequence[Exported], origin: dict[str, Any], *, is_pair: bool) -> None:
    elsewhere = OLLAMA_CANNOT if is_pair else OLLAMA_CAN.format(name=name)
    rows = "\n".join(
        f"| `{item.name}` | {item.size / 1e6:.1f} MB | {item.agreement.equal} of {item.agreement.prompts} | "
        f"{100 * item.agreement.shared_tokens:.1f} % |"
        for item in done
    )
    made = "\n".join(f"- {key}: {value}" for key, value in origin.items() if value)
    write_text(
        path,
        f"""# {name}

A small reasoner in GGUF, exported by kpodx {kpodx.__version__}. It needs llama-cpp-python and nothing else:

    python run.py --model {done[0].name} "Tom has 3 boxes of 12 eggs and breaks 5. How many eggs are left?"

| file | size | answers equal to the student's, token for token | tokens before the first difference |
|---|---|---|---|
{rows}

{elsewhere}

{made}
""",
    )
