"""Settings of the questions: where they come from and how they are split."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kpodx.config import Config, FilePath
from kpodx.schema import AnswerKind, Split

Format = Literal["gsm8k", "svamp", "asdiv", "commonsense_qa", "columns", "embedded"]
Files = FilePath | tuple[FilePath, ...] | None
Columns = Annotated[tuple[str, ...], Field(min_length=1)]
ReadAs = AnswerKind | Literal["mixed"]


def _known_kind(value: object) -> object:
    """Return a kind of answer as it is; one error that lists all kinds for anything else."""
    known = [*(kind.value for kind in AnswerKind), "mixed"]
    if value is not None and value not in known:
        raise ValueError(f"expected {', '.join(known)}")
    return value


class FilesConfig(Config):
    """Files that hold the questions: JSONL, JSON, CSV, TSV, Parquet, blocks of text, and ASDiv's XML; several are read in order."""

    train: Files = None
    """File or files of training questions."""
    validation: Files = None
    """File or files of validation questions."""
    test: Files = None
    """File or files of test questions."""

    @model_validator(mode="after")
    def _something_to_read(self) -> Self:
        if not any(self.of(split) for split in Split):
            raise ValueError("no file is named; set files.train, and files.validation and files.test where they exist")
        return self

    def of(self, split: Split) -> tuple[str, ...]:
        """Paths of one split, empty where it has none."""
        value: Files = getattr(self, split.value)
        return (value,) if isinstance(value, str) else value or ()


class HubConfig(Config):
    """A Hugging Face hub data set, such as openai/gsm8k (config main), ChilleD/SVAMP, tau/commonsense_qa or
    EleutherAI/asdiv (whose only split is called validation)."""

    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$")
    """Name of the data set on the hub."""
    folder: FilePath | None = None
    """Local folder in the hub's layout, as `hf download --repo-type dataset --local-dir` makes it, instead of `id`."""
    config: str | None = None
    """Name of the data set's configuration; None takes its default one."""
    revision: str | None = None
    """Commit, tag or branch of the data set; None takes the main branch."""
    train: str | None = None
    """The hub's name of the split with the training questions."""
    validation: str | None = None
    """The hub's name of the split with the validation questions."""
    test: str | None = None
    """The hub's name of the split with the test questions."""

    @model_validator(mode="after")
    def _one_source_and_a_split(self) -> Self:
        if (self.id is None) == (self.folder is None):
            raise ValueError("set exactly one of hub.id and hub.folder")
        if self.folder is not None and self.revision is not None:
            raise ValueError("hub.revision belongs to hub.id; a local folder has no revisions")
        if not any(self.of(split) for split in Split):
            raise ValueError("no split is named; set hub.train to the hub's name of the training split, often 'train'")
        return self

    def of(self, split: Split) -> str | None:
        """The hub's name of one split, None where it is not read."""
        value: str | None = getattr(self, split.value)
        return value


class EmbeddedConfig(Config):
    """How many synthetic word problems are generated, and how long they are."""

    train: int = Field(default=2000, ge=1, le=10_000_000)
    """Number of training questions."""
    validation: int = Field(default=200, ge=0, le=1_000_000)
    """Number of validation questions."""
    test: int = Field(default=200, ge=0, le=1_000_000)
    """Number of test questions."""
    min_steps: int = Field(default=2, ge=1, le=12)
    """Least number of reasoning steps in a question."""
    max_steps: int = Field(default=5, ge=1, le=12)
    """Largest number of reasoning steps in a question."""
    level: Literal["basic", "full"] = "full"
    """basic: whole things up to 100; full: also money, weights, distances, decimals, thousands, percentages, and facts that
    do not matter."""
    seed: int = Field(default=0, ge=0)
    """Seed of the generator."""

    @model_validator(mode="after")
    def _steps_in_order(self) -> Self:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps {self.min_steps} is larger than max_steps {self.max_steps}")
        return self

    def of(self, split: Split) -> int:
        """Number of questions of one split."""
        value: int = getattr(self, split.value)
        return value


class ColumnsConfig(Config):
    """Which column of a file or hub data set holds what, for format 'columns'; a dotted name leads into objects."""

    question: str | Columns = "question"
    """Column of the question's text, or several that are joined by a space, empty ones left out."""
    answer: str | Columns = "answer"
    """Column of the reference answer, or several of which the first that is filled counts."""
    rationale: str | Columns | None = None
    """Column or columns of reference rationales without the final answer, each a text or a list."""
    rationale_list: Literal["alternatives", "steps"] = "alternatives"
    """What a list of rationales is: alternatives, each whole, or the steps of one, which are joined by line breaks."""
    choices: str | Columns | None = None
    """Column of the list of options, or the columns of options A, B, … in order."""
    first_choice: Literal[0, 1] | None = None
    """Number that means option A if answers are numbers; None if they are labels or texts of options."""
    id: str | None = None
    """Column of unique ids; None names each question by a hash of its text."""
    num_steps: str | None = None
    """Column of the number of reference reasoning steps."""
    rows: str | None = None
    """Keys that the rows stand under, joined by dots, such as "examples"; "*" stands for every key; None reads the top."""


