"""Which question is in which split: published ids, carving, duplicates, limits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kpodx.dataset.readers import require_file
from kpodx.errors import DataError
from kpodx.runtime import derive_seed
from kpodx.schema import Question, Split

SPLIT_NAMES = {"train": Split.TRAIN, "dev": Split.VALIDATION, "validation": Split.VALIDATION, "test": Split.TEST}
MAX_SHOWN = 10


def question_key(question: Question) -> tuple[str, ...]:
    """What makes two questions the same: text and set of choices, whatever their case and spaces.

    >>> a = Question("1", Split.TRAIN, "How  many?", "3")
    >>> question_key(a) == question_key(replace(a, id="2", question="how many? "))
    True
    """
    return (_plain(question.question), *sorted(map(_plain, question.choices)))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def require_unique_ids(questions: Sequence[Question]) -> None:
    """Raise DataError where one id stands for two different questions."""
    known: dict[str, Question] = {}
    for question in questions:
        other = known.setdefault(question.id, question)
        if question_key(other) != question_key(question):
            raise DataError(
                f"Two questions have the id {question.id!r}: {other.question[:80]!r} and {question.question[:80]!r}.",
                hint="Give every question of the set an id of its own.",
            )


def load_split_ids(path: Path, name: str) -> dict[Split, list[str]]:
    """The ids of each split that the set `name` of an id file lists, as text.

    Raises:
        DataError: a missing or damaged file, an unknown set or split, an id in two splits or twice.
    """
    require_file(path)
    try:
        sets = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a JSON object of sets: {error}.") from error
    if not isinstance(sets, dict) or not isinstance(sets.get(name), dict):
        got = sorted(sets) if isinstance(sets, dict) else type(sets).__name__
        raise DataError(f"{path}: expected a set {name!r}, got {got}.", hint="Set dataset.split_ids.set.")
    lists = {key: ids for key, ids in sets[name].items() if key != "of"}  # "of" says in words what the ids count
    if not lists or not set(lists) <= set(SPLIT_NAMES) or {"dev", "validation"} <= set(lists):
        raise DataError(
            f"{path}, set {name!r}: expected lists named train, dev (or validation) and test, got {sorted(lists)}."
        )
    found = {SPLIT_NAMES[key]: _ids(f"{path}, set {name!r}, {key}", ids) for key, ids in lists.items()}
    repeated = [key for key, count in Counter(key for ids in found.values() for key in ids).items() if count > 1]
    if repeated:
        raise DataError(f"{path}, set {name!r}: {len(repeated)} ids are listed more than once: {repeated[:MAX_SHOWN]}.")
    return found


def _ids(place: str, ids: object) -> list[str]:
    if not isinstance(ids, list) or not all(isinstance(key, str | int) and not isinstance(key, bool) for key in ids):
        raise DataError(f"{place}: expected a list of ids (texts or whole numbers).")
    return [str(key) for key in ids]


def apply_split_ids(
    questions: Sequence[Question], ids: Mapping[Split, Sequence[str]], unusable: Collection[str], place: str
) -> tuple[list[Question], int]:
    """Put each listed question into the split that lists it.

    A question that is not listed stays where its file put it if that split has no list, and is left out otherwise.

    Args:
        questions: all questions, in any split.
        ids: the question ids that each split lists.
        unusable: ids of rows that the source has but that gave no question; the lists may name them.
        place: the id file, for messages.

    Returns:
        The questions with their new splits, in the order given, and how many were left out.

    Raises:
        DataError: ids that the source does not have.
    """
    wanted = {key: split for split, keys in ids.items() for key in keys}
    known = {question.id for question in questions} | set(unusable)
    unknown = [key for key in wanted if key not in known]
    if unknown:
        raise DataError(
            f"{place}: {len(unknown)} of {len(wanted)} ids are not in the source: {unknown[:MAX_SHOWN]}; "
            f"the source's ids look like {[question.id for question in questions[:3]]}.",
            hint="The source must be the very file that the ids were read off, whole and in its order.",
        )
    kept = [
        replace(question, split=wanted.get(question.id, question.split))
        for question in questions
        if question.id in wanted or question.split not in ids
    ]
    return kept, len(questions) - len(kept)


def carve(
    questions: Sequence[Question], source: Split, validation_fraction: float, test_fraction: float, seed: int
) -> list[Question]:
    """Move about a fraction of the questions of `source` to validation and to test, by a hash of seed and text.

    Where a question goes depends on nothing but its own text and the seed: not on its row, and not on other questions,
    so a set that grows never moves a question from test to train, and copies of a question go the same way.

    Raises:
        DataError: a fraction above 0 that gave no question.
    """
    fractions = {Split.VALIDATION: validation_fraction, Split.TEST: test_fraction}
    carved = []
    for question in questions:
        draw = derive_seed("split", seed, *question_key(question)) / 2**31
        if question.split is source and draw < validation_fraction + test_fraction:
            question = replace(question, split=Split.VALIDATION if draw < validation_fraction else Split.TEST)
        carved.append(question)
    for split, fraction in fractions.items():
        if fraction > 0 and all(question.split is not split for question in carved):
            raise DataError(
                f"{split.value}_fraction={fraction} of {len(questions)} questions gave none.",
                hint="Give more questions, a larger fraction, or another split_seed.",
            )
    return carved


def drop_repeats(questions: Sequence[Question]) -> tuple[list[Question], int]:
    """The first of the copies of each question inside its split, and how many copies were dropped."""
    kept: dict[tuple[Split, tuple[str, ...]], Question] = {}
    for question in questions:
        kept.setdefault((question.split, question_key(question)), question)
    return list(kept.values()), len(questions) - len(kept)


def separate_splits(questions: Sequence[Question], *, drop: bool) -> tuple[list[Question], int]:
    """Make sure that no question is in two splits: its copy in test is kept, or else the one in validation.

    Args:
        questions: without copies inside a split.
        drop: whether the other copies are dropped; if not, they are an error.

    Returns:
        The questions, in the order given, and how many were dropped.

    Raises:
        DataError: copies, up to ten pairs of them named, unless `drop`.
    """
    ranks = {split: rank for rank, split in enumerate((Split.TEST, Split.VALIDATION, Split.TRAIN))}
    first: dict[tuple[str, ...], Question] = {}
    pairs, kept = [], set()
    for row, question in sorted(enumerate(questions), key=lambda item: ranks[item[1].split]):
        other = first.setdefault(question_key(question), question)
        if other is question:
            kept.add(row)
        else:
            pairs.append(f"{question.split.value} {question.id} = {other.split.value} {other.id}")
    if pairs and not drop:
        raise DataError(
            f"{len(pairs)} questions are in two splits, so accuracy would be measured on what was trained on: "
            + "; ".join(pairs[:MAX_SHOWN]),
            hint="Remove them from the source, or set dataset.on_duplicate=drop_from_train.",
        )
    return [question for row, question in enumerate(questions) if row in kept], len(pairs)
