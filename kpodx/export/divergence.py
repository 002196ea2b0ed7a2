"""How far a package's distributions lie from its student's: a program that runs the package's own runner, in a process of its own.

    python -m kpodx.export.divergence RUNNER MODEL REFERENCE THREADS

prints one JSON line. It needs numpy and what the runner needs.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def load_runner(path: Path) -> Any:
    """A runner's program as a module."""
    spec = importlib.util.spec_from_file_location("runner", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module


def main(runner: Path, model: Path, reference: Path, threads: int) -> None:
    """Print the mean Kullback-Leibler divergence a token, in nats, of a model from the reference."""
    from kpodx.export.manifest import PROMPT

    with np.load(reference) as arrays, load_runner(runner).Model(model, threads) as reasoner:
        total, count = 0.0, 0
        for number, question in enumerate(arrays["questions"]):
            expected = arrays[f"log_probabilities_{number}"].astype(np.float64)
            ids = reasoner.tokenize(PROMPT.replace("{question}", str(question)))
            logits = reasoner.logits(ids, arrays[f"answer_{number}"].tolist())[:, : expected.shape[1]].astype(
                np.float64
            )
            logits -= logits.max(axis=1, keepdims=True)
            found = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            total += float(np.sum(np.exp(expected) * (expected - found)))
            count += len(expected)
    sys.stdout.write(json.dumps({"divergence": total / max(1, count), "tokens": count}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
