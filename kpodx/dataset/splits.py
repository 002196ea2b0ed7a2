"""Which question is in which split: published ids, carving, duplicates, limits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from kpodx.dataset.readers import require_file
from kpodx.errors import DataError
from kpodx.schema import Question, Split
from kpodx.text.files import parse_json, read_text

SPLIT_NAMES = {"train": Split.TRAIN, "dev": Split.VALIDATION, "validation": Split.VALIDATION, "test": Split.TEST}
MAX_SHOWN = 10


@dataclass(frozen=True)
class Copy:
    """A question that was dropped because another has the same text and choices."""

    dropped: Question
    kept: Question


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
    sets = parse_json(read_text(path), str(path), "a JSON object of sets")
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
) -> tuple[list[Question], list[Question]]:
    """Put each listed question into the split that lists it.

    A question that is not listed stays where its file put it if that split has no list, and is left out otherwise.

    Args:
        questions: all questions, in any split.
        ids: the question ids that each split lists.
        unusable: ids of rows that the source has but that gave no question; the lists may name them.
        place: the id file, for messages.

    Returns:
        The questions with their new splits, in the order given, and those that were left out.

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
    kept, left_out = [], []
    for question in questions:
        if question.id in wanted or question.split not in ids:
            kept.append(replace(question, split=wanted.get(question.id, question.split)))
        else:
            left_out.append(question)
    return kept, left_out


def carve(questions: Sequence[Question], source: Split, counts: Mapping[Split, int], seed: int) -> list[Question]:
    """Move exactly so many questions of `source` to other splits: they are ranked by a hash of seed and text, and cut.

    Where a question goes does not depend on its row, so a file in another order is split the same way.

    Args:
        questions: without copies in `source`.
        source: the split that the others are carved out of.
        counts: how many questions go to each split; those of the first rank to the first of them.
        seed: another seed gives another split.

    Raises:
        DataError: nothing would be left of `source`.
    """
    ranked = sorted((q for q in questions if q.split is source), key=lambda question: _rank(question, seed))
    if sum(counts.values()) >= len(ranked):
        wanted = " and ".join(f"{count} for {split.value}" for split, count in counts.items())
        raise DataError(
            f"Expected more questions in {source.value} than are carved out of it ({wanted}), got {len(ranked)}.",
            hint="Carve fewer: see dataset.validation_count and test_count, or the fractions.",
        )
    new_splits: dict[int, Split] = {}
    start = 0
    for split, count in counts.items():
        new_splits |= {id(question): split for question in ranked[start : start + count]}
        start += count
    return [replace(question, split=new_splits.get(id(question), question.split)) for question in questions]


def _rank(question: Question, seed: int) -> bytes:
    return hashlib.sha256("\x1f".join(["split", str(seed), *question_key(question)]).encode()).digest()


def carved_count(split: Split, fraction: float, total: int) -> int:
    """Return how many of `total` questions a fraction is, halves rounded up; DataError if that is none.

    >>> carved_count(Split.TEST, 0.5, 1319), carved_count(Split.TEST, 0.15, 1000)
    (660, 150)
    """
    # Decimal: 0.15 of 1000 as a float may be a hair below a half.
    count = int((Decimal(str(fraction)) * total).to_integral_value(ROUND_HALF_UP))
    if count == 0:
        raise DataError(
            f"{split.value}_fraction={fraction} of {total} questions gave none.",
            hint=f"Give more questions or a larger fraction, or set dataset.{split.value}_count.",
        )
    return count


def drop_repeats(questions: Sequence[Question]) -> tuple[list[Question], list[Copy]]:
    """Return the first of the copies of each question inside its split, and the copies that were dropped."""
    kept: dict[tuple[Split, tuple[str, ...]], Question] = {}
    copies = []
    for question in questions:
        first = kept.setdefault((question.split, question_key(question)), question)
        if first is not question:
            copies.append(Copy(question, first))
    return list(kept.values()), copies


def separate_splits(questions: Sequence[Question], *, drop: bool) -> tuple[list[Question], list[Copy]]:
    """Make sure that no question is in two splits: its copy in test is kept, or else the one in validation.

    Args:
        questions: without copies inside a split.
        drop: whether the other copies are dropped; if not, they are an error.

    Returns:
        The questions, in the order given, and the copies that were dropped.

    Raises:
        DataError: copies, up to ten pairs of them named, unless `drop`.
    """
    ranks = {split: rank for rank, split in enumerate((Split.TEST, Split.VALIDATION, Split.TRAIN))}
    first: dict[tuple[str, ...], Question] = {}
    copies, kept = [], set()
    for row, question in sorted(enumerate(questions), key=lambda item: ranks[item[1].split]):
        other = first.setdefault(question_key(question), question)
        if other is question:
            kept.add(row)
        else:
            copies.append(Copy(question, other))
    if copies and not drop:
        pairs = [f"{c.dropped.split.value} {c.dropped.id} = {c.kept.split.value} {c.kept.id}" for c in copies]
        raise DataError(
            f"{len(copies)} questions are in two splits, so accuracy would be measured on what was trained on: "
            + "; ".join(pairs[:MAX_SHOWN]),
            hint="Remove them from the source, or set dataset.on_duplicate=drop_from_train.",
        )
    return [question for row, question in enumerate(questions) if row in kept], copies
