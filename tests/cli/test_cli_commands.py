"""The commands: exit codes, what goes to stdout and what to stderr, and what each tells."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_phases
import numpy as np
import pytest

from kpodx import cli
from kpodx.artifacts import save_predictions, save_questions, save_rationales, save_token_weights
from kpodx.cli.compare import differing_settings, paired, print_mimicry
from kpodx.cli.distill import resume_command
from kpodx.cli.doctor import EXTRAS
from kpodx.cli.show import paint
from kpodx.cli.summary import headline
from kpodx.errors import BudgetSpentError, DataError, GateError, KpodxError, MissingDependencyError
from kpodx.reporting.keypoints import cut
from kpodx.reporting.questions import find_question
from kpodx.runtime import PhaseContext
from kpodx.schema import Prediction, Question, Rationale, Split, StepSpan, TokenWeights

ALL = list(fake_phases.NAMES)

RECIPE = """\
name = "tiny"
description = "A tiny one."
[student]
model = "./student"
[dataset]
format = "gsm8k"
files = {train = "train.jsonl"}
"""


class Terminal:
    """Runs commands in this process, in a folder of its own with a recipe and fake phases."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.capsys, self.monkeypatch, self.folder = capsys, monkeypatch, folder
        self.calls: list[str] = []
        self.hooks: dict[str, Callable[[PhaseContext], None]] = {}

    def __call__(self, *arguments: str) -> int:
        """Run `kpodx …`; the exit code. `out` and `err` hold what was written."""
        self.calls.clear()
        self.monkeypatch.setattr(sys, "argv", ["kpodx", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        self.out, self.err = self.capsys.readouterr()
        return int(caught.value.code or 0)

    def json(self, *arguments: str) -> Any:
        """Run a command with --json; its document."""
        assert self(*arguments, "--json") == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def kpodx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    """A terminal; what a command does to logging is undone."""
    root, own = logging.getLogger(), logging.getLogger("kpodx")
    before = (root.handlers[:], root.level, own.level)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    (tmp_path / "train.jsonl").write_text('{"question": "Q?", "answer": "#### 2"}\n')
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "config.json").write_text("{}")
    terminal = Terminal(capsys, monkeypatch, tmp_path)
    modules: dict[str, Any] = {}
    fake_phases.install(terminal.calls, terminal.hooks, modules)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    yield terminal
    logging.captureWarnings(False)
    root.handlers[:], root.level = before[0], before[1]
    own.setLevel(before[2])


def test_distil_shows_one_screen_and_the_next_command(kpodx: Terminal) -> None:
    assert kpodx("distill", "tiny.toml") == 0
    assert kpodx.calls == ALL
    lines = kpodx.out.splitlines()
    assert len(lines) <= 24
    assert all(any(line.startswith(name) for line in lines) for name in ALL)
    assert "50.0 [25.0, 75.0]" in kpodx.out
    assert "2: 50.0" in kpodx.out
    assert lines[-1] == "next: kpodx show runs/tiny --question 1"
    assert "weighting: running" in kpodx.err
    assert kpodx("distill", "tiny.toml") == 0
    assert kpodx.calls == []
    assert kpodx.out.count("used again") == 7


def test_each_phase_says_what_it_found() -> None:
    kinds = {"function_word": {"mean": 0.21, "count": 9}, "digit": {"mean": 0.9, "count": 4}}
    weights = {"mean_token_weight": 0.5, "token_types": {**kinds, "keypoints_over_function_words": 0.97}}
    said = "mean weight 0.5 · digit 0.90 · function word 0.21 · digits and operators over function words 0.97"
    assert headline("weighting", weights) == said
    types = {"digit": {"mean": 0.9, "count": 4}, "keypoints_over_function_words": 0.97, "keypoints_over_others": 0.92}
    learnt = {"token_types": types, "masks": {"prefix_nll_under_random": 2.08}, "method": "mask-learning"}
    gain = "held-out loss -2.08 nats against a random mask"
    assert headline("weighting", learnt) == f"digit 0.90 · digits and operators over all others 0.92 · {gain}"
    known = {
        "separation": {"over_all": 0.875, "among_numbers": 0.75},
        "token_type_separation": {"over_all": 0.9375, "among_numbers": 0.5},
        "frequency": {"rank_correlation": -0.125},
    }
    shown = "marked keypoints over others 0.88 (by token type 0.94) · among numbers 0.75 (by token type 0.50)"
    shown += " · keypoints' weight by frequency -0.12"
    assert headline("weighting", {"method": "gold", "known_keypoints": known}) == f"gold · {shown}"
    nothing = {"over_all": None, "among_numbers": None}
    known = {"separation": nothing, "token_type_separation": nothing, "frequency": None}
    assert headline("weighting", {"method": "gold", "known_keypoints": known}) == "gold"
    assert headline("weighting", {"method": "gold", "known_keypoints": None}) == "gold"
    assert (
        headline("weighting", {"method": "uniform", "masks": None, "mean_token_weight": 1.0})
        == "uniform · mean weight 1"
    )
    assert headline("dataset", {"questions": {"train": 2000, "validation": 0, "test": 7}}) == "2,000 train · 7 test"
    trained = {"method": "kpod", "updates": 1200, "target_tokens": 12345, "best_validation_accuracy": 0.5}
    assert headline("distillation", trained) == "kpod · 1,200 updates · 12,345 target tokens · best validation 50.0 %"
    assert headline("distillation", {"method": "kpod", "best_validation_accuracy": None}) == "kpod"
    adaptive = {"method": "kpod", "remeasured_stages": [2, 4]}
    assert headline("distillation", adaptive) == "kpod · difficulties measured again before stage 2, 4"
    assert headline("curriculum", {"strategy": "kpod", "full_stage": 3}) == "kpod · the whole budget from stage 3"
    assert headline("evaluation", {"validation": None, "test": {"n": 3}}) == "test: 3 answered"
    high, low = {"nll": 0.125, "accuracy": 0.975, "num_tokens": 9}, {"nll": None, "accuracy": None, "num_tokens": 0}
    mimicry = {"keypoints": "gold", "num_rationales": 3, "num_too_long": 0, "on_keypoints": high, "on_others": low}
    said = "test: 3 answered · keypoints 0.125 nats, 97.5 % right"
    assert headline("evaluation", {"test": {"n": 3}, "keypoint_mimicry": mimicry}) == said
    assert headline("evaluation", {"test": {"n": 3}, "keypoint_mimicry": None}) == "test: 3 answered"
    found = {"kept": 1234, "completions": 1300, "rejected": {"wrong_answer": 66, "empty": 0}}
    assert headline("rationales", found) == "kept 1,234 of 1,300 · wrong answer 66"
    assert headline("other", {"a_b": 1.23456, "c": [1], "d": "x"}) == "a b 1.235 · d x"


def test_json_is_the_only_thing_on_stdout(kpodx: Terminal) -> None:
    def chatter(context: PhaseContext) -> None:
        print("a library that prints")
        context.progress.note("a note")
        list(context.progress.track(range(3), total=3, description="counting"))
        logging.getLogger("kpodx.weighting").info("a log line")

    kpodx.hooks["weighting"] = chatter
    document = kpodx.json("distill", "tiny.toml", "distillation.epochs=3")
    assert set(document) == {"run", "phases", "validation", "test"}
    assert document["run"] == str(kpodx.folder / "runs" / "tiny")
    assert [phase["name"] for phase in document["phases"]] == ALL
    assert set(document["phases"][0]) == {"name", "seconds", "cached", "folder"}
    assert set(document["test"]) == {"accuracy", "low", "high", "n", "by_steps"}
    for line in ("a library that prints", "a note", "a log line"):
        assert line in kpodx.err
    assert "\x1b" not in kpodx.out + kpodx.err, "no colour outside of a terminal"


def test_stopping_early_gives_no_accuracy(kpodx: Terminal) -> None:
    document = kpodx.json("distill", "tiny.toml", "--to", "rationales", "--run", "elsewhere")
    assert document["test"] is None
    assert kpodx.calls == ALL[:2]
    assert kpodx.json("status", "elsewhere")["state"] == "partial"


def test_a_dry_run_runs_nothing(kpodx: Terminal) -> None:
    assert kpodx("distill", "tiny.toml", "--dry-run") == 0
    assert kpodx.out.count(" run ") == 7
    assert not (kpodx.folder / "runs").exists()
    kpodx("distill", "tiny.toml")
    document = kpodx.json("distill", "tiny.toml", "curriculum.num_clusters=2", "--dry-run")
    assert [phase["name"] for phase in document["phases"] if not phase["cached"]] == ALL[4:]
    assert kpodx.calls == []


def test_a_dry_run_says_when_difficulties_are_measured_again(kpodx: Terminal) -> None:
    settings = ["distillation.epochs=12", "curriculum.full_stage=6", "curriculum.remeasure_every=2"]
    assert kpodx("distill", "tiny.toml", *settings, "--dry-run") == 0
    assert "again before stage 2, 4, while steps are given" in kpodx.err
    for other in ([], [*settings, "distillation.method=std-cot"]):
        assert kpodx("distill", "tiny.toml", *other, "--dry-run") == 0
        assert "measures the step difficulties" not in kpodx.err


def test_options_reach_the_pipeline(kpodx: Terminal) -> None:
    kpodx("distill", "tiny.toml")
    assert kpodx("distill", "tiny.toml", "--force", "weighting", "--force", "evaluation") == 0
    assert kpodx.calls == ["weighting", "evaluation"]
    assert kpodx("distill", "tiny.toml", "--run", "second", "--reuse", "runs/tiny", "--from", "evaluation") == 0
    assert kpodx.calls == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KpodxError("it failed", hint="try again"), 1),
        (DataError("it failed", hint="try again"), 2),
        (GateError("it failed", hint="try again"), 3),
        (BudgetSpentError("it failed", hint="try again"), 4),
        (MissingDependencyError("it failed", hint="try again"), 5),
    ],
)
def test_an_error_is_one_line_a_hint_and_its_exit_code(kpodx: Terminal, error: KpodxError, code: int) -> None:
    def fail(_context: PhaseContext) -> None:
        raise error

    kpodx.hooks["weighting"] = fail
    assert kpodx("distill", "tiny.toml", "--json") == code
    assert kpodx.out == ""
    assert kpodx.err.splitlines()[-2:] == ["error: it failed", "hint: try again"]
    assert "Traceback" not in kpodx.err


