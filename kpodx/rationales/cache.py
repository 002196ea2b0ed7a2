"""Every answer of every teacher, kept for ever in one SQLite file that all runs and processes share.

A row is one request that was paid for, keyed by the hash of model, messages, parameters and sample (`Request.key`). Paid
answers without a usable text have a table of their own. Write-ahead logging lets many processes read and one write at a time;
a row is on its way to the disk before the next step begins, so that a killed process loses nothing that it had received.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpodx.errors import DataError
from kpodx.rationales.requests import Completion, Failure, Request, Usage

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    template TEXT NOT NULL,
    question TEXT NOT NULL,
    messages TEXT NOT NULL,
    parameters TEXT NOT NULL,
    sample INTEGER NOT NULL,
    text TEXT NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    server TEXT NOT NULL,
    created TEXT NOT NULL,
    seconds REAL NOT NULL,
    adapted TEXT NOT NULL DEFAULT '',
    thought TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID
"""
_FAILURES = """
CREATE TABLE IF NOT EXISTS failures (
    key TEXT PRIMARY KEY,
    open_key TEXT NOT NULL,
    max_tokens INTEGER NOT NULL,
    model TEXT NOT NULL,
    template TEXT NOT NULL,
    question TEXT NOT NULL,
    reason TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    text TEXT NOT NULL,
    thought TEXT NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER
) WITHOUT ROWID
"""
_FAILURES_BY_OPEN_KEY = "CREATE INDEX IF NOT EXISTS failures_by_open_key ON failures (open_key, reason)"
_LOOKED_UP_AT_ONCE = 500
_SECONDS_FOR_THE_LOCK = 60.0


def default_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """`kpodx/teachers.sqlite` in the user's cache folder: XDG_CACHE_HOME, else ~/.cache."""
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kpodx" / "teachers.sqlite"


@dataclass(frozen=True)
class Group:
    """The answers of one model to one template: how many, tokens read and written, first and last date."""

    model: str
    template: str
    answers: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    first: str
    last: str


