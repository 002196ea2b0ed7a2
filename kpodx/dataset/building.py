"""The questions that the settings describe: read or generated, split, without copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kpodx.dataset.config import DatasetConfig, EmbeddedConfig
from kpodx.dataset.source import Dropped, Source, read_source
from kpodx.dataset.splits import (
    apply_split_ids,
    carve,
    carved_count,
    drop_repeats,
    load_split_ids,
    require_unique_ids,
    separate_splits,
)
from kpodx.errors import DataError
from kpodx.schema import Question, Split


@dataclass
class Built:
    """The questions of a run, and all that was left out or changed.

    Attributes:
        questions: by split, and then in the source's order.
        dropped: each question that is not among them, except those over a limit.
        over_the_limit: how many a limit left out.
        remarks: how often something was changed in a row, by what.
        listed: the ids that `split_ids` lists, by split.
    """

    questions: list[Question]
    dropped: list[Dropped] = field(default_factory=list)
    over_the_limit: int = 0
    remarks: Counter[str] = field(default_factory=Counter)
    listed: Mapping[Split, list[str]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return how many were dropped for each reason."""
        counts = Counter(item.reason for item in self.dropped)
        counts["over_the_limit"] = self.over_the_limit
        return dict(+counts)

    def listed_but_dropped(self) -> dict[str, list[Dropped]]:
        """Return the dropped questions that `split_ids` lists, by split."""
        dropped = {item.id: item for item in self.dropped if item.reason != "not_in_split_ids"}
        found = {split.value: [dropped[key] for key in keys if key in dropped] for split, keys in self.listed.items()}
        return {split: items for split, items in found.items() if items}


def build_questions(config: DatasetConfig) -> tuple[list[Question], dict[str, int]]:
    """Return the questions that the settings describe, and how many were dropped for each reason; see `build`."""
    built = build(config)
    return built.questions, built.counts()


def build(config: DatasetConfig) -> Built:
    """Return the questions that the settings describe, by split and then in the source's order.

    Raises:
        DataError: anything in a file, on the hub or in the splits that is not as it must be.
    """
    source = Source(_generate(config.embedded)) if config.embedded is not None else read_source(config)
    require_unique_ids(source.questions)
    built = Built(source.questions, source.dropped, remarks=source.remarks)
    if config.split_ids is not None:
        _follow_ids(config, built)
    _drop_copies(config, built)
    _carve(config, built)
    by_split = {split: [question for question in built.questions if question.split is split] for split in Split}
    if not by_split[Split.TRAIN]:
        counts = {split.value: len(kept) for split, kept in by_split.items()}
        raise DataError(
            f"There is no question to train on; the splits have {counts}, dropped were {built.counts()}.",
            hint="Name a training source in [dataset.files] or [dataset.hub].",
        )
    kept = [question for split, members in by_split.items() for question in members[: config.limit.of(split)]]
    built.over_the_limit = len(built.questions) - len(kept)
    built.questions = kept
    return built


def _generate(config: EmbeddedConfig) -> list[Question]:
    from kpodx.dataset.embedded import generate_questions

    return [
        question
        for split in Split
        for question in generate_questions(
            split,
            config.of(split),
            seed=config.seed,
            min_steps=config.min_steps,
            max_steps=config.max_steps,
            level=config.level,
        )
    ]


def _follow_ids(config: DatasetConfig, built: Built) -> None:
    """Split the questions as the id file lists them."""
    assert config.split_ids is not None
    path, name = config.split_ids.file, config.split_ids.set
    ids = load_split_ids(Path(path), name)
    if config.format == "gsm8k":  # published lists count the lines of test.jsonl from 0
        ids = {split: [f"gsm8k-test-{line}" for line in lines] for split, lines in ids.items()}
    unusable = {item.id for item in built.dropped}
    built.listed = ids
    built.questions, left_out = apply_split_ids(built.questions, ids, unusable, f"{path}, set {name!r}")
    built.dropped += [Dropped(question.id, question.split.value, "not_in_split_ids") for question in left_out]


def _drop_copies(config: DatasetConfig, built: Built) -> None:
    """Drop copies before anything is carved, so that carved splits have the sizes that were asked for."""
    built.questions, repeats = drop_repeats(built.questions)
    built.questions, shared = separate_splits(built.questions, drop=config.on_duplicate != "error")
    for reason, copies in (("repeated_in_its_split", repeats), ("also_in_another_split", shared)):
        for copy in copies:
            detail = f"a copy of {copy.kept.split.value} question {copy.kept.id}"
            built.dropped.append(Dropped(copy.dropped.id, copy.dropped.split.value, reason, detail=detail))


def _carve(config: DatasetConfig, built: Built) -> None:
    source = Split(config.carve_from)
    total = sum(question.split is source for question in built.questions)
    sizes = {
        Split.VALIDATION: (config.validation_count, config.validation_fraction),
        Split.TEST: (config.test_count, config.test_fraction),
    }
    counts = {
        split: count or carved_count(split, fraction, total)
        for split, (count, fraction) in sizes.items()
        if config.carves(split)
    }
    if counts:
        built.questions = carve(built.questions, source, counts, config.split_seed)
