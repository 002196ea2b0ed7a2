"""Bundles: answered on another machine, by ssh or by hand, and scored as if they had been answered here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kpodx.acceptance.bundle import Device, describe_bundle, write_bundle
from kpodx.acceptance.device import Remote, parse_url
from kpodx.acceptance.evaluate import (
    Examination,
    asked_records,
    evaluate_package,
    import_results,
)
from kpodx.acceptance.package import choose_models, load_package
from kpodx.acceptance.results import read_results
from kpodx.artifacts import hash_path, read_json, write_json
from kpodx.errors import DataError, RunError, UsageError
from kpodx.runtime import SilentProgress

COUNT = 12
DEVICE = Device(threads=1, max_new_tokens=64)


@pytest.fixture
def bundle(package: Path, examination: Examination, tmp_path: Path) -> Path:
    """A bundle of the q8 model that nobody answered yet."""
    asked = asked_records(examination.questions)
    manifest = load_package(package)
    described = describe_bundle(package, manifest, asked, DEVICE, name="single", cost_questions=2, models=["q8"])
    write_bundle(tmp_path / "bundle", package, manifest, described, asked)
    return tmp_path / "bundle"


def answer(bundle: Path) -> subprocess.CompletedProcess[str]:
    """What a person does on the device; kpodx and torch cannot be imported there."""
    nothing = bundle.parent / "nothing"
    for name in ("kpodx", "torch", "transformers"):
        (nothing / name).mkdir(parents=True, exist_ok=True)
        (nothing / name / "__init__.py").write_text("raise ImportError('not on the device')")
    environment = {**os.environ, "PYTHONPATH": str(nothing)}
    command = [sys.executable, "run.py"]
    return subprocess.run(command, cwd=bundle, env=environment, capture_output=True, text=True, check=False)


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on where a bundle was answered."""
    kept = {name: document[name] for name in ("package", "student", "questions")}
    models = [{k: v for k, v in model.items() if k not in ("cost", "budgets")} for model in document["models"]]
    return {**kept, "models": models}


def test_a_bundle_is_answered_without_kpodx_and_scored_like_a_run_here(
    bundle: Path, package: Path, examination: Examination, tmp_path: Path
) -> None:
    assert not (bundle / "results.jsonl").exists()
    assert (bundle / "INSTRUCTIONS.txt").read_text().splitlines()[0].endswith("&& python run.py")
    done = answer(bundle)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0]) == {"total": COUNT + 4}
    shutil.copyfile(bundle / "results.jsonl", tmp_path / "results.jsonl")
    there = import_results(package, tmp_path / "a", examination, read_results(tmp_path / "results.jsonl"))
    here = evaluate_package(package, tmp_path / "b", examination, DEVICE, SilentProgress(), ["q8"])
    assert {**without_times(there)} == {**without_times(here), "questions": there["questions"]}
    assert there["models"][0]["cost"]["answers"] == 2
    # A second run has nothing left to ask.
    again = answer(bundle)
    assert [json.loads(line) for line in again.stdout.splitlines()] == [{"total": 0}]


def test_a_bundle_goes_on_where_it_was_killed(bundle: Path) -> None:
    assert answer(bundle).returncode == 0
    results = bundle / "results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(b"".join(lines[:5]) + lines[5][:30])
    done = answer(bundle)
    assert json.loads(done.stdout.splitlines()[0]) == {"total": COUNT - 4 + 4}
    answered = [json.loads(line) for line in results.read_text().splitlines()]
    assert sorted(r["id"] for r in answered if r["part"] == "answer") == sorted(
        json.loads(line)["id"] for line in (bundle / "questions.jsonl").read_text().splitlines()
    )


def test_a_file_that_changed_on_the_way_is_refused_on_the_device(bundle: Path) -> None:
    path = bundle / "onnx" / "decoder_model_merged_quantized.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    done = answer(bundle)
    assert done.returncode == 2
    assert "is not the file that the bundle was made with" in done.stderr
    path.unlink()
    assert "is missing" in answer(bundle).stderr


