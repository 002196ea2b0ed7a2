"""A real small package and its student's answers, for all tests of acceptance; read them, never write into them."""

from __future__ import annotations

from pathlib import Path

import pytest
from exporting import export

from kpodx.acceptance.evaluate import Examination
from kpodx.config import shipped
from kpodx.dataset.config import DatasetConfig
from kpodx.dataset.phase import build_questions
from kpodx.modeling.generation import answer_questions
from kpodx.modeling.loading import load_with_tokenizer

STUDENT = shipped("recipes") / "quickstart-student"
"""It answers stories of a single step."""
COUNT, TOKENS = 12, 64


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart's starting student as a package."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    folder = tmp_path_factory.mktemp("package")
    export(STUDENT, folder / "out", "onnx", "f32", "q8")
    return folder / "out"


@pytest.fixture(scope="session")
def examination() -> Examination:
    """Stories of a single step that the student answers, and what it says to them."""
    stories = {"train": 2 * COUNT, "validation": 0, "test": 0, "min_steps": 1, "max_steps": 1, "level": "basic"}
    config = DatasetConfig.model_validate({"format": "embedded", "embedded": stories})
    questions = build_questions(config)[0]
    model, tokenizer = load_with_tokenizer(str(STUDENT))
    said = answer_questions(model, tokenizer, questions, max_new_tokens=TOKENS, batch_size=COUNT)
    known = [(question, prediction) for question, prediction in zip(questions, said, strict=True) if prediction.correct]
    assert len(known) >= COUNT
    questions, said = map(list, zip(*known[:COUNT], strict=True))
    return Examination(questions, said, "single steps", 0.02, 0.95, 3)
