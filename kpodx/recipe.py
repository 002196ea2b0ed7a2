"""The recipe: every setting of a run in one TOML file, and how files, the environment and the command line make it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from kpodx.config import (
    C,
    Config,
    describe_problems,
    nearest,
    path_settings,
    resolve_path,
    resolve_paths,
    setting,
    shipped,
)
from kpodx.curriculum.config import CurriculumConfig
from kpodx.dataset.config import DatasetConfig
from kpodx.difficulty.config import DifficultyConfig
from kpodx.distillation.config import DistillationConfig
from kpodx.errors import ConfigError
from kpodx.evaluation.config import EvaluationConfig
from kpodx.layers import Assignment, Layers, environment_assignments, leaves, load_toml, merge, parse_override
from kpodx.modeling.config import StudentConfig
from kpodx.rationales.config import RationalesConfig
from kpodx.runtime import RuntimeConfig
from kpodx.weighting.config import WeightingConfig

TABLES = (
    "student",
    "runtime",
    "dataset",
    "rationales",
    "weighting",
    "difficulty",
    "curriculum",
    "distillation",
    "evaluation",
)

MODEL_KEYS = ("student.model", "rationales.transformers.model", "weighting.predictor")
"""Settings that hold a hub id or a local model folder."""


class About(Config):
    """What a reader of the recipe should know; nothing here changes a run."""

    cost: str = ""
    """What the run takes: hours, memory, money."""
    paper_result: str = ""
    """The published figure that this recipe stands beside, if any."""
    sources: tuple[str, ...] = ()
    """Where the values that are not our own come from, one a line."""


class Recipe(Config):
    """All settings of one run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Short name, which is also the default run folder's; letters, digits, dot, dash and underscore."""
    description: str = ""
    """One sentence for `kpodx recipes ls`."""
    seed: int = Field(default=0, ge=0)
    """Seed that every phase derives its own from."""
    about: About = About()
    """What a reader should know."""
    student: StudentConfig
    """The model that learns."""
    runtime: RuntimeConfig
    """Device and number format."""
    dataset: DatasetConfig
    """Where the questions come from."""
    rationales: RationalesConfig
    """Where the rationales come from, and which are kept."""
    weighting: WeightingConfig
    """How token weights are learnt."""
    difficulty: DifficultyConfig
    """How hard each step is for the student."""
    curriculum: CurriculumConfig
    """How many steps are given at each stage."""
    distillation: DistillationConfig
    """How the student is trained."""
    evaluation: EvaluationConfig
    """How its answers are counted."""

    @model_validator(mode="before")
    @classmethod
    def _every_table(cls, values: Any) -> Any:
        """An absent table is an empty one, so that what it lacks is told by name."""
        return {**{table: {} for table in TABLES}, **values} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.rationales.teacher == "embedded" and self.dataset.format != "embedded":
            raise ValueError(
                f"rationales.teacher 'embedded' belongs to dataset.format 'embedded', but that is {self.dataset.format!r}; "
                "rationales that come with the questions are teacher 'gold'"
            )
        return self

    @model_validator(mode="after")
    def _remeasuring_changes_something(self) -> Recipe:
        every, epochs = self.curriculum.remeasure_every, self.distillation.epochs
        if every is None or not self.distillation.uses_schedule:
            return self
        if self.difficulty.measure == "length":
            raise ValueError(
                "curriculum.remeasure_every measures difficulties again, but difficulty.measure 'length' never "
                "changes: expected weighted-nll or nll"
            )
        if not self.curriculum.remeasured_stages(epochs):
            last = self.curriculum.resolve_full_stage(epochs)
            raise ValueError(
                f"curriculum.remeasure_every is {every}, but the schedule ends at stage {last} and training after "
                f"{epochs} epochs: expected fewer than both"
            )
        return self


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with the origin of each value.

    Attributes:
        recipe: the settings, all paths absolute.
        sources: for each dotted key its file and line, environment variable, "command line", or "default".
        path: the recipe file, None for one built in Python.
    """

    recipe: Recipe
    sources: dict[str, str] = field(default_factory=dict)
    path: Path | None = None


def shipped_folder() -> Path:
    """The folder of the recipes that come with kpodx."""
    return shipped("recipes")


def shipped_recipes() -> dict[str, Path]:
    """Return the path of every shipped recipe by name, such as "quickstart"."""
    return {path.stem: path for path in sorted(shipped_folder().glob("*.toml"))}


def find_recipe(path_or_name: str) -> Path:
    """The recipe file that a path or the name of a shipped recipe means; ConfigError with the nearest name."""
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path
    shipped = shipped_recipes()
    name = re.sub(r"^recipes/|\.toml$", "", path_or_name)
    if name in shipped:
        return shipped[name]
    guess = nearest(name, list(shipped))
    raise ConfigError(
        f"No recipe {path_or_name!r}: expected a .toml file, or the name of a shipped recipe."
        + (f" Did you mean {guess!r}?" if guess else ""),
        hint="`kpodx recipes ls` lists the shipped ones.",
    )


def copy_recipe(name: str, target: Path) -> list[Path]:
    """Copy a shipped recipe, and the model folders beside it that it names, to a file or into a folder that exists.

    Returns:
        What was written, the recipe first.

    Raises:
        ConfigError: something else is there already; nothing is overwritten.
    """
    from kpodx.artifacts import hash_path

    source = find_recipe(name)
    target = target / source.name if target.is_dir() else target
    values = {".".join(item.key): item.value for item in load_toml(source)}
    beside = [values[key] for key in MODEL_KEYS if str(values.get(key, "")).startswith("./")]
    folders = [(source.parent / name, target.parent / name) for name in beside if (source.parent / name).is_dir()]
    folders = [(old, new) for old, new in folders if not (new.is_dir() and hash_path(new) == hash_path(old))]
    for new in (target, *(new for _, new in folders)):
        if new.exists():
            raise ConfigError(f"{new} exists already.", hint="Give another place, or remove it first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    for old, new in folders:
        shutil.copytree(old, new)
    return [target, *(new for _, new in folders)]


def load_recipe(
    path_or_name: str,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    assignments: Sequence[Assignment] = (),
) -> ResolvedRecipe:
    """Build a recipe from its file, then KPODX__… variables, assignments and overrides, the last the strongest.

    Args:
        path_or_name: a TOML file, or the name of a shipped recipe.
        assignments: settings of a study.
        overrides: "a.b=value", values as TOML literals or bare text; relative paths are read from the working folder.
        environment: variables, of which KPODX__A__B sets a.b; none if None.

    Raises:
        ConfigError: every mistake of all three at once.
    """
    path, here = find_recipe(path_or_name), Path.cwd()
    problems: list[str] = []
    typed: list[Assignment] = []
    for text in overrides:
        try:
            typed.append(parse_override(text, here))
        except ConfigError as error:
            problems.append(error.message)
    named = Assignment(("name",), re.sub(r"[^A-Za-z0-9._-]", "-", path.stem), "file name", here)
    try:
        written = load_toml(path)
    except ConfigError as error:
        raise ConfigError("\n".join([error.message, *problems]), hint=error.hint) from error
    layers = merge([named], written, environment_assignments(environment or {}, here), assignments, typed)
    problems += layers.problems
    recipe = _validate(layers, problems)
    recipe = _absolute(recipe, lambda key: layers.bases.get(key, path.resolve().parent))
    sources = {".".join(key): "default" for key, _ in leaves(recipe.model_dump())} | {
        key: source for key, source in layers.sources.items() if key not in TABLES and key != "about"
    }
    return ResolvedRecipe(recipe, dict(sorted(sources.items())), path.resolve())


def missing_paths(recipe: Recipe) -> list[tuple[str, str]]:
    """(dotted key, path) of each file to read and each local model that is not there."""
    paths = [(key, path) for key, path in path_settings(recipe) if key != "rationales.cache"]
    models = [(key, setting(recipe, key)) for key in MODEL_KEYS]
    paths += [(key, model) for key, model in models if isinstance(model, str) and model.startswith("/")]
    return [(key, path) for key, path in paths if not Path(path).exists()]


def _validate(layers: Layers, problems: list[str]) -> Recipe:
    """The recipe that the layers make; ConfigError with `problems` and all that pydantic finds."""
    found: list[str] = []
    try:
        recipe = Recipe.model_validate(layers.values)
    except ValidationError as error:
        retyped = _as_text(error, layers)
        if retyped:
            return _validate(retyped, problems)
        found = describe_problems(error, Recipe, layers.sources)
    lines = problems + found
    if not lines:
        return recipe
    what = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    raise ConfigError(
        f"{what} in the settings:\n" + "\n".join(f"  - {line}" for line in lines),
        hint="`kpodx recipes show quickstart` prints a complete recipe.",
    )


def _as_text(error: ValidationError, layers: Layers) -> Layers | None:
    """Layers where typed values that must be text, but look like numbers, are text; None where there is none."""
    keys = {".".join(map(str, problem["loc"])) for problem in error.errors() if problem["type"] == "string_type"}
    texts = {key: text for key, text in layers.texts.items() if key in keys and text != "null"}
    if not texts:
        return None
    again = [
        Assignment(tuple(key.split(".")), text, layers.sources[key], layers.bases[key]) for key, text in texts.items()
    ]
    for item in again:
        layers.assign(item)
    return layers


def _absolute(recipe: Recipe, base_of: Callable[[str], Path]) -> Recipe:
    """The recipe with absolute paths, and absolute folders where a model begins with ./, ../ or ~."""
    recipe = resolve_paths(recipe, base_of)
    for key in MODEL_KEYS:
        model = setting(recipe, key)
        if isinstance(model, str) and re.match(r"\.\.?/|~", model):
            recipe = _replaced(recipe, key, str(resolve_path(model, base_of(key))))
    return recipe


def _replaced(config: C, key: str, value: object) -> C:
    """The same settings with another value at a dotted key."""
    name, _, rest = key.partition(".")
    return config.model_copy(update={name: _replaced(getattr(config, name), rest, value) if rest else value})