def test_results_of_another_package_or_of_other_questions_are_refused(
    bundle: Path, package: Path, examination: Examination, tmp_path: Path
) -> None:
    assert answer(bundle).returncode == 0
    results = read_results(bundle / "results.jsonl")
    other = tmp_path / "other"
    shutil.copytree(package, other)
    write_json(other / "package.json", {**read_json(other / "package.json"), "name": "another"})
    with pytest.raises(DataError, match="is of another package"):
        import_results(other, tmp_path / "out", examination, results)
    fewer = Examination(examination.questions[1:], examination.student[1:], "others", 0.02, 0.95, 3)
    with pytest.raises(DataError, match="answers other questions"):
        import_results(package, tmp_path / "out", fewer, results)
    results.bundle["models"][0]["files"] = {}
    with pytest.raises(DataError, match="the keys of its models differ"):
        import_results(package, tmp_path / "out", examination, results)
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        '{"part": "answer"}',
        '{"part": "bundle", "bundle": {}, "machine": {}}',
        '{"part": "cost", "key": "k", "ending": "finished", "run_seconds": NaN, "answered": 1, "peak_mib": 1, "energy_joules": null}',
        '{"part": "cost", "key": "k", "ending": "fine", "run_seconds": 1, "answered": 1, "peak_mib": 1, "energy_joules": null}',
        "[" * 100_000,
    ],
)
def test_what_is_no_results_file_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"no record of results|holds no results"):
        read_results(path)


def test_results_that_stop_early_take_no_place(
    bundle: Path, package: Path, examination: Examination, tmp_path: Path
) -> None:
    assert answer(bundle).returncode == 0
    lines = (bundle / "results.jsonl").read_text().splitlines(keepends=True)
    (bundle / "results.jsonl").write_text("".join(lines[:7]))
    with pytest.raises(DataError, match=f"is not whole: {COUNT - 6} of {COUNT} questions are not answered"):
        import_results(package, tmp_path / "out", examination, read_results(bundle / "results.jsonl"))
    assert not (tmp_path / "out").exists()


def changed(bundle: Path, number: int, **values: Any) -> Path:
    """Results of a bundle with one record changed, or another one added."""
    records = [json.loads(line) for line in (bundle / "results.jsonl").read_text().splitlines()]
    if number < len(records):
        records[number] |= values
    else:
        records.append(records[1] | values)
    path = bundle / "changed.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_records_that_nobody_asked_for_are_refused(
    bundle: Path, package: Path, examination: Examination, tmp_path: Path
) -> None:
    assert answer(bundle).returncode == 0

    def scored(number: int, **values: Any) -> dict[str, Any]:
        results = read_results(changed(bundle, number, **values))
        return import_results(package, tmp_path / "out", examination, results)

    with pytest.raises(DataError, match="answered twice"):
        scored(99, output="another answer")
    with pytest.raises(DataError, match="a question that was not asked: 'unknown'"):
        scored(99, id="unknown")
    for values in ({"output": None}, {"output": "\ud800"}, {"id": 3}, {"key": None}):
        with pytest.raises(DataError, match="line 2 is no record"):
            scored(1, **values)
    last = COUNT + 2
    for values in ({"run_seconds": 10**400}, {"times": None}, {"error": None}, {"peak_mib": "1"}):
        with pytest.raises(DataError, match=f"line {last + 1} is no record"):
            scored(last, **values)
    assert scored(last, times=[])["models"][0]["ending"] == "unfinished"
    assert scored(0)["models"][0]["ending"] == "finished"


def test_answers_and_times_of_another_machine_do_not_count(bundle: Path) -> None:
    assert answer(bundle).returncode == 0
    path = changed(bundle, 0)
    path.rename(bundle / "results.jsonl")
    content = (bundle / "results.jsonl").read_text()
    place = json.loads(content.splitlines()[0])["place"]
    (bundle / "results.jsonl").write_text(content.replace(place, "elsewhe0"))
    assert json.loads(answer(bundle).stdout.splitlines()[0]) == {"total": COUNT + 4}