def test_debug_lets_the_traceback_through(kpodx: Terminal) -> None:
    kpodx.monkeypatch.setattr(sys, "argv", ["kpodx", "distill", "absent.toml", "--debug"])
    with pytest.raises(KpodxError, match=r"absent\.toml"):
        cli.main()


def test_an_interrupt_saves_the_state_and_tells_how_to_go_on(kpodx: Terminal) -> None:
    def interrupt(_context: PhaseContext) -> None:
        raise KeyboardInterrupt

    kpodx.hooks["weighting"] = interrupt
    assert kpodx("distill", "tiny.toml", "seed=4", "--force", "dataset") == 130
    assert kpodx.err.endswith(
        "interrupted in weighting; what is finished is kept in runs/tiny. Go on with:\n  kpodx distill tiny.toml seed=4\n"
    )
    assert kpodx.json("status")["state"] == "interrupted"


def test_a_terminated_process_ends_like_an_interrupted_one(kpodx: Terminal) -> None:
    code = "import fake_phases as f, sys, kpodx.cli\nf.install([], {'weighting': f.count_slowly}, sys.modules)\nkpodx.cli.main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "distill", "tiny.toml", "--json"],
        env={**os.environ, "PYTHONPATH": str(Path(fake_phases.__file__).parent), "FAKE_COUNT": "600"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while (line := process.stderr.readline().strip()) != "count 2":
            assert process.poll() is None, line
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "what is finished is kept in runs/tiny" in err


def test_the_resume_command_is_the_same_without_force() -> None:
    arguments = ["/bin/kpodx", "distill", "a b.toml", "--force", "weighting", "x.y=1", "--force=dataset", "--json"]
    assert resume_command(arguments, {"HOME": "/"}) == "kpodx distill 'a b.toml' x.y=1 --json"


def test_the_resume_command_keeps_settings_from_the_environment() -> None:
    environment = {"KPODX__A__B": "2 3", "HOME": "/"}
    assert resume_command(["kpodx", "distill", "r"], environment) == "'KPODX__A__B=2 3' kpodx distill r"


def test_usage_mistakes_exit_with_two(kpodx: Terminal) -> None:
    assert kpodx("distil") == 2
    assert kpodx("distill") == 2
    assert kpodx("distill", "absent") == 2
    assert kpodx("distill", "tiny.toml", "--to", "nothing") == 2
    assert kpodx("compare", "one") == 2
    assert kpodx("status") == 2
    assert kpodx.out == ""


def test_validate_tells_all_mistakes_of_all_recipes(kpodx: Terminal) -> None:
    (kpodx.folder / "bad.toml").write_text(RECIPE + "[curriculum]\nnum_clusters = 0\nbeta = 1\n")
    assert kpodx("validate", "tiny.toml", "bad.toml") == 2
    assert kpodx.out == "tiny.toml: tiny is valid\n"
    assert "curriculum.num_clusters (bad.toml:9)" in kpodx.err
    assert "curriculum.beta (bad.toml:10): unknown key" in kpodx.err
    assert kpodx("validate", "tiny.toml", "seed=4") == 0
    assert kpodx("validate", "seed=4") == 2
    assert kpodx("validate", "tiny.toml", "bad.toml", "--json") == 2
    assert [entry["valid"] for entry in json.loads(kpodx.out)] == [True, False]


def test_validate_looks_for_files_and_local_models(kpodx: Terminal) -> None:
    assert kpodx("validate", "quickstart", "student.model=./nowhere") == 2
    assert f"student.model: there is no {kpodx.folder / 'nowhere'}" in kpodx.err


OPENED = """\
[student]
model = "org/student"
[dataset]
format = "gsm8k"
files = {train = ["a.jsonl", "b.jsonl"], test = "t.jsonl"}
[rationales]
teacher = "recorded"
files = ["r.jsonl", "s.jsonl"]
"""


def test_validate_opens_the_files(kpodx: Terminal) -> None:
    good = json.dumps({"question": "Q?", "answer": "1 + 1 = 2.\\n#### 2"}) + "\n"
    contents: dict[str, bytes] = {
        "a.jsonl": good.encode() + b'{"question": "R?", "answer": "#### blue"}\n{"que',
        "b.jsonl": good.replace("Q?", "S?").encode(),
        "t.jsonl": good.replace("Q?", "T?").encode("utf-16"),
        "r.jsonl": b'{"id": "gsm8k-train-0", "completion": "2"}\n',
        "s.jsonl": b'{"id": "gsm8k-train-0"}\n',
        "opened.toml": OPENED.encode("utf-8-sig"),
    }
    for name, content in contents.items():
        (kpodx.folder / name).write_bytes(content)
    assert kpodx("validate", "opened.toml") == 2
    said = " ".join(kpodx.err.split())
    assert "dataset.files.train:" in said
    assert "a.jsonl, line 3: expected one JSON object" in said
    assert "t.jsonl, line 1: expected UTF-8 text, got UTF-16 text. Hint: Convert it: iconv -f UTF-16" in said
    assert "s.jsonl, line 1: expected the key 'completion'" in said
    assert "b.jsonl" not in said
    assert "r.jsonl" not in said
    assert kpodx.calls == []

    (kpodx.folder / "a.jsonl").write_text(good)
    (kpodx.folder / "t.jsonl").write_text(good)
    (kpodx.folder / "s.jsonl").unlink()
    assert kpodx("validate", "opened.toml", "--json") == 2
    (entry,) = json.loads(kpodx.out)
    assert "there is no" in entry["error"]
    assert "1 questions are in two splits" in entry["error"]
    assert kpodx("validate", "opened.toml", "rationales.files=r.jsonl", "dataset.files.test=b.jsonl") == 2
    assert (
        kpodx(
            "validate", "opened.toml", "rationales.files=r.jsonl", "dataset.files={train = 'a.jsonl', test = 'b.jsonl'}"
        )
        == 0
    )


def test_a_dry_run_refuses_what_the_run_would(kpodx: Terminal) -> None:
    (kpodx.folder / "foreign").mkdir()
    (kpodx.folder / "foreign" / "a.txt").write_text("mine")
    assert kpodx("distill", "tiny.toml", "--run", "foreign", "--dry-run") == 2
    assert "not a run folder" in kpodx.err


def test_a_mistyped_run_to_reuse_leaves_nothing_behind(kpodx: Terminal) -> None:
    assert kpodx("distill", "tiny.toml", "--reuse", "nowhere") == 2
    assert not (kpodx.folder / "runs").exists()


def test_from_after_to_is_told(kpodx: Terminal) -> None:
    assert kpodx("distill", "tiny.toml", "--from", "evaluation", "--to", "dataset") == 2
    assert "--from evaluation comes after --to dataset" in kpodx.err


def test_status_tells_why_a_run_failed(kpodx: Terminal) -> None:
    def fail(_context: PhaseContext) -> None:
        raise KpodxError("it failed for a reason")

    kpodx.hooks["difficulty"] = fail
    kpodx("distill", "tiny.toml")
    assert kpodx("status", "runs/tiny") == 0
    assert "it failed for a reason" in kpodx.err
    assert "it failed for a reason" in kpodx.json("status", "runs/tiny")["error"]


def test_full_memory_is_told_with_a_remedy(kpodx: Terminal) -> None:
    def fill(_context: PhaseContext) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    kpodx.hooks["weighting"] = fill
    assert kpodx("distill", "tiny.toml") == 1
    assert "The memory is full" in kpodx.err
    assert "batch_size" in kpodx.err


def test_status_follows_a_run(kpodx: Terminal) -> None:
    def fail(_context: PhaseContext) -> None:
        raise KpodxError("it failed")

    kpodx.hooks["difficulty"] = fail
    kpodx("distill", "tiny.toml")
    document = kpodx.json("status", "runs/tiny")
    states = [phase["state"] for phase in document["phases"]]
    assert document["state"] == "failed"
    assert states == ["finished"] * 3 + ["partial"] + ["waiting"] * 3
    assert kpodx("status") == 0
    assert "failed" in kpodx.out


def test_recipes_are_copied_and_shown(kpodx: Terminal) -> None:
    assert kpodx("recipes", "show", "tiny.toml") == 0
    assert kpodx.out == RECIPE
    assert kpodx("recipes", "copy", "tiny.toml", "mine.toml") == 0
    assert (kpodx.folder / "mine.toml").read_text() == RECIPE
    assert kpodx("recipes", "copy", "tiny.toml", "mine.toml") == 2


def test_doctor_knows_the_extras_of_the_project(repository: Path) -> None:
    declared = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: tuple(sorted(re.split(r"[<>=]", text)[0] for text in texts)) for extra, texts in declared.items()}
    assert {extra: tuple(sorted(packages)) for extra, packages in EXTRAS.items()} == {
        extra: packages for extra, packages in names.items() if extra not in ("all", "dev")
    }


