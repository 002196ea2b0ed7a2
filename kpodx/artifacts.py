"""The one place that reads and writes what a phase leaves behind.

Every write is atomic: a temporary file in the same folder, flushed to disk, then renamed. A killed process leaves the
old file or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from kpodx import outside
from kpodx.errors import RunError, StorageError, UsageError
from kpodx.schema import (
    AnswerKind,
    Prediction,
    Question,
    Rationale,
    Schedule,
    Span,
    Split,
    StepDifficulties,
    TokenWeights,
)
from kpodx.storage import storing

QUESTIONS = "questions.jsonl"
RATIONALES = "rationales.jsonl"
TOKEN_WEIGHTS = "token_weights.safetensors"
STEP_DIFFICULTIES = "step_difficulties.safetensors"
SCHEDULE = "schedule.safetensors"
STUDENT = "student"
CLUSTERS = "clusters.safetensors"
STAGES = "stages.json"
FINDINGS = "findings.json"
TRAINING_LOG = "log.jsonl"
PREDICTIONS = "predictions.jsonl"
METADATA = "kpodx"


@contextlib.contextmanager
def atomic_open(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on a clean exit it is flushed to disk and takes the name `path`.

    Raises:
        StorageError: the disk is full, refuses to be written, or fails; what was at `path` before is still there.
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        encoding = None if "b" in mode else "utf-8"
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".partial")
        temporary = Path(name)
        try:
            with os.fdopen(handle, mode, encoding=encoding) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            # Where nothing can be written any more, nothing can be removed either: what went wrong first is reported.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def atomic_folder(folder: Path, option: str) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; on a clean exit it takes that name, else nothing is left of it.

    Args:
        folder: must not exist yet.
        option: of the command line that names it.

    Raises:
        UsageError: the folder exists.
        StorageError: the disk is full, refuses to be written, or fails.
    """
    with storing(folder):
        if folder.exists():
            raise UsageError(f"{folder} exists already.", hint=f"Name another folder with {option}, or remove it.")
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            partial.rename(folder)
        except StorageError as error:
            # The reader knows the folder that was asked for, not ours beside it.
            raise StorageError(error.message.replace(str(partial), str(folder)), hint=error.hint) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_open(path) as stream:
        stream.write(text)


def write_json(path: Path, value: object) -> None:
    """Write one JSON document, indented, atomically. NaN and infinity are refused with ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON document; a damaged file raises RunError with its path."""
    try:
        return outside.read_json(path, **outside.OWN)
    except ValueError as error:
        raise RunError(
            f"{path} is damaged: {error}.", hint="Delete the file, or the folder it is in, and run the command again."
        ) from error


def write_jsonl(path: Path, records: Iterable[Mapping[str, object]]) -> int:
    """Write one JSON object a line, atomically; return how many."""
    count = 0
    with atomic_open(path) as stream:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object per line; a damaged line raises RunError with its number."""
    records: list[dict[str, Any]] = []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                records.append(outside.parse_json(line, **outside.OWN))
            except ValueError as error:
                raise RunError(
                    f"{path}, line {number}, is damaged: {error}.",
                    hint="Delete the phase's folder and run the command again.",
                ) from error
    return records


class Journal:
    """A JSONL file that grows line by line and survives being killed: a line is in it, or not at all.

    Args:
        path: the file; what an earlier process wrote is in `records`, a last line that a kill cut off is dropped.

    Raises:
        RunError: another line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            with storing(path):
                content = path.read_bytes()
                os.ftruncate(self._file, content.rfind(b"\n") + 1)
            self.records: list[dict[str, Any]] = read_jsonl(path)
        except BaseException:
            self.close()
            raise

    def append(self, record: Mapping[str, object]) -> None:
        """Write one line; it is with the operating system when this returns, so that only a crash of the machine loses it."""
        line = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        with storing(self._path):
            written = os.write(self._file, line)
            if written != len(line):
                # The disk is full: half a line would be glued to the next one.
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays as safetensors, atomically; `metadata` holds text to keep with them."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with atomic_open(path, "wb") as stream:
        # One key only: safetensors writes several in random order, and equal content should be equal bytes.
        stream.write(save(contiguous, metadata={METADATA: json.dumps(dict(metadata or {}), sort_keys=True)}))


