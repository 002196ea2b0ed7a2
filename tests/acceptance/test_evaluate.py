"""Packages examined as a device would run them: verdicts, costs, budgets, resuming, and tampering."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import NUMBERS, Faults, listing

from kpodx.acceptance.bundle import Device, describe_bundle, write_bundle
from kpodx.acceptance.evaluate import (
    Examination,
    asked_records,
    budgets,
    evaluate_package,
    failures,
    import_results,
    read_result,
)
from kpodx.acceptance.package import load_package
from kpodx.acceptance.results import read_results, spread
from kpodx.artifacts import hash_path, read_json, write_json
from kpodx.errors import DataError, KpodxError, RunError
from kpodx.runs import locked
from kpodx.runtime import SilentProgress

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

COUNT, TOKENS = 12, 64


def device(**settings: Any) -> Device:
    """One thread."""
    return Device(**({"threads": 1, "max_new_tokens": TOKENS} | settings))


def test_an_exact_package_has_no_flip_and_few_questions_decide_nothing(
    package: Path, examination: Examination, tmp_path: Path
) -> None:
    document = evaluate_package(package, tmp_path / "out", examination, device(batch_size=3), SilentProgress())
    exact, small = document["models"]
    assert (exact["verdict"]["word"], exact["verdict"]["gained"], exact["verdict"]["lost"]) == ("undecided", 0, 0)
    assert exact["verdict"]["more_questions"] > 100
    assert document["student"]["accuracy"] == exact["accuracy"]["accuracy"]
    assert exact["accuracy"]["by_kind"]["number"] == {
        name: exact["accuracy"][name] for name in ("accuracy", "low", "high", "n")
    }
    for model in (exact, small):
        cost = model["cost"]
        assert cost["answers"] == 3
        assert 0 < cost["first_token_ms"]["p50"] <= cost["answer_ms"]["p95"]
        assert 20 < cost["peak_mib"] < 2000
        assert cost["size_mib"] > 0
    assert failures(document) == []
    assert read_result(tmp_path / "out" / "result.json")["questions"]["n"] == COUNT
    assert document["machine"]["cores"] >= 1


def test_answers_are_kept_and_only_missing_ones_are_asked(
    package: Path, examination: Examination, tmp_path: Path
) -> None:
    evaluate_package(package, tmp_path, examination, device(), SilentProgress(), ["f32"])
    results = tmp_path / "results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["part"] for line in lines] == ["bundle", *["answer"] * COUNT, "answers", "cost"]
    first = json.loads(lines[1]) | {"output": "kept from before"}
    # Killed in the middle of the third answer.
    results.write_bytes(lines[0] + json.dumps(first).encode() + b"\n" + lines[2] + lines[3][:20])
    document = evaluate_package(package, tmp_path, examination, device(), SilentProgress(), ["f32"])
    again = [json.loads(line) for line in results.read_text().splitlines()]
    again = [record for record in again if record["part"] == "answer"]
    assert [record["id"] for record in again] == [question.id for question in examination.questions]
    assert again[0]["output"] == "kept from before"
    assert document["models"][0]["verdict"]["questions"] == COUNT


def test_a_ruined_package_is_lost(package: Path, examination: Examination, tmp_path: Path) -> None:
    import onnx

    ruined = tmp_path / "ruined"
    shutil.copytree(package, ruined)
    path = ruined / "onnx" / "decoder_model_merged.onnx"
    model = onnx.load(path)
    rng = np.random.default_rng(0)
    for item in model.graph.initializer:
        if item.name.endswith("qkv.weight"):
            values = onnx.numpy_helper.to_array(item)
            item.raw_data = (values + rng.normal(0, 3, values.shape)).astype(np.float32).tobytes()
    onnx.save(model, path)
    manifest = read_json(ruined / "package.json")
    with pytest.raises(DataError, match="is not the file that was exported"):
        load_package(ruined)
    manifest["files"]["onnx/decoder_model_merged.onnx"]["sha256"] = hash_path(path)
    write_json(ruined / "package.json", manifest)
    document = evaluate_package(ruined, tmp_path / "out", examination, device(), SilentProgress(), ["f32"])
    verdict = document["models"][0]["verdict"]
    assert (verdict["word"], verdict["lost"]) == ("lost", COUNT)
    assert "accuracy lost: -100.0 points" in failures(document)[0]
    assert sum(document["models"][0]["first_wrong_step"].values()) == COUNT


def test_too_much_memory_ends_a_model_alone(package: Path, examination: Examination, tmp_path: Path) -> None:
    document = evaluate_package(package, tmp_path, examination, device(memory_mib=25), SilentProgress(), ["q8"])
    (model,) = document["models"]
    assert (model["ending"], model["verdict"]) == ("over memory", None)
    assert failures(document)[0].endswith("over memory")


def test_kept_answers_do_not_hide_that_memory_is_too_little(
    package: Path, examination: Examination, tmp_path: Path
) -> None:
    whole = evaluate_package(package, tmp_path, examination, device(), SilentProgress(), ["q8"])
    assert whole["models"][0]["ending"] == "finished"
    again = evaluate_package(package, tmp_path, examination, device(memory_mib=25), SilentProgress(), ["q8"])
    assert (again["models"][0]["ending"], again["models"][0]["verdict"]) == ("over memory", None)


def test_another_prompt_is_asked_again(package: Path, examination: Examination, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(package, changed)
    first = evaluate_package(changed, tmp_path / "out", examination, device(), SilentProgress(), ["f32"])
    config = read_json(changed / "config.json")
    write_json(changed / "config.json", {**config, "kpodx_prompt": "{question}"})
    manifest = read_json(changed / "package.json")
    manifest["files"]["config.json"]["sha256"] = hash_path(changed / "config.json")
    write_json(changed / "package.json", manifest)
    again = evaluate_package(changed, tmp_path / "out", examination, device(), SilentProgress(), ["f32"])
    accuracies = [document["models"][0]["accuracy"]["accuracy"] for document in (first, again)]
    assert accuracies[0] == 1
    assert accuracies[1] < 1


def test_two_evaluations_do_not_share_a_folder(package: Path, examination: Examination, tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(RunError, match="is in use by another kpodx process"),
    ):
        evaluate_package(package, tmp_path, examination, device(), SilentProgress(), ["f32"])


def test_a_question_that_does_not_fit_is_an_answer_that_is_wrong(
    package: Path, examination: Examination, tmp_path: Path
) -> None:
    long = replace(examination.questions[0], question="eggs " * 2000)
    asked = replace(examination, questions=[long, *examination.questions[1:]])
    document = evaluate_package(package, tmp_path, asked, device(), SilentProgress(), ["f32"])
    (model,) = document["models"]
    assert (model["ending"], model["verdict"]["lost"], model["accuracy"]["n"]) == ("finished", 1, COUNT)


def test_characters_that_end_a_line_for_python_alone_stay_in_questions(
    package: Path, examination: Examination, tmp_path: Path
) -> None:
    odd = [replace(question, question=f"{question.question}\u2028\x85") for question in examination.questions]
    asked = replace(examination, questions=odd)
    document = evaluate_package(package, tmp_path, asked, device(), SilentProgress(), ["f32"])
    assert document["models"][0]["ending"] == "finished"


def test_a_model_that_fails_is_told_and_the_others_go_on(
    package: Path, examination: Examination, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(package, broken)
    path = broken / "onnx" / "decoder_model_merged.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    manifest = read_json(broken / "package.json")
    manifest["files"]["onnx/decoder_model_merged.onnx"]["sha256"] = hash_path(path)
    write_json(broken / "package.json", manifest)
    document = evaluate_package(broken, tmp_path / "out", examination, device(), SilentProgress())
    failed, fine = document["models"]
    assert (failed["ending"], failed["verdict"], fine["ending"]) == ("failed", None, "finished")
    assert "onnxruntime cannot load" in failed["error"]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "exe"},
        {"name": 3},
        {"profile": {"threads": "2"}},
        {"profile": {"memory_mib": float("nan")}},
        {"models": [{"name": "onnx/decoder_model_merged.onnx", "quantization": "../../../out"}]},
        {"models": [{"name": "onnx/none.onnx", "quantization": "q8"}]},
        {"models": [{}]},
    ],
)
def test_a_manifest_that_says_something_odd_is_refused(package: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "package.json").write_text(json.dumps({**read_json(package / "package.json"), **change}))
    with pytest.raises(RunError, match="is no manifest of a package"):
        load_package(tmp_path)


def test_what_is_no_package_is_refused(package: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no package"):
        load_package(tmp_path)
    write_json(tmp_path / "package.json", [])
    with pytest.raises(RunError, match="is no manifest"):
        load_package(tmp_path)
    manifest = read_json(package / "package.json")
    entry = manifest["files"]["run.py"]
    named = {model["name"]: entry for model in manifest["models"]}
    write_json(tmp_path / "package.json", {**manifest, "files": {"../run.py": entry, **named}})
    with pytest.raises(DataError, match="names a file outside the package"):
        load_package(tmp_path)
    write_json(tmp_path / "package.json", {**manifest, "files": {}, "profile": "fast"})
    with pytest.raises(RunError, match="is no manifest"):
        load_package(tmp_path)
    write_json(tmp_path / "package.json", {**manifest, "files": {"run.py": entry, **named}})
    with pytest.raises(DataError, match="is missing"):
        load_package(tmp_path)
    with pytest.raises(DataError, match="is no result"):
        read_result(tmp_path / "package.json")


def test_budgets_are_compared_with_what_was_measured() -> None:
    profile = {"memory_mib": 100, "size_mib": 10, "first_token_ms": 50, "tokens_per_second": 20.0}
    cost = {"peak_mib": 101.0, "size_mib": 10.0, "tokens_per_second": {"p50": 19.0}}
    assert {row["budget"]: row["held"] for row in budgets(profile, cost)} == {
        "memory_mib": False,
        "size_mib": True,
        "first_token_ms": None,
        "tokens_per_second": False,
    }


def test_the_95th_percentile_is_the_nearest_rank() -> None:
    assert spread(list(range(1, 21))) == {"p50": 10.5, "p95": 19, "min": 1, "max": 20}


def test_an_evaluation_survives_a_fault_at_every_operation(
    package: Path, examination: Examination, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are given once; scoring them is what meets a disk that is full, refuses or fails."""
    output = tmp_path / "out"
    evaluate_package(package, output, examination, device(), SilentProgress(), ["q8"])
    results = read_results(output / "results.jsonl")
    before = listing(output)
    faults = Faults(monkeypatch, output)
    import_results(package, output, examination, results)
    operations = [name for name, _ in faults.done]
    assert operations.count("replace") >= 4
    for place in range(len(operations)):
        faults.fail_at(place, NUMBERS[place % len(NUMBERS)])
        if operations[place] == "mkdir":
            continue
        with pytest.raises(KpodxError) as caught:
            import_results(package, output, examination, results)
        assert str(output) in caught.value.message
        assert caught.value.hint
        assert caught.value.exit_code in (1, 2)
        now = listing(output)
        assert now.keys() == before.keys(), operations[place]
        assert now["results.jsonl"] == before["results.jsonl"]
        # Each file is the old one or the new one, and never half of one.
        assert json.loads(now["result.json"])["models"][0]["ending"] == "finished"
    faults.end()
    import_results(package, output, examination, results)


