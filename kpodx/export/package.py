"""Packages: files that run without torch, checked against the student, with a manifest that says how they came about."""

from __future__ import annotations

import contextlib
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import kpodx
from kpodx.artifacts import atomic_folder, hash_model, hash_path, write_json, write_text
from kpodx.errors import GateError, MissingDependencyError, ModelError, UsageError
from kpodx.export.gguf_package import GgufPackage
from kpodx.export.manifest import PACKAGE, QUANTIZATIONS, runner_files
from kpodx.export.origin import describe
from kpodx.export.parity import Agreement, ask_package, compare, measure_divergence, save_reference
from kpodx.export.reference import Reference, ask_student
from kpodx.runtime import Progress
from kpodx.schema import Question, Rationale

if TYPE_CHECKING:
    from kpodx.export.onnx_package import OnnxPackage


@dataclass(frozen=True)
class Exported:
    """One finished model.

    Attributes:
        name: its main file, relative to the package.
        quantization: its name.
        size: bytes of all its files.
        agreement: with the student.
        chosen: what was decided by measuring.
    """

    name: str
    quantization: str
    size: int
    agreement: Agreement
    chosen: dict[str, Any]


def export_package(
    student: Path,
    output: Path,
    form: str,
    quantizations: Sequence[str],
    questions: Sequence[str],
    *,
    name: str,
    origin: dict[str, Any],
    max_new_tokens: int,
    threads: int,
    progress: Progress,
    calibration: tuple[Sequence[Rationale], Sequence[Question]] = ((), ()),
    profile: Mapping[str, Any] | None = None,
) -> list[Exported]:
    """Write a student's package, and keep it only if the unquantised models say exactly what the student says.

    Args:
        student: its folder, in the hub's layout.
        output: folder of the package; it must not exist yet.
        form: gguf or onnx.
        quantizations: names from `QUANTIZATIONS[form]`.
        questions: what both are asked.
        name: the model's name.
        origin: where the student comes from, for the manifest.
        max_new_tokens: longest answer that is compared, in tokens.
        threads: CPU threads, of the student as of the package.
        progress: where progress is shown.
        calibration: rationales that the student was trained with, and their questions, for an importance matrix.
        profile: of the device, for the manifest, which run.py takes threads and context from.

    Raises:
        UsageError: the folder exists, or a quantisation is unknown.
        GateError: an unquantised model says something else; nothing is left behind.
    """
    unknown = [quantization for quantization in quantizations if quantization not in QUANTIZATIONS[form]]
    if unknown:
        raise UsageError(f"--quant {unknown[0]}: expected one of {', '.join(QUANTIZATIONS[form])} for --format {form}.")
    with atomic_folder(output, "--output") as partial:
        # With a thread for each hyperthread, or beside other work, torch can be ten times slower.
        torch.set_num_threads(threads)
        with _told(student):
            reference = ask_student(student, questions, max_new_tokens, progress, calibration)
            package = (
                GgufPackage(partial, student, name, reference) if form == "gguf" else _onnx(partial, student, reference)
            )
        runner = partial / "run.py"
        for module, path in runner_files(form).items():
            shutil.copyfile(path, partial / module)
        done = []
        with tempfile.TemporaryDirectory() as scratch:
            distributions = Path(scratch) / "reference.npz"
            save_reference(distributions, reference)

            def divergence(model: Path) -> float:
                return measure_divergence(runner, model, distributions, threads)

            wanted = list(dict.fromkeys(quantizations))
            for quantization in progress.track(wanted, total=len(wanted), description="Exporting"):
                written = package.write(quantization, divergence)
                said = ask_package(runner, written.path, questions, max_new_tokens, threads)
                agreement = compare(reference.answers, said, divergence(written.path))
                model = written.path.relative_to(partial).as_posix()
                if quantization in package.exact:
                    _gate(model, agreement)
                done.append(Exported(model, quantization, written.size, agreement, written.chosen))
        extra = {"profile": dict(profile)} if profile else {}
        elsewhere = package.finish([item.name for item in done])
        shutil.rmtree(partial / "__pycache__", ignore_errors=True)
        _write_card(partial / "README.md", name, form, done, origin, elsewhere)
        write_json(partial / PACKAGE, _manifest(partial, name, form, student, done, origin, package.tools) | extra)
    return done


@contextlib.contextmanager
def _told(student: Path) -> Iterator[None]:
    """A student whose settings make no sense fails anywhere in transformers or in a writer; told as the bad input that it is."""
    try:
        yield
    except (
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        ArithmeticError,
        AssertionError,
        RuntimeError,
        struct.error,
    ) as error:
        words = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{student} cannot be exported: {type(error).__name__}: {words}",
            hint="Its config.json or its weights make no sense to transformers; kpodx --debug export shows where.",
        ) from error


def _onnx(folder: Path, student: Path, reference: Reference) -> OnnxPackage:
    try:
        import onnxruntime  # noqa: F401

        from kpodx.export.onnx_package import OnnxPackage
    except ImportError as error:
        raise MissingDependencyError(
            "ONNX export needs the packages onnx and onnxruntime.", hint="pip install 'kpodx[onnx]'"
        ) from error
    return OnnxPackage(folder, student, reference)


def _gate(model: str, agreement: Agreement) -> None:
    if agreement.equal < agreement.prompts:
        raise GateError(
            f"{model} does not say what the student says: {agreement.prompts - agreement.equal} of {agreement.prompts} "
            f"answers differ, the first at token {min(agreement.first_differing)}, and its distributions by "
            f"{agreement.divergence:.1e} nats a token. Nothing was exported.",
            hint="Up to about 1e-4 nats it is rounding, which decides near ties of a student that is random or hardly trained: leave "
            "this model out. More is a fault of kpodx: please report it.",
        )


def _manifest(
    folder: Path,
    name: str,
    form: str,
    student: Path,
    done: Sequence[Exported],
    origin: dict[str, Any],
    tools: Sequence[str],
) -> dict[str, Any]:
    from importlib import metadata

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "format": 2,
        "kind": form,
        "name": name,
        "kpodx": kpodx.__version__,
        "origin": {**origin, "student": hash_model(student)},
        "tools": {tool: metadata.version(tool) for tool in (*tools, "transformers", "torch")},
        "models": [asdict(item) for item in done],
        "files": {
            path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": hash_path(path)}
            for path in files
        },
    }


def _write_card(
    path: Path, name: str, form: str, done: Sequence[Exported], origin: dict[str, Any], elsewhere: str
) -> None:
    page = "kpodx has a page that runs it in a browser, without a network: `make web`." if form == "onnx" else ""
    needs = {"gguf": "llama-cpp-python", "onnx": "onnxruntime and tokenizers"}[form]
    rows = "\n".join(
        f"| `{item.name}` | {item.size / 1e6:.1f} MB | {item.agreement.equal} of {item.agreement.prompts} | "
        f"{100 * item.agreement.shared_tokens:.1f} % | {item.agreement.divergence:.2g} |"
        for item in done
    )
    write_text(
        path,
        f"""# {name}

A small reasoner in {form.upper()}, exported by kpodx {kpodx.__version__}. It needs {needs} and nothing else:

    python run.py --model {done[0].name} "Tom has 3 boxes of 12 eggs and breaks 5. How many eggs are left?"

| model | size | answers equal to the student's, token for token | tokens before the first difference | divergence, nats a token |
|---|---|---|---|---|
{rows}

{" ".join(filter(None, (elsewhere, page)))}

{describe(origin)}
""",
    )
