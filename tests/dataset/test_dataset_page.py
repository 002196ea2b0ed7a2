"""The splits that docs/dataset.md promises for the official files of each set."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from kpodx.config import build_config, resolve_paths
from kpodx.dataset.building import build
from kpodx.dataset.config import DatasetConfig
from kpodx.schema import Split

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dataset.md"
OFFICIAL = {"gsm8k": "gsm8k", "svamp": "svamp", "commonsense_qa": "commonsenseqa"}
SIZES = {
    ("gsm8k", "counts"): [7473, 660, 659],
    ("svamp", "counts"): [700, 150, 150],
    ("commonsense_qa", "counts"): [8520, 1221, 1221],
    ("svamp", "ids"): [700, 150, 150],
    ("gsm8k", "ids"): [7473, 660, 659],
}


def tables() -> dict[tuple[str, str], DatasetConfig]:
    """Return each recipe on the page, by its format and what says its splits."""
    blocks = re.findall(r"(?:^ {4}\S.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    configs = [
        build_config(DatasetConfig, tomllib.loads(block.replace("\n    ", "\n").strip())["dataset"])
        for block in blocks
        if "[dataset]" in block
    ]
    return {(config.format, "ids" if config.split_ids else "counts"): config for config in configs}


def test_the_page_has_a_recipe_for_each_set() -> None:
    assert set(tables()) == {*SIZES, ("asdiv", "ids")}


@pytest.mark.parametrize(("format", "how"), SIZES)
def test_official_files_give_the_sizes_of_the_page(shared_data: Path, format: str, how: str) -> None:
    folder = shared_data / OFFICIAL[format]

    def base_of(key: str) -> Path:
        return shared_data / "splits" if key == "split_ids.file" else folder

    config = tables()[format, how]
    if config.split_ids is not None:
        ids = config.split_ids.model_copy(update={"file": "kpod_split_ids.json"})
        config = config.model_copy(update={"split_ids": ids})
    built = build(resolve_paths(config, base_of))
    counts = [sum(question.split is split for question in built.questions) for split in Split]
    assert (counts, built.counts()) == (SIZES[format, how], {})
