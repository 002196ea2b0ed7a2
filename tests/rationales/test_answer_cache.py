"""The file of answers: shared, safe, and told by name where it is damaged."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kpodx.artifacts import Journal
from kpodx.errors import DataError
from kpodx.rationales.asking import Desk
from kpodx.rationales.cache import AnswerCache, default_cache
from kpodx.rationales.requests import Completion, Failure, Message, Request, Usage
from kpodx.runtime import SilentProgress


def request(number: int, **changes: object) -> Request:
    given = {
        "model": "m",
        "parameters": {"max_tokens": 5, "temperature": 0.0},
        "template": "t/1",
        "question": f"Q{number}",
    }
    return Request(messages=(Message("user", f"What is {number}?"),), **{**given, **changes})  # type: ignore[arg-type]


def completion(number: int) -> Completion:
    return Completion(
        request(number), f"It is {number}.", Usage(3, 4), f"2026-01-0{number}T00:00:00+00:00", "http://s", 0.5
    )


def test_what_is_put_is_found(tmp_path: Path) -> None:
    with AnswerCache(tmp_path / "deep" / "c.sqlite") as cache:
        cache.put([completion(1), completion(2)])
        assert cache.find([request(1), request(3)]) == {request(1).key: completion(1)}
    with AnswerCache(tmp_path / "deep" / "c.sqlite", create=False) as again:
        assert len(again.find(map(request, range(5)))) == 2


class Unasked:
    """A teacher of whom nothing is missing."""

    model = label = "m"

    def ask(self, *_arguments: object) -> None:
        """Fail."""
        raise AssertionError


def test_what_is_kept_is_looked_up_in_linear_time(tmp_path: Path) -> None:
    requests = [request(number) for number in range(20_000)]
    with AnswerCache(tmp_path / "c.sqlite") as cache, Journal(tmp_path / "failures.jsonl") as failures:
        cache.put(Completion(one, "It is so.") for one in requests)
        desk = Desk(Unasked(), cache, failures, SilentProgress())
        begun = time.process_time()
        outcomes = desk.ask(requests, "")
        assert time.process_time() - begun < 2.5
    assert (outcomes.cached, outcomes.sent) == (20_000, 0)


def test_the_first_answer_stays(tmp_path: Path) -> None:
    with AnswerCache(tmp_path / "c.sqlite") as cache:
        cache.put([completion(1)])
        cache.put([Completion(request(1), "Another text.")])
        assert cache.find([request(1)])[request(1).key].text == "It is 1."


def test_what_decides_a_text_is_in_the_key_and_nothing_else() -> None:
    base = request(1)
    other = [
        request(2),
        request(1, model="n"),
        request(1, sample=1),
        request(1, parameters={"max_tokens": 6, "temperature": 0.0}),
    ]
    assert len({base.key, *(r.key for r in other)}) == 5
    same = request(1, parameters={"temperature": 0.0, "max_tokens": 5}, question_id="x", question="y", template="z")
    assert same.key == base.key
    # What is paid for must be found by later versions too: this key never changes.
    assert base.key == "ba6522d6d4d89d288d1bdb15ae6d816899df60d48c5d3ca3e23ab7ddca2edfe6"


def test_groups_and_export(tmp_path: Path) -> None:
    with AnswerCache(tmp_path / "c.sqlite") as cache:
        cache.put([completion(2), completion(1), Completion(request(3, model="n"), "x", None, "2026-01-03", "", 1.0)])
        first, second = cache.groups()
        assert (first.model, first.answers, first.prompt_tokens, first.completion_tokens, first.seconds) == (
            "m",
            2,
            6,
            8,
            1.0,
        )
        assert (first.first[:10], first.last[:10], second.answers) == ("2026-01-01", "2026-01-02", 1)
        records = list(cache.export(model="m"))
        assert [record["completion"] for record in records] == ["It is 1.", "It is 2."]
        assert records[0]["question"] == "Q1"
        assert records[0]["messages"] == [{"role": "user", "content": "What is 1?"}]
        assert cache.usual_usage("m", "t/1") == pytest.approx((3 / len('[["user", "What is 1?"]]'), 4.0))
        assert cache.usual_usage("n", "t/1") is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with AnswerCache(path) as cache:
        cache.put(map(completion, range(1, 9)))
        cache.put(Completion(request(n), "x" * 500) for n in range(100, 400))
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 6] = os.urandom(4096 * 3)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"c\.sqlite is damaged or no SQLite file") as caught:
        AnswerCache(path)
    assert "recover" in (caught.value.hint or "")
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(DataError, match="damaged or no SQLite file"):
        AnswerCache(path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match="is no file of answers of this kpodx"):
        AnswerCache(path)


def test_a_missing_file_and_a_closed_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No answers are kept in"):
        AnswerCache(tmp_path / "none.sqlite", create=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be used"):
        AnswerCache(tmp_path / "file" / "c.sqlite")
    if os.geteuid() != 0:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(DataError, match="cannot be used"):
            AnswerCache(tmp_path / "c.sqlite")


WRITER = """
import sys
from pathlib import Path
from kpodx.rationales.cache import AnswerCache
from kpodx.rationales.requests import Completion, Message, Request
start = int(sys.argv[2])
with AnswerCache(Path(sys.argv[1])) as cache:
    for number in range(start, start + 200):
        cache.put([Completion(Request("m", (Message("user", str(number)),), {"max_tokens": 1}), f"text {number}")])
