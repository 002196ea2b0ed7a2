"""A study's variants, and the work that they share."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from kpodx.distillation.config import WeightUse
from kpodx.errors import ConfigError, ModelError
from kpodx.recipe import load_recipe
from kpodx.study.config import StudyConfig, expand_variants, find_study, load_study, shipped_studies
from kpodx.study.plan import plan_study
from kpodx.weighting.config import FeatureSource, Gradient, Method, Unit

STUDIES = sorted(shipped_studies())


def write(folder: Path, text: str) -> Path:
    """A study file."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


TWO = """
recipe = "quickstart"
baseline = "plain"
seeds = [3, 4]
[variants.plain]
distillation.method = "std-cot"
[variants.kpod]
"""


@pytest.mark.parametrize("name", STUDIES)
def test_every_shipped_study_is_valid(name: str, tmp_path: Path) -> None:
    study, path = load_study(name)
    plan = plan_study(study, path, tmp_path)
    assert study.name == name
    assert study.description
    assert len(plan.runs) == len(expand_variants(study)) * len(study.seeds)
    for run in plan.runs:
        load_recipe(plan.recipe, run.overrides)  # what the command line of each run says is valid


def test_the_study_of_weights_leaves_out_no_source_and_no_use_of_them(tmp_path: Path) -> None:
    study, path = load_study("weights")
    plan = plan_study(study, path, tmp_path)
    recipes = {run.variant.name: load_recipe(plan.recipe, run.overrides).recipe for run in plan.runs}
    plain = recipes.pop("std-cot")

    assert plain.distillation.method == "std-cot"
    assert {recipe.weighting.method for recipe in recipes.values()} == set(get_args(Method))
    assert {recipe.weighting.unit for recipe in recipes.values()} == set(get_args(Unit))
    assert {recipe.weighting.gradient for recipe in recipes.values()} == set(get_args(Gradient))
    assert {recipe.weighting.features for recipe in recipes.values()} == set(get_args(FeatureSource))
    assert {recipe.distillation.weight_use for recipe in recipes.values()} == set(get_args(WeightUse))
    assert all(recipe.distillation.needs == {"weighting"} for recipe in recipes.values()), "no schedule"
    what_differs = [str((r.weighting.deciding_settings(), r.distillation.weight_use)) for r in recipes.values()]
    assert len(set(what_differs)) == len(recipes), "no variant is there twice"


def test_equal_phases_are_done_once_and_neighbors_in_one_process(tmp_path: Path) -> None:
    study, path = load_study(str(write(tmp_path, TWO)))
    tasks = plan_study(study, path, tmp_path).tasks
    assert [(task.run.folder.name, task.phase, task.needs) for task in tasks] == [
        ("plain-3", "rationales", ()),
        ("plain-3", "evaluation", (0,)),
        ("plain-4", "evaluation", (0,)),
        ("kpod-3", "curriculum", (0,)),
        ("kpod-3", "evaluation", (0, 3)),
        ("kpod-4", "evaluation", (0, 3)),
    ]


def test_a_seed_for_everything_shares_the_questions_only(tmp_path: Path) -> None:
    study, path = load_study(str(write(tmp_path, 'seed_setting = "seed"' + TWO)))
    plan = plan_study(study, path, tmp_path)
    weights = {dict(run.fingerprints).get("weighting") for run in plan.runs}
    assert len(weights - {None}) == 2
    assert plan.runs[0].overrides == ('distillation.method="std-cot"', "seed=3")


def test_equal_variants_each_finish_their_own_folder(tmp_path: Path) -> None:
    study, path = load_study(str(write(tmp_path, TWO + "[variants.again]\n")))
    tasks = plan_study(study, path, tmp_path).tasks
    ends = [task.run.folder.name for task in tasks if task.is_last]
    assert sorted(ends) == ["again-3", "again-4", "kpod-3", "kpod-4", "plain-3", "plain-4"]
    again = next(task for task in tasks if task.run.folder.name == "again-3")
    assert {tasks[need].run.folder.name for need in again.needs} == {"plain-3", "kpod-3"}


def test_a_grid_changes_one_setting_at_a_time_or_all_together() -> None:
    values = {
        "name": "s", "recipe": "quickstart", "baseline": "kpod", "variants": {"kpod": {"seed": 7}},
        "settings": {"distillation": {"epochs": 2}}, "grid_variant": "kpod",
        "grid": {"curriculum.num_clusters": (3, 5), "weighting.mask_ratio_coef": (0.5, None)},
    }  # fmt: skip
    each = expand_variants(StudyConfig.model_validate(values))
    assert [variant.name for variant in each] == [
        "kpod", "num_clusters=3", "num_clusters=5", "mask_ratio_coef=0.5", "mask_ratio_coef=null",
    ]  # fmt: skip
    assert each[1].axis == ("curriculum.num_clusters", 3)
    assert dict(each[1].settings) == {"distillation.epochs": 2, "seed": 7, "curriculum.num_clusters": 3}
    product = expand_variants(StudyConfig.model_validate(values | {"grid_mode": "product"}))
    assert len(product) == 5
    assert product[-1].name == "num_clusters=5,mask_ratio_coef=null"
    assert product[-1].axis is None


def test_relative_paths_are_read_from_the_study(tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    text = TWO.replace('recipe = "quickstart"', 'recipe = "mine-recipe.toml"')
    recipe = Path(find_study("methods")).parents[1] / "quickstart.toml"
    (tmp_path / "mine-recipe.toml").write_text(recipe.read_text(encoding="utf-8"), encoding="utf-8")
    study, path = load_study(str(write(tmp_path, text + 'student.model = "./student"\n')))
    with pytest.raises(ModelError, match="quickstart-student"):  # the other variant's student is not beside the copy
        plan_study(study, path, tmp_path)
    (tmp_path / "quickstart-student").mkdir()
    plan = plan_study(study, path, tmp_path)
    assert f'student.model="{tmp_path / "student"}"' in plan.runs[-1].overrides


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TWO.replace('"plain"\n', '"plane"\n'), "baseline is 'plane', expected one of plain, kpod"),
        (TWO + '[grid]\n"seed" = [1]\n', "a grid needs grid_variant"),
        (TWO.replace("[3, 4]", "[3, 3]"), "repeats one"),
        ('recipe = "quickstart"\nbaseline = "a"\n', "variants"),
        ("sedes = [1]" + TWO, "did you mean 'seeds'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        load_study(str(write(tmp_path, text)))


def test_a_variant_with_an_unknown_setting_is_named_before_anything_runs(tmp_path: Path) -> None:
    study, path = load_study(str(write(tmp_path, TWO + "distillation.epoch = 2\n")))
    with pytest.raises(ConfigError, match=r"distillation\.epoch .*mine\.toml.*did you mean 'epochs'"):
        plan_study(study, path, tmp_path)


def test_an_unknown_study_has_a_hint() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'methods'"):
        find_study("method")
