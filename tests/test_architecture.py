"""The house: imports point down, phases never meet, settings are light."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "kpodx"
PHASES = ("dataset", "rationales", "weighting", "difficulty", "curriculum", "distillation", "evaluation")

FLOORS: dict[str, int] = {
    "": 0,
    "errors": 0,
    "git_revision": 0,
    "schema": 0,
    "statistics": 0,
    "config": 1,
    "layers": 1,
    "outside": 1,
    "storage": 1,
    "artifacts": 1,
    "runtime": 1,
    "text": 1,
    "modeling": 2,
    "scheduling": 2,
    **dict.fromkeys(PHASES, 3),
    "export": 3,
    "recipe": 4,
    "runs": 4,
    "phase_folders": 4,
    "acceptance": 4,
    "reporting": 4,
    "serving": 4,
    "study": 4,
    "fingerprints": 4,
    "launch": 4,
    "pipeline": 4,
    "cli": 5,
    "__main__": 5,
}

HEAVY = ("torch", "transformers", "datasets", "sklearn", "scipy", "peft", "accelerate", "huggingface_hub")

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    """The folder or file right below kpodx that a module is in: "curriculum" for kpodx.curriculum.clusters."""
    return module.split(".")[1] if "." in module else ""


def module_name(path: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = PACKAGE.parent / f"{node.module}.{alias.name}".replace(".", "/")
                is_module = inner.with_suffix(".py").is_file() or (inner / "__init__.py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else str(node.module)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    here = module_name(path)
    assert room(here) in FLOORS, f"{here} stands on no floor: name it in FLOORS and in docs/architecture.md"
    for other in imports(path):
        if other == "kpodx" or other.startswith("kpodx."):
            assert FLOORS[room(other)] <= FLOORS[room(here)], f"{here} imports {other}, which is above it"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_phases_never_import_each_other(path: Path) -> None:
    here = room(module_name(path))
    if here in PHASES:
        others = {room(other) for other in imports(path) if other.startswith("kpodx.")} & set(PHASES) - {here}
        assert not others, f"{module_name(path)} imports the phases {others}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_nobody_imports_click(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(path)}
    assert "click" not in roots, f"{module_name(path)} imports click, which typer brings along under another name"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_only_the_command_line_meets_the_terminal(path: Path) -> None:
    if room(module_name(path)) != "cli":
        roots = {name.partition(".")[0] for name in imports(path)}
        assert not roots & {"typer", "rich"}, f"{module_name(path)} talks to the terminal"


def loaded_by(code: str, packages: tuple[str, ...] = HEAVY) -> list[str]:
    """Which of some packages are loaded after some code ran in a fresh process; the heavy ones by default."""
    check = f"import sys; print(sorted(set({packages!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], check=True, capture_output=True, text=True)
    loaded: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return loaded


@pytest.mark.parametrize("name", ["modeling", *PHASES])
def test_settings_load_nothing_heavy(name: str) -> None:
    assert loaded_by(f"import kpodx.{name}.config") == []


def test_the_arithmetic_of_the_schedule_loads_nothing_heavy() -> None:
    names = [module_name(path) for path in MODULES if room(module_name(path)) == "scheduling"]
    assert len(names) > 5
    assert loaded_by(f"import {', '.join(names)}") == []


def test_help_loads_not_even_what_is_light() -> None:
    assert loaded_by("import kpodx.cli", (*HEAVY, "numpy", "pydantic", "fastapi", "onnxruntime")) == []


def test_the_command_line_and_recipes_load_nothing_heavy() -> None:
    assert loaded_by("import kpodx.cli, kpodx.recipe, kpodx.runs, kpodx.pipeline") == []


def test_validating_a_recipe_loads_nothing_heavy() -> None:
    code = "import sys, kpodx.cli\nsys.argv[1:] = ['validate', 'quickstart']\n"
    code += "try: kpodx.cli.main()\nexcept SystemExit as end: assert not end.code"
    assert loaded_by(code) == []


def test_only_one_module_imports_optimum() -> None:
    """Its newest release wants an older transformers; everything else runs with the newest, too."""
    users = {module_name(path) for path in MODULES if any(name.split(".")[0] == "optimum" for name in imports(path))}
    assert users == {"kpodx.export.traced_graph"}


def test_the_wheel_holds_all_of_export_and_nothing_that_npm_made() -> None:
    root = PACKAGE.parent
    listed = subprocess.run(["git", "ls-files", "export"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no checkout")
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources = [source for source in build["force-include"] if source.startswith("export")]
    assert all(build["force-include"][source] == f"kpodx/_shipped/{source}" for source in sources)
    assert [name for name in listed.stdout.split() if not name.startswith(tuple(sources))] == []
    assert not {"export", "export/runners", "export/runners/web"} & set(sources)


def test_serving_loads_nothing_heavy() -> None:
    assert loaded_by("import kpodx.serving.worker, kpodx.serving.scheduler, kpodx.serving.catalogue") == []


def test_few_modules_know_the_web() -> None:
    """The queue and the workers run without FastAPI: `kpodx chat` needs none."""
    web = {"fastapi", "starlette", "uvicorn"}
    users = {module_name(path) for path in MODULES if {name.split(".")[0] for name in imports(path)} & web}
    assert users == {"kpodx.serving.app", "kpodx.serving.access", "kpodx.serving.server"}
