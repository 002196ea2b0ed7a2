"""The dataset phase: source → questions."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kpodx.artifacts import save_questions
from kpodx.dataset import asdiv, columns, commonsense_qa, gsm8k, svamp
from kpodx.dataset.config import ColumnsConfig, DatasetConfig, EmbeddedConfig
from kpodx.dataset.hub import read_hub_rows
from kpodx.dataset.readers import Placed, read_rows
from kpodx.dataset.rows import Row, Unusable
from kpodx.dataset.splits import (
    apply_split_ids,
    carve,
    drop_repeats,
    load_split_ids,
    require_unique_ids,
    separate_splits,
)
from kpodx.errors import DataError
from kpodx.runtime import PhaseContext
from kpodx.schema import AnswerKind, Question, Split
from kpodx.text.math_process import require_math_verify

logger = logging.getLogger(__name__)

Parser = Callable[[Row], Question | Unusable]

_PARSERS: dict[str, Parser] = {
    "gsm8k": gsm8k.parse_row,
    "svamp": svamp.parse_row,
    "asdiv": asdiv.parse_row,
    "commonsense_qa": commonsense_qa.parse_row,
}


def run(context: PhaseContext) -> dict[str, object]:
    """Read or generate the questions, split them, and write `questions.jsonl`; nothing is written unless all is right.

    Returns:
        How many questions there are by split, kind and number of steps, and how many were dropped and why.
    """
    questions, dropped = build_questions(context.recipe.dataset)
    save_questions(context.output, questions)
    for reason, count in dropped.items():
        context.progress.note(f"dataset: {count} questions dropped: {reason.replace('_', ' ')}")
    for split in (Split.VALIDATION, Split.TEST):
        if not any(question.split is split for question in questions):
            context.progress.note(f"dataset: no {split.value} questions, so there will be no {split.value} accuracy")
    return summarize(questions, dropped)


def build_questions(config: DatasetConfig) -> tuple[list[Question], dict[str, int]]:
    """The questions that the settings describe, by split and then in the source's order, and the dropped by reason.

    Raises:
        DataError: anything in a file, on the hub or in the splits that is not as it must be.
    """
    dropped: Counter[str] = Counter()
    questions = _generate(config.embedded) if config.embedded is not None else _read(config, dropped)
    questions, dropped["repeated_in_its_split"] = drop_repeats(questions)
    questions, dropped["also_in_another_split"] = separate_splits(questions, drop=config.on_duplicate != "error")
    by_split = {split: [question for question in questions if question.split is split] for split in Split}
    if not by_split[Split.TRAIN]:
        counts = {split.value: len(kept) for split, kept in by_split.items()}
        raise DataError(
            f"There is no question to train on; the splits have {counts}, dropped were {dict(+dropped)}.",
            hint="Name a training source in [dataset.files] or [dataset.hub].",
        )
    kept = [question for split, members in by_split.items() for question in members[: config.limit.of(split)]]
    dropped["over_the_limit"] = len(questions) - len(kept)
    return kept, dict(+dropped)


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


def _parse(config: DatasetConfig, dropped: Counter[str]) -> tuple[list[Question], list[str]]:
    """All questions of the source, and the ids of the rows that gave none, which are counted in `dropped`."""
    parse = _parser(config)
    questions, unusable = [], []
    for split in Split:
        for index, (place, values) in enumerate(_rows(config, split)):
            parsed = parse(Row(values, place, split, index))
            if isinstance(parsed, Question):
                questions.append(parsed)
                continue
            if parsed.error is not None and config.on_unreadable == "error":
                raise parsed.error
            logger.debug("%s: dropped %s: %s", place, parsed.id, parsed.reason)
            dropped[parsed.reason] += 1
            unusable.append(parsed.id)
    require_unique_ids(questions)
    return questions, unusable


def _parser(config: DatasetConfig) -> Parser:
    if config.format == "columns":
        assert config.answer_kind is not None  # a validator of DatasetConfig
        if config.answer_kind is AnswerKind.MATH:
            # Before the teacher is paid, not when the first answer is compared.
            require_math_verify()
        return partial(columns.parse_row, columns=config.columns or ColumnsConfig(), kind=config.answer_kind)
    return _PARSERS[config.format]


def _rows(config: DatasetConfig, split: Split) -> Iterator[Placed]:
    if config.hub is not None:
        if config.hub.of(split) is not None:
            yield from read_hub_rows(config.hub, split)
        return
    assert config.files is not None  # a validator of DatasetConfig
    for path in map(Path, config.files.of(split)):
        is_xml = config.format == "asdiv" and path.suffix.lower() == ".xml"
        yield from asdiv.read_xml(path) if is_xml else read_rows(path)


def _read(config: DatasetConfig, dropped: Counter[str]) -> list[Question]:
    """The questions of the source, in the splits that the settings ask for."""
    questions, unusable = _parse(config, dropped)
    if config.split_ids is not None:
        path, name = config.split_ids.file, config.split_ids.set
        ids = load_split_ids(Path(path), name)
        if config.format == "gsm8k":  # published lists count the lines of test.jsonl from 0
            ids = {split: [f"gsm8k-test-{line}" for line in lines] for split, lines in ids.items()}
        questions, dropped["not_in_split_ids"] = apply_split_ids(questions, ids, unusable, f"{path}, set {name!r}")
        return questions
    if config.validation_fraction == config.test_fraction == 0:
        return questions
    source = Split(config.carve_from)
    return carve(questions, source, config.validation_fraction, config.test_fraction, config.split_seed)


def summarize(questions: list[Question], dropped: dict[str, int]) -> dict[str, object]:
    """Counts by split, by kind, and by split and number of reference steps ("unknown" where the set does not tell)."""
    steps = {split.value: Counter(q.num_steps for q in questions if q.split is split) for split in Split}
    return {
        "questions": {split.value: sum(q.split is split for q in questions) for split in Split},
        "answer_kinds": dict(Counter(q.answer_kind.value for q in questions)),
        "num_steps": {
            split: {
                "unknown" if n is None else str(n): counts[n] for n in sorted(counts, key=lambda n: (n is None, n or 0))
            }
            for split, counts in steps.items()
        },
        "dropped": dropped,
    }
