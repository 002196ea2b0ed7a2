"""Kill -9 in the middle of a thousand requests, a fifth of them with faults: every question ends once, nothing is paid for twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import teacher_server

from kpodx.artifacts import read_json

pytest.importorskip("openai")

QUESTIONS = 1000
CONCURRENCY = 32


def cached(path: Path) -> int:
    """Answers in the cache of another process."""
    if not path.is_file():
        return 0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # the table is not there yet
    finally:
        connection.close()


@pytest.mark.slow
def test_a_killed_phase_goes_on_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    log, cache = tmp_path / "server.jsonl", tmp_path / "cache.sqlite"
    serve = [sys.executable, teacher_server.__file__, "--log", str(log), "--fault-share", "0.2", "--delay", "0.02"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        settings = {
            "dataset.embedded.train": QUESTIONS,
            "dataset.embedded.validation": 0,
            "dataset.embedded.test": 0,
            "rationales.teacher": "openai",
            "rationales.filter": "none",
            "rationales.cache": cache,
            "rationales.openai.model": "tiny-teacher",
            "rationales.openai.base_urls": url,
            "rationales.openai.concurrency": CONCURRENCY,
            "rationales.openai.timeout_seconds": 2,
        }
        command = [
            sys.executable,
            "-m",
            "kpodx",
            "distill",
            "quickstart",
            "--to",
            "rationales",
            "--run",
            str(tmp_path / "run"),
        ]
        command += [f"{key}={value}" for key, value in settings.items()]
        first = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
        while cached(cache) < QUESTIONS // 3 and first.poll() is None:
            time.sleep(0.02)
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        before = cached(cache)
        assert QUESTIONS // 3 <= before < QUESTIONS
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        server.kill()
        server.communicate()
    (report_file,) = (tmp_path / "run" / "rationales").glob("*/report.json")
    report = read_json(report_file)
    assert report["completions"] == QUESTIONS
    assert report["asked"]["cached"] == before
    assert report["asked"]["sent"] == QUESTIONS - before
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    answered = Counter(entry["prompt"] for entry in entries if entry["done"] == "ok")
    assert len(answered) == QUESTIONS
    again = [prompt for prompt, count in answered.items() if count > 1]
    # Only what was on its way when the process died can have been answered twice: nobody had received it.
    assert len(again) <= CONCURRENCY
    connection = sqlite3.connect(cache)
    first_rows = connection.execute("SELECT messages FROM answers ORDER BY created LIMIT ?", (before - CONCURRENCY,))
    received = {json.loads(row[0])[0][1] for row in first_rows.fetchall()}
    connection.close()
    assert not received & set(again)
    faults = Counter(entry["done"] for entry in entries if entry["done"] != "ok")
    assert set(faults) == set(teacher_server.PASSING)
    assert report["asked"]["run_tokens"] >= sum(entry["tokens"] for entry in entries), (
        "never less than the server's book"
    )
