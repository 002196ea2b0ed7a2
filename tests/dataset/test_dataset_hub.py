"""Hub data sets, by way of local folders in the hub's layout, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet

from kpodx.config import build_config
from kpodx.dataset.config import DatasetConfig, HubConfig
from kpodx.dataset.hub import read_hub_rows
from kpodx.dataset.phase import build_questions
from kpodx.errors import DataError
from kpodx.schema import Question, Split

GSM8K = {"question": "How many?", "answer": "1+1 = <<1+1=2>>2.\n#### 2"}
SVAMP = {
    "ID": "chal-777",
    "Body": "There are 87 oranges",
    "Question": "How many?",
    "Equation": "( 87.0 - 7.0 )",
    "Answer": "80.0",
    "Type": "Subtraction",
    "question_concat": "There are 87 oranges How many?",
}
CSQA = {
    "id": "q1",
    "question": "Where?",
    "question_concept": "place",
    "choices": {"label": ["A", "B"], "text": ["here", "there"]},
    "answerKey": "B",
}
ASDIV = {"body": "2 pens.", "question": "How many?", "solution_type": "Sum", "answer": "2 (pens)", "formula": "1+1=2"}


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_HUB_OFFLINE=1 and a cache of its own before the start would do."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def make_hub_folder(folder: Path, config: str, splits: dict[str, list[dict[str, Any]]]) -> str:
    """A folder with Parquet files and the README that names them, as on the hub."""
    lines = ["---", "configs:", f"- config_name: {config}", "  data_files:"]
    for split, rows in splits.items():
        path = folder / config / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]), encoding="utf-8")
    return str(folder)


def build(format_name: str, hub: dict[str, Any]) -> list[Question]:
    return build_questions(build_config(DatasetConfig, {"format": format_name, "hub": hub}))[0]


def test_gsm8k_comes_with_its_configuration_and_splits(tmp_path: Path) -> None:
    splits = {"train": [GSM8K, {**GSM8K, "question": "Why?"}], "test": [{**GSM8K, "question": "What?"}]}
    folder = make_hub_folder(tmp_path / "gsm8k", "main", splits)
    questions = build("gsm8k", {"folder": folder, "config": "main", "train": "train", "test": "test"})
    assert [(q.id, q.answer, q.num_steps) for q in questions] == [
        ("gsm8k-train-0", "2", 1),
        ("gsm8k-train-1", "2", 1),
        ("gsm8k-test-0", "2", 1),
    ]
    assert questions[2].split is Split.TEST


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("svamp", SVAMP, ("chal-777", "There are 87 oranges How many?", "80", ())),
        ("commonsense_qa", CSQA, ("q1", "Where?", "B", ("here", "there"))),
        ("asdiv", ASDIV, ("asdiv-train-0", "2 pens. How many?", "2", ())),
    ],
)
def test_the_hub_columns_of_each_set_are_understood(
    tmp_path: Path, name: str, row: dict[str, Any], expected: tuple[object, ...]
) -> None:
    folder = make_hub_folder(tmp_path / "set", "default", {"validation": [row]})
    (question,) = build(name, {"folder": folder, "train": "validation"})
    assert (question.id, question.question, question.answer, question.choices) == expected


def test_plain_jsonl_files_in_a_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text('{"question": "How many?", "answer": "#### 2"}\n', encoding="utf-8")
    (question,) = build("gsm8k", {"folder": str(tmp_path / "set"), "train": "train"})
    assert question.answer == "2"


def test_a_row_that_cannot_be_used_is_told_with_its_place(tmp_path: Path) -> None:
    folder = make_hub_folder(tmp_path / "set", "default", {"test": [CSQA, {**CSQA, "answerKey": ""}]})
    with pytest.raises(DataError, match=r"set, split 'test', row 2: expected the letter of the answer"):
        build("commonsense_qa", {"folder": folder, "train": "test"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": "training"}, r"split 'training': the data set could not be loaded: Unknown split"),
        ({"config": "socratic"}, r"\(socratic\), split 'train': the data set could not be loaded"),
    ],
)
def test_wrong_names_are_told(tmp_path: Path, change: dict[str, str], message: str) -> None:
    folder = make_hub_folder(tmp_path / "set", "main", {"train": [GSM8K]})
    with pytest.raises(DataError, match=message) as caught:
        build("gsm8k", {"folder": folder, "config": "main", "train": "train", **change})
    assert "hub.config and the split names" in str(caught.value.hint)


def test_an_unreachable_hub_is_told_with_what_to_do() -> None:
    hub = HubConfig(id="openai/gsm8k", config="main", train="train")
    with pytest.raises(
        DataError, match=r"openai/gsm8k \(main\), split 'train': the data set could not be loaded"
    ) as caught:
        list(read_hub_rows(hub, Split.TRAIN))
    assert "HF_HUB_OFFLINE=1" in str(caught.value.hint)
    assert "hf download --repo-type dataset openai/gsm8k" in str(caught.value.hint)


def test_a_data_set_that_needs_its_script_is_told(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "old.py").write_text("raise SystemExit", encoding="utf-8")
    with pytest.raises(DataError, match="could not be loaded") as caught:
        build("gsm8k", {"folder": str(tmp_path / "old"), "train": "train"})
    assert "refs/convert/parquet" in str(caught.value.hint)


def test_a_missing_folder_is_told_and_a_folder_never_stands_in_for_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="expected a folder in the hub's layout, found none"):
        build("gsm8k", {"folder": str(tmp_path / "none"), "train": "train"})
    make_hub_folder(tmp_path / "openai" / "gsm8k", "main", {"train": [GSM8K]})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'openai/gsm8k' is also a file or folder"):
        build("gsm8k", {"id": "openai/gsm8k", "train": "train"})
