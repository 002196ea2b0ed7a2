"""The settings of the schedule."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kpodx.config import build_config, path_settings
from kpodx.curriculum.config import CurriculumConfig
from kpodx.errors import ConfigError


def test_defaults_are_the_papers() -> None:
    config = CurriculumConfig()
    assert (config.strategy, config.growth_exponent, config.initial_fraction) == ("kpod", 0.5, 0.3)
    assert (config.steps_per_increase, config.num_clusters, config.diversity_coef) == (1, 5, 12.0)


@pytest.mark.parametrize(("epochs", "stage"), [(20, 10), (5, 2), (1, 1), (2, 1)])
def test_full_stage_is_half_of_the_epochs(epochs: int, stage: int) -> None:
    assert CurriculumConfig().resolve_full_stage(epochs) == stage
    assert CurriculumConfig(full_stage=7).resolve_full_stage(epochs) == 7


@pytest.mark.parametrize(
    ("every", "full_stage", "epochs", "stages"),
    [
        (None, 4, 20, ()),
        (1, 4, 20, (1, 2, 3)),
        (2, 7, 20, (2, 4, 6)),
        (2, None, 12, (2, 4)),
        (4, 4, 20, ()),
        (1, 9, 3, (1, 2)),
    ],
)
def test_when_difficulties_are_measured_again(
    every: int | None, full_stage: int | None, epochs: int, stages: tuple[int, ...]
) -> None:
    """Not before stage 0 nor stage T, and not after the last epoch."""
    config = CurriculumConfig(remeasure_every=every, full_stage=full_stage)
    assert config.remeasured_stages(epochs) == stages


def test_diversity_is_scaled_to_the_size_of_the_set() -> None:
    assert CurriculumConfig().resolve_diversity_coef(7473) == 12.0
    assert CurriculumConfig().resolve_diversity_coef(4 * 7473) == 24.0
    assert CurriculumConfig(scale_diversity=False).resolve_diversity_coef(10) == 12.0


def test_glove_needs_a_file_and_names_it_for_hashing() -> None:
    with pytest.raises(ConfigError, match="glove_path"):
        build_config(CurriculumConfig, {"question_vectors": "glove"})
    config = build_config(CurriculumConfig, {"question_vectors": "glove", "glove_path": "vectors.txt"})
    assert list(path_settings(config)) == [("glove_path", "vectors.txt")]
    assert list(path_settings(CurriculumConfig())) == []


@pytest.mark.parametrize(
    "values",
    [
        {"initial_fraction": 1.5},
        {"diversity_coef": -1.0},
        {"diversity_coef": float("inf")},
        {"growth_exponent": float("nan")},
        {"full_stage": 0},
        {"strategy": "easy"},
    ],
)
def test_impossible_values_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        build_config(CurriculumConfig, values)


def test_no_module_of_the_curriculum_imports_torch() -> None:
    code = (
        "import importlib, pkgutil, sys, kpodx.curriculum as package\n"
        "for module in pkgutil.iter_modules(package.__path__, 'kpodx.curriculum.'):\n"
        "    importlib.import_module(module.name)\n"
        "slow = {'torch', 'transformers', 'sklearn'} & set(sys.modules)\n"
        "assert 'kpodx.curriculum.phase' in sys.modules and not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