def test_a_bundle_carries_only_what_its_models_read(package: Path, examination: Examination, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(package, foreign)
    (foreign / "argparse.py").write_text("raise SystemExit('foreign code')")
    (foreign / "secret").symlink_to("/etc/hostname")
    (foreign / "run.py").write_text("raise SystemExit('foreign code')")
    asked = asked_records(examination.questions)
    manifest = read_json(foreign / "package.json")
    described = describe_bundle(foreign, manifest, asked, DEVICE, name="single", cost_questions=2, models=["q8"])
    write_bundle(tmp_path / "bundle", foreign, manifest, described, asked)
    carried = {path.name for path in (tmp_path / "bundle").rglob("*") if path.is_file()}
    assert not carried & {"argparse.py", "secret", "decoder_model_merged.onnx"}
    assert answer(tmp_path / "bundle").returncode == 0


def test_a_runner_that_says_odd_things_does_not_hang(bundle: Path) -> None:
    runner = bundle / "run.py"
    runner.write_text(
        "import sys\nsys.stderr.buffer.write(b'caf\\xe9\\n' + b'warning ' * 20000 + b'\\n')\nsys.exit('no more')\n"
    )
    described = read_json(bundle / "bundle.json")
    described["programs"]["run.py"] = hash_path(runner)
    write_json(bundle / "bundle.json", described)
    done = subprocess.run(
        [sys.executable, "bundle.py"], cwd=bundle, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "failed no more" in done.stderr) == (4, True)
    assert not list(bundle.glob(".asked*"))


def test_a_bundle_appears_whole_or_not_at_all(package: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        write_bundle(tmp_path / "there", package, {"kind": "onnx"}, {"questions": {}, "models": []}, [])
    with pytest.raises(TypeError):
        write_bundle(tmp_path / "new", package, {"kind": "onnx"}, {"questions": {}, "models": []}, [{"id": object()}])
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]
    with pytest.raises(DataError, match="has no model Q9"):
        choose_models(load_package(package), ["q8", "Q9"])


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """A device whose ssh is a shell on this machine, in a home of its own; calls are written down."""
    home = tmp_path / "home"
    (tmp_path / "bin").mkdir()
    home.mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
while [ "$1" != -- ]; do shift; done
test "$2" = pi@garden || {{ echo "ssh: Could not resolve hostname $2" >&2; exit 255; }}
cd {home} && exec sh -c "$3"
"""
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return parse_url("ssh://pi@garden:2222/kpodx%20it's", sys.executable)


def test_a_device_behind_ssh_answers(remote: Remote, package: Path, examination: Examination, tmp_path: Path) -> None:
    def there() -> dict[str, Any]:
        return evaluate_package(package, tmp_path / "out", examination, DEVICE, SilentProgress(), ["q8"], remote)

    document = there()
    assert document["models"][0]["verdict"]["questions"] == COUNT
    (place,) = (tmp_path / "home" / remote.folder).iterdir()
    assert {"bundle.json", "results.jsonl", "run.py", "onnx"} <= {path.name for path in place.iterdir()}
    calls = (tmp_path / "calls").read_text()
    assert calls.startswith("-o BatchMode=yes -p 2222 -- pi@garden ")
    assert calls.count("tar -xf") == 1
    # The second time nothing is copied, nothing asked, and times are taken anew.
    again = there()
    assert again["models"][0]["verdict"] == document["models"][0]["verdict"]
    assert again["models"][0]["cost"] != document["models"][0]["cost"]
    assert (tmp_path / "calls").read_text().count("tar -xf") == 1


def test_a_device_that_was_not_ready_is_asked_again(
    remote: Remote, package: Path, examination: Examination, tmp_path: Path
) -> None:
    bare = tmp_path / "home" / "bare" / "python"
    bare.parent.mkdir()
    (bare.parent / "onnxruntime.py").write_text("raise ImportError('not installed')")
    bare.write_text(f'#!/bin/sh\nPYTHONPATH={bare.parent} exec {sys.executable} "$@"\n')
    bare.chmod(0o755)
    # A relative path begins in the home there.
    unready = replace(remote, python="bare/python")
    asked: tuple[Any, ...] = (package, tmp_path / "out", examination, DEVICE, SilentProgress(), ["q8"])
    (model,) = evaluate_package(*asked, unready)["models"]
    assert (model["ending"], "needs onnxruntime" in model["error"]) == ("failed", True)
    assert evaluate_package(*asked, remote)["models"][0]["ending"] == "finished"


def test_a_device_that_fails_is_told(remote: Remote, package: Path, examination: Examination, tmp_path: Path) -> None:
    def there(device: Remote) -> None:
        evaluate_package(package, tmp_path / "out", examination, DEVICE, SilentProgress(), ["q8"], device)

    with pytest.raises(RunError, match="ssh: Could not resolve hostname nowhere"):
        there(Remote("nowhere", None, "kpodx", "python3"))
    with pytest.raises(RunError, match="no-such-python"):
        there(Remote(remote.target, None, "kpodx", "no-such-python"))
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize(
    "url", ["pi@garden", "ssh://", "ssh://-oProxyCommand=x", "ssh://pi@-x", "ssh://a b", "http://pi"]
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="expected ssh://user@host"):
        parse_url(url, "python3")
