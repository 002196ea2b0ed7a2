"""Settings of a study, in one TOML file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from kpodx.config import Config, describe_problems, nearest, shipped
from kpodx.errors import ConfigError
from kpodx.layers import leaves, load_toml, merge

Value = bool | int | float | str | list[Any] | None
NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"


class StudyConfig(Config):
    """What is compared."""

    name: str = Field(pattern=NAME)
    """Short name, which is also the default folder's."""
    description: str = ""
    """One sentence: what the study asks."""
    recipe: str = Field(min_length=1)
    """Recipe that all variants start from: a shipped one's name, or a file, read from the study's folder."""
    baseline: str
    """Variant that the others are compared with."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    """Seeds; each variant runs once per seed."""
    seed_setting: Literal["distillation.seed", "seed"] = "distillation.seed"
    """What a seed changes: the training alone (token weights and schedule are shared), or every phase."""
    split: Literal["test", "validation"] = "test"
    """Questions whose answers are compared: validation to choose settings, test to prove the choice once."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Tables of the recipe that all variants share."""
    variants: dict[str, dict[str, Any]]
    """Tables of the recipe by variant; an empty table is the recipe itself."""
    only: tuple[str, ...] = ()
    """Variants that run; empty runs all."""
    grid: dict[str, tuple[Value, ...]] = Field(default_factory=dict)
    """Further variants: dotted settings and the values each one takes, on top of `grid_variant`."""
    grid_variant: str | None = None
    """Variant that the grid changes; required with a grid."""
    grid_mode: Literal["each", "product"] = "each"
    """Whether the grid's settings change one at a time, or in all combinations."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.variants:
            raise ValueError("no variant is named; add tables such as [variants.kpod]")
        for key, value in (("baseline", self.baseline), ("grid_variant", self.grid_variant)):
            if value is not None and value not in self.variants:
                raise ValueError(f"{key} is {value!r}, expected one of {', '.join(self.variants)}")
        if self.grid and self.grid_variant is None:
            raise ValueError("a grid needs grid_variant, the variant that it changes")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeats one")
        for variant in self.variants:
            if not re.fullmatch(NAME, variant):
                raise ValueError(f"variant {variant!r}: expected letters, digits, dot, dash, plus and underscore")
        return self


@dataclass(frozen=True)
class Variant:
    """One setting of the recipe.

    Attributes:
        name: unique in the study.
        settings: dotted key and value of everything that differs from the recipe.
        axis: the setting that a grid changes one at a time, with its value; None for all others.
    """

    name: str
    settings: tuple[tuple[str, Value], ...]
    axis: tuple[str, Value] | None = None


def shipped_studies() -> dict[str, Path]:
    """Return the file of every study that comes with kpodx, by name."""
    return {path.stem: path for path in sorted((shipped("recipes") / "studies").glob("*.toml"))}


def find_study(path_or_name: str) -> Path:
    """Return the file of a study; raise ConfigError with the nearest name if there is none."""
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path
    known = shipped_studies()
    if path_or_name in known:
        return known[path_or_name]
    guess = nearest(path_or_name, list(known))
    raise ConfigError(
        f"There is no study {path_or_name!r}: expected a .toml file or one of {', '.join(known)}."
        + (f" Did you mean {guess!r}?" if guess else "")
    )


def load_study(path_or_name: str) -> tuple[StudyConfig, Path]:
    """Read a study.

    Returns:
        Its settings, and its file.

    Raises:
        ConfigError: all mistakes at once.
    """
    path = find_study(path_or_name)
    layers = merge(load_toml(path))
    values = {"name": path.stem, **layers.values}
    # Dotted keys in quotes ("curriculum.num_clusters" = [3, 5]) are one key of a grid.
    try:
        return StudyConfig.model_validate(values), path.resolve()
    except ValidationError as error:
        lines = describe_problems(error, StudyConfig, layers.sources)
        raise ConfigError(f"{path}:\n" + "\n".join(f"  - {line}" for line in lines)) from error


def variant_names(study: StudyConfig) -> list[str]:
    """Return the names of all variants, whether or not they run."""
    return [variant.name for variant in _all_variants(study)]


def expand_variants(study: StudyConfig) -> list[Variant]:
    """Return the variants that run, those of the grid last."""
    return [variant for variant in _all_variants(study) if not study.only or variant.name in study.only]


def _all_variants(study: StudyConfig) -> list[Variant]:
    common = _flat(study.settings)
    variants = [Variant(name, _settings(common, _flat(table))) for name, table in study.variants.items()]
    if study.grid_variant is None:
        return variants

    base = _flat(study.variants[study.grid_variant])
    for changed in _grid_points(study):
        name = ",".join(f"{key.rpartition('.')[2]}={_shown(value)}" for key, value in changed.items())
        axis = next(iter(changed.items())) if len(changed) == 1 else None
        variants.append(Variant(name, _settings(common, base, changed), axis))
    return variants


def _grid_points(study: StudyConfig) -> list[dict[str, Value]]:
    if study.grid_mode == "each":
        return [{key: value} for key, values in study.grid.items() for value in values]
    return [dict(zip(study.grid, values, strict=True)) for values in itertools.product(*study.grid.values())]


def _flat(table: Mapping[str, Any]) -> dict[str, Value]:
    return {".".join(key): value for key, value in leaves(table)}


def _settings(*layers: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    merged: dict[str, Value] = {}
    for layer in layers:
        merged.update(layer)
    return tuple(merged.items())


def _shown(value: Value) -> str:
    return "null" if value is None else re.sub(r"[^A-Za-z0-9.+-]+", "-", str(value)).strip("-")
