"""Small stand-ins for the phases, to test what runs them; also a program, for tests that need a second process."""

from __future__ import annotations

import json
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kpodx.artifacts import hash_json, hash_path, read_json, write_json
from kpodx.config import Config, FilePath, build_config
from kpodx.runtime import PhaseContext, RuntimeConfig

NAMES = ("dataset", "rationales", "weighting", "difficulty", "curriculum", "distillation", "evaluation")


class FakeStudent(Config):
    """The student."""

    model: str = "./model"
    revision: str | None = None
    rank: int = 4


class FakeTable(Config):
    """A phase's table."""

    coef: float = 0.5
    seed: int | None = None
    path: FilePath | None = None


class FakeWeighting(FakeTable):
    """Mask learning."""

    predictor: str = "student"
    predictor_revision: str | None = None


class FakeDifficulty(FakeTable):
    """Step difficulties."""

    uses_weights: bool = True


class FakeCurriculum(FakeTable):
    """The schedule."""

    remeasure_every: int | None = None


class FakeDistillation(FakeTable):
    """Training."""

    epochs: int = 2
    method: str = "kpod"

    @property
    def needs(self) -> frozenset[str]:
        """What it reads beside the rationales."""
        return frozenset({"weighting", "difficulty", "curriculum"} if self.method == "kpod" else ())


class FakeRecipe(Config):
    """All settings."""

    name: str = "fake"
    seed: int = 0
    student: FakeStudent = FakeStudent()
    runtime: RuntimeConfig = RuntimeConfig()
    dataset: FakeTable = FakeTable()
    rationales: FakeTable = FakeTable()
    weighting: FakeWeighting = FakeWeighting()
    difficulty: FakeDifficulty = FakeDifficulty()
    curriculum: FakeCurriculum = FakeCurriculum()
    distillation: FakeDistillation = FakeDistillation()
    evaluation: FakeTable = FakeTable()


class FakeResolved:
    """What `load_recipe` would give."""

    def __init__(self, recipe: FakeRecipe) -> None:
        self.recipe = recipe
        self.sources = {"seed": "default"}
        self.path: Path | None = None


def resolved(**tables: Any) -> FakeResolved:
    """A fake recipe with a local student beside it."""
    return FakeResolved(build_config(FakeRecipe, tables))


def run_fake(name: str, context: PhaseContext, hooks: dict[str, Callable[[PhaseContext], None]]) -> dict[str, object]:
    """Write one file that depends on the inputs and the settings; a hook may do more, or fail."""
    if name in hooks:
        hooks[name](context)
    table = getattr(context.recipe, name).model_dump(mode="json")
    inputs = {other: hash_path(folder / "result.json") for other, folder in context.inputs.items()}
    write_json(context.output / "result.json", {"phase": name, "inputs": inputs, "table": table, "seed": context.seed})
    summary: dict[str, object] = {"digest": hash_json(table)[:8]}
    if name == "evaluation":
        part = {"accuracy": 0.5, "low": 0.25, "high": 0.75, "n": 8, "by_steps": {"2": {"accuracy": 0.5, "n": 8}}}
        summary |= {"validation": part, "test": part}
    return summary


def install(calls: list[str], hooks: dict[str, Callable[[PhaseContext], None]], modules: Any) -> None:
    """Put a fake `kpodx.<phase>.phase` for every phase into `modules` (`sys.modules`, or a patch of it)."""
    for name in NAMES:
        module = types.ModuleType(f"kpodx.{name}.phase")

        def run(context: PhaseContext, name: str = name) -> dict[str, object]:
            calls.append(name)
            return run_fake(name, context, hooks)

        module.run = run  # type: ignore[attr-defined]
        modules[module.__name__] = module


def count_slowly(context: PhaseContext) -> None:
    """Count to FAKE_COUNT, a tenth of a second each, and keep the count as partial state."""
    state = context.output / "state.json"
    first = read_json(state)["count"] if state.is_file() else 0
    for count in range(first, int(os.environ["FAKE_COUNT"])):
        write_json(state, {"count": count + 1})
        print(f"count {count + 1}", flush=True)
        time.sleep(0.1)


def print_rank(context: PhaseContext) -> None:
    """Note in the shared folder which process took part."""
    (context.output / f"rank{os.environ.get('RANK', '0')}").write_text("took part")
    deadline = time.monotonic() + 20
    while len(list(context.output.glob("rank*"))) < int(os.environ.get("WORLD_SIZE", "1")):
        assert time.monotonic() < deadline, "the other process did not come"
        time.sleep(0.05)


def main(run_dir: str, tables: str) -> None:
    """Run the fake pipeline in this process."""
    from kpodx.launch import Launch
    from kpodx.pipeline import run_pipeline

    hooks: dict[str, Callable[[PhaseContext], None]] = {"weighting": count_slowly} if "FAKE_COUNT" in os.environ else {}
    hooks |= {"distillation": print_rank} if "RANK" in os.environ else {}
    calls: list[str] = []
    install(calls, hooks, sys.modules)
    launch = Launch.from_environment(os.environ)
    result = run_pipeline(resolved(**json.loads(tables)), Path(run_dir), launch=launch)  # type: ignore[arg-type]
    print(json.dumps({"calls": calls, "phases": [phase.name for phase in result.phases]}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
