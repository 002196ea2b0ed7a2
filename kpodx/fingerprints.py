"""Fingerprints: equal work has an equal name, and anything that changes a result changes the name.

A fingerprint covers the phase's version, its settings, the shared settings it uses, its seed, what it reads, and the
content (never the place) of the files and local models that the settings name, or the commit of a hub model.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kpodx.artifacts import hash_json, hash_model, hash_path
from kpodx.config import Config, path_settings, setting
from kpodx.errors import ConfigError, ModelError

MODEL_REVISIONS = {
    "student.model": "student.revision",
    "rationales.transformers.model": "rationales.transformers.revision",
    "weighting.predictor": "weighting.predictor_revision",
}
"""The setting that holds a model, and the one that holds its hub revision."""

THE_STUDENT = "student"
"""In place of a predictor: the student's own weights."""


class ContentHashes:
    """Content hashes of files and folders, each read once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._models: dict[str, str] = {}

    def of(self, path: str, key: str) -> str:
        """sha256 of what is at `path`; ConfigError naming the setting `key` where there is nothing."""
        if path not in self._known:
            if not Path(path).exists():
                raise ConfigError(
                    f"{key}: there is no file or folder {path}.",
                    hint="Paths in a recipe are read from its folder, those on the command line from here.",
                )
            self._known[path] = hash_path(Path(path))
        return self._known[path]

    def of_model(self, folder: str) -> str:
        """sha256 of a local model, without what lies beside it; see `kpodx.artifacts.hash_model`."""
        if folder not in self._models:
            self._models[folder] = hash_model(Path(folder))
        return self._models[folder]


class Revisions:
    """Hub commits, looked up once for a run and kept with it.

    Args:
        pins: commit by "model@revision"; new ones are added to it.
        save: called after a new one was added.
        look_up: finds the commit of (model, revision).
    """

    def __init__(
        self,
        pins: dict[str, str] | None = None,
        save: Callable[[], None] = lambda: None,
        look_up: Callable[[str, str], str] | None = None,
    ) -> None:
        self._pins = {} if pins is None else pins
        self._save = save
        self._look_up = look_up or hub_commit

    def commit(self, model: str, revision: str | None) -> str:
        """The commit that `revision` (None: the main branch) of a hub model means in this run."""
        key = f"{model}@{revision or 'main'}"
        if key not in self._pins:
            self._pins[key] = self._look_up(model, revision or "main")
            self._save()
        return self._pins[key]

    def by_model(self, recipe: Any) -> dict[str, str]:
        """The pinned commit of each hub model that the recipe names and a phase has needed."""
        found = {}
        for model, revision in recipe_models(recipe).values():
            if commit := self._pins.get(f"{model}@{revision or 'main'}"):
                found[model] = commit
        return found


def hub_commit(model: str, revision: str) -> str:
    """The commit of a hub model's branch or tag, from the hub or the local cache; ModelError where neither has it."""
    import huggingface_hub
    from huggingface_hub import constants

    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    try:
        commit = huggingface_hub.HfApi().model_info(model, revision=revision, timeout=30).sha
    except _network_errors() as error:
        folder = "models--" + model.replace("/", "--")
        cached = Path(constants.HF_HUB_CACHE) / folder / "refs" / revision
        if cached.is_file():
            return cached.read_text().strip()
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "Pool(" in reason:
            # The HTTP library's own objects say nothing to a person.
            reason = "no connection to the hub"
        raise ModelError(
            f"The model {model!r} (revision {revision!r}) is neither on the hub nor in the local cache: {reason}",
            hint="Check its name and the network, or set HF_TOKEN for a private one. To work offline, download it "
            f"first (hf download {model}) and set HF_HUB_OFFLINE=1. A local folder begins with ./, ../ or /.",
        ) from error
    if commit is None:
        raise ModelError(f"The hub gave no commit for {model!r} (revision {revision!r}).")
    return commit


def _network_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises: OSError and, with httpx below it, httpx's own; ValueError for a malformed name."""
    with contextlib.suppress(ImportError):
        import httpx

        return (ValueError, OSError, httpx.HTTPError)
    return (ValueError, OSError)


def is_local(model: str) -> bool:
    """Whether a model setting names a folder rather than a hub id; settings are absolute by now."""
    return model.startswith(("/", "./", "../", "~"))


def recipe_models(recipe: Any) -> dict[str, tuple[str, str | None]]:
    """(model, revision) by setting, of the settings that name a model."""
    found = {}
    for key, revision_key in MODEL_REVISIONS.items():
        model = setting(recipe, key)
        if isinstance(model, str) and model != THE_STUDENT:
            found[key] = (model, setting(recipe, revision_key))
    return found


def fingerprint(
    *,
    name: str,
    version: int,
    uses: tuple[str, ...],
    seed: int,
    recipe: Any,
    upstream: Mapping[str, str],
    revisions: Revisions,
    hashes: ContentHashes,
) -> tuple[str, dict[str, str]]:
    """The fingerprint of a phase, and the content hash of each file or local model behind it by dotted key.

    Args:
        name: the phase, whose table of the recipe counts.
        version: of its code.
        uses: further tables and dotted keys of the recipe that count.
        seed: the phase's own.
        recipe: the settings, paths absolute.
        upstream: fingerprint of each phase that it reads.
        revisions: finds hub commits.
        hashes: finds content hashes.
    """
    files: dict[str, str] = {}
    own = setting(recipe, name)
    also = own.also_uses if isinstance(own, Config) else ()
    settings = {key: _described(recipe, key, revisions, hashes, files) for key in (name, *uses, *also)}
    settings[name].pop("seed", None)
    described = {"phase": name, "version": version, "seed": seed, "settings": settings, "upstream": dict(upstream)}
    return hash_json(described), files


def _described(recipe: Any, key: str, revisions: Revisions, hashes: ContentHashes, files: dict[str, str]) -> Any:
    """The settings at `key` as plain values, in which content stands for paths and commits for hub names."""
    value = setting(recipe, key)
    if not isinstance(value, Config):
        return value
    described = value.deciding_settings()
    for path_key, paths in _grouped(value).items():
        if not _has(described, path_key):
            continue
        digests = [hashes.of(path, f"{key}.{path_key}") for path in paths]
        files.update(zip(paths, digests, strict=True))
        _put(described, path_key, digests)
    for model_key, revision_key in MODEL_REVISIONS.items():
        table, _, field = model_key.partition(".")
        model = setting(recipe, model_key)
        if table == key and _has(described, field) and isinstance(model, str) and model != THE_STUDENT:
            # The commit says all of a revision.
            _put(described, revision_key.partition(".")[2], None)
            if is_local(model):
                files[model] = _folder_hash(model, model_key, hashes)
                _put(described, field, files[model])
            else:
                _put(described, field, [model, revisions.commit(model, setting(recipe, revision_key))])
    return described


def _folder_hash(model: str, key: str, hashes: ContentHashes) -> str:
    if not Path(model).is_dir():
        found = "is a file, expected a folder" if Path(model).exists() else "there is no such folder"
        raise ModelError(
            f"{key}: {model}: {found}.",
            hint="A local model is a folder in the hub's layout; write a hub id without ./ in front.",
        )
    return hashes.of_model(model)


def _grouped(config: Config) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for key, path in path_settings(config):
        grouped.setdefault(key, []).append(path)
    return grouped


def _has(values: dict[str, Any], key: str) -> bool:
    *tables, last = key.split(".")
    for table in tables:
        values = values.get(table) or {}
    return last in values


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *tables, last = key.split(".")
    for table in tables:
        values = values[table]
    values[last] = value
