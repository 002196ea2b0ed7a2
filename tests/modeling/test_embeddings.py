"""Question vectors from a student's embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from phase_inputs import context_for

from kpodx.modeling.embeddings import question_embeddings


def test_vectors_are_centred_unit_and_near_for_near_questions(tmp_path: Path, tiny_t5: Path) -> None:
    (tmp_path / "in").mkdir()
    context = context_for(tmp_path / "in", tiny_t5, "out")
    found = question_embeddings(context, ["Tom has apples", "Tom has apples now", "Mia sells rice and corn", ""])
    assert found is not None
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert found[0] @ found[1] > found[0] @ found[2]
    assert question_embeddings(context, ["Tom has apples"] * 3) is None
