"""Settings of the dataset phase: what is allowed together, and which paths the recipe loader finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpodx.config import build_config, path_settings, resolve_paths
from kpodx.dataset.config import DatasetConfig
from kpodx.errors import ConfigError
from kpodx.schema import Split

TRAIN = {"train": "train.jsonl"}


def config(**values: object) -> DatasetConfig:
    return build_config(DatasetConfig, {"format": "gsm8k", **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "got none of them"),
        ({"files": TRAIN, "hub": {"id": "openai/gsm8k", "train": "train"}}, r"\[dataset.files\] and \[dataset.hub\]"),
        ({"files": {}}, "no file is named"),
        ({"files": {"train": ()}}, "no file is named"),
        ({"embedded": {}}, "go together"),
        ({"format": "embedded", "files": TRAIN}, "go together"),
        (
            {"format": "embedded", "embedded": {"min_steps": 4, "max_steps": 3}},
            "min_steps 4 is larger than max_steps 3",
        ),
        ({"format": "embedded", "embedded": {}, "test_fraction": 0.1}, "remove fractions"),
        ({"hub": {"id": "openai/gsm8k"}}, "no split is named"),
        ({"hub": {"train": "train"}}, "exactly one of hub.id and hub.folder"),
        ({"hub": {"id": "../gsm8k", "train": "train"}}, "pattern"),
        ({"hub": {"folder": "x", "revision": "main", "train": "train"}}, "hub.revision belongs to hub.id"),
        (
            {"format": "columns", "files": TRAIN, "answer_kind": "words"},
            "expected number, choice, .*mixed, got 'words'",
        ),
        ({"format": "columns", "files": TRAIN, "answer_kind": "text", "columns": {"answer": []}}, "at least 1 item"),
        (
            {"format": "columns", "files": TRAIN, "answer_kind": "text", "columns": {"first_choice": 1}},
            "first_choice belongs to",
        ),
        ({"files": TRAIN, "test_fraction": 0.5, "test_count": 3}, "set either test_fraction or test_count"),
        ({"files": {"train": "a.jsonl", "test": "t.jsonl"}, "test_count": 5}, "test_count would carve a test split"),
        ({"files": TRAIN, "carve_from": "test", "test_count": 5}, "cannot be carved out of test"),
        ({"format": "columns", "files": TRAIN}, "needs answer_kind"),
        ({"format": "columns", "files": TRAIN, "answer_kind": "choice"}, "go together"),
        ({"format": "columns", "files": TRAIN, "answer_kind": "text", "columns": {"choices": "c"}}, "go together"),
        ({"files": TRAIN, "columns": {}}, "belong to format 'columns'"),
        ({"files": TRAIN, "validation_fraction": 0.5, "test_fraction": 0.5}, "nothing is left"),
        ({"files": {"test": "t.jsonl"}, "validation_fraction": 0.5}, "does not name"),
        ({"files": {"train": "a.jsonl", "test": "t.jsonl"}, "test_fraction": 0.5}, "but the source names one"),
        ({"files": TRAIN, "carve_from": "test", "test_fraction": 0.5}, "cannot be carved out of test"),
        (
            {"files": TRAIN, "split_ids": {"file": "i.json", "set": "GSM8K"}, "test_fraction": 0.5},
            "remove the fractions",
        ),
        ({"files": TRAIN, "limit": {"train": 0}}, "greater than or equal to 1"),
    ],
)
def test_settings_that_contradict_each_other_are_told(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**values)


def test_paths_are_found_and_made_absolute_and_hub_split_names_are_not(tmp_path: Path) -> None:
    written = config(
        files={"train": ["a.jsonl", "b.jsonl"], "test": "t.jsonl"}, split_ids={"file": "i.json", "set": "S"}
    )
    resolved = resolve_paths(written, lambda key: tmp_path)
    assert list(path_settings(resolved)) == [
        ("files.train", str(tmp_path / "a.jsonl")),
        ("files.train", str(tmp_path / "b.jsonl")),
        ("files.test", str(tmp_path / "t.jsonl")),
        ("split_ids.file", str(tmp_path / "i.json")),
    ]
    assert resolved.files is not None
    assert resolved.files.of(Split.TRAIN) == (str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))
    assert resolved.files.of(Split.VALIDATION) == ()
    assert list(path_settings(config(hub={"id": "openai/gsm8k", "train": "train"}))) == []
    assert list(path_settings(config(hub={"folder": "gsm8k", "train": "train"}))) == [("hub.folder", "gsm8k")]