class SplitIdsConfig(Config):
    """A JSON file {set: {"train" | "dev" | "validation" | "test": [ids]}} that says what is in each split."""

    file: FilePath
    """The id file."""
    set: str
    """Name of the question set in the id file, such as GSM8K."""


class LimitConfig(Config):
    """Keep only the first questions of a split, in the source's order, after duplicates are gone."""

    train: int | None = Field(default=None, ge=1)
    """Largest number of training questions; None keeps all."""
    validation: int | None = Field(default=None, ge=1)
    """Largest number of validation questions; None keeps all."""
    test: int | None = Field(default=None, ge=1)
    """Largest number of test questions; None keeps all."""

    def of(self, split: Split) -> int | None:
        """Largest number of questions of one split."""
        value: int | None = getattr(self, split.value)
        return value


class DatasetConfig(Config):
    """Where the questions come from, and how they are split."""

    format: Format
    """Layout of the source: a published set, `columns` for files of one's own, or `embedded` for the generator."""
    files: FilesConfig | None = None
    """Files to read."""
    hub: HubConfig | None = None
    """Hub data set to read."""
    embedded: EmbeddedConfig | None = None
    """Questions to generate, for format 'embedded'."""
    columns: ColumnsConfig | None = None
    """Names of the columns, for format 'columns'."""
    answer_kind: Annotated[ReadAs | None, BeforeValidator(_known_kind)] = None
    """How answers are read, for format 'columns': number, choice, yes_no, text, math, or mixed (each by itself: a number, yes
    or no, else a text); the other formats know their own."""
    validation_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of the questions of `carve_from` that become the validation split, if there is none."""
    validation_count: int = Field(default=0, ge=0)
    """Number of the questions of `carve_from` that become the validation split, instead of a share."""
    test_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training questions that become the test split, if there is none."""
    test_count: int = Field(default=0, ge=0)
    """Number of the training questions that become the test split, instead of a share."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the carving."""
    carve_from: Literal["train", "test"] = "train"
    """The split that missing ones are carved out of."""
    split_ids: SplitIdsConfig | None = None
    """Published split to follow question by question."""
    limit: LimitConfig = LimitConfig()
    """Largest number of questions by split."""
    on_unreadable: Literal["error", "drop"] = "error"
    """What to do with an answer that cannot be read: stop, or drop the question and count it."""
    on_duplicate: Literal["error", "drop_from_train"] = "error"
    """What to do with a question found in two splits: stop, or keep it only in test, or else in validation."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        named = [name for name in ("files", "hub", "embedded") if getattr(self, name) is not None]
        if len(named) != 1:
            got = " and ".join(f"[dataset.{name}]" for name in named) or "none of them"
            raise ValueError(f"set exactly one of [dataset.files], [dataset.hub] and [dataset.embedded]; got {got}")
        if (self.format == "embedded") != (self.embedded is not None):
            raise ValueError(
                f"format 'embedded' and [dataset.embedded] go together; got {self.format!r} with {named[0]}"
            )
        return self

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if self.format != "columns":
            if self.columns is not None or self.answer_kind is not None:
                raise ValueError(f"columns and answer_kind belong to format 'columns', but format is {self.format!r}")
            return self
        if self.answer_kind is None:
            raise ValueError("format 'columns' needs answer_kind, such as number, choice, yes_no, text or mixed")
        has_choices = self.columns is not None and self.columns.choices is not None
        if (self.answer_kind is AnswerKind.CHOICE) != has_choices:
            raise ValueError("columns.choices and answer_kind 'choice' go together")
        if self.columns is not None and self.columns.first_choice is not None and not has_choices:
            raise ValueError("columns.first_choice belongs to answer_kind 'choice'")
        return self

    def carves(self, split: Split) -> bool:
        """Return whether a split is carved out of another."""
        if split is Split.TRAIN:
            return False
        return bool(getattr(self, f"{split.value}_fraction") or getattr(self, f"{split.value}_count"))

    @model_validator(mode="after")
    def _splits_fit(self) -> Self:
        carved = [split for split in Split if self.carves(split)]
        if self.embedded is not None and (carved or self.split_ids is not None):
            raise ValueError(
                "[dataset.embedded] says how many questions each split has; remove fractions, counts and split_ids"
            )
        if self.split_ids is not None and carved:
            raise ValueError("split_ids already says what is in each split; remove the fractions and counts")
        for split in carved:
            if getattr(self, f"{split.value}_fraction") and getattr(self, f"{split.value}_count"):
                raise ValueError(f"set either {split.value}_fraction or {split.value}_count, not both")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction add up to 1 or more; nothing is left to carve from")
        if self.carve_from == "test" and Split.TEST in carved:
            raise ValueError("test_fraction and test_count cannot be carved out of test; set carve_from='train'")
        return self

    @model_validator(mode="after")
    def _carved_splits_are_not_named(self) -> Self:
        carved, source = [split for split in Split if self.carves(split)], self.files or self.hub
        for split in carved:
            if source is not None and source.of(split):
                size = "count" if getattr(self, f"{split.value}_count") else "fraction"
                raise ValueError(f"{split.value}_{size} would carve a {split.value} split, but the source names one")
        if carved and source is not None and not source.of(Split(self.carve_from)):
            raise ValueError(f"splits are carved out of {self.carve_from!r}, which the source does not name")
        return self
