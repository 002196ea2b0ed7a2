"""The student's token losses over whole rationales, in resumable shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from kpodx.artifacts import read_arrays, write_arrays
from kpodx.modeling.examples import ModelFamily
from kpodx.modeling.loading import Model
from kpodx.modeling.rationale_likelihood import rationale_nll
from kpodx.modeling.tokenization import TokenizedRationale
from kpodx.runtime import Progress


def score_in_shards(
    model: Model,
    family: ModelFamily,
    items: Sequence[TokenizedRationale],
    folder: Path,
    *,
    batch_size: int,
    shard_size: int,
    dtype: torch.dtype,
    progress: Progress,
) -> list[npt.NDArray[np.float32]]:
    """Score all rationales; finished shards in `folder` are read, not scored again."""
    result: list[npt.NDArray[np.float32]] = []
    starts = range(0, len(items), shard_size)
    for start in progress.track(starts, total=len(starts), description="Step difficulty"):
        part = items[start : start + shard_size]
        path = folder / f"shard-{start:09d}.safetensors"
        if not path.exists():
            scored = dict(rationale_nll(model, family, part, batch_size=batch_size, dtype=dtype))
            write_arrays(path, {"nll": np.concatenate([scored[i] for i in range(len(part))])})
        flat = read_arrays(path)[0]["nll"]
        stops = np.cumsum([len(item.rationale_ids) for item in part])
        result.extend(np.split(flat, stops[:-1]))
    return result
