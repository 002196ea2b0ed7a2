"""What a study reports: paired differences over seeds and questions, tables and figures."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, replace

import numpy as np
import pytest

from kpodx.evaluation.mimicry import KeypointMimicry, TokenScore
from kpodx.study import tables
from kpodx.study.config import StudyConfig
from kpodx.study.keypoints import KeypointFigures, mean_figures, read_figures
from kpodx.study.page import charts, render_study_page, standalone_svg
from kpodx.study.results import RunResult, StudyResult, VariantResult, compare_variants


def run_result(variant: str, seed: int, correct: list[int]) -> RunResult:
    """A run that answered these questions correctly (1) or not (0)."""
    answers = {f"q{number}": bool(value) for number, value in enumerate(correct)}
    share = sum(correct) / len(correct)
    return RunResult(
        variant, seed, f"runs/{variant}-{seed}", share, share, {"2": share}, answers, 10, 100, 1.5, {}, [(1.0, share)]
    )


def figures(loss: float, accuracy: float) -> KeypointFigures:
    """Figures of a run whose other tokens are twice as hard, and right half as often."""
    return KeypointFigures("gold", loss, accuracy, 2 * loss, accuracy / 2)


def test_a_variant_is_compared_on_the_seeds_and_questions_that_both_have() -> None:
    runs = {
        "plain": [run_result("plain", 0, [1, 0, 0, 0]), run_result("plain", 1, [0, 0, 0, 0])],
        "better": [run_result("better", 0, [1, 1, 1]), run_result("better", 1, [1, 1, 0]), run_result("better", 2, [0] * 3)],
    }  # fmt: skip
    found = compare_variants(runs, "plain")
    assert list(found) == ["better"]
    difference = found["better"]
    assert (difference.num_seeds, difference.num_questions) == (2, 3)
    assert difference.mean == pytest.approx(4 / 6)
    assert difference.low < difference.mean <= difference.high
    assert difference.holm_p_value == difference.p_value


def test_without_the_baseline_or_a_common_seed_nothing_is_compared() -> None:
    runs = {"plain": [run_result("plain", 0, [1])], "other": [run_result("other", 1, [1])]}
    assert compare_variants(runs, "plain") == {}
    assert compare_variants(runs, "absent") == {}


def test_p_values_are_corrected_for_the_number_of_variants() -> None:
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 2, 60).tolist()
    runs = {"plain": [run_result("plain", seed, plain) for seed in (0, 1)]}
    for name in ("a", "b", "c"):
        runs[name] = [run_result(name, seed, rng.integers(0, 2, 60).tolist()) for seed in (0, 1)]
    found = compare_variants(runs, "plain")
    assert len(found) == 3
    smallest = min(found.values(), key=lambda difference: difference.p_value)
    assert smallest.holm_p_value == pytest.approx(min(1.0, 3 * smallest.p_value))


@pytest.fixture
def result() -> StudyResult:
    """A study of a baseline, one variant and a grid of two values."""
    runs = {
        name: [run_result(name, seed, correct) for seed in (0, 1)]
        for name, correct in {
            "plain": [1, 0, 0, 1],
            "k|pod_": [1, 1, 0, 1],
            "K=3": [1, 0, 0, 0],
            "K=5": [1, 1, 1, 1],
        }.items()
    }
    axes = {"K=3": ("curriculum.num_clusters", 3), "K=5": ("curriculum.num_clusters", 5)}
    differences = compare_variants(runs, "plain")
    variants = [
        VariantResult(
            name, {"a.b": 1}, axes.get(name), [0, 1], [run.accuracy for run in found], found[0].accuracy, 0.0,
            found[0].by_steps, 10, 100, 1.5, [(1.0, 0.2), (2.0, found[0].accuracy)], differences.get(name),
        )
        for name, found in runs.items()
    ]  # fmt: skip
    everything = [run for found in runs.values() for run in found]
    return StudyResult(
        "demo", "What is better?", "quickstart", "plain", "distillation.seed", "0.1.0", "test", 4, variants, everything
    )


def test_the_table_says_how_it_was_made(result: StudyResult) -> None:
    text = tables.markdown(result)
    assert "4 test questions, seeds 0, 1 of distillation.seed" in text
    assert "| plain | 50.0 ± 0.0 | 50.0 50.0 | 50.0 | – | – | 10 | 100 | 2 |" in text
    assert "k\\|pod_" in text
    assert re.search(r"\| \+25\.0 \[[+−]\d", text)


def test_latex_escapes_what_it_must(result: StudyResult) -> None:
    text = tables.latex(result)
    assert "k|pod\\_ &" in text
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len({row.count(" & ") for row in rows}) == 1
    assert "−" not in text
    assert "±" not in text


def test_csv_has_a_line_per_run(result: StudyResult) -> None:
    lines = tables.comma_separated(result).splitlines()
    assert lines[0].startswith("variant,seed,accuracy")
    assert lines[0].endswith(",keypoints,keypoint_nll,keypoint_accuracy,other_nll,other_accuracy")
    assert len(lines) == 9
    assert lines[1] == "plain,0,0.5,0.5,10,100,1.5,,,,,"


def test_figures_are_means_over_the_seeds_that_have_them() -> None:
    runs = [figures(0.25, 0.5), None, KeypointFigures("gold", 0.75, 1.0, None, None)]
    assert mean_figures(runs) == KeypointFigures("gold", 0.5, 0.75, 0.5, 0.25)
    assert mean_figures([None, None]) is None
    assert mean_figures([]) is None
    mixed = mean_figures([figures(0.25, 0.5), KeypointFigures("token-type", None, None, None, None)])
    assert mixed == KeypointFigures("gold, token-type", 0.25, 0.5, 0.5, 0.25)


def test_figures_are_read_from_what_the_evaluation_found() -> None:
    found = KeypointMimicry("gold", 3, 0, TokenScore(0.25, 0.5, 7), TokenScore(None, None, 0))
    assert read_figures(asdict(found)) == KeypointFigures("gold", 0.25, 0.5, None, None)
    assert read_figures(None) is None


def test_tables_show_keypoint_mimicry_if_a_run_measured_it(result: StudyResult) -> None:
    assert "keypoint" not in tables.markdown(result)
    assert "Keypoint" not in tables.latex(result)
    first, *others = result.variants
    runs = [replace(result.runs[0], keypoints=figures(0.25, 0.5)), *result.runs[1:]]
    measured = replace(result, variants=[replace(first, keypoints=figures(0.25, 0.5)), *others], runs=runs)
    text = tables.markdown(measured)
    assert "| p (Holm) | keypoint loss | keypoints right | other loss | others right | updates |" in text
    assert "| – | – | 0.250 | 50.0 | 0.500 | 25.0 | 10 | 100 | 2 |" in text
    assert "| – | – | – | – | 10 | 100 | 2 |" in text
    assert "keypoints are known by gold." in text
    head, row = tables.latex(measured).splitlines()[3], tables.latex(measured).splitlines()[5]
    assert head.endswith("$p$ & Keypoint loss & Keypoints right & Other loss & Others right \\\\")
    assert row.endswith("& 0.250 & 50.0 & 0.500 & 25.0 \\\\")
    assert tables.comma_separated(measured).splitlines()[1] == "plain,0,0.5,0.5,10,100,1.5,gold,0.25,0.5,0.5,0.25"
    assert json.loads(json.dumps(measured.document()))["variants"][0]["keypoints"]["keypoint_nll"] == 0.25
    assert "keypoints right" in render_study_page(measured)


def test_the_document_is_json_without_single_answers(result: StudyResult) -> None:
    document = json.loads(json.dumps(result.document(), allow_nan=False))
    assert "correct" not in document["runs"][0]
    assert document["variants"][1]["difference"]["num_questions"] == 4


def test_charts_are_valid_files_of_their_own(result: StudyResult) -> None:
    found = {chart.name: chart for chart in charts(result)}
    assert set(found) == {"accuracy", "difference", "learning", "sensitivity-curriculum-num-clusters"}
    for chart in found.values():
        root = ElementTree.fromstring(standalone_svg(chart))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{http://www.w3.org/2000/svg}style") is not None


def test_the_page_loads_nothing_and_names_every_variant(result: StudyResult) -> None:
    page = render_study_page(result)
    assert not re.search(r"<script|src=|href=.http", page)
    assert all(name in page for name in ("plain", "k|pod_", "K=3", "K=5"))


def test_a_study_of_one_variant_has_a_page(result: StudyResult) -> None:
    alone = result.variants[0]
    one = StudyResult(**{**vars(result), "variants": [alone]})
    assert [chart.name for chart in charts(one)] == ["accuracy", "learning"]
    assert isinstance(render_study_page(one), str)
    assert StudyConfig(recipe="r", name="n", baseline="a", variants={"a": {}}).grid == {}
