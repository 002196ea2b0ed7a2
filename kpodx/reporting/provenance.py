"""Where a run comes from: recipe, versions, hashes, phases with their times, base model, data and teacher with their licences.

The page may be passed on: folders of this machine, its name and process numbers are left out.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from kpodx.artifacts import STUDENT
from kpodx.export.origin import run_origin
from kpodx.layers import leaves
from kpodx.reporting.headlines import headline
from kpodx.reporting.state import status_document
from kpodx.runs import Run, read_done


def describe_provenance(run: Run) -> dict[str, Any]:
    """All that a reader needs to judge or to repeat the run."""
    manifest, recipe = run.manifest, run.manifest["recipe"]
    return {
        "recipe": manifest.get("recipe_name"),
        "description": recipe.get("description"),
        "seed": recipe.get("seed"),
        "created": manifest.get("created"),
        "updated": manifest.get("updated"),
        "kpodx": manifest.get("kpodx"),
        "python": manifest.get("python"),
        "platform": manifest.get("platform"),
        "threads": manifest.get("threads"),
        "git": manifest.get("git"),
        "packages": manifest.get("packages") or {},
        "origin": _origin(run),
        "inputs": [
            {"name": PurePath(name).name, "sha256": digest} for name, digest in (manifest.get("inputs") or {}).items()
        ],
        "revisions": manifest.get("revisions") or {},
        "student_sha256": _student_hash(run),
        "phases": _phases(run),
        "settings": given_settings(recipe, manifest.get("sources") or {}),
    }


def _origin(run: Run) -> dict[str, Any] | None:
    if "rationales" not in run.manifest["phases"]:
        return None
    origin = run_origin(run.manifest, run.folder("rationales"), {})
    return {name: origin[name] for name in ("base_model", "data", "teacher")}


def _student_hash(run: Run) -> str | None:
    """Hash of the finished student's parameters, in the first of its files."""
    if "distillation" not in run.manifest["phases"]:
        return None
    files = read_done(run.folder("distillation"))["files"]
    found = [
        entry["sha256"]
        for name, entry in files.items()
        if name.startswith(f"{STUDENT}/") and name.endswith(".safetensors")
    ]
    return found[0] if found else None


def _phases(run: Run) -> list[dict[str, Any]]:
    recorded = run.manifest["phases"]
    phases = []
    for phase in status_document(run)["phases"]:
        name = phase["name"]
        entry = recorded.get(name) or {}
        phases.append(
            {
                **phase,
                "seed": (run.manifest.get("seeds") or {}).get(name),
                "fingerprint": entry.get("fingerprint"),
                "created": entry.get("created"),
                "found": headline(name, run.summary(name)) if entry else None,
            }
        )
    return phases


def given_settings(recipe: dict[str, Any], sources: dict[str, str]) -> list[dict[str, Any]]:
    """Every setting that is not a default, with where it was given; folders are left out of paths."""
    passed_over = ("name", "description", "about.")
    return [
        {"key": dotted, "value": _public(value), "source": _public_source(source)}
        for key, value in leaves(recipe)
        if not (dotted := ".".join(key)).startswith(passed_over)
        and (source := _source_of(key, sources)) not in (None, "default")
    ]


def _source_of(key: tuple[str, ...], sources: dict[str, str]) -> str | None:
    """The source of a setting, or of the table that it stands in."""
    return next((sources[name] for n in range(len(key), 0, -1) if (name := ".".join(key[:n])) in sources), None)


def _public(value: Any) -> Any:
    if isinstance(value, list):
        return [_public(item) for item in value]
    return PurePath(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _public_source(source: str | None) -> str | None:
    return PurePath(source).name if source and "/" in source else source
