"""Where a student comes from, read off a run and off model cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kpodx.artifacts import write_json
from kpodx.export.origin import describe, model_licence, run_origin


def manifest(**rationales: Any) -> dict[str, Any]:
    """As much of a run's manifest as is read."""
    return {
        "recipe": {
            "student": {"model": "google/flan-t5-small"},
            "dataset": {"format": "gsm8k", "hub": {"id": "openai/gsm8k"}},
            "rationales": {"teacher": "gold", "teacher_name": None, "licence": "", **rationales},
        },
        "revisions": {"google/flan-t5-small@main": "0fc9ddf"},
    }


def test_a_run_tells_base_model_data_teacher_and_results(tmp_path: Path) -> None:
    summary = {"test": {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 100, "by_steps": {}}}
    origin = run_origin(manifest(), tmp_path, summary)
    assert origin["base_model"] == {"name": "google/flan-t5-small", "licence": "not stated", "revision": "0fc9ddf"}
    assert origin["data"] == {"name": "openai/gsm8k", "licence": "MIT"}
    assert origin["teacher"] == {"name": "gold", "licence": "MIT"}
    text = describe({"run": "mine", **origin})
    assert "- base model: google/flan-t5-small (licence not stated, revision 0fc9ddf)" in text
    assert "- accuracy of the student (test): 50.0 % [40.0, 60.0] of 100 questions" in text


def test_a_teacher_that_was_asked_is_named_with_its_terms(tmp_path: Path) -> None:
    write_json(tmp_path / "source.json", {"name": "gpt-4o", "licence": "no competing models", "model": "gpt-4o"})
    assert run_origin(manifest(teacher="openai"), tmp_path, {})["teacher"] == {
        "name": "gpt-4o",
        "licence": "no competing models",
    }
    (tmp_path / "source.json").unlink()
    unknown = run_origin(manifest(teacher="openai", teacher_name="a model"), tmp_path, {})
    assert unknown["teacher"] == {"name": "a model", "licence": "not stated"}
    assert unknown["results"] == {}


def test_the_licence_is_what_the_card_says(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    assert model_licence(str(tmp_path)) == "not stated"
    card.write_text("---\ntags: [a]\nlicense: apache-2.0\n---\n# A model\nlicense: no\n")
    assert model_licence(str(tmp_path)) == "apache-2.0"
    card.write_text("# A model\nlicense: mit\n")
    assert model_licence(str(tmp_path)) == "not stated"
    assert model_licence("no-such-organisation/no-such-model") == "not stated"
