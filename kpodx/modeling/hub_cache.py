"""Files of hub models that were downloaded before; the network is not asked."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import try_to_load_from_cache


def cached_file(model: str, name: str, revision: str | None = None) -> Path | None:
    """The local copy of a hub model's file; None where it was not downloaded, or `model` is a folder.

    Args:
        model: hub id or local folder.
        name: of the file in its repository.
        revision: commit or branch, None for main.
    """
    if Path(model).is_dir() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
        return None
    found = try_to_load_from_cache(model, name, revision=revision)
    return Path(found) if isinstance(found, str) else None
