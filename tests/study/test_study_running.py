"""Running a study: shared work, failures, stops and resuming; and one whole study through the command line."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kpodx.study.config import load_study
from kpodx.study.plan import StudyPlan, Task, plan_study
from kpodx.study.running import Outcome, StudyRunner

STUDY = """
recipe = "quickstart"
baseline = "std-cot"
seeds = [0, 1]
[settings.dataset.embedded]
train = 24
validation = 2
test = 4
[settings.distillation]
epochs = 1
max_updates = 1
max_new_tokens = 4
[settings.evaluation]
max_new_tokens = 4
[variants.std-cot]
distillation.method = "std-cot"
[variants.answer-only]
distillation.method = "answer-only"
"""


@pytest.fixture
def plan(tmp_path: Path) -> StudyPlan:
    """Two variants, two seeds: one shared task and four of their own."""
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY, encoding="utf-8")
    study, found = load_study(str(path))
    return plan_study(study, found, tmp_path / "study")


class FakeRunner(StudyRunner):
    """A runner whose tasks take a moment and end with the codes of a table."""

    def __init__(self, plan: StudyPlan, jobs: int, codes: dict[str, int] | None = None) -> None:
        super().__init__(plan, Path(plan.runs[0].folder).parent, jobs, devices=("cuda:0", "cuda:1"))
        self.codes = codes or {}
        self.calls: list[tuple[str, str]] = []
        self.at_once = self.most_at_once = 0

    def _call(self, task: Task, device: str, log: Path) -> int:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.05)
        self.calls.append((task.run.folder.name, device))
        self.at_once -= 1
        return self.codes.get(task.run.folder.name, 0)


def test_tasks_run_side_by_side_after_what_they_need(plan: StudyPlan) -> None:
    runner = FakeRunner(plan, jobs=2)
    outcomes = runner.run()
    assert [outcome.exit_code for outcome in outcomes] == [0] * 5
    assert runner.calls[0][0] == "std-cot-0", "the shared questions and rationales come first"
    assert runner.most_at_once == 2
    assert {device for _, device in runner.calls} <= {"cuda:0", "cuda:1"}


def test_a_failed_task_stops_only_those_that_need_it(plan: StudyPlan) -> None:
    alone = FakeRunner(plan, jobs=1, codes={"answer-only-0": 3})
    outcomes = alone.run()
    assert sorted(outcome.exit_code for outcome in outcomes) == [0, 0, 0, 0, 3]

    shared = FakeRunner(plan, jobs=2, codes={"std-cot-0": 1})
    assert [outcome.exit_code for outcome in shared.run()] == [1], "all others need its questions"


def test_the_cores_are_shared_and_a_users_limit_is_kept(plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert StudyRunner(plan, Path(), 2)._num_threads() == 4
    assert StudyRunner(plan, Path(), 16)._num_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert StudyRunner(plan, Path(), 2)._num_threads() == 2


def test_an_interrupt_asks_every_process_to_save_its_state(plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = StudyRunner(plan, Path(plan.runs[0].folder).parent, 1)
    seen: queue.Queue[Outcome] = queue.Queue()
    runner.report = lambda outcome, _left: seen.put(outcome)
    program = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(130)); time.sleep(60)"
    real = subprocess.Popen

    def sleeper(_command: list[str], **options: object) -> subprocess.Popen[bytes]:
        process = real([sys.executable, "-c", program], **options)  # type: ignore[call-overload]
        threading.Timer(2.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        return process  # type: ignore[no-any-return]

    monkeypatch.setattr(subprocess, "Popen", sleeper)
    # Test workers ignore the signal; the command line has Python's own handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            runner.run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 30
    assert seen.empty()
    assert not runner._processes, "nothing is left behind"


@pytest.mark.slow
def test_a_whole_study_and_again_without_work(tmp_path: Path) -> None:
    """Everything is written, and a second call finds all of it finished."""
    file = tmp_path / "tiny.toml"
    file.write_text(STUDY, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "kpodx",
        "study",
        str(file),
        "--folder",
        str(tmp_path / "out"),
        "--jobs",
        "2",
        "--json",
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [variant["name"] for variant in document["variants"]] == ["std-cot", "answer-only"]
    assert [variant["seeds"] for variant in document["variants"]] == [[0, 1], [0, 1]]
    for variant in document["variants"]:
        losses = [run["keypoints"]["keypoint_nll"] for run in document["runs"] if run["variant"] == variant["name"]]
        assert variant["keypoints"]["keypoint_nll"] == pytest.approx(sum(losses) / 2)
    assert {path.name for path in (tmp_path / "out").glob("study.*")} == {
        "study.json", "study.md", "study.csv", "study.tex", "study.html",
    }  # fmt: skip
    predictions = list((tmp_path / "out").glob("*/distillation/*/done.json"))
    times = {path: path.stat().st_mtime_ns for path in predictions}
    assert len(times) == 4

    again = subprocess.run([*command, "--seeds", "0"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert [variant["seeds"] for variant in json.loads(again.stdout)["variants"]] == [[0], [0]]
    assert {path: path.stat().st_mtime_ns for path in predictions} == times

    chosen = [*command, "--split", "validation", "--variants", "std-cot"]
    third = subprocess.run(chosen, capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr
    document = json.loads(third.stdout)
    assert document["split"] == "validation"
    assert [variant["name"] for variant in document["variants"]] == ["std-cot"]
    folder = tmp_path / "out" / "std-cot-0" / "evaluation"
    [answers] = folder.glob("*/predictions-validation.jsonl")
    assert document["num_questions"] == len(answers.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "train"}, "expected test or validation"),
        ({"variants": "std-cot,kpd"}, r"has no 'kpd'; expected some of std-cot, answer-only"),
        ({"seeds": "a"}, "expected numbers such as"),
    ],
)
def test_the_command_line_cannot_ask_for_what_a_study_lacks(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    from kpodx.cli.study import change_study
    from kpodx.errors import UsageError
    from kpodx.study.config import expand_variants

    file = tmp_path / "tiny.toml"
    file.write_text(STUDY, encoding="utf-8")
    config, _ = load_study(str(file))
    with pytest.raises(UsageError, match=message):
        change_study(config, **{"seeds": None, "split": None, "variants": None, **options})
    chosen = change_study(config, seeds="3-4", split="validation", variants="answer-only")
    assert (chosen.seeds, chosen.split) == ((3, 4), "validation")
    assert [variant.name for variant in expand_variants(chosen)] == ["answer-only"]