def test_doctor_lists_versions_and_extras(kpodx: Terminal) -> None:
    found = kpodx.json("doctor")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "free disk here", "gpu", "extra onnx"} <= set(found)


def two_runs(kpodx: Terminal) -> None:
    """Two finished runs, a and b, over four test questions and one for training; a is right on 1 of 4 and b on 3."""
    questions = [Question(f"q{n}", Split.TEST, "?", str(n)) for n in range(4)]
    questions.append(Question("q9", Split.TRAIN, "Two and three?", "5"))
    rationales = [Rationale("r9", "q9", "2+3 = 5.", "5", "gold")]

    def predict(flags: list[bool], context: PhaseContext) -> None:
        found = [Prediction(f"q{n}", "…", str(n), flag, 2) for n, flag in enumerate(flags)]
        save_predictions(context.output, found, "predictions-test.jsonl")

    kpodx.hooks["dataset"] = lambda context: save_questions(context.output, questions)
    kpodx.hooks["rationales"] = lambda context: save_rationales(context.output, rationales)
    for seed, (name, flags) in enumerate({"a": [True, False, False, False], "b": [False, True, True, True]}.items()):
        kpodx.hooks["evaluation"] = partial(predict, flags)
        assert kpodx("distill", "tiny.toml", f"seed={seed}", "--run", name) == 0


