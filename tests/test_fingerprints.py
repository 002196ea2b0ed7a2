"""Finding hub commits, and what a fingerprint covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_phases
import huggingface_hub
import pytest
from huggingface_hub import constants

from kpodx.config import build_config
from kpodx.errors import ModelError
from kpodx.fingerprints import ContentHashes, Revisions, fingerprint, hub_commit
from kpodx.rationales.config import RationalesConfig
from kpodx.recipe import load_recipe

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a hub that cannot be reached."""

    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise ConnectionError("the network is down\nand more")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_a_commit_is_itself(offline: Path) -> None:
    assert hub_commit("org/model", COMMIT) == COMMIT


def test_the_local_cache_serves_without_the_hub(offline: Path) -> None:
    refs = offline / "models--org--model" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    assert hub_commit("org/model", "main") == COMMIT
    with pytest.raises(ModelError, match=r"'org/model' \(revision 'v2'\) is neither on the hub nor in the local cache"):
        hub_commit("org/model", "v2")


def test_without_either_the_reason_and_a_way_out_are_told(offline: Path) -> None:
    with pytest.raises(ModelError, match=r"the network is down$") as caught:
        hub_commit("org/model", "main")
    assert "HF_HUB_OFFLINE" in (caught.value.hint or "")


def test_the_hub_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Info:
        sha = COMMIT

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_args, **_kwargs: Info)
    assert hub_commit("org/model", "main") == COMMIT


def test_pins_are_saved_and_given_by_model(tmp_path: Path) -> None:
    saved: list[bool] = []
    recipe = fake_phases.resolved(student={"model": "org/a", "revision": "v1"}, weighting={"predictor": "org/b"}).recipe
    revisions = Revisions({}, save=lambda: saved.append(True), look_up=lambda model, revision: f"{model} at {revision}")
    assert revisions.by_model(recipe) == {}, "nothing was needed yet"
    assert revisions.commit("org/a", "v1") == revisions.commit("org/a", "v1") == "org/a at v1"
    assert saved == [True]
    revisions.commit("org/b", None)
    assert revisions.by_model(recipe) == {"org/a": "org/a at v1", "org/b": "org/b at main"}


def of(recipe: Any, **changes: Any) -> str:
    """The fingerprint of the weighting phase, with some arguments changed."""
    pins = Revisions(look_up=lambda model, revision: COMMIT)
    arguments: dict[str, Any] = {
        "name": "weighting",
        "version": 1,
        "uses": ("student", "runtime.dtype"),
        "seed": 5,
        "recipe": recipe,
        "upstream": {"rationales": "abc"},
        "revisions": pins,
        "hashes": ContentHashes(),
    }
    return fingerprint(**{**arguments, **changes})[0]


def test_all_that_changes_a_result_changes_the_fingerprint() -> None:
    def recipe(**tables: Any) -> Any:
        return fake_phases.resolved(**{"student": {"model": "org/a"}, **tables}).recipe

    base = of(recipe())
    other = {
        "version": of(recipe(), version=2),
        "seed": of(recipe(), seed=6),
        "upstream": of(recipe(), upstream={"rationales": "abd"}),
        "setting": of(recipe(weighting={"coef": 0.6})),
        "model": of(recipe(student={"model": "org/b"})),
        "commit": of(recipe(), revisions=Revisions(look_up=lambda model, revision: "f" * 40)),
        "predictor": of(recipe(weighting={"predictor": "org/b"})),
        "dtype": of(recipe(runtime={"dtype": "float32"})),
    }
    assert len({base, *other.values()}) == len(other) + 1
    same = [
        of(recipe()),
        of(recipe(weighting={"seed": 9})),
        of(recipe(student={"model": "org/a", "revision": "v1"})),
        of(recipe(dataset={"coef": 9.0})),
        of(recipe(runtime={"num_threads": 3})),
    ]
    assert set(same) == {base}, "the seed is an argument, and the commit says all of a revision"


def test_a_local_model_is_its_own_files_and_not_what_lies_beside_them(tmp_path: Path) -> None:
    def now() -> str:
        return of(fake_phases.resolved(student={"model": str(tmp_path)}).recipe)

    (tmp_path / "config.json").write_text("{}")
    first = now()
    (tmp_path / "README.md").write_text("a model card")
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)
    (tmp_path / ".cache" / "huggingface" / "config.json.metadata").write_text("of a download")
    (tmp_path / ".gitattributes").write_text("*.safetensors filter=lfs")
    assert now() == first
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "README.md").write_text("in a folder of its own, a file like any other")
    second = now()
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert len({first, second, now()}) == 3


def test_speed_place_and_price_do_not_change_a_fingerprint(tmp_path: Path) -> None:
    def now(**rationales: Any) -> str:
        openai = {"model": "m", **rationales.pop("openai", {})}
        recipe = load_recipe("quickstart").recipe
        table = build_config(RationalesConfig, {"teacher": "openai", "openai": openai, **rationales})
        return of(recipe.model_copy(update={"rationales": table}), name="rationales", uses=())

    base = now()
    same = [
        now(cost={"budget_tokens": 5}),
        now(cache=str(tmp_path / "elsewhere.sqlite")),
        now(openai={"concurrency": 3, "base_urls": "http://localhost/v1", "api_key_env": "KEY"}),
        now(gguf={"file": str(tmp_path / "unread.gguf")}),
    ]
    assert set(same) == {base}
    other = [
        now(openai={"model": "n"}),
        now(sampling={"max_tokens": 9}),
        now(prompt={"cue": "Well."}),
        now(openai={"extra": {"a": 1}}),
    ]
    assert len({base, *other}) == 5


def test_a_local_teacher_counts_by_its_content(tmp_path: Path) -> None:
    def now() -> str:
        table = build_config(RationalesConfig, {"teacher": "transformers", "transformers": {"model": str(tmp_path)}})
        recipe = load_recipe("quickstart").recipe.model_copy(update={"rationales": table})
        return of(recipe, name="rationales", uses=())

    (tmp_path / "config.json").write_text("{}")
    first = now()
    (tmp_path / "README.md").write_text("card")
    assert now() == first
    (tmp_path / "config.json").write_text("[]")
    assert now() != first


def test_the_http_librarys_own_objects_are_not_shown(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise OSError("(MaxRetryError('HTTPSConnectionPool(host=...): Max retries exceeded'), '(Request ID: 1)')")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    with pytest.raises(ModelError, match=r"no connection to the hub$"):
        hub_commit("org/model", "main")
