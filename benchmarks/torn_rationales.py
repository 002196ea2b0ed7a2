"""How many rationales end torn or keep an announcement of the answer, for recorded completions and human solutions.

    python benchmarks/torn_rationales.py ../shared/data/teacher_records/*.jsonl --human ../shared/data/gsm8k/train.jsonl \
        --styles tests/text/teacher_styles.toml

Each row compares kpodx's reading with a plain one, which cuts a completion where its last announcement begins.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kpodx.rationales.filtering import Candidate, Limits, sift
from kpodx.schema import AnswerKind, Question, Split
from kpodx.text.answers import canonical_answer
from kpodx.text.choices import letter_of
from kpodx.text.completeness import why_torn
from kpodx.text.completions import clean_completion, find_answer_markers, remove_calculator_marks
from kpodx.text.reasoning import take_apart


@dataclass(frozen=True)
class Row:
    """The figures of one set."""

    name: str
    completions: int
    plain_torn: int
    plain_announcing: int
    kept: int
    torn_rejected: int
    kept_torn: int
    removed: int
    several: int
    seconds: float


def read_records(path: Path) -> Iterator[Candidate]:
    """Yield each recorded completion with its question, whose answer is a number, or the text of an option."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        record = json.loads(line)
        choices = tuple(record.get("choices", ()))
        kind = AnswerKind.CHOICE if choices else AnswerKind.NUMBER
        answer = (
            letter_of(choices.index(record["answer"])) if choices else canonical_answer(str(record["answer"]), kind)
        )
        question = Question(str(number), Split.TRAIN, record["question"], answer or "", kind, choices)
        yield Candidate(question, record["completion"])


def read_human(path: Path) -> Iterator[Candidate]:
    """Yield each human solution of a GSM8K file, without its "####" line."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        record = json.loads(line)
        solution, _, answer = record["answer"].rpartition("\n#### ")
        reference = canonical_answer(answer, AnswerKind.NUMBER) or ""
        yield Candidate(Question(str(number), Split.TRAIN, record["question"], reference), solution, is_trusted=True)


def read_styles(path: Path) -> Iterator[Candidate]:
    """Yield each completion of a table of teachers' styles."""
    for style in tomllib.loads(path.read_text(encoding="utf-8"))["style"]:
        kind = AnswerKind(style["kind"])
        choices = ("sea", "zoo") if kind is AnswerKind.CHOICE else ()
        yield Candidate(Question(style["name"], Split.TRAIN, "", style["answer"], kind, choices), style["completion"])


def plain_reading(text: str) -> str:
    """Return `text` up to where its last announcement begins."""
    markers = find_answer_markers(text)
    return text[: markers[-1].start].strip() if markers else text.strip()


def measure(name: str, candidates: Iterable[Candidate]) -> Row:
    """Return the figures of one set."""
    given = list(candidates)
    plain = [plain_reading(remove_calculator_marks(clean_completion(one.completion))) for one in given]
    begun = time.perf_counter()
    outcome = sift(given, Limits(), name)
    seconds = time.perf_counter() - begun

    return Row(
        name=name,
        completions=len(given),
        plain_torn=sum(why_torn(text) is not None for text in plain if text),
        plain_announcing=sum(take_apart(text).num_announcements > 0 for text in plain),
        kept=len(outcome.rationales),
        torn_rejected=outcome.reasons().get("torn", 0),
        kept_torn=sum(why_torn(rationale.text) is not None for rationale in outcome.rationales),
        removed=sum(outcome.num_announcements),
        several=sum(number > 1 for number in outcome.num_announcements),
        seconds=seconds,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", nargs="*", type=Path, help="JSONL files with question, completion, answer, choices")
    parser.add_argument("--human", type=Path, help="a file of GSM8K")
    parser.add_argument("--styles", type=Path, help="a table of teachers' styles (TOML)")
    arguments = parser.parse_args()

    rows = [measure(path.stem, read_records(path)) for path in arguments.records]
    if arguments.human:
        rows.append(measure("human solutions", read_human(arguments.human)))
    if arguments.styles:
        rows.append(measure("styles of teachers", read_styles(arguments.styles)))

    print("| set | completions | plain cut: torn | plain cut: answer left in | kept | of these torn | rejected as torn"
          " | announcements removed | with several | seconds |")  # fmt: skip
    print("|---|" + "---|" * 9)
    for row in rows:
        print(f"| {row.name} | {row.completions} | {row.plain_torn} | {row.plain_announcing} | {row.kept} | {row.kept_torn}"
              f" | {row.torn_rejected} | {row.removed} | {row.several} | {row.seconds:.1f} |")  # fmt: skip


if __name__ == "__main__":
    main()
