"""The document: figures worked out by hand, what is absent, what never leaves this machine, and damaged files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reported_runs import DIFFICULTIES, TEXTS, add_package, make_run, model, over_memory

from kpodx import artifacts
from kpodx.artifacts import read_json, write_json
from kpodx.errors import DataError, RunError
from kpodx.reporting.document import PARTS, build_document
from kpodx.reporting.examples import choose, split_pieces
from kpodx.reporting.learning import MOST_POINTS, thin, updates_per_epoch
from kpodx.reporting.packages import NOT_EVALUATED
from kpodx.reporting.page import render_page
from kpodx.runs import load_run
from kpodx.schema import Rationale, Schedule
from kpodx.statistics import wilson_interval


def document_of(folder: Path) -> dict[str, Any]:
    """The document of a run folder."""
    return build_document(load_run(folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of a finished run with a package; read it, never change it."""
    run = make_run(tmp_path_factory.mktemp("runs") / "whole")
    add_package(run)
    return document_of(run)


def test_nothing_is_absent_from_a_finished_run(whole: dict[str, Any]) -> None:
    assert whole["absent"] == {}
    assert set(PARTS) | {"packages", "provenance"} <= whole.keys()
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole


def test_difficulty_by_place_and_by_length(whole: dict[str, Any]) -> None:
    part = whole["difficulty"]
    assert (part["rationales"], part["steps"], part["mean"], part["median"]) == (3, 5, 1.8, 1.5)
    first, second = part["by_position"]
    assert (first["group"], first["n"], first["median"]) == ("1", 3, 1.0)
    assert first["mean"] == pytest.approx((1.0 + 0.5 + 2.0) / 3)
    assert (second["n"], second["mean"], second["median"]) == (2, 2.75, 2.75)
    assert [(row["group"], row["n"], row["mean"]) for row in part["by_num_steps"]] == [("1", 1, 1.0), ("2", 4, 2.0)]
    assert sum(part["histogram"]["counts"]) == 5
    assert part["histogram"]["edges"][-1] == 4.0


def test_the_schedule_tells_the_share_of_steps_that_is_given(whole: dict[str, Any]) -> None:
    stages = whole["schedule"]["stages"]
    assert [stage["given_share"] for stage in stages] == [4 / 5, 1 / 5]
    assert [(stage["planned"], stage["done"]) for stage in stages] == [(0.5, 0.4), (1.0, 0.9)]


def test_a_schedule_that_was_solved_again_is_the_one_shown(tmp_path: Path) -> None:
    """Distillation wrote it: nothing is given at stage 1, and the cost of measuring is reported."""
    folder = make_run(tmp_path / "run")
    distillation = folder / "distillation" / "a1"
    before = artifacts.load_schedule(folder / "curriculum" / "a1")
    given = before.input_steps.copy()
    given[:, 1] = 0
    artifacts.save_schedule(distillation, Schedule(before.rationale_ids, given, before.planned, np.array([0.4, 1.0])))
    stages = artifacts.read_json(folder / "curriculum" / "a1" / artifacts.STAGES)
    stages[1] |= {"done": 1.0, "selected": 3, "share_released": 1.0, "mean_input_steps": 0.0}
    artifacts.write_json(distillation / artifacts.STAGES, stages)
    measured = {"stage": 1, "target_tokens": 1234, "seconds": 2.0, "total_difficulty": 3.0, "stages": stages[1:]}
    artifacts.write_json(distillation / artifacts.FINDINGS, {"remeasured": [measured]})

    document = document_of(folder)
    assert [row["given_share"] for row in document["schedule"]["stages"]] == [4 / 5, 0.0]
    assert [(row["given_share"], row["written_share"]) for row in document["training"]["epochs"]][:2] == [
        (0.8, 0.4),
        (0.0, 1.0),
    ]
    assert document["schedule"]["remeasured"] == [measured]
    steps = [step["written_from_stage"] for shown in document["examples"]["examples"] for step in shown["steps"]]
    assert max(steps) == 1
    page = render_page(document, "figures.json")
    assert "before stage 1: 1,234 target tokens scored in 2.0 s" in page
    assert "distillation/a1/stages.json" in page


def test_training_by_epoch(whole: dict[str, Any]) -> None:
    part = whole["training"]
    assert part["updates_per_epoch"] == 10
    assert [
        (row["stage"], row["given_share"], row["written_share"], row["mean_loss"], row["validation_accuracy"])
        for row in part["epochs"]
    ] == [
        (0, 0.8, 0.4, 2.0, 0.25),
        (1, 0.2, 0.9, 0.5, 0.75),
        (2, 0.0, 1.0, 0.25, None),
    ]
    first = part["validation"][0]
    assert (first["update"], first["n"], (first["low"], first["high"])) == (10, 4, wilson_interval(1, 4, 0.95))