class AnswerCache:
    """The file of answers; a context manager.

    Args:
        path: the file; it and its folder are made where they are missing.
        create: whether to make it; otherwise a missing file is an error.

    Raises:
        DataError: the file is damaged, is something else, or cannot be opened.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        if not create and not path.is_file():
            raise DataError(f"No answers are kept in {path}.", hint="Name the file with --cache.")
        with self._named():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_SECONDS_FOR_THE_LOCK, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        self._begin_write_ahead_log()
        execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            # In one transaction: another process may be making the table just now.
            (version,) = execute("PRAGMA user_version").fetchone()
            tables = execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if (version, tables) == (0, 0):
                execute(_SCHEMA)
                self._add_failures()
                return
            if version == 1 and tables:
                # Every answer was paid for: a file of an older kpodx grows, and loses nothing.
                execute("ALTER TABLE answers ADD COLUMN adapted TEXT NOT NULL DEFAULT ''")
                execute("ALTER TABLE answers ADD COLUMN thought TEXT NOT NULL DEFAULT ''")
                self._add_failures()
                version = SCHEMA_VERSION
        if (version, bool(tables)) not in ((SCHEMA_VERSION, True),):
            raise DataError(
                f"{self.path} is no file of answers of this kpodx (version {version}, {tables} tables).",
                hint="Name another file with rationales.cache, or move this one away.",
            )
        problem = execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)

    def _add_failures(self) -> None:
        self._connection.execute(_FAILURES)
        self._connection.execute(_FAILURES_BY_OPEN_KEY)
        self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _begin_write_ahead_log(self) -> None:
        """Switch the file to write-ahead logging; SQLite does not wait for a lock here, so this does."""
        deadline = time.monotonic() + _SECONDS_FOR_THE_LOCK
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Tell which file it is that cannot be used."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise OSError(28, f"No space left for {self.path}") from error
            raise DataError(f"{self.path} cannot be used: {error}.", hint="Check its folder's permissions.") from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self.path} is damaged or no SQLite file: {error}.",
                hint="Move it away (`sqlite3 FILE .recover` saves what can be read), or name another with rationales.cache.",
            ) from error
        except OSError as error:
            raise DataError(f"{self.path} cannot be used: {error.strerror}.", hint="Set rationales.cache.") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def put(self, completions: Iterable[Completion]) -> None:
        """Keep completions, all or none; one that is there already stays as it is."""
        rows = [
            (
                done.request.key,
                done.request.model,
                done.request.template,
                done.request.question,
                json.dumps([[m.role, m.content] for m in done.request.messages], ensure_ascii=False),
                json.dumps(done.request.parameters, ensure_ascii=False, sort_keys=True),
                done.request.sample,
                done.text,
                done.usage.prompt_tokens if done.usage else None,
                done.usage.completion_tokens if done.usage else None,
                done.server,
                done.created,
                done.seconds,
                done.adapted,
                done.thought,
            )
            for done in completions
        ]
        with self._named(), self._transaction():
            self._connection.executemany(f"INSERT OR IGNORE INTO answers VALUES ({', '.join('?' * 15)})", rows)

    def find(self, requests: Iterable[Request]) -> dict[str, Completion]:
        """The completions that are kept, by key."""
        waiting = {request.key: request for request in requests}
        keys, found = list(waiting), {}
        for start in range(0, len(keys), _LOOKED_UP_AT_ONCE):
            some = keys[start : start + _LOOKED_UP_AT_ONCE]
            with self._named():
                rows = self._connection.execute(
                    "SELECT key, text, prompt_tokens, completion_tokens, created, server, seconds, adapted, thought FROM answers "
                    f"WHERE key IN ({', '.join('?' * len(some))})",
                    some,
                ).fetchall()
            for key, text, read, written, *rest in rows:
                usage = None if read is None else Usage(read, written)
                found[key] = Completion(waiting[key], text, usage, *rest)
        return found

    def put_failure(self, failure: Failure) -> None:
        """Keep a paid answer without a usable text; a later one about the same request replaces it."""
        request, usage = failure.request, failure.usage
        row = (
            *(request.key, request.open_key, request.max_tokens, request.model, request.template, request.question),
            *(failure.reason, failure.finish_reason, failure.text, failure.thought),
            usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None,
        )
        with self._named(), self._transaction():
            self._connection.execute(f"INSERT OR REPLACE INTO failures VALUES ({', '.join('?' * 12)})", row)

    def find_failures(self, requests: Iterable[Request]) -> dict[str, Failure]:
        """Return the failures that are kept, by key.

        An answer that its limit cut also stands for the same request with a lower limit, which would cut it too.
        """
        waiting: dict[str, list[Request]] = {}
        for request in requests:
            waiting.setdefault(request.open_key, []).append(request)
        keys, found = list(waiting), {}
        for start in range(0, len(keys), _LOOKED_UP_AT_ONCE):
            some = keys[start : start + _LOOKED_UP_AT_ONCE]
            with self._named():
                rows = self._connection.execute(
                    "SELECT open_key, key, max_tokens, reason, text, prompt_tokens, completion_tokens, finish_reason, thought "
                    f"FROM failures WHERE open_key IN ({', '.join('?' * len(some))}) ORDER BY max_tokens",
                    some,
                ).fetchall()
            for open_key, key, limit, reason, text, read, written, *rest in rows:
                usage = None if read is None else Usage(read, written)
                for request in waiting[open_key]:
                    if request.key == key or (reason == "length" and request.max_tokens <= limit):
                        found[request.key] = Failure(request, reason, text, usage, *rest)
        return found

    def groups(self) -> list[Group]:
        """What is kept, by model and template."""
        with self._named():
            rows = self._connection.execute(
                "SELECT model, template, count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), "
                "sum(seconds), min(created), max(created) FROM answers GROUP BY model, template ORDER BY model, template"
            ).fetchall()
        return [Group(*row) for row in rows]

    def usual_usage(self, model: str, template: str) -> tuple[float, float] | None:
        """(tokens of a prompt for each byte, tokens of a completion), the means of what is kept; None where nothing is."""
        with self._named():
            count, read, size, written = self._connection.execute(
                "SELECT count(*), sum(prompt_tokens), sum(length(CAST(messages AS BLOB))), sum(completion_tokens) "
                "FROM answers WHERE model = ? AND template = ? AND prompt_tokens IS NOT NULL",
                (model, template),
            ).fetchone()
        return (read / size, written / count) if count else None

    def export(self, model: str | None = None, template: str | None = None) -> Iterator[dict[str, Any]]:
        """Every answer as a plain record, in the order of its date, second questions' answers among them."""
        with self._named():
            rows = self._connection.execute(
                "SELECT key, model, template, question, messages, parameters, sample, text, prompt_tokens, completion_tokens, "
                "server, created, adapted, thought FROM answers WHERE model = coalesce(?, model) AND template = coalesce(?, template) "
                "ORDER BY created, key",
                (model, template),
            )
            for row in rows:
                names = ("request", "model", "template", "question", "messages", "parameters", "sample", "completion")
                more = ("prompt_tokens", "completion_tokens", "server", "created", "adapted", "thought")
                record = dict(zip((*names, *more), row, strict=True))
                record["messages"] = [{"role": role, "content": text} for role, text in json.loads(record["messages"])]
                record["parameters"] = json.loads(record["parameters"])
                yield record
