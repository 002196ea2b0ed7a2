"""Question vectors from a student's pretrained input embeddings (docs/method.md, reading 13)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kpodx.modeling.loading import load_model, load_tokenizer
from kpodx.runtime import PhaseContext


def question_embeddings(context: PhaseContext, texts: Sequence[str]) -> npt.NDArray[np.float32] | None:
    """The mean input embedding of each text's tokens, centred over the texts and scaled to length 1; float32 [N, width].

    Centring takes away the direction that all texts share (the common words), which would hide the rest from K-means.

    Args:
        context: whose student is loaded.
        texts: questions.

    Returns:
        None where all embeddings are equal, so that they tell nothing.
    """
    student = context.recipe.student
    tokenizer = load_tokenizer(student.model, context.revisions)
    table = load_model(student.model, context.revisions).get_input_embeddings().weight.detach().float().numpy()
    ids = tokenizer(list(texts), add_special_tokens=False).input_ids
    vectors = np.stack([table[row].mean(axis=0) if row else np.zeros(table.shape[1], np.float32) for row in ids])
    vectors -= vectors.mean(axis=0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).any():
        return None
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
