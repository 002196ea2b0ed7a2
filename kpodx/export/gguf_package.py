"""GGUF packages: one file a quantisation, with tokenizer and prompt inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kpodx.artifacts import read_json, write_text
from kpodx.export.gguf_file import write_gguf
from kpodx.export.importance import Importance, importance
from kpodx.export.manifest import PROMPT, Written
from kpodx.export.quantization import QUANTIZATIONS, WEIGHED, quantize
from kpodx.export.reference import Reference

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


class GgufPackage:
    """Writes the files of one student.

    Args:
        folder: of the package.
        student: its folder, in the hub's layout.
        name: of the files.
        reference: the student and what an importance matrix is measured on.

    Raises:
        ModelError: the architecture or tokenizer has no place in a GGUF file.
        MissingDependencyError: the `gguf` extra is not installed.
    """

    tools = ("gguf", "llama-cpp-python")
    exact = ("f32", "f16")

    def __init__(self, folder: Path, student: Path, name: str, reference: Reference) -> None:
        self.folder, self.student, self.name, self.reference = folder, student, name, reference
        self._importance: Importance | None = None
        self._exact = folder / ".f32.gguf"
        write_gguf(student, self._exact, "f32", name)

    def write(self, quantization: str, divergence: Callable[[Path], float]) -> Written:
        """Write one file; there is nothing to measure on the way.

        Args:
            quantization: one of `QUANTIZATIONS`.
            divergence: measures a written model against the student.
        """
        del divergence
        target = self.folder / f"{self.name}-{quantization}.gguf"
        if QUANTIZATIONS[quantization] is None:
            write_gguf(self.student, target, quantization, self.name)
            return Written(target, target.stat().st_size)
        pairs = self.reference.calibration
        if quantization not in WEIGHED or not pairs:
            quantize(self._exact, target, quantization)
            return Written(target, target.stat().st_size)
        if self._importance is None:
            self._importance = importance(self.reference.model, pairs)
        quantize(self._exact, target, quantization, self._importance)
        return Written(target, target.stat().st_size, {"importance_rationales": len(pairs)})

    def finish(self, done: Sequence[str]) -> str:
        """Write what other programs need besides; what the card says of them."""
        self._exact.unlink()
        if read_json(self.student / "config.json").get("is_encoder_decoder"):
            return OLLAMA_CANNOT
        prompt = PROMPT.replace("{question}", "{{ .Prompt }}")
        write_text(self.folder / "Modelfile", MODELFILE.format(model=done[0], prompt=prompt))
        return OLLAMA_CAN.format(name=self.name)
