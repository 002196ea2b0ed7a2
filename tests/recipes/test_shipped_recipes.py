"""Every recipe in `recipes/` is valid, says what it costs and where each number comes from, and stands in the table."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kpodx.cli import app
from kpodx.dataset.phase import build_questions
from kpodx.layers import leaves
from kpodx.rationales.filtering import sift
from kpodx.rationales.phase import build_candidates, build_limits
from kpodx.recipe import load_recipe
from kpodx.schema import Split

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))
NUMBER = re.compile(r"^\s*[\w.\"'-]+\s*=\s*[-+]?[.\d]")
SOURCE = re.compile(r"#.*(paper|our choice|eq\. \d|as in validation)")
SECRET = re.compile(r"sk-[\w-]{12,}|hf_\w{12,}|AKIA\w{12,}|-----BEGIN|api[_-]?key|password|secret", re.IGNORECASE)

every_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


def numbers_without_source(text: str) -> Iterator[str]:
    """The lines outside [about] that set a number with no source beside it or in a comment right above it."""
    table, above = "", ""
    for line in text.splitlines():
        header = re.match(r"\s*\[([^\]]+)\]", line)
        table = header[1] if header else table
        comment = above if above.lstrip().startswith("#") else ""
        if NUMBER.match(line) and table != "about" and not SOURCE.search(f"{comment} {line}"):
            yield line
        above = line


def test_check_of_sources_finds_a_bare_number() -> None:
    text = "seed = 0  # our choice\n[about]\ncost = 3\n[x]\na = 1\nb = 2  # soon\n# paper, eq. 7\nc = .5\nd = 'text'\n"
    assert list(numbers_without_source(text)) == ["a = 1", "b = 2  # soon"]


def test_there_are_recipes_and_none_in_deeper_folders() -> None:
    assert len(RECIPES) >= 10
    others = [path for path in FOLDER.rglob("*.toml") if path.parent.name != "studies"]
    assert sorted(others) == RECIPES


@every_recipe
def test_named_like_its_file(path: Path) -> None:
    recipe = load_recipe(str(path)).recipe
    assert recipe.name == path.stem
    assert tomllib.loads(path.read_text(encoding="utf-8"))["name"] == path.stem
    assert recipe.description


@every_recipe
def test_says_what_it_costs_and_what_the_paper_has(path: Path) -> None:
    about = load_recipe(str(path)).recipe.about
    assert re.search(r"\d+ GB|minutes", about.cost), about.cost
    assert re.match(r"\d+\.\d+ %|none\b.*:", about.paper_result), about.paper_result
    assert about.sources


@every_recipe
def test_every_number_has_a_source(path: Path) -> None:
    covered = any(source.startswith("all else: our choice") for source in load_recipe(str(path)).recipe.about.sources)
    if not covered:
        assert list(numbers_without_source(path.read_text(encoding="utf-8"))) == []


@every_recipe
def test_holds_no_absolute_path_and_no_secret(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert SECRET.search(text) is None
    values = [value for _, value in leaves(tomllib.loads(text)) if isinstance(value, str)]
    assert [value for value in values if re.match(r"/|~|[A-Za-z]:\\|file:", value)] == []


def test_command_line_accepts_all() -> None:
    result = CliRunner().invoke(app, ["validate", *map(str, RECIPES)])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("is valid") == len(RECIPES)


def test_table_lists_exactly_the_recipes() -> None:
    rows = re.findall(r"^\| \[`([^`]+)`\]\(([^)]+)\) \|", (FOLDER / "README.md").read_text(encoding="utf-8"), re.M)
    assert sorted(rows) == [(path.stem, path.name) for path in RECIPES]


def test_table_has_the_papers_results() -> None:
    rows = re.findall(r"^\| \[`([^`]+)`\].*\| ([^|]+) \|$", (FOLDER / "README.md").read_text(encoding="utf-8"), re.M)
    for name, shown in rows:
        assert load_recipe(str(FOLDER / f"{name}.toml")).recipe.about.paper_result.startswith(shown), name


@pytest.mark.parametrize(
    ("name", "epochs", "learning_rate", "rank"),
    [
        ("flant5-large-gsm8k", 100, 5e-5, None),
        ("flant5-large-svamp", 100, 5e-5, None),
        ("flant5-large-asdiv", 100, 5e-5, None),
        ("flant5-large-commonsense-qa", 100, 5e-5, None),
        ("flant5-xl-gsm8k", 100, 5e-5, 128),
        ("llama-7b-gsm8k", 20, 1e-5, 64),
    ],
)
def test_paper_recipes_have_the_papers_settings(name: str, epochs: int, learning_rate: float, rank: int | None) -> None:
    recipe = load_recipe(str(FOLDER / f"{name}.toml")).recipe
    assert (recipe.distillation.epochs, recipe.distillation.learning_rate) == (epochs, learning_rate)
    assert (recipe.student.lora.rank if recipe.student.lora else None) == rank
    assert (recipe.distillation.batch_size, recipe.distillation.weight_decay) == (4, 0.0)
    assert (recipe.weighting.mask_ratio_coef, recipe.weighting.predictor) == (0.5, "google/flan-t5-large")
    curriculum = recipe.curriculum
    assert (curriculum.initial_fraction, curriculum.growth_exponent) == (0.3, 0.5)
    assert (curriculum.num_clusters, curriculum.diversity_coef) == (5, 12.0)
    assert curriculum.resolve_full_stage(epochs) == epochs // 2


def test_gsm8k_fits_the_students_limits(shared_data: Path) -> None:
    from transformers import AutoTokenizer

    from kpodx.modeling.tokenization import check_lengths, tokenize_rationales

    gsm8k = shared_data / "gsm8k"
    files = [f"dataset.files.train={gsm8k / 'train.jsonl'}", f"dataset.files.test={gsm8k / 'test.jsonl'}"]
    recipe = load_recipe(str(FOLDER / "flant5-small-gsm8k.toml"), ["dataset.hub=null", *files]).recipe
    questions, dropped = build_questions(recipe.dataset)
    counts = [sum(question.split is split for question in questions) for split in Split]
    assert (counts, dropped) == ([7473, 660, 659], {})
    train = [question for question in questions if question.split is Split.TRAIN]
    longest = sorted(train, key=lambda question: len(question.question) + len(question.gold_rationales[0]))[-300:]
    outcome = sift(build_candidates(recipe.rationales, longest), build_limits(recipe.rationales), "gold")
    assert len(outcome.rationales) >= 298  # a human solution may announce an interim result as the answer
    tokenizer = AutoTokenizer.from_pretrained(shared_data / "tokenizers" / "t5")
    tokenized = tokenize_rationales(tokenizer, outcome.rationales, questions)
    check_lengths(
        tokenized,
        max_input_tokens=recipe.student.max_input_tokens,
        max_target_tokens=recipe.student.max_target_tokens,
        encoder_decoder=True,
    )
    most_tokens = max(len(item.rationale_ids) + len(item.answer_ids) + 1 for item in tokenized)
    assert most_tokens < recipe.distillation.max_new_tokens == recipe.evaluation.max_new_tokens


def test_commonsense_qa_has_the_papers_sizes_in_its_official_files(shared_data: Path) -> None:
    folder = shared_data / "commonsenseqa"
    files = (
        f"dataset.files={{train = '{folder / 'train_rand_split.jsonl'}', test = '{folder / 'dev_rand_split.jsonl'}'}}"
    )
    recipe = load_recipe(str(FOLDER / "flant5-large-commonsense-qa.toml"), ["dataset.hub=null", files]).recipe
    questions, dropped = build_questions(recipe.dataset)
    counts = [sum(question.split is split for question in questions) for split in Split]
    assert (counts, dropped) == ([8520, 1221, 1221], {})


def test_svamp_takes_recorded_completions(shared_data: Path) -> None:
    overrides = [
        "dataset.hub=null",
        "dataset.validation_fraction=0",
        f"dataset.files.train={shared_data / 'svamp' / 'SVAMP.json'}",
        f"dataset.split_ids.file={shared_data / 'splits' / 'kpod_split_ids.json'}",
        "dataset.split_ids.set=SVAMP",
        "dataset.carve_from=train",
        "rationales.teacher=recorded",
        f"rationales.files={shared_data / 'teacher_records' / 'svamp_train.palm540b.jsonl'}",
    ]
    recipe = load_recipe(str(FOLDER / "flant5-small-svamp.toml"), overrides).recipe
    questions, _ = build_questions(recipe.dataset)
    assert [sum(question.split is split for question in questions) for split in Split] == [700, 150, 150]
    outcome = sift(build_candidates(recipe.rationales, questions), build_limits(recipe.rationales), "palm")
    reasons = outcome.reasons()
    assert len(outcome.rationales) + sum(reasons.values()) == 800
    assert reasons.get("no_question", 0) == 0
    assert len(outcome.rationales) > 350
