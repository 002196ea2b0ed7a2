"""Recipes: finding, loading, precedence, paths, and telling all mistakes at once."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kpodx import recipe as recipe_module
from kpodx.config import Config
from kpodx.errors import ConfigError
from kpodx.recipe import TABLES, Recipe, copy_recipe, find_recipe, load_recipe, missing_paths, shipped_recipes

TEXT = """\
name = "tiny"
seed = 3

[about]
cost = "a minute"
sources = ["one", "two"]

[student]
model = "./student"

[dataset]
format = "gsm8k"

[dataset.files]
train = "data/train.jsonl"
test = ["data/a.jsonl", "/data/b.jsonl"]

[distillation]
epochs = 4
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A recipe file in a folder of its own."""
    file = tmp_path / "recipes" / "tiny.toml"
    file.parent.mkdir()
    file.write_text(TEXT)
    return file


def test_a_file_is_read_with_the_line_of_each_value(tiny: Path) -> None:
    resolved = load_recipe(str(tiny))
    assert resolved.recipe.name == "tiny"
    assert resolved.recipe.distillation.epochs == 4
    assert resolved.sources["seed"] == f"{tiny}:2"
    assert resolved.sources["distillation.epochs"] == f"{tiny}:19"
    assert resolved.sources["runtime.device"] == "default"
    assert set(TABLES).isdisjoint(resolved.sources)


def test_the_name_is_the_files_where_it_has_none(tiny: Path) -> None:
    tiny.write_text(TEXT.replace('name = "tiny"\n', ""))
    resolved = load_recipe(str(tiny))
    assert (resolved.recipe.name, resolved.sources["name"]) == ("tiny", "file name")


def test_the_command_line_beats_the_environment_which_beats_the_file(tiny: Path) -> None:
    environment = {"KPODX__DISTILLATION__EPOCHS": "5", "KPODX__SEED": "8"}
    resolved = load_recipe(str(tiny), ["distillation.epochs=6"], environment)
    assert resolved.recipe.distillation.epochs == 6
    assert resolved.recipe.seed == 8
    assert resolved.sources["distillation.epochs"] == "command line"
    assert resolved.sources["seed"] == "environment variable KPODX__SEED"


def test_paths_are_read_from_where_they_were_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("recipes/tiny.toml").recipe
    folder = tiny.parent
    assert recipe.student.model == str(folder / "student")
    assert recipe.dataset.files is not None
    assert recipe.dataset.files.train == str(folder / "data/train.jsonl")
    assert recipe.dataset.files.test == (str(folder / "data/a.jsonl"), "/data/b.jsonl")
    typed = load_recipe(
        "recipes/tiny.toml", ["student.model=../model"], {"KPODX__DATASET__FILES__TRAIN": "train.jsonl"}
    ).recipe
    assert typed.student.model == str(tmp_path.parent / "model")
    assert typed.dataset.files is not None
    assert typed.dataset.files.train == str(tmp_path / "train.jsonl")


def test_a_hub_id_stays_as_it_is(tiny: Path) -> None:
    assert load_recipe(str(tiny), ["student.model=google/flan-t5-small"]).recipe.student.model == "google/flan-t5-small"


def test_text_that_looks_like_a_number_is_text_where_text_is_wanted(tiny: Path) -> None:
    recipe = load_recipe(str(tiny), ["student.revision=20240526", "name=1e5"]).recipe
    assert (recipe.student.revision, recipe.name) == ("20240526", "1e5")
    assert load_recipe(str(tiny), ["student.revision=null"]).recipe.student.revision is None


def test_five_mistakes_are_all_told(tiny: Path) -> None:
    tiny.write_text(TEXT + "epocs = 3\n\n[curriculum]\nnum_clusters = 0\n\n[wieghting]\nseed = 1\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(tiny), ["runtime.device=gpu", "distillation.epochs"], {"KPODX__CURRICULUM__STRATAGEM": "1"})
    message = caught.value.message
    assert message.startswith("6 mistakes in the settings:")
    assert f"distillation.epocs ({tiny}:20): unknown key; did you mean 'epochs'?" in message
    assert f"curriculum.num_clusters ({tiny}:23): input should be greater than or equal to 1, got 0" in message
    assert f"wieghting ({tiny}:26): unknown key; did you mean 'weighting'?" in message
    assert "runtime.device (command line): input should be 'auto', 'cpu' or 'cuda', got 'gpu'" in message
    assert "'distillation.epochs' (command line): expected key=value" in message
    assert "curriculum.stratagem (environment variable KPODX__CURRICULUM__STRATAGEM): unknown key; did you" in message


def test_what_a_table_lacks_is_told_by_name(tiny: Path) -> None:
    tiny.write_text('name = "tiny"\n')
    with pytest.raises(ConfigError, match=r"student\.model: field required(.|\n)*dataset\.format: field required"):
        load_recipe(str(tiny))


def test_a_syntax_error_is_told_with_its_line_and_bad_settings(tiny: Path) -> None:
    tiny.write_text("name = tiny\n")
    with pytest.raises(ConfigError, match=r"tiny\.toml is not valid TOML: .*line 1(.|\n)*'epochs' \(command line\)"):
        load_recipe(str(tiny), ["epochs"])


def test_a_recipe_that_is_not_there_is_told_with_the_nearest(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    monkeypatch.setattr(recipe_module, "shipped_folder", lambda: tiny.parent)
    with pytest.raises(ConfigError, match=r"No recipe 'tiney'.*Did you mean 'tiny'"):
        find_recipe("tiney")
    assert find_recipe("tiny") == tiny
    assert find_recipe("recipes/tiny.toml") == tiny, "the path in a checkout also works from elsewhere"


def test_files_in_deeper_folders_are_not_recipes(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    """Studies are in one."""
    study = tiny.parent / "studies" / "ablation.toml"
    study.parent.mkdir()
    study.write_text(TEXT)
    monkeypatch.setattr(recipe_module, "shipped_folder", lambda: tiny.parent)
    assert shipped_recipes() == {"tiny": tiny}


def test_copying_takes_the_model_along_and_never_overwrites(tiny: Path, tmp_path: Path) -> None:
    (tiny.parent / "student").mkdir()
    (tiny.parent / "student" / "config.json").write_text("{}")
    place = tmp_path / "mine"
    assert copy_recipe(str(tiny), place / "a.toml") == [place / "a.toml", place / "student"]
    assert (place / "a.toml").read_text() == TEXT
    assert load_recipe(str(place / "a.toml")).recipe.student.model == str(place / "student")
    (place / "student" / "config.json").write_text("changed")
    with pytest.raises(ConfigError, match="student exists already"):
        copy_recipe(str(tiny), place)
    assert sorted(path.name for path in place.iterdir()) == ["a.toml", "student"]
    assert (place / "student" / "config.json").read_text() == "changed"


def test_a_resolved_recipe_can_be_read_back(tiny: Path) -> None:
    recipe = load_recipe(str(tiny)).recipe
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def fields_without_a_sentence(config: type[Config]) -> list[str]:
    """Fields of a settings class, and of those in it, that have no docstring."""
    lacking = []
    for name, field in config.model_fields.items():
        if not (field.description or "").strip().endswith((".", "…")):
            lacking.append(f"{config.__name__}.{name}")
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        lacking += [
            inner
            for kind in kinds
            if isinstance(kind, type) and issubclass(kind, Config)
            for inner in fields_without_a_sentence(kind)
        ]
    return lacking


def test_every_setting_has_a_sentence() -> None:
    assert fields_without_a_sentence(Recipe) == []


@pytest.mark.parametrize("path", shipped_recipes().values(), ids=shipped_recipes().keys())
def test_every_shipped_recipe_is_valid_and_described(path: Path) -> None:
    recipe = load_recipe(str(path)).recipe
    assert recipe.description, "one sentence for `kpodx recipes ls`"
    assert recipe.about.cost, "what it takes"


@pytest.mark.slow
def test_a_wheel_carries_the_recipes_and_finds_them(repository: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(repository)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    [wheel] = tmp_path.glob("*.whl")
    installed = tmp_path / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    expected = {
        path.relative_to(repository / "recipes").as_posix() for path in (repository / "recipes").rglob("*.toml")
    }
    shipped = installed / "kpodx" / "_shipped" / "recipes"
    assert {path.relative_to(shipped).as_posix() for path in shipped.rglob("*.toml")} == expected
    assert {path.name for path in installed.iterdir()} == {"kpodx", "kpodx-0.1.0.dist-info"}
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); import kpodx.recipe as r"
    code += "; print(*r.shipped_recipes(), r.__file__)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    *names, file = done.stdout.split()
    assert sorted(f"{name}.toml" for name in names) == sorted(name for name in expected if "/" not in name)
    assert Path(file).is_relative_to(installed)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "distillation.learning_rate=inf",
            "distillation.learning_rate (command line): expected a finite number, got inf",
        ),
        ("weighting.min_rationale_gain=nan", "expected a finite number"),
        ("distillation.seed=-5", "greater than or equal to 0"),
        ("weighting.seed=4294967296", "less than 4294967296"),
        ("weighting.hidden_size=9999999999999", "less than or equal to 65536"),
        ("dataset.embedded.train=9999999999999999999999", "less than or equal to 10000000"),
        ("distillation.optimizer=adam", "'adamw_torch'"),
        ("distillation.lr_scheduler=cosin", "'cosine'"),
        ("student.model=", "expected a text that is not empty"),
        ("weighting.min_keep_share=0.98", "min_keep_share 0.98 is not below max_keep_share 0.97"),
        ("distillation.loggers=foo", "expected a list, got 'foo'"),
        ("distillation=3", "expected a table, got 3"),
        ("epochs=3", "unknown key; did you mean 'distillation.epochs'?"),
        ("epohcs=3", "unknown key; did you mean 'distillation.epochs'?"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("quickstart", [override])
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["curriculum.remeasure_every=8"], "is 8, but the schedule ends at stage 8 and training after 16 epochs"),
        (["curriculum.remeasure_every=2", "distillation.epochs=2"], "training after 2 epochs"),
        (["curriculum.remeasure_every=2", "difficulty.measure=length"], "difficulty.measure 'length' never changes"),
        (["curriculum.remeasure_every=2", "curriculum.strategy=none"], "strategy 'none' gives no steps"),
        (["curriculum.remeasure_every=0"], "greater than or equal to 1"),
        (["distillation.bucket_window=0"], "greater than or equal to 1"),
    ],
)
def test_a_setting_without_effect_is_refused(overrides: list[str], words: str) -> None:
    """The quickstart's schedule ends at stage 8."""
    with pytest.raises(ConfigError) as caught:
        load_recipe("quickstart", overrides)
    assert words in caught.value.message


def test_measuring_again_is_for_methods_with_a_schedule() -> None:
    overrides = ["curriculum.remeasure_every=9", "difficulty.measure=length"]
    assert load_recipe("quickstart", [*overrides, "distillation.method=std-cot"]).recipe.curriculum.remeasure_every == 9
    assert load_recipe("quickstart", ["curriculum.remeasure_every=2"]).recipe.curriculum.remeasure_every == 2


def test_the_generators_rationales_belong_to_its_questions() -> None:
    with pytest.raises(ConfigError, match=r"belongs to dataset\.format 'embedded', but that is 'gsm8k'"):
        load_recipe("flant5-small-gsm8k", ["rationales.teacher=embedded"])


def test_missing_files_and_local_models_are_found() -> None:
    overrides = ["student.model=./nowhere", "rationales.files=gone.jsonl", "rationales.teacher=recorded"]
    recipe = load_recipe("flant5-small-gsm8k", overrides).recipe
    here = Path.cwd()
    assert missing_paths(recipe) == [
        ("rationales.files", str(here / "gone.jsonl")),
        ("student.model", str(here / "nowhere")),
    ]
