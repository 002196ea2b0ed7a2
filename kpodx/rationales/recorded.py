"""Recorded completions: reading the files of a teacher's outputs and matching them to questions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpodx.errors import DataError
from kpodx.rationales.requests import FailureReason
from kpodx.rationales.transcripts import THOUGHT_KEYS, read_batch_request, read_transcript
from kpodx.schema import Question
from kpodx.text.files import parse_json, read_lines


@dataclass(frozen=True)
class RecordedCompletion:
    """One completion on a line of a file, from 1; `question_id` and `question` are None if the record lacks them.

    Attributes:
        completion: the text.
        question_id, question: what it answers.
        reply: what the teacher answered when it was asked for the answer alone, None if it was not.
        thought: what the teacher thought, if the record has it in a field of its own.
        line: where it stands.
        asked: the text that the teacher was asked, which holds the question; empty if unknown.
        failure: why the record is not a usable text, None if it is one.
    """

    completion: str
    question_id: str | None
    question: str | None
    reply: str | None = None
    thought: str = ""
    line: int = field(default=0, compare=False)
    asked: str = ""
    failure: FailureReason | None = None

    @property
    def label(self) -> str:
        """What names the record if its question is unknown."""
        return self.question_id or (self.question or self.asked)[:80]


REPLY_KEY = "answer_completion"
"""Key of the reply to the second question in a record that `kpodx rationales export` wrote."""


@dataclass(frozen=True)
class RecordKeys:
    """The keys that a record holds the question's id, its text, and the completion under."""

    id: str = "id"
    question: str = "question"
    completion: str = "completion"


def normalise_question(text: str) -> str:
    """A question's text without regard to case and spacing: what records are matched by.

    >>> normalise_question("How  many\\nEggs? ")
    'how many eggs?'
    """
    return " ".join(text.split()).casefold()


@dataclass
class Recording:
    """What files of records hold: completions with the file of each, and what was asked under each custom id."""

    completions: list[tuple[Path, RecordedCompletion]] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)


def load_recordings(paths: Iterable[Path], keys: RecordKeys) -> Recording:
    """Return what all files hold, in order. A batch's input among them says what the custom ids of its output mean.

    Raises:
        DataError: as `load_recorded`.
    """
    recording = Recording()
    for path in paths:
        recording.completions += [(path, item) for item in load_recorded(path, keys, recording.asked)]
    return recording


def load_recorded(path: Path, keys: RecordKeys, asked: dict[str, str] | None = None) -> list[RecordedCompletion]:
    """Return every completion of a JSONL file, in order; a record with a list of completions gives several.

    A record may also be a line of OpenAI's batch output, a chat of `messages`, or a ShareGPT conversation.

    Args:
        path: the file.
        keys: the names of the keys in plain records.
        asked: takes what the lines of a batch's input ask, by custom id.

    Raises:
        DataError: the file is missing, empty or not UTF-8, or a line is no record; named with its line.
    """
    completions: list[RecordedCompletion] = []
    is_empty = True
    # Half a surrogate pair is let through: one such text is a rejection, not an error of the file.
    for number, record in read_records(path, "rationales.files", allow_half_pairs=True):
        is_empty = False
        request = None if keys.completion in record else read_batch_request(record)
        if request is None:
            completions += _completions(record, keys, path, number)
        elif asked is not None:
            asked[request[0]] = request[1]
    if is_empty or not (completions or asked):
        raise DataError(f"{path} holds no records; expected one JSON object per line.", hint="Check rationales.files.")
    return completions


