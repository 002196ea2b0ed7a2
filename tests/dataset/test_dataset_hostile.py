"""Whatever a file holds, reading it gives questions or one DataError, never another exception."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpodx.config import build_config
from kpodx.dataset.building import build
from kpodx.dataset.config import DatasetConfig
from kpodx.errors import DataError
from kpodx.rationales.recorded import QuestionIndex, RecordKeys, load_recordings
from kpodx.schema import Question, Split

NAMES = st.sampled_from(["question", "answer", "text", "label", "choices", "rows", "answer.text", "a", "key"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=8) | NAMES
TEXTS = st.sampled_from(
    ["A) x B) y", "[1, 2]", "{'a': 1}", "yes", "B", "####", "\\boxed{", "\ud800", "1e999999999", "[" * 50]
)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
ROWS = st.lists(st.dictionaries(NAMES, VALUES, max_size=5), min_size=1, max_size=3)
PATHS = st.none() | st.sampled_from(["rows", "*", "*.rows", "rows.text", "*.*", "rows.*.a"])
KINDS = st.sampled_from(["number", "text", "yes_no", "mixed", "choice"])
many = settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(ROWS, KINDS, PATHS, NAMES, st.sampled_from(["alternatives", "steps"]), st.sampled_from([None, 0, 1]))
def test_any_rows_of_any_columns(
    tmp_path: Path, rows: list[Any], kind: str, path: str | None, name: str, how: str, first: int | None
) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    columns: dict[str, Any] = {"rows": path, "rationale": name, "rationale_list": how, "num_steps": name, "id": name}
    columns |= {"choices": name, "first_choice": first} if kind == "choice" else {}
    values = {"format": "columns", "answer_kind": kind, "files": {"train": str(file)}, "columns": columns}
    for policy in ("error", "drop"):
        with contextlib.suppress(DataError):
            build(build_config(DatasetConfig, {**values, "on_unreadable": policy}))


@many
@given(ROWS, st.sampled_from(["number", "choice", "mixed", "text"]), st.sampled_from(["alternatives", "steps"]))
def test_any_answers_and_options(tmp_path: Path, rows: list[Any], kind: str, how: str) -> None:
    file = tmp_path / "a.jsonl"
    whole = [{"question": "q?", "answer": 1, "choices": ["x", "y"], "a": "r", **row} for row in rows]
    file.write_text("\n".join(map(json.dumps, whole)), encoding="utf-8")
    columns: dict[str, Any] = {"rationale": "a", "rationale_list": how}
    columns |= {"choices": "choices"} if kind == "choice" else {}
    values = {"format": "columns", "answer_kind": kind, "files": {"train": str(file)}, "columns": columns}
    with contextlib.suppress(DataError):
        for question in build(build_config(DatasetConfig, values)).questions:
            json.dumps(vars(question), ensure_ascii=False).encode()  # it can be written


@many
@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".xml"])
def test_any_bytes_in_any_file(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content)
    values: dict[str, Any] = {"format": "asdiv", "files": {"train": str(file)}}
    if suffix != ".xml":
        values |= {"format": "columns", "answer_kind": "text"}
    with contextlib.suppress(DataError):
        build(build_config(DatasetConfig, values))


RECORDS = st.dictionaries(
    st.sampled_from(
        ["id", "question", "completion", "custom_id", "response", "messages", "conversations", "choices", "body", "result", "key"]
    ),
    st.recursive(
        SCALARS | TEXTS,
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "from", "content", "value", "message", "choices", "body", "finish_reason", "refusal", "type", "text",
                 "candidates", "parts", "output", "status_code", "summary", "reasoning"]
            ),
            inner,
            max_size=4,
        ),
        max_leaves=10,
    ),
    max_size=4,
)  # fmt: skip


@many
@given(st.lists(RECORDS, min_size=1, max_size=3))
def test_any_records(tmp_path: Path, records: list[Any]) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    index = QuestionIndex([Question("1", Split.TRAIN, "How many of them?", "2")])
    with contextlib.suppress(DataError):
        for _, record in load_recordings([file], RecordKeys()).completions:
            assert isinstance(record.completion, str)
            assert isinstance(record.thought, str)
            index.find(record)
