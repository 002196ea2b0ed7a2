"""Token weights back on their text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer as Backend

from kpodx.artifacts import STUDENT, load_token_weights
from kpodx.errors import RunError, UsageError
from kpodx.modeling.hub_cache import cached_file
from kpodx.modeling.token_spans import backend_hash, read_backend, token_spans
from kpodx.runs import Run
from kpodx.schema import Rationale, StepSpan, TokenWeights

UPPER_QUARTER = 0.75
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Keypoints:
    """The token weights of a run, with the tokenizer that they were cut with.

    `rows` tells the row of each rationale's id in `weights`; `upper_quarter` is the weight that a quarter of all tokens reaches.
    """

    weights: TokenWeights
    backend: Backend
    rows: dict[str, int]
    upper_quarter: float

    def pieces(self, rationale: Rationale) -> list[dict[str, Any]]:
        """The rationale's text in pieces with their weights; UsageError where it has none."""
        if rationale.id not in self.rows:
            raise UsageError(f"The rationale {rationale.id} has no token weights.", hint="Run the recipe again.")
        weights = self.weights.of(self.rows[rationale.id]).tolist()
        return cut(rationale.text, token_spans(self.backend, rationale.text), weights)


def read_keypoints(run: Run) -> Keypoints:
    """The token weights of a run; RunError where its tokenizer is not to be had any more."""
    weights = load_token_weights(run.folder("weighting"))
    rows = {name: row for row, name in enumerate(weights.rationale_ids)}
    upper = float(np.quantile(weights.token_weight, UPPER_QUARTER))
    return Keypoints(weights, find_tokenizer(run, weights.tokenizer_hash), rows, upper)


def find_tokenizer(run: Run, digest: str) -> Backend:
    """The tokenizer of a hash: the finished student's own, the base model's, or that as transformers changes it on loading."""
    for path in _tokenizer_files(run):
        backend = read_backend(path)
        if backend is not None and backend_hash(backend) == digest:
            return backend
    return _as_transformers_loads_it(run, digest)


def _tokenizer_files(run: Run) -> Iterator[Path]:
    if "distillation" in run.manifest["phases"]:
        yield run.folder("distillation") / STUDENT / TOKENIZER
    student = run.manifest["recipe"]["student"]
    yield Path(student["model"]) / TOKENIZER
    pins = run.manifest.get("revisions", {})
    commit = pins.get(f"{student['model']}@{student.get('revision') or 'main'}")
    if cached := cached_file(student["model"], TOKENIZER, commit):
        yield cached


def _as_transformers_loads_it(run: Run, digest: str) -> Backend:
    """Slow, as it loads torch: only for tokenizers that no file describes alone."""
    from kpodx.fingerprints import Revisions
    from kpodx.modeling.loading import load_tokenizer
    from kpodx.recipe import Recipe

    recipe = Recipe.model_validate(run.manifest["recipe"])
    pins = Revisions(run.manifest.get("revisions", {})).by_model(recipe)
    backend = load_tokenizer(recipe.student.model, pins).backend_tokenizer
    if backend_hash(backend) != digest:
        raise RunError(
            f"The tokenizer of {recipe.student.model} is not the one that the token weights in {run.path} belong to.",
            hint="The model changed since: run the recipe again.",
        )
    return backend


def cut(text: str, spans: Sequence[StepSpan], weights: Sequence[float]) -> list[dict[str, Any]]:
    """The text in pieces, each with the weight of its token; characters between tokens go with None."""
    pieces: list[dict[str, Any]] = []
    position = 0
    for span, weight in zip(spans, weights, strict=True):
        start = max(span.start, position)
        if start > position:
            pieces.append({"text": text[position:start], "weight": None})
        if span.stop > start:
            pieces.append({"text": text[start : span.stop], "weight": round(float(weight), 4)})
        position = max(position, span.stop)
    if position < len(text):
        pieces.append({"text": text[position:], "weight": None})
    return pieces