"""


def test_processes_write_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    # The ranges overlap: equal requests of two processes are one row.
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(start)]) for start in (0, 100, 200)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with AnswerCache(path) as cache:
        assert cache.groups()[0].answers == 400


def test_processes_make_the_file_at_the_same_time(tmp_path: Path) -> None:
    code = "import sys, pathlib, kpodx.rationales.cache as c\n"
    code += "for n in range(20): c.AnswerCache(pathlib.Path(sys.argv[1]) / str(n)).__exit__()"
    openers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(4)]
    assert [opener.communicate()[1] for opener in openers] == [b""] * 4


def test_the_users_cache_folder() -> None:
    assert default_cache({"XDG_CACHE_HOME": "/c"}) == Path("/c/kpodx/teachers.sqlite")
    assert default_cache({}) == Path.home() / ".cache/kpodx/teachers.sqlite"


V1 = """
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
    seconds REAL NOT NULL
) WITHOUT ROWID
"""
"""The table of an earlier version, which knew neither thoughts nor failures."""


def old_file(path: Path, count: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(V1)
    for number in range(1, count + 1):
        done = completion(number % 9 + 1)
        messages = f'[["user", "What is {number}?"]]'
        parameters = '{"max_tokens": 5, "temperature": 0.0}'
        row = (request(number).key, "m", "t/1", f"Q{number}", messages, parameters, 0, f"It is {number}.", 3, 4)
        connection.execute(f"INSERT INTO answers VALUES ({', '.join('?' * 13)})", (*row, "http://s", done.created, 0.5))
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


def test_a_file_of_an_older_version_grows_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    old_file(path, 50)
    with AnswerCache(path) as cache:
        found = cache.find(map(request, range(1, 51)))
        assert [found[request(number).key].text for number in range(1, 51)] == [f"It is {n}." for n in range(1, 51)]
        assert {(done.thought, done.adapted) for done in found.values()} == {("", "")}
        cache.put([Completion(request(51), "It is 51.", adapted="x instead of y", thought="Hmm.")])
        cache.put_failure(Failure(request(52), "length", "It"))
    with AnswerCache(path) as again:
        done = again.find([request(51)])[request(51).key]
        assert (done.thought, done.adapted) == ("Hmm.", "x instead of y")
        assert next(record for record in again.export() if record["question"] == "Q51")["thought"] == "Hmm."
        assert again.groups()[0].answers == 51
        assert list(again.find_failures([request(52)])) == [request(52).key]


def test_processes_open_an_older_file_at_the_same_time(tmp_path: Path) -> None:
    code = "import sys, pathlib, kpodx.rationales.cache as c\n"
    code += "for n in range(10): c.AnswerCache(pathlib.Path(sys.argv[1]) / str(n)).__exit__()"
    for number in range(10):
        old_file(tmp_path / str(number), 3)
    openers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(4)]
    assert [opener.communicate()[1] for opener in openers] == [b""] * 4
    with AnswerCache(tmp_path / "5") as cache:
        assert cache.groups()[0].answers == 3


def test_failures_are_found_again(tmp_path: Path) -> None:
    def limited(limit: int, **changes: object) -> Request:
        return request(1, parameters={"max_tokens": limit, "temperature": 0.0}, **changes)

    cut = Failure(limited(50), "length", "It is", Usage(3, 50), "MAX_TOKENS", "Hmm.")
    with AnswerCache(tmp_path / "c.sqlite") as cache:
        cache.put_failure(cut)
        found = cache.find_failures([limited(50), limited(49), limited(51), limited(50, sample=1), request(2)])
        assert {key: failure.request.max_tokens for key, failure in found.items()} == {
            limited(50).key: 50,
            limited(49).key: 49,
        }
        assert found[limited(50).key] == cut
        assert found[limited(50).key].usage == Usage(3, 50)
        cache.put_failure(Failure(limited(90), "refusal", "No."))
        assert limited(80).key not in cache.find_failures([limited(80)]), "only what was cut is known of other limits"
        cache.put_failure(Failure(limited(50), "refusal", "No."))
        assert cache.find_failures([limited(50)])[limited(50).key].reason == "refusal", "the last one stays"
        assert cache.find([limited(50)]) == {}