def read_arrays(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Read (arrays, metadata) written by `write_arrays`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stream:
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return arrays, outside.parse_json((stream.metadata() or {}).get(METADATA, "{}"), **outside.OWN)
    except (SafetensorError, ValueError) as error:
        raise RunError(
            f"{path} is damaged: {error}", hint="Delete the phase's folder and run the command again."
        ) from error


def hash_bytes(*parts: bytes) -> str:
    """sha256 of the parts, each preceded by its length, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def hash_json(value: object) -> str:
    """sha256 of `value` as JSON with sorted keys: equal values have equal hashes."""
    return hash_bytes(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())


def hash_path(path: Path) -> str:
    """sha256 of a file's content, or of the names and contents of all files below a folder."""
    if path.is_dir():
        return hash_files(path, (p for p in path.rglob("*") if p.is_file()))
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_files(folder: Path, files: Iterable[Path]) -> str:
    """sha256 of the names, relative to `folder`, and contents of `files`, in whichever order they come."""
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    return hash_json([[name, hash_path(folder / name)] for name in names])


def hash_model(folder: Path) -> str:
    """sha256 of a local model; its README and hidden files (a download's cache), of which no model is made, do not count."""
    names = ((path, path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return hash_files(
        folder,
        (
            p
            for p, name in names
            if name.as_posix() != "README.md" and not any(part.startswith(".") for part in name.parts)
        ),
    )


def save_questions(folder: Path, questions: Iterable[Question]) -> None:
    """Write questions as `questions.jsonl`."""
    write_jsonl(folder / QUESTIONS, map(dataclasses.asdict, questions))


def load_questions(folder: Path) -> list[Question]:
    """Read what `save_questions` wrote, in the same order."""
    return [
        Question(
            **{
                **record,
                "split": Split(record["split"]),
                "answer_kind": AnswerKind(record["answer_kind"]),
                "choices": tuple(record["choices"]),
                "gold_rationales": tuple(record["gold_rationales"]),
                "gold_keypoints": tuple(map(_spans, record.get("gold_keypoints", ()))),
            }
        )
        for record in read_jsonl(folder / QUESTIONS)
    ]


def save_rationales(folder: Path, rationales: Iterable[Rationale]) -> None:
    """Write rationales as `rationales.jsonl`."""
    write_jsonl(folder / RATIONALES, map(vars, rationales))


def load_rationales(folder: Path) -> list[Rationale]:
    """Read what `save_rationales` wrote, in the same order."""
    return [Rationale(**{**record, "keypoints": _marked(record)}) for record in read_jsonl(folder / RATIONALES)]


def _marked(record: Mapping[str, Any]) -> tuple[Span, ...] | None:
    keypoints = record.get("keypoints")
    return None if keypoints is None else _spans(keypoints)


def _spans(values: Iterable[Iterable[int]]) -> tuple[Span, ...]:
    return tuple((start, stop) for start, stop in values)


def save_token_weights(folder: Path, weights: TokenWeights) -> None:
    """Write token weights as `token_weights.safetensors`."""
    write_arrays(
        folder / TOKEN_WEIGHTS,
        {"offsets": weights.offsets, "token_weight": weights.token_weight},
        {"rationale_ids": json.dumps(weights.rationale_ids), "tokenizer_hash": weights.tokenizer_hash},
    )


def load_token_weights(folder: Path) -> TokenWeights:
    """Read what `save_token_weights` wrote."""
    arrays, metadata = read_arrays(folder / TOKEN_WEIGHTS)
    return TokenWeights(
        tuple(json.loads(metadata["rationale_ids"])),
        arrays["offsets"],
        arrays["token_weight"],
        metadata["tokenizer_hash"],
    )


def save_step_difficulties(folder: Path, difficulties: StepDifficulties) -> None:
    """Write step difficulties as `step_difficulties.safetensors`."""
    write_arrays(
        folder / STEP_DIFFICULTIES,
        {"offsets": difficulties.offsets, "difficulty": difficulties.difficulty, "step_stop": difficulties.step_stop},
        {"rationale_ids": json.dumps(difficulties.rationale_ids)},
    )


def load_step_difficulties(folder: Path) -> StepDifficulties:
    """Read what `save_step_difficulties` wrote."""
    arrays, metadata = read_arrays(folder / STEP_DIFFICULTIES)
    return StepDifficulties(
        tuple(json.loads(metadata["rationale_ids"])), arrays["offsets"], arrays["difficulty"], arrays["step_stop"]
    )


def save_schedule(folder: Path, schedule: Schedule) -> None:
    """Write the schedule as `schedule.safetensors`."""
    write_arrays(
        folder / SCHEDULE,
        {"input_steps": schedule.input_steps, "planned": schedule.planned, "done": schedule.done},
        {"rationale_ids": json.dumps(schedule.rationale_ids)},
    )


def load_schedule(folder: Path) -> Schedule:
    """Read what `save_schedule` wrote."""
    arrays, metadata = read_arrays(folder / SCHEDULE)
    return Schedule(
        tuple(json.loads(metadata["rationale_ids"])), arrays["input_steps"], arrays["planned"], arrays["done"]
    )


def save_clusters(folder: Path, clusters: npt.NDArray[np.int64]) -> None:
    """Write the cluster of each rationale's question as `clusters.safetensors`, in the order of the schedule."""
    write_arrays(folder / CLUSTERS, {"clusters": clusters})


def load_clusters(folder: Path) -> npt.NDArray[np.int64]:
    """Read what `save_clusters` wrote, int64 [num_rationales]."""
    return read_arrays(folder / CLUSTERS)[0]["clusters"]


def save_predictions(folder: Path, predictions: Iterable[Prediction], name: str = PREDICTIONS) -> None:
    """Write predictions as JSONL under `name`."""
    write_jsonl(folder / name, map(dataclasses.asdict, predictions))


def load_predictions(folder: Path, name: str = PREDICTIONS) -> list[Prediction]:
    """Read what `save_predictions` wrote, in the same order."""
    return [Prediction(**record) for record in read_jsonl(folder / name)]