def test_compare_pairs_the_test_questions(kpodx: Terminal) -> None:
    two_runs(kpodx)
    document = kpodx.json("compare", "a", "b")
    assert [run["keypoint_mimicry"] for run in document["runs"]] == [None, None]
    [pair] = document["paired"]
    assert (pair["n"], pair["only_first"], pair["only_second"]) == (4, 1, 3)
    assert pair["p_value"] == pytest.approx(0.625), "two-sided exact: 2 (1 + 4) / 16"
    assert document["settings"] == {"seed": [0, 1]}
    assert kpodx("compare", "a", "b") == 0
    assert "0.6250" in kpodx.out
    assert "seed" in kpodx.out


def test_compare_shows_keypoint_mimicry_if_a_run_measured_it(capsys: pytest.CaptureFixture[str]) -> None:
    high, low = {"nll": 0.125, "accuracy": 0.9, "num_tokens": 9}, {"nll": None, "accuracy": None, "num_tokens": 0}
    found = {"keypoints": "gold", "num_rationales": 3, "num_too_long": 0, "on_keypoints": high, "on_others": low}
    print_mimicry([{"run": "runs/a", "keypoint_mimicry": None}, {"run": "runs/b", "keypoint_mimicry": found}])
    shown = capsys.readouterr().out
    assert re.search(r"runs/b\s+gold\s+0\.125\s+90\.0\s+-\s+-", shown)
    assert "runs/a" not in shown
    print_mimicry([{"run": "runs/a", "keypoint_mimicry": None}])
    assert capsys.readouterr().out == ""


