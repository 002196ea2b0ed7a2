"""Rows of a Hugging Face hub data set, or of a local folder in its layout, through `datasets.load_dataset`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kpodx.dataset.config import HubConfig
from kpodx.dataset.nesting import Placed
from kpodx.errors import DataError
from kpodx.schema import Split


def read_hub_rows(hub: HubConfig, split: Split) -> Iterator[Placed]:
    """Yield (place, values) for each row of one split.

    Raises:
        DataError: the data set cannot be reached or found, has no such configuration or split, or needs a script.
    """
    import datasets

    source, name = _source(hub), hub.of(split)
    place = f"{source}{f' ({hub.config})' if hub.config else ''}, split {name!r}"
    try:
        rows = datasets.load_dataset(source, name=hub.config, revision=hub.revision, split=name)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{place}: the data set could not be loaded: {reason}", hint=_hint(hub, error)) from error
    if len(rows) == 0:
        raise DataError(f"{place}: expected at least one question, got none.")
    for number, values in enumerate(rows, start=1):
        yield f"{place}, row {number}", values


def _source(hub: HubConfig) -> str:
    """What `load_dataset` is given; it would read a local folder where a hub id happens to name one."""
    if hub.folder is not None:
        if not Path(hub.folder).is_dir():
            raise DataError(
                f"{hub.folder}: expected a folder in the hub's layout, found none.", hint="Check hub.folder."
            )
        return hub.folder
    assert hub.id is not None  # a validator of HubConfig
    if Path(hub.id).exists():
        raise DataError(
            f"hub.id {hub.id!r} is also a file or folder below the working folder, and would be read from there.",
            hint="Run from another folder, or set hub.folder to read the local one.",
        )
    return hub.id


def _hint(hub: HubConfig, error: Exception) -> str:
    if "script" in str(error):
        return "Data sets that run a script are not loaded; try hub.revision='refs/convert/parquet', or another copy."
    if hub.folder is not None or isinstance(error, ValueError):
        return "Check hub.config and the split names in hub.train, hub.validation and hub.test."
    return (
        "Check hub.id and the network; a private set needs HF_TOKEN. To work offline, run it once with a network and "
        f"then with HF_HUB_OFFLINE=1, or run `hf download --repo-type dataset {hub.id} --local-dir FOLDER` "
        "and set hub.folder."
    )
