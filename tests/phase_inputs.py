"""What the model phases read, on generated questions."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kpodx import artifacts
from kpodx.dataset.embedded import generate_questions
from kpodx.modeling.config import StudentConfig
from kpodx.runtime import PhaseContext, RuntimeConfig, SilentProgress
from kpodx.schema import Rationale, Split


class Notes(SilentProgress):
    """Keeps what the user would be told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def write_inputs(folder: Path, count: int = 24) -> list[Rationale]:
    """Write questions of all splits and one rationale for each training question; return the rationales."""
    questions = generate_questions(Split.TRAIN, count, seed=1, max_steps=3)
    rationales = [
        Rationale(f"{q.id}/0", q.id, q.gold_rationales[0].rsplit(" The answer is", 1)[0], q.answer, "embedded")
        for q in questions
    ]
    others = [q for s in (Split.VALIDATION, Split.TEST) for q in generate_questions(s, 5, seed=1)]
    artifacts.save_questions(folder / "dataset", [*questions, *others])
    artifacts.save_rationales(folder / "rationales", rationales)
    return rationales


def mark_results(folder: Path) -> list[Rationale]:
    """Mark "=" and the number after it as the keypoints of all rationales in a folder; return the rationales."""
    marked = []
    for rationale in artifacts.load_rationales(folder / "rationales"):
        found = [(match.span(1), match.span(2)) for match in re.finditer(r"(=) ([\d,.]*\d)", rationale.text)]
        assert found, rationale.text
        marked.append(replace(rationale, keypoints=tuple(span for pair in found for span in pair)))
    artifacts.save_rationales(folder / "rationales", marked)
    return marked


def context_for(folder: Path, student: Path, out: str, **tables: Any) -> PhaseContext:
    """A context whose recipe has the student, the CPU and the given tables."""
    recipe = SimpleNamespace(student=StudentConfig(model=str(student)), runtime=RuntimeConfig(device="cpu"), **tables)
    inputs = {p.name: p for p in folder.iterdir() if p.is_dir()}
    (folder.parent / out).mkdir(exist_ok=True)
    return PhaseContext(recipe, inputs, folder.parent / out, seed=1, progress=Notes())