def test_compare_says_where_nothing_can_be_compared(kpodx: Terminal) -> None:
    two_runs(kpodx)
    [file] = (kpodx.folder / "b" / "evaluation").glob("*/predictions-test.jsonl")
    file.write_text("")
    assert kpodx("compare", "a", "b") == 2
    assert "predictions-test.jsonl is missing or of another size" in kpodx.err


def test_only_common_questions_are_paired() -> None:
    found = paired({"a": True, "b": True, "c": False}, {"b": False, "c": False, "d": True})
    assert found == {"n": 2, "only_first": 1, "only_second": 0, "p_value": 1.0}
    assert paired({"a": True}, {"b": True})["p_value"] is None


def test_differing_settings_leave_names_out() -> None:
    first = {"name": "x", "about": {"cost": "1"}, "student": {"lora": None}, "seed": 1}
    second = {"name": "y", "about": {"cost": "2"}, "student": {"lora": {"rank": 4}}, "seed": 1}
    assert differing_settings([first, second]) == {"student.lora": [None, None], "student.lora.rank": [None, 4]} or (
        differing_settings([first, second]) == {"student.lora.rank": [None, 4]}
    )


def test_show_prints_a_question_and_its_answer_without_weights(kpodx: Terminal) -> None:
    two_runs(kpodx)
    assert kpodx("distill", "tiny.toml", "--run", "plain", "--reuse", "a", "distillation.method=std-cot") == 0
    document = kpodx.json("show", "plain")
    assert document["id"] == "q9"
    assert document["threshold"] is None
    assert document["rationales"][0]["text"] == "2+3 = 5."
    assert kpodx.json("show", "plain", "--question", "q2")["predictions"][0]["correct"] is True
    assert kpodx("show", "plain", "--question", "q22") == 2
    assert "Did you mean 'q2'" in kpodx.err


