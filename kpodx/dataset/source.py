"""A source as questions: every row read, and every row that gave none, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kpodx.dataset import asdiv, columns, commonsense_qa, gsm8k, svamp
from kpodx.dataset.config import ColumnsConfig, DatasetConfig
from kpodx.dataset.hub import read_hub_rows
from kpodx.dataset.nesting import Placed
from kpodx.dataset.readers import read_rows, unfold_rows
from kpodx.dataset.rows import Row, Unusable
from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Question, Split
from kpodx.text.math_process import require_math_verify

Parser = Callable[[Row], Question | Unusable]

_PARSERS: dict[str, Parser] = {
    "gsm8k": gsm8k.parse_row,
    "svamp": svamp.parse_row,
    "asdiv": asdiv.parse_row,
    "commonsense_qa": commonsense_qa.parse_row,
}


@dataclass(frozen=True)
class Dropped:
    """A question that the source has and the run does not.

    Attributes:
        id: of the question.
        split: where the source, or the list of ids, has it.
        reason: one word, for the counts.
        place: file and line, empty if the question itself is right.
        detail: what is wrong, or which question it is a copy of.
    """

    id: str
    split: str
    reason: str
    place: str = ""
    detail: str = ""


@dataclass
class Source:
    """What a source gave.

    Attributes:
        questions: in the source's order.
        dropped: the rows that gave no question.
        remarks: how often something was changed in a row, by what.
    """

    questions: list[Question] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)


def read_source(config: DatasetConfig) -> Source:
    """Return all questions of a source in the splits that the source has.

    Raises:
        DataError: a damaged file or row, or an answer that cannot be read if such rows are not to be dropped.
    """
    source = Source()
    for split in Split:
        _read_split(config, split, source)
    return source


def _read_split(config: DatasetConfig, split: Split, source: Source) -> None:
    parse, count = build_parser(config), 0
    errors: list[DataError] = []
    for index, (place, values) in enumerate(_rows(config, split)):
        parsed = parse(Row(values, place, split, index, source.remarks))
        count += 1
        if isinstance(parsed, Question):
            source.questions.append(parsed)
            continue
        source.dropped.append(Dropped(parsed.id, split.value, parsed.reason, place, parsed.detail))
        errors += [parsed.error] if parsed.error is not None else []
    if errors and (config.on_unreadable == "error" or len(errors) == count):
        raise unreadable_error(errors, count, config)


def unreadable_error(errors: list[DataError], count: int, config: DatasetConfig) -> DataError:
    """Return one error for all answers that cannot be read: the first, and how many there are.

    If no row can be read, the rows are right and the settings are wrong, so the hint does not say to drop them.
    """
    first = errors[0]
    if len(errors) < count:
        others = f" {len(errors)} of {count} rows fail." if len(errors) > 1 else ""
        return DataError(first.message + others, hint=first.hint)
    hint = "Check dataset.format, which says where the answer stands."
    if config.format == "columns":
        hint = "Check dataset.columns.answer, which names the column, and dataset.answer_kind."
    own = str(first.hint).partition(". ")[0].partition(", or set dataset.on_unreadable")[0].rstrip(".")
    says_more = not own.startswith(("Correct the row", "Check dataset"))
    return DataError(f"{first.message} So do all {count} rows.", hint=f"{own}. {hint}" if says_more else hint)


def build_parser(config: DatasetConfig) -> Parser:
    """Return the function that reads a row of this format."""
    if config.format == "columns":
        assert config.answer_kind is not None  # a validator of DatasetConfig
        if config.answer_kind is AnswerKind.MATH:
            # Before the teacher is paid, not when the first answer is compared.
            require_math_verify()
        return partial(columns.parse_row, columns=config.columns or ColumnsConfig(), kind=config.answer_kind)
    return _PARSERS[config.format]


def read_file(config: DatasetConfig, path: Path) -> Iterator[Placed]:
    """Yield the rows of one file of the settings."""
    if config.format == "asdiv" and path.suffix.lower() == ".xml":
        yield from asdiv.read_xml(path)
    else:
        yield from read_rows(path, config.columns.rows if config.columns else None)


def _rows(config: DatasetConfig, split: Split) -> Iterator[Placed]:
    if config.hub is not None:
        if config.hub.of(split) is not None:
            yield from unfold_rows(read_hub_rows(config.hub, split), config.columns.rows if config.columns else None)
        return
    assert config.files is not None  # a validator of DatasetConfig
    for path in map(Path, config.files.of(split)):
        yield from read_file(config, path)