def read_records(path: Path, setting: str, *, allow_half_pairs: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for each line of a user's JSONL file, empty ones left out.

    Args:
        path: the file.
        setting: the setting that names it.
        allow_half_pairs: whether half of a surrogate pair is let through.

    Raises:
        DataError: the file is missing or not UTF-8, or a line holds no object; named with its line.
    """
    hint = f"Check {setting}."
    if not path.exists():
        raise DataError(f"No file {path}; expected a JSONL file.", hint=hint)
    if path.is_dir():
        raise DataError(f"{path} cannot be read: it is a folder; expected a JSONL file.", hint=hint)
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            yield number, _parse_line(line, path, number, allow_half_pairs)


def _parse_line(line: str, path: Path, number: int, allow_half_pairs: bool) -> dict[str, Any]:
    hint = "The file may be cut off or not be JSONL; write one JSON object per line."
    record = parse_json(line, f"{path}, line {number}", "a JSON object", hint=hint, allow_half_pairs=allow_half_pairs)
    if not isinstance(record, dict):
        raise DataError(
            f"{path}, line {number}: expected a JSON object, got {type(record).__name__}.",
            hint="Write one JSON object per line.",
        )
    return record


def _completions(record: Mapping[str, Any], keys: RecordKeys, path: Path, number: int) -> Iterator[RecordedCompletion]:
    question_id, question = _text_of(record.get(keys.id)), _text_of(record.get(keys.question))
    if keys.completion not in record:
        said = read_transcript(record)
        if said is None:
            raise _no_completion(record, keys, path, number)
        own_id = _text_of(record.get("custom_id")) or (_text_of(record.get("key")) if "response" in record else None)
        own_id = own_id or question_id
        for item in said:
            yield RecordedCompletion(item.text, own_id, question, None, item.thought, number, item.asked, item.failure)
        return
    if question_id is None and question is None:
        raise DataError(
            f"{path}, line {number}: expected the key {keys.id!r} or {keys.question!r}, found {_found(record)}.",
            hint="Set rationales.id_key or rationales.question_key.",
        )
    thoughts, reply = thoughts_of(record, keys.completion), _reply(record, path, number)
    for row, text in enumerate(_texts(record[keys.completion], keys, path, number)):
        thought = thoughts[row] if row < len(thoughts) else ""
        yield RecordedCompletion(text, question_id, question, reply, thought, number)


def _text_of(value: object) -> str | None:
    return None if value is None else str(value)


def _found(record: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, sorted(record))) or "none"


def _no_completion(record: Mapping[str, Any], keys: RecordKeys, path: Path, number: int) -> DataError:
    return DataError(
        f"{path}, line {number}: expected the key {keys.completion!r}, found {_found(record)}.",
        hint="Set rationales.completion_key to the key that holds the teacher's text.",
    )


def _texts(value: object, keys: RecordKeys, path: Path, number: int) -> list[str]:
    """Return the texts of a completion: one, a list of several, or an empty one for null."""
    texts: list[str] = []
    for text in value if isinstance(value, list) else [value]:
        if text is not None and not isinstance(text, str):
            raise DataError(
                f"{path}, line {number}: expected {keys.completion!r} to hold text, got {type(text).__name__}.",
                hint="A completion is a text or a list of texts.",
            )
        texts.append(text or "")
    return texts


def thoughts_of(record: Mapping[str, Any], completion_key: str) -> list[str]:
    """Return the thoughts of a record's completions, in order; anything but a text counts as none."""
    values = [record.get(key) for key in THOUGHT_KEYS if key != completion_key]
    value = next((value for value in values if value), "")
    items = value if isinstance(value, list) else [value]
    return [item if isinstance(item, str) else "" for item in items]


def _reply(record: Mapping[str, Any], path: Path, number: int) -> str | None:
    """Return the reply to the second question that a record holds, None if it holds none."""
    reply = record.get(REPLY_KEY)
    if reply is not None and not isinstance(reply, str):
        raise DataError(
            f"{path}, line {number}: expected {REPLY_KEY!r} to hold text, got {type(reply).__name__}.",
            hint="It is what the teacher answered when it was asked for the answer alone; leave it out if it was not.",
        )
    return reply


class QuestionIndex:
    """Finds questions by id, else by the text of the question, else inside the text that a teacher was asked.

    Args:
        questions: all questions.
        asked: what was asked under each custom id of a batch.
        keys: the question's id by the key of a request to a teacher.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        asked: Mapping[str, str] | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self._by_id = {question.id: question for question in questions}
        self._by_key = {key: self._by_id[question_id] for key, question_id in (keys or {}).items()}
        self._asked = asked or {}
        self._by_text: dict[str, Question] = {}
        self._by_start: dict[tuple[str, ...], list[_Known]] = {}
        for question in questions:
            text = normalise_question(question.question)
            words = list(_WORD.finditer(text))
            self._by_text.setdefault(text, question)
            if len(words) >= _START_WORDS:
                start = tuple(word[0] for word in words[:_START_WORDS])
                self._by_start.setdefault(start, []).append(_Known(text, words[0].start(), question))

    def find(self, record: RecordedCompletion) -> Question | None:
        """Return the question that `record` answers, or None.

        An id whose own question reads differently from the record's (ids counted from 0 in two different sets) is
        passed over for the text.
        """
        text = None if record.question is None else normalise_question(record.question)
        by_id = self._find_by_id(record.question_id)
        if by_id is not None and (text is None or normalise_question(by_id.question) == text):
            return by_id
        found = None if text is None else self._by_text.get(text)
        asked = record.asked or self._asked.get(record.question_id or "", "")
        return found or (self.find_inside(asked) if asked else None)

    def _find_by_id(self, name: str | None) -> Question | None:
        """Return the question with an id; "q1/2" is a sample of question "q1"."""
        if name is None:
            return None
        sample = _SAMPLE.fullmatch(name)
        return self._by_id.get(name) or self._by_key.get(name) or (self._by_id.get(sample[1]) if sample else None)

    def find_inside(self, asked: str) -> Question | None:
        """Return the question whose text stands last in `asked`; the longest if one is a part of another.

        Solved examples come before the question, so the last is the one that was asked. A question of less than
        four words must have a line of its own.
        """
        text = normalise_question(asked)
        words = list(_WORD.finditer(text))
        found = list(self._short_lines(asked))
        for row in range(len(words) - _START_WORDS + 1):
            start = tuple(word[0] for word in words[row : row + _START_WORDS])
            for known in self._by_start.get(start, ()):
                stop = _stop_of(text, known, words[row].start())
                found += [(stop, len(known.text), known.question)] if stop else []
        if not found:
            return None
        last = max(item[:2] for item in found)
        alike = [question for *place, question in found if tuple(place) == last]
        # Questions may have the same text and other options, which the prompt has, too.
        after = text[last[0] :]
        asked_with = [q for q in alike if all(_holds(after, normalise_question(choice)) for choice in q.choices)]
        return (asked_with or alike)[0]

    def _short_lines(self, asked: str) -> Iterator[tuple[int, int, Question]]:
        """Yield (stop, length, question) for each line that is a question, in terms of the normalized text."""
        stop = 0
        for line in filter(None, map(normalise_question, asked.split("\n"))):
            stop += len(line) + 1
            question = self._by_text.get(_ASKED.sub("", line).strip())
            if question is not None:
                yield stop - 1, len(normalise_question(question.question)), question


@dataclass(frozen=True)
class _Known:
    """A question that may stand inside a longer text; `lead` is where its first word begins."""

    text: str
    lead: int
    question: Question


_START_WORDS = 4
"""First words that a question is looked up by."""
_WORD = re.compile(r"\w+")
_SAMPLE = re.compile(r"(.+?)(?:[/#:]|[-_]sample[-_]?)[0-9]{1,4}")
_ASKED = re.compile(r"\A\s*(?:q|question|problem)\s?:", re.IGNORECASE)


def _holds(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def _stop_of(text: str, known: _Known, word: int) -> int | None:
    """Return where a question ends in `text` if its first word stands at `word`, None if it does not stand there."""
    start = word - known.lead
    stop = start + len(known.text)
    stands = start >= 0 and text.startswith(known.text, start) and not text[stop : stop + 1].isalnum()
    return stop if stands else None
