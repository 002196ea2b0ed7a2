"""The study that docs/study.md shows is valid."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

from kpodx.recipe import shipped_recipes
from kpodx.study.config import expand_variants, load_study
from kpodx.study.plan import plan_study

PAGE = Path(__file__).resolve().parents[2] / "docs" / "study.md"


def test_the_file_on_the_page_is_a_study(tmp_path: Path) -> None:
    blocks = re.findall(r"(?:^    .*\n|^\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    file, grid = (textwrap.dedent(block) for block in blocks if "baseline =" in block or "grid_variant" in block)
    quickstart = shipped_recipes()["quickstart"]
    shutil.copy(quickstart, tmp_path / "my-recipe.toml")
    shutil.copytree(quickstart.parent / "quickstart-student", tmp_path / "quickstart-student")
    grid_variant, grid_table = grid.strip().split("\n\n", 1)
    (tmp_path / "mine.toml").write_text("\n".join([grid_variant, file, grid_table]))

    study, path = load_study(str(tmp_path / "mine.toml"))

    assert [variant.name for variant in expand_variants(study)][:4] == [
        "std-cot",
        "kpod",
        "no-weights",
        "num_clusters=1",
    ]
    assert len(plan_study(study, path, tmp_path / "out").runs) == 9 * 3