def test_mask_learning_counts_updates_from_one(whole: dict[str, Any]) -> None:
    part = whole["token_weights"]
    assert [entry["update"] for entry in part["history"]] == [10, 40]
    assert (part["method"], part["frequency"], part["keypoints_over_others"]) == ("mask-learning", None, None)
    assert part["kinds"] == [
        {"kind": "digit", "mean": 0.75, "count": 5},
        {"kind": "function_word", "mean": 0.25, "count": 9},
    ]


def test_examples_are_chosen_by_difficulty_and_cover_their_text(whole: dict[str, Any]) -> None:
    examples = whole["examples"]["examples"]
    # Totals are 1, 2 and 6 nats: r0, r1, r2.
    assert [(one["place"], one["rationale_id"], one["total_difficulty"]) for one in examples] == [
        ("easy", "r0", 1.0),
        ("middle", "r1", 2.0),
        ("hard", "r2", 6.0),
    ]
    for one, text, difficulties in zip(examples, TEXTS, DIFFICULTIES, strict=True):
        assert "".join(piece["text"] for step in one["steps"] for piece in step["pieces"]) == text
        assert [step["difficulty"] for step in one["steps"]] == difficulties
    # c(0), c(1) are 1, 0 of r0; 1, 1 of r1; 2, 0 of r2.
    assert [[step["written_from_stage"] for step in one["steps"]] for one in examples] == [[1], [2, 0], [1, 1]]


def test_packages_with_speed_size_verdict_and_lost_answers(whole: dict[str, Any]) -> None:
    (package,) = whole["packages"]
    assert (package["of_this_student"], package["result_is_of_this_package"]) == (True, True)
    four, eight = package["models"]
    assert (four["size_mib"], four["speed"]["tokens_per_second"]["p50"], four["verdict"]["word"]) == (
        0.5,
        90.0,
        "undecided",
    )
    assert [flip["got"] for flip in four["flips"]] == [""], "an answer that was gained is none that was lost"
    assert eight["flips"] == []


def test_what_was_not_evaluated_is_listed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_package(run, "a", more="f32")
    add_package(run, "b", evaluated=False)
    first, second = document_of(run)["packages"]
    assert [(entry["quantization"], entry["state"]) for entry in first["models"]] == [
        ("q4", "finished"),
        ("q8", "finished"),
        ("f32", NOT_EVALUATED),
    ]
    assert first["models"][2]["size_mib"] == 2.0
    assert {entry["state"] for entry in second["models"]} == {NOT_EVALUATED}
    assert second["machine"] is None