def test_a_question_is_found_by_id_then_by_number() -> None:
    questions = {name: Question(name, Split.TRAIN, "?", "1") for name in ("2", "a", "b")}
    rationales = [Rationale(f"r{n}", name, "t", "1", "g") for n, name in enumerate(("b", "b", "a"))]
    assert find_question("2", questions, rationales).id == "2", "an id goes before a number"
    assert find_question("1", questions, rationales).id == "b"
    for wrong in ("0", "3", "c c"):
        with pytest.raises(DataError, match="number from 1 to 2"):
            find_question(wrong, questions, rationales)


def test_pieces_cover_the_text_once() -> None:
    spans = [StepSpan(0, 1), StepSpan(2, 4), StepSpan(3, 5), StepSpan(5, 5)]
    pieces = cut("a bcd e", spans, [0.1, 0.9, 0.5, 0.3])
    assert "".join(piece["text"] for piece in pieces) == "a bcd e"
    assert [(p["text"], p["weight"]) for p in pieces] == [
        ("a", 0.1),
        (" ", None),
        ("bc", 0.9),
        ("d", 0.5),
        (" e", None),
    ]


def test_keypoints_are_bracketed_without_colour() -> None:
    tokens: list[dict[str, Any]] = [
        {"text": "so ", "weight": 0.2},
        {"text": "5", "weight": 0.9},
        {"text": ".", "weight": None},
    ]
    assert paint(tokens, 0.9, None).plain == "so [5]."
    for colours, bold in (("standard", [True]), ("truecolor", [False, True])):
        coloured = paint(tokens, 0.9, colours)
        assert coloured.plain == "so 5."
        assert [str(span.style).startswith("bold") for span in coloured.spans] == bold