def test_an_evaluation_that_cannot_begin_says_where(
    package: Path, examination: Examination, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults(monkeypatch, tmp_path)
    for number in NUMBERS:
        for place in (0, 1, 3):
            faults.fail_at(place, number)
            with pytest.raises(KpodxError) as caught:
                evaluate_package(package, tmp_path / "out", examination, device(), SilentProgress(), ["q8"])
            assert str(tmp_path / "out") in caught.value.message, (number, place)
            assert caught.value.hint
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
    faults.end()
    assert not [name for name in listing(tmp_path) if name.endswith(".partial")]


def test_results_on_a_full_disk_are_one_line_and_go_on(package: Path, examination: Examination, tmp_path: Path) -> None:
    """The program of a bundle, on a device whose disk takes a few kB: a limit on file sizes stands for it."""
    asked = asked_records(examination.questions)
    manifest = load_package(package)
    described = describe_bundle(package, manifest, asked, device(), name="s", cost_questions=2, models=["q8"])
    write_bundle(tmp_path / "bundle", package, manifest, described, asked)
    for limit in (0, 500, 3000, 5000):
        code = (
            f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
            "sys.argv = ['bundle.py']; sys.path.insert(0, '.'); runpy.run_path('bundle.py', run_name='__main__')"
        )
        command = [sys.executable, "-B", "-c", code]
        done = subprocess.run(command, cwd=tmp_path / "bundle", capture_output=True, text=True, check=False)
        assert done.returncode == 2, (limit, done.stderr)
        assert done.stderr.startswith("error: "), (limit, done.stderr)
        assert done.stderr.count("\n") == 1
        assert not list((tmp_path / "bundle").glob(".asked*"))
    command = [sys.executable, "bundle.py"]
    done = subprocess.run(command, cwd=tmp_path / "bundle", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    document = import_results(package, tmp_path / "out", examination, read_results(tmp_path / "bundle/results.jsonl"))
    assert document["models"][0]["ending"] == "finished"
