"""Running phases: caching, dependants, resuming, forcing, reusing, and several processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fake_phases
import pytest

from kpodx.artifacts import read_json, write_json
from kpodx.errors import ConfigError, KpodxError, ModelError, RunError, UsageError
from kpodx.fingerprints import Revisions
from kpodx.pipeline import PHASES, Choice, finished_phases, needed_phases, plan_run, reads_of, run_pipeline
from kpodx.recipe import load_recipe
from kpodx.runs import load_run
from kpodx.runtime import PhaseContext, derive_seed

ALL = list(fake_phases.NAMES)


class Bench:
    """A run folder with a local student, fake phases, and a record of which phases ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model"
        self.model.mkdir()
        (self.model / "config.json").write_text("{}")
        self.calls: list[str] = []
        self.hooks: dict[str, Callable[[PhaseContext], None]] = {}

    def recipe(self, **tables: Any) -> Any:
        """A fake recipe whose student is the local one."""
        tables["student"] = {"model": str(self.model), **tables.get("student", {})}
        return fake_phases.resolved(**tables)

    def run(self, choice: Choice | None = None, run: str = "run", **tables: Any) -> list[str]:
        """Run the pipeline; the phases that were not cached."""
        self.calls.clear()
        self.result = run_pipeline(self.recipe(**tables), self.folder / run, choice)
        return list(self.calls)

    def manifest(self, run: str = "run") -> dict[str, Any]:
        """What the run says."""
        return load_run(self.folder / run).manifest

    def phase_folder(self, name: str, run: str = "run") -> Path:
        """The folder of a finished phase."""
        return load_run(self.folder / run).folder(name)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A fresh bench."""
    bench = Bench(tmp_path)
    modules: dict[str, Any] = {}
    fake_phases.install(bench.calls, bench.hooks, modules)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return bench


def test_everything_runs_once_and_then_nothing(bench: Bench) -> None:
    assert bench.run() == ALL
    assert bench.run() == []
    assert all(phase.cached for phase in bench.result.phases)
    assert bench.result.summary("evaluation")["test"]["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"rationales": {"coef": 0.7}}, ALL[1:]),
        ({"weighting": {"coef": 0.7}}, ALL[2:]),
        ({"difficulty": {"coef": 0.7}}, ALL[3:]),
        ({"curriculum": {"coef": 0.7}}, ALL[4:]),
        ({"distillation": {"coef": 0.7}}, ALL[5:]),
        ({"distillation": {"epochs": 3}}, ALL[4:]),
        ({"evaluation": {"coef": 0.7}}, ALL[6:]),
        ({"student": {"rank": 8}}, ALL[2:]),
        ({"runtime": {"dtype": "float32"}}, ALL[2:]),
        ({"runtime": {"num_threads": 1}}, []),
        ({"difficulty": {"uses_weights": False}}, ALL[3:]),
        ({"seed": 1}, ALL),
        ({"name": "other"}, []),
    ],
)
def test_a_change_runs_the_phase_and_its_dependants_again(
    bench: Bench, change: dict[str, Any], again: list[str]
) -> None:
    bench.run()
    assert bench.run(**change) == again
    assert bench.run() == [], "changing it back costs nothing"


def test_difficulty_without_token_weights_does_not_depend_on_weighting(bench: Bench) -> None:
    bench.run(difficulty={"uses_weights": False})
    again = bench.run(difficulty={"uses_weights": False}, weighting={"coef": 0.9})
    assert again == ["weighting", "distillation", "evaluation"]


@pytest.mark.parametrize(
    ("overrides", "reads"),
    [
        (["distillation.weights_in_loss=false"], False),
        (["distillation.weights_in_loss=false", "curriculum.remeasure_every=1"], True),
        (["distillation.weights_in_loss=false", "curriculum.remeasure_every=1", "difficulty.measure=nll"], False),
        (["distillation.method=std-cot", "curriculum.remeasure_every=1"], False),
    ],
)
def test_difficulties_measured_again_need_the_weights_that_they_had(overrides: list[str], reads: bool) -> None:
    distillation = next(phase for phase in PHASES if phase.name == "distillation")
    assert ("weighting" in reads_of(distillation, load_recipe("quickstart", overrides).recipe)) is reads


def test_plain_methods_skip_weights_and_schedule(bench: Bench) -> None:
    assert bench.run(distillation={"method": "std-cot"}) == ["dataset", "rationales", "distillation", "evaluation"]
    assert "weighting" not in bench.manifest()["phases"]


def test_stopping_early_runs_what_leads_there(bench: Bench) -> None:
    assert bench.run(Choice(stop="curriculum"), distillation={"method": "std-cot"}) == ALL[:5]
    assert bench.manifest()["state"] == "partial"
    names = [p.name for p in needed_phases(fake_phases.FakeRecipe(difficulty={"uses_weights": False}), "curriculum")]
    assert names == ALL[:5], "weighting is needed later by the distillation"


def test_from_refuses_to_run_earlier_phases(bench: Bench) -> None:
    with pytest.raises(RunError, match=r"--from weighting expects the phases before it in .*, where no run is"):
        bench.run(Choice(start="weighting"))
    assert not (bench.folder / "run").exists()
    bench.run(Choice(stop="dataset"))
    with pytest.raises(RunError, match="expects a finished rationales phase"):
        bench.run(Choice(start="weighting"))
    bench.run(Choice(stop="rationales"))
    assert bench.run(Choice(start="weighting")) == ALL[2:]


def test_a_wrong_phase_name_is_told_with_the_nearest(bench: Bench) -> None:
    with pytest.raises(UsageError, match="Did you mean 'weighting'"):
        bench.run(Choice(stop="weigthing"))
    assert not (bench.folder / "run").exists()


def test_force_runs_again_and_dependants_only_if_the_content_changed(bench: Bench) -> None:
    bench.run()
    assert bench.run(Choice(force=("rationales",))) == ["rationales"], "the same content: dependants stay"
    aside = list((bench.folder / "run" / "rationales").glob("*.replaced-1"))
    assert len(aside) == 1
    assert (aside[0] / "done.json").is_file(), "nothing finished is lost"
    bench.hooks["rationales"] = lambda context: write_json(context.output / "extra.json", 1)
    again = bench.run(Choice(force=("rationales",)))
    assert again == ALL[1:6], "other content: its readers run again, and write the same"


def test_reuse_takes_equal_phases_from_another_run(bench: Bench) -> None:
    bench.run(run="first")
    again = bench.run(Choice(reuse=(bench.folder / "first",)), run="second", curriculum={"coef": 0.9})
    assert again == ALL[4:]
    first, second = (bench.phase_folder("weighting", run) / "result.json" for run in ("first", "second"))
    assert first.samefile(second), "hard-linked, not copied"
    assert bench.run(run="second", curriculum={"coef": 0.9}) == []


def test_reuse_copies_between_disks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def cross_device(_source: str, _target: str) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    bench.run(run="first")
    monkeypatch.setattr(os, "link", cross_device)
    assert bench.run(Choice(reuse=(bench.folder / "first",)), run="second") == []
    first, second = (bench.phase_folder("weighting", run) / "result.json" for run in ("first", "second"))
    assert not first.samefile(second)
    assert first.read_bytes() == second.read_bytes()


def test_a_damaged_finished_phase_runs_again(bench: Bench) -> None:
    bench.run()
    (bench.phase_folder("curriculum") / "result.json").write_text("{}")
    assert bench.run() == ["curriculum"], "its content is the same again, so that nothing else runs"
    (bench.phase_folder("dataset") / "result.json").unlink()
    assert bench.run() == ["dataset"]


def test_done_lists_every_file_with_size_and_hash(bench: Bench) -> None:
    bench.run(Choice(stop="dataset"))
    folder = bench.phase_folder("dataset")
    done = read_json(folder / "done.json")
    content = (folder / "result.json").read_bytes()
    assert list(done["files"]) == ["result.json"]
    assert done["files"]["result.json"]["size"] == len(content)
    assert done["phase"] == "dataset"
    assert done["fingerprint"].startswith(folder.name)
    assert sorted(path.name for path in folder.iterdir()) == ["done.json", "result.json"]


def test_a_failed_phase_keeps_its_partial_state_for_the_same_work_only(bench: Bench) -> None:
    seen: list[list[str]] = []

    def fail_once(context: PhaseContext) -> None:
        seen.append(sorted(path.name for path in context.output.iterdir() if not path.name.startswith(".")))
        (context.output / "checkpoint").write_text("half")
        if len(seen) < 3:
            raise KpodxError("it broke")

    bench.hooks["weighting"] = fail_once
    for _ in range(2):
        with pytest.raises(KpodxError, match="it broke"):
            bench.run()
    assert seen == [[], ["checkpoint"]]
    assert bench.manifest()["state"] == "failed"
    assert set(bench.manifest()["phases"]) == {"dataset", "rationales"}
    bench.hooks["rationales"] = lambda context: write_json(context.output / "extra.json", 1)
    bench.run(Choice(force=("rationales",)))
    assert seen[2] == [], "a partial state of other rationales is not gone on from"


def test_an_interrupt_is_recorded_and_passed_on(bench: Bench) -> None:
    def interrupt(_context: PhaseContext) -> None:
        raise KeyboardInterrupt

    bench.hooks["distillation"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert bench.manifest()["state"] == "interrupted"
    del bench.hooks["distillation"]
    assert bench.run() == ALL[5:]
    assert bench.manifest()["state"] == "finished"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_with_the_folder(bench: Bench, error: Exception) -> None:
    def fill(_context: PhaseContext) -> None:
        raise error

    bench.hooks["weighting"] = fill
    with pytest.raises(KpodxError, match=r"disk is full: .*weighting") as caught:
        bench.run()
    assert caught.value.hint is not None
    assert not list((bench.folder / "run" / "weighting").rglob("done.json"))


def test_other_errors_are_passed_on_as_they_are(bench: Bench) -> None:
    def fail(_context: PhaseContext) -> None:
        raise RuntimeError("a bug")

    bench.hooks["weighting"] = fail
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        bench.run()


def test_phases_are_given_their_inputs_and_seeds(bench: Bench) -> None:
    seen: dict[str, PhaseContext] = {}
    for name in ALL:
        bench.hooks[name] = partial(seen.__setitem__, name)
    bench.run(curriculum={"seed": 7})
    assert set(seen["difficulty"].inputs) == {"dataset", "rationales", "weighting"}
    assert seen["evaluation"].inputs["distillation"] == bench.phase_folder("distillation")
    assert seen["curriculum"].seed == 7
    assert seen["weighting"].seed == derive_seed("weighting", 0)
    assert bench.manifest()["seeds"]["curriculum"] == 7


def test_a_file_counts_by_its_content_not_its_place(bench: Bench) -> None:
    one, two = bench.folder / "one.jsonl", bench.folder / "two.jsonl"
    one.write_text("a")
    two.write_text("a")
    bench.run(dataset={"path": str(one)})
    assert bench.run(dataset={"path": str(two)}) == []
    assert set(bench.manifest()["inputs"]) == {str(bench.model), str(two)}
    two.write_text("b")
    assert bench.run(dataset={"path": str(two)}) == ["dataset", *ALL[1:]]


def test_a_local_student_counts_by_its_content(bench: Bench) -> None:
    bench.run()
    (bench.model / "config.json").write_text('{"d_model": 8}')
    assert bench.run() == ALL[2:]


def test_missing_files_and_models_are_told_with_their_setting(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"rationales\.path: there is no file or folder /nowhere"):
        bench.run(rationales={"path": "/nowhere"})
    with pytest.raises(ModelError, match=r"student\.model: .*: there is no such folder"):
        bench.run(student={"model": str(bench.folder / "absent")})


def test_hub_commits_are_looked_up_once_and_only_when_needed(bench: Bench) -> None:
    asked: list[tuple[str, str]] = []

    def look_up(model: str, revision: str) -> str:
        asked.append((model, revision))
        return "c" * 40

    recipe = fake_phases.resolved(student={"model": "org/student"}, weighting={"predictor": "org/predictor"}).recipe
    pins: dict[str, str] = {}
    plan_run(recipe, Revisions(pins, look_up=look_up), stop="rationales")
    assert asked == []
    plan = plan_run(recipe, Revisions(pins, look_up=look_up))
    assert sorted(asked) == [("org/predictor", "main"), ("org/student", "main")]
    assert pins == {"org/student@main": "c" * 40, "org/predictor@main": "c" * 40}
    again = plan_run(recipe, Revisions(dict(pins), look_up=look_up))
    assert len(asked) == 2
    assert again == plan
    moved = plan_run(recipe, Revisions({**pins, "org/student@main": "d" * 40}))
    assert [a.name for a, b in zip(plan, moved, strict=True) if a.fingerprint != b.fingerprint] == ALL[2:]


def test_a_dry_plan_writes_nothing(bench: Bench) -> None:
    found = finished_phases(bench.recipe(), bench.folder / "run", Choice(), Revisions())
    assert [done for _, done in found] == [False] * 7
    assert not (bench.folder / "run").exists()
    bench.run()
    changed = finished_phases(bench.recipe(curriculum={"coef": 0.9}), bench.folder / "run", Choice(), Revisions())
    assert [planned.name for planned, done in changed if not done] == ALL[4:]


def test_the_number_of_threads_is_what_the_recipe_says(bench: Bench) -> None:
    import torch

    before = torch.get_num_threads()
    seen: list[int] = []
    bench.hooks["dataset"] = lambda context: seen.append(torch.get_num_threads())
    try:
        bench.run(Choice(stop="dataset"), runtime={"num_threads": before + 1})
        bench.run(Choice(stop="dataset", force=("dataset",)))
    finally:
        torch.set_num_threads(before)
    assert seen == [before + 1, before + 1]


def test_phases_read_only_earlier_ones() -> None:
    names = [phase.name for phase in PHASES]
    assert names == ALL
    assert all(names.index(other) < names.index(phase.name) for phase in PHASES for other in phase.reads)


def start(bench: Bench, **environment: str) -> subprocess.Popen[str]:
    """The fake pipeline in a process of its own."""
    tables = json.dumps({"student": {"model": str(bench.model)}})
    command = [sys.executable, fake_phases.__file__, str(bench.folder / "run"), tables]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Read lines until one is `text`."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == text:
            return
    raise AssertionError(f"{text!r} was never printed")


def test_a_killed_process_leaves_a_run_that_goes_on(bench: Bench) -> None:
    victim = start(bench, FAKE_COUNT="600")
    wait_for_line(victim, "count 3")
    with pytest.raises(RunError, match=f"in use by another kpodx process, pid {victim.pid}"):
        bench.run()
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    [state] = (bench.folder / "run" / "weighting").glob("*/state.json")
    counted = read_json(state)["count"]
    assert counted >= 3
    survivor = start(bench, FAKE_COUNT=str(counted + 2))
    out, err = survivor.communicate(timeout=60)
    assert survivor.returncode == 0, err
    assert out.splitlines()[0] == f"count {counted + 1}", "it went on where the killed one stood"
    assert json.loads(out.splitlines()[-1])["calls"] == ALL[2:], "finished phases were not run again"
    assert bench.manifest()["state"] == "finished"
    assert read_json(bench.phase_folder("weighting") / "done.json")["resumed"] is True


def test_a_following_process_joins_the_distillation_only(bench: Bench) -> None:
    launch = {"WORLD_SIZE": "2", "MASTER_PORT": "1"}
    follower, owner = start(bench, RANK="1", **launch), start(bench, RANK="0", **launch)
    results = []
    for process in (follower, owner):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        results.append(json.loads(out.splitlines()[-1])["calls"])
    assert results == [["distillation"], ALL]
    assert {path.name for path in bench.phase_folder("distillation").glob("rank*")} == {"rank0", "rank1"}


def test_a_following_process_ends_when_the_owner_dies(bench: Bench) -> None:
    owner = start(bench, RANK="0", WORLD_SIZE="2", FAKE_COUNT="600")
    wait_for_line(owner, "count 1")
    follower = start(bench, RANK="1", WORLD_SIZE="2", FAKE_COUNT="600")
    with pytest.raises(subprocess.TimeoutExpired):
        follower.communicate(timeout=3)
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate()
    _, err = follower.communicate(timeout=60)
    assert follower.returncode != 0
    assert "has ended" in err