def test_a_package_that_was_exported_again_is_not_evaluated(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_package(run)
    manifest = run / "export" / "pi" / "package.json"
    write_json(manifest, {**read_json(manifest), "origin": {"distillation": "another"}})
    (package,) = document_of(run)["packages"]
    assert (package["of_this_student"], package["result_is_of_this_package"]) == (False, False)
    assert [entry["state"] for entry in package["models"]] == ["finished", "finished", NOT_EVALUATED, NOT_EVALUATED]


def test_a_model_that_took_too_much_memory_has_no_speed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_package(run, "pi", over_memory("q4"), model("q8", "lost", 0, 90, 1.0, 10.0))
    ended, _ = document_of(run)["packages"][0]["models"]
    assert (ended["state"], ended["speed"], ended["verdict"], ended["error"]) == (
        "over memory",
        None,
        None,
        "more than 100 MiB",
    )


@pytest.mark.parametrize("count", range(1, 7))
def test_a_run_that_stopped_lacks_the_later_parts(tmp_path: Path, count: int) -> None:
    phases = ("dataset", "rationales", "weighting", "difficulty", "curriculum", "distillation")[:count]
    # Without the finished student, the tokenizer comes from the base model.
    model_folder = tmp_path / "model"
    model_folder.mkdir()
    from reported_runs import tokenizer

    tokenizer().save(str(model_folder / "tokenizer.json"))
    run = make_run(tmp_path / "run", *phases)
    manifest = read_json(run / "manifest.json")
    manifest["recipe"]["student"]["model"] = str(model_folder)
    write_json(run / "manifest.json", manifest)
    document = document_of(run)
    for part, (needs, _) in PARTS.items():
        assert (part in document) == (set(needs) <= set(phases)), part
        assert (part in document) != (part in document["absent"])
    assert document["absent"]["packages"] == "nothing was exported yet: kpodx export"
    assert document["absent"]["accuracy"] == "the evaluation phase has not run"
    if count == 3:
        assert document["examples"]["chosen_by"] == "length"


def test_phases_that_a_method_does_not_need_are_told(tmp_path: Path) -> None:
    plan = [{"name": name, "folder": f"{name}/a1"} for name in ("dataset", "rationales", "distillation", "evaluation")]
    run = make_run(tmp_path / "run", "dataset", "rationales", "distillation", "evaluation", plan=plan, state="finished")
    document = document_of(run)
    assert document["absent"]["token_weights"] == "the weighting phase is not needed with distillation.method=kpod"
    assert document["examples"]["scale"] is None
    assert [row["given_share"] for row in document["training"]["epochs"]] == [None] * 3


def test_folders_and_hosts_stay_on_this_machine(whole: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(whole)
    assert "secret" not in text
    assert str(tmp_path.parent) not in text
    assert {"key": "dataset.files.train", "value": "train.jsonl", "source": "recipe.toml:4"} in whole["provenance"][
        "settings"
    ]
    assert whole["provenance"]["inputs"] == [{"name": "tiny", "sha256": "b" * 64}]


def test_a_damaged_phase_and_a_damaged_result_are_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    result = add_package(run)
    write_json(result, {**read_json(result), "models": [{"quantization": "q4"}]})
    with pytest.raises(DataError, match=r"result\.json: expected what kpodx writes") as caught:
        document_of(run)
    assert "Evaluate the package pi again" in str(caught.value.hint)
    (run / "evaluation" / "a1" / "predictions-test.jsonl").unlink()
    with pytest.raises(RunError, match=r"predictions-test\.jsonl is missing"):
        document_of(run)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("verdict", "word", "<b>held"),
        ("verdict", "low", float("nan")),
        ("accuracy", "accuracy", "0.9"),
        ("accuracy", "by_steps", [1]),
        ("accuracy", "by_steps", {"2": {"accuracy": "0.9"}}),
        ("verdict", "more_questions", "many"),
        pytest.param("verdict", "lost", 10**400, id="too many digits"),
        ("budgets", 0, {"budget": ["size_mib"], "limit": 1, "measured": 1.0, "held": True}),
        ("cost", "start_seconds", "soon"),
        ("cost", "energy_joules_per_answer", [1]),
        ("first_wrong_step", "x", 1),
        ("first_wrong_step", "1", "two"),
        ("cost", "size_mib", None),
        ("cost", "tokens_per_second", {"p50": True, "p95": 1.0}),
        ("budgets", 0, {"budget": "size_mib", "limit": "1", "measured": 1.0, "held": True}),
        ("budgets", 0, {"budget": "size_mib", "limit": 1, "measured": 1.0, "held": "yes"}),
    ],
)
def test_a_result_that_somebody_changed_is_refused(tmp_path: Path, part: str, key: Any, value: object) -> None:
    run = make_run(tmp_path / "run")
    changed = model("q8", "held", 0, 0, 1.0, 5.0)
    changed[part][key] = value
    result = add_package(run)
    result.write_text(json.dumps({**read_json(result), "models": [changed]}))
    with pytest.raises(DataError, match=r"expected what kpodx writes|is no result of `kpodx evaluate`"):
        document_of(run)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("machine", "a board"),
        ("device", [2]),
        ("questions", 200),
        ("questions", {"n": "many"}),
        ("student", {"by_steps": [1]}),
        ("package", "tiny"),
        ("models", {"q4": 1}),
    ],
)
def test_a_result_whose_parts_are_something_else_is_refused(tmp_path: Path, key: str, value: object) -> None:
    run = make_run(tmp_path / "run")
    result = add_package(run)
    write_json(result, {**read_json(result), key: value})
    with pytest.raises(DataError, match=r"result\.json: expected what kpodx writes"):
        document_of(run)


@pytest.mark.parametrize(
    "line",
    [
        "[1]",
        '{"by": "student", "step": 0, "expected": "", "got": ""}',
        '{"by": "student", "question_id": "q7", "step": "0", "expected": "", "got": ""}',
        '{"by": "student", "question_id": ["q7"], "step": 0, "expected": "", "got": ""}',
        "{}",
    ],
)
def test_damaged_flips_are_told_with_their_file(tmp_path: Path, line: str) -> None:
    run = make_run(tmp_path / "run")
    (add_package(run).parent / "flips-q4-1.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"flips-q4-1\.jsonl: expected what kpodx writes"):
        document_of(run)


def test_the_choice_among_few_rationales_is_without_doubles() -> None:
    rationales = [Rationale(name, "q", "text", "1", "t") for name in "ba"]
    assert [(place, one.id) for place, one in choose(rationales, {"a": 1.0, "b": 1.0})] == [
        ("middle", "a"),
        ("hard", "b"),
    ]
    assert choose(rationales, {}) == []
    many = [Rationale(f"{number:03}", "q", "text", "1", "t") for number in range(101)]
    sizes = {one.id: 100.0 - int(one.id) for one in many}
    assert [one.id for _, one in choose(many, sizes)] == ["090", "050", "010"]


def test_a_piece_belongs_to_the_step_in_which_it_ends() -> None:
    pieces = [{"text": text, "weight": 0.5} for text in ("One", ".", " Two", ".")]
    assert [[piece["text"] for piece in part] for part in split_pieces(pieces, [5, 9])] == [["One", "."], [" Two", "."]]


def test_long_logs_are_averaged() -> None:
    points = [{"update": number, "loss": float(number % 2)} for number in range(1, 2 * MOST_POINTS + 1)]
    thinned = thin(points)
    assert len(thinned) == MOST_POINTS
    assert thinned[0] == {"update": 2, "loss": 0.5}
    assert thin(points[:3]) == points[:3]
    assert thin([]) == []
    assert updates_per_epoch([]) is None