def test_show_names_the_threshold(kpodx: Terminal) -> None:
    from kpodx.reporting import questions

    two_runs(kpodx)
    tokens = [{"text": "2+3", "weight": 0.9}, {"text": " = 5.", "weight": 0.1}]
    learnt = SimpleNamespace(upper_quarter=0.75, pieces=lambda _rationale: tokens)
    kpodx.monkeypatch.setattr(questions, "read_keypoints", lambda _run: learnt)
    assert kpodx("show", "a") == 0
    assert "[2+3] = 5." in kpodx.out
    assert "token weight of at least 0.750" in kpodx.out


def test_show_cuts_the_rationale_into_the_students_tokens(kpodx: Terminal, tiny_t5: Path) -> None:
    from kpodx.modeling.loading import load_tokenizer
    from kpodx.modeling.tokenization import rationale_token_spans, tokenizer_hash

    text, tokenizer = "2 + 3 = 5.", load_tokenizer(str(tiny_t5))
    count = len(rationale_token_spans(tokenizer, text))
    values = np.linspace(0.1, 0.9, count, dtype=np.float32)
    question = Question("q9", Split.TRAIN, "Two and three?", "5")
    kpodx.hooks["dataset"] = lambda context: save_questions(context.output, [question])
    kpodx.hooks["rationales"] = lambda context: save_rationales(
        context.output, [Rationale("r9", "q9", text, "5", "gold")]
    )
    weights = TokenWeights(("r9",), np.array([0, count]), values, tokenizer_hash(tokenizer))
    kpodx.hooks["weighting"] = lambda context: save_token_weights(context.output, weights)
    assert kpodx("distill", "tiny.toml", f"student.model={tiny_t5}") == 0
    document = kpodx.json("show")
    tokens = document["rationales"][0]["tokens"]
    assert "".join(token["text"] for token in tokens) == text
    found = [token["weight"] for token in tokens if token["weight"] is not None]
    assert found == sorted(found), "the weights stand in the order of the tokens"
    assert document["threshold"] == pytest.approx(float(np.quantile(values, 0.75)))
    weights = dataclasses.replace(weights, tokenizer_hash="another")
    assert kpodx("distill", "tiny.toml", f"student.model={tiny_t5}", "--force", "weighting") == 0
    assert kpodx("show") == 2
    assert "is not the one that the token weights" in kpodx.err


def test_help_is_there_for_every_command(kpodx: Terminal) -> None:
    assert kpodx("--version") == 0
    assert kpodx.out.startswith("kpodx ")
    for command in ("distill", "validate", "status", "compare", "show", "doctor", "recipes"):
        assert kpodx(command, "--help") == 0
        assert "Usage" in kpodx.out
