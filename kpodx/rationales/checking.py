"""What is wrong with the files of a teacher, before anything runs: the first problem of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kpodx.errors import DataError
from kpodx.rationales.config import ASKED, RationalesConfig
from kpodx.rationales.prompting import load_examples
from kpodx.rationales.recorded import RecordKeys, load_recorded

_GGUF = b"GGUF"


def file_problems(config: RationalesConfig) -> list[tuple[str, DataError]]:
    """Return (setting, error) for each file of the teacher that is there and cannot be used."""
    return list(_problems(config))


def _problems(config: RationalesConfig) -> Iterator[tuple[str, DataError]]:
    keys = RecordKeys(config.id_key, config.question_key, config.completion_key)
    for path in filter(lambda path: Path(path).exists(), config.files):
        try:
            load_recorded(Path(path), keys, {})
        except DataError as error:
            yield "rationales.files", error
    examples = config.prompt.examples
    if examples is not None and config.teacher in ASKED and Path(examples).exists():
        try:
            load_examples(Path(examples))
        except DataError as error:
            yield "rationales.prompt.examples", error
    if config.teacher == "gguf" and config.gguf is not None and Path(config.gguf.file).is_file():
        with Path(config.gguf.file).open("rb") as stream:
            start = stream.read(len(_GGUF))
        if start != _GGUF:
            yield (
                "rationales.gguf.file",
                DataError(f"{config.gguf.file}: expected a GGUF file, it begins with {start!r}."),
            )
