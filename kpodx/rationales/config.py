"""Settings of the rationales: who the teacher is, where its records lie, and which of them are kept."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kpodx.config import Config, FilePath

TeacherKind = Literal["recorded", "gold", "embedded"]
FilterKind = Literal["none", "correct"]


def _one_or_many(value: object) -> object:
    """A single path stands for a list of one."""
    return (value,) if isinstance(value, str) else value


class RationalesConfig(Config):
    """Where the rationales of the training questions come from, and which are kept."""

    teacher: TeacherKind = "gold"
    """Who wrote them: recorded (completions in JSONL files), gold (those that came with the questions) or embedded (the
    generated ones of the embedded set, some of them wrong on purpose)."""
    files: Annotated[tuple[FilePath, ...], BeforeValidator(_one_or_many)] = ()
    """JSONL files of recorded completions, one path or a list, read in this order; only with teacher recorded."""
    id_key: str = "id"
    """Key of a record's question id; records without it are matched by the text of the question."""
    question_key: str = "question"
    """Key of a record's question text."""
    completion_key: str = "completion"
    """Key of a record's completion: a text, or a list of texts."""
    teacher_name: str | None = None
    """Name kept with each rationale, such as a model's; None takes the value of teacher."""
    filter: FilterKind = "correct"
    """Which are kept: correct (those whose own answer is the reference) or none (all, as the paper literally has it)."""
    max_per_question: int | None = Field(default=None, ge=1)
    """Most rationales kept of one question, in the order of the records; None keeps all."""
    min_characters: int = Field(default=1, ge=1)
    """Shortest reasoning kept, in characters."""
    max_characters: int | None = Field(default=None, ge=1)
    """Longest reasoning kept, in characters; None sets no limit."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.teacher == "recorded" and not self.files:
            raise ValueError("teacher 'recorded' needs rationales.files, the JSONL files of completions")
        if self.teacher != "recorded" and self.files:
            raise ValueError(f"rationales.files is only read by teacher 'recorded', not by {self.teacher!r}")
        if self.max_characters is not None and self.max_characters < self.min_characters:
            raise ValueError(f"max_characters {self.max_characters} is below min_characters {self.min_characters}")
        return self
