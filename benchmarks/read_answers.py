"""How often answers are read from recorded completions, how they are announced, and how often they are right.

Each file of `../shared/data/teacher_records` is read twice. The second time every completion whose announced answer is right
loses its announcement, which shows how far a stated or guessed answer can be trusted.

    python benchmarks/read_answers.py
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kpodx.schema import AnswerKind
from kpodx.text.answers import AnswerReading, answers_equal, canonical_answer, read_answer
from kpodx.text.completions import clean_completion
from kpodx.text.reasoning import split_completion

RECORDS = Path(__file__).resolve().parents[2] / "shared" / "data" / "teacher_records"
SOURCES = ("announced", "stated", "guessed")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def judge_record(record: dict[str, Any], completion: str) -> tuple[AnswerReading, bool]:
    """Return what is read from `completion`, and whether it is the record's answer."""
    choices = record.get("choices", ())
    kind = AnswerKind.CHOICE if choices else AnswerKind.NUMBER
    reference = canonical_answer(str(record["answer"]), kind, choices)
    assert reference is not None, record["answer"]
    reading = read_answer(completion, kind, choices, record["question"])
    return reading, answers_equal(reading.answer, reference, kind)


def without_announcement(records: list[dict[str, Any]]) -> Iterator[tuple[AnswerReading, bool]]:
    """Yield the readings of the completions whose announced answer is right, after removing the announcement."""
    for record in records:
        reading, is_right = judge_record(record, record["completion"])
        if is_right and reading.source == "announced":
            reasoning = split_completion(clean_completion(record["completion"]))[0]
            yield judge_record(record, reasoning)


def show(name: str, readings: list[tuple[AnswerReading, bool]]) -> str:
    """Return one line of the table."""
    read = Counter(reading.source for reading, _ in readings if reading.answer is not None)
    right = Counter(reading.source for reading, is_right in readings if is_right)
    by_source = "".join(f"{f'{right[source]}/{read[source]}':>12}" for source in SOURCES)
    return f"{name:<52}{len(readings):>7}{read.total():>7}{right.total():>7}{by_source}"


def main() -> None:
    """Print the table."""
    if not RECORDS.is_dir():
        raise SystemExit(f"Skipped: {RECORDS} does not exist; the recorded completions are not part of the project.")
    print(f"{'':<52}{'texts':>7}{'read':>7}{'right':>7}{'announced':>12}{'stated':>12}{'guessed':>12}")
    for path in sorted(RECORDS.glob("*.jsonl")):
        records = read_lines(path)
        print(show(path.stem, [judge_record(record, record["completion"]) for record in records]))
        print(show("  without their announcement", list(without_announcement(records))))


if __name__ == "__main__":
    main()
