"""What a study has to run: equal phases once, and every variant with every seed to its end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kpodx.config import setting
from kpodx.fingerprints import Revisions
from kpodx.layers import Assignment
from kpodx.pipeline import PHASES, plan_run
from kpodx.recipe import ResolvedRecipe, load_recipe, shipped_recipes
from kpodx.study.config import StudyConfig, Value, Variant, expand_variants

LAST = PHASES[-1].name


@dataclass(frozen=True)
class StudyRun:
    """One variant with one seed.

    Attributes:
        variant: what is set.
        seed: the seed.
        folder: its run folder.
        overrides: settings for the command line, paths absolute.
        fingerprints: fingerprint of each phase that it needs, in order.
    """

    variant: Variant
    seed: int
    folder: Path
    overrides: tuple[str, ...]
    fingerprints: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Task:
    """Phases of one run, to be done once for all runs that share them.

    Attributes:
        run: the run in whose folder they are done.
        phase: the last of them; the ones before the first are done by the tasks it needs.
        fingerprint: of that phase.
        needs: places in the list of tasks that must be finished first.
    """

    run: StudyRun
    phase: str
    fingerprint: str
    needs: tuple[int, ...]

    @property
    def is_last(self) -> bool:
        """Whether this finishes its run."""
        return self.phase == LAST


@dataclass(frozen=True)
class StudyPlan:
    """Runs, the tasks that make them, and the recipe file behind them."""

    recipe: str
    runs: tuple[StudyRun, ...]
    tasks: tuple[Task, ...]


def plan_study(study: StudyConfig, path: Path, folder: Path, typed: Sequence[str] = ()) -> StudyPlan:
    """Plan all runs of a study.

    Args:
        study: its settings.
        path: its file, from whose folder relative paths are read.
        folder: of the study, which holds its run folders.
        typed: "key=value" settings of the command line, for every run.

    Raises:
        ConfigError: a variant's settings are not valid.
    """
    recipe = recipe_of(study, path)
    revisions = Revisions()
    runs = []
    for variant in expand_variants(study):
        for seed in study.seeds:
            resolved = resolve(study, path, recipe, variant, seed, typed)
            planned = plan_run(resolved.recipe, revisions)
            runs.append(
                StudyRun(
                    variant,
                    seed,
                    folder / f"{variant.name}-{seed}",
                    _overrides(resolved, study, variant, typed),
                    tuple((phase.name, phase.fingerprint) for phase in planned),
                )
            )
    return StudyPlan(recipe, tuple(runs), tuple(_tasks(runs)))


def recipe_of(study: StudyConfig, path: Path) -> str:
    """Return the recipe's file, read from the study's folder, or the shipped recipe's name."""
    beside = path.parent / study.recipe
    if beside.is_file() and study.recipe not in shipped_recipes():
        return str(beside)
    return study.recipe


def resolve(
    study: StudyConfig, path: Path, recipe: str, variant: Variant, seed: int, typed: Sequence[str]
) -> ResolvedRecipe:
    """Return the recipe of one run."""
    settings = (*variant.settings, (study.seed_setting, seed))
    written = [Assignment(tuple(key.split(".")), value, str(path), path.parent) for key, value in settings]
    return load_recipe(recipe, typed, assignments=written)


def _overrides(resolved: ResolvedRecipe, study: StudyConfig, variant: Variant, typed: Sequence[str]) -> tuple[str, ...]:
    """Return what makes this run from the recipe; values are the resolved ones, whose paths are absolute."""
    keys = dict.fromkeys(key for key, _ in (*variant.settings, (study.seed_setting, None)))
    keys |= dict.fromkeys(text.partition("=")[0].strip() for text in typed)
    return tuple(f"{key}={_literal(setting(resolved.recipe, key))}" for key in keys)


def _literal(value: Value | tuple[Value, ...] | dict[str, Value]) -> str:
    """Return a value as the command line reads it: null, or a TOML literal.

    >>> _literal(None), _literal(True), _literal("a b"), _literal((1, 2))
    ('null', 'true', '"a b"', '[1, 2]')
    """
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _tasks(runs: Sequence[StudyRun]) -> list[Task]:
    """List the work in an order in which everything that a task needs comes before it.

    A phase with an equal fingerprint is done once, by the first run that has it. Neighboring phases of a run that the
    same runs share are one task: every task is a process that loads torch again. The last phase finishes its run's
    folder, so every run has that one for itself.
    """
    sharers: dict[tuple[str, str], list[int]] = {}
    for number, run in enumerate(runs):
        for key in run.fingerprints:
            sharers.setdefault(key, []).append(number)

    tasks: list[Task] = []
    places: dict[tuple[str, str], int] = {}
    for number, run in enumerate(runs):
        before: dict[int, None] = {}
        shared_by: list[int] = []
        for key in run.fingerprints:
            name, fingerprint = key
            users = [number] if name == LAST else sharers[key]
            if name != LAST and key in places:
                before[places[key]] = None
                shared_by = []
                continue
            if users == shared_by:
                tasks[-1] = replace(tasks[-1], phase=name, fingerprint=fingerprint)
            else:
                tasks.append(Task(run, name, fingerprint, tuple(before)))
                before[len(tasks) - 1] = None
            shared_by = users
            places[key] = len(tasks) - 1
    return tasks
