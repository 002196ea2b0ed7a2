"""What is wrong with the files of a data set, before anything runs: the first problem of each file, all at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kpodx.dataset.building import build
from kpodx.dataset.config import DatasetConfig, FilesConfig
from kpodx.dataset.source import read_source
from kpodx.dataset.splits import load_split_ids
from kpodx.errors import DataError
from kpodx.schema import Split

Problem = tuple[str, DataError]
"""The setting that names a file, and what is wrong with it."""


def file_problems(config: DatasetConfig) -> list[Problem]:
    """Return the first problem of each file that is there, else the problem of all of them together, such as copies.

    A set on the hub is not read.
    """
    if config.files is None:
        return []
    paths = [path for split in Split for path in config.files.of(split)]
    ids = [] if config.split_ids is None else [config.split_ids.file]
    if all(Path(path).exists() for path in (*paths, *ids)):
        try:
            build(config)
        except DataError as error:
            return list(_problems_by_file(config)) or [("dataset", error)]
        return []
    return list(_problems_by_file(config))


def _problems_by_file(config: DatasetConfig) -> Iterator[Problem]:
    assert config.files is not None
    for split in Split:
        for path in filter(lambda path: Path(path).exists(), config.files.of(split)):
            # One file by itself: copies in other files, and how it is split, are no fault of its own.
            alone = config.model_copy(update={"files": FilesConfig(train=path), "split_ids": None})
            try:
                read_source(alone)
            except DataError as error:
                yield f"dataset.files.{split.value}", error
    if config.split_ids is not None and Path(config.split_ids.file).exists():
        try:
            load_split_ids(Path(config.split_ids.file), config.split_ids.set)
        except DataError as error:
            yield "dataset.split_ids.file", error
