"""Which models are served, and by which name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kpodx.acceptance.package import load_package
from kpodx.errors import UsageError
from kpodx.export.manifest import shipped_runner

EXACT_ALONE = "int8"
"""The quantisation whose answers depend on what else is in a batch: products round with one scale a tensor."""


@dataclass(frozen=True)
class ServedModel:
    """One model of a package.

    Attributes:
        id: its name in the API, such as quickstart-q8.
        path: its file.
        runner: our own copy of the program that runs it.
        sha256: of the file.
        created: when the file was written, in seconds since 1970.
        threads: CPU threads; None takes half of the machine's.
        context_tokens: most tokens of prompt and answer; None takes the model's own.
        is_exact_in_batches: whether other questions in a batch leave its answers alone.
    """

    id: str
    path: Path
    runner: Path
    sha256: str
    created: int
    threads: int | None = None
    context_tokens: int | None = None
    is_exact_in_batches: bool = True


def served_models(folders: Sequence[Path], wanted: Sequence[str] = (), threads: int | None = None) -> list[ServedModel]:
    """The models of packages, their files compared with their hashes.

    Args:
        folders: of the packages.
        wanted: ids, file names or quantisations of those to serve; all by default.
        threads: CPU threads of each; the profile's by default.

    Raises:
        RunError, DataError: a package is not whole.
        UsageError: two models have one id, or none is meant by what is wanted.
    """
    found: dict[str, ServedModel] = {}
    meant: set[str] = set()
    for folder in folders:
        for model, names in _models_of(folder, threads):
            asked = names & set(wanted)
            meant |= asked
            if wanted and not asked:
                continue
            if model.id in found:
                raise UsageError(
                    f"Two models are called {model.id}: {found[model.id].path} and {model.path}.",
                    hint="Serve one of them, or export one under another name.",
                )
            found[model.id] = model
    missing = [name for name in wanted if name not in meant]
    if missing or not found:
        known = ", ".join(model.id for folder in folders for model, _ in _models_of(folder, threads))
        raise UsageError(
            f"There is no {', '.join(missing) or 'model'} in {', '.join(map(str, folders))}; it has {known}."
        )
    return list(found.values())


def _models_of(folder: Path, threads: int | None) -> list[tuple[ServedModel, set[str]]]:
    """Each model of a package with all names that mean it."""
    manifest = load_package(folder)
    runner, profile = shipped_runner(manifest["kind"]), manifest.get("profile") or {}
    models = []
    for entry in manifest["models"]:
        name, quantization = entry["name"], entry["quantization"]
        path = folder / name
        model = ServedModel(
            id=f"{manifest.get('name') or folder.name}-{quantization}",
            path=path,
            runner=runner,
            sha256=str(manifest["files"][name]["sha256"]),
            created=int(path.stat().st_mtime),
            threads=threads or profile.get("threads"),
            context_tokens=profile.get("context_tokens"),
            is_exact_in_batches=quantization != EXACT_ALONE,
        )
        models.append((model, {model.id, name, path.name, quantization}))
    return models
