"""`kpodx export`: a student becomes packages that run without torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpodx.cli import terminal
from kpodx.errors import RunError, UsageError

if TYPE_CHECKING:
    from kpodx.export.package import Exported
    from kpodx.runs import Run
    from kpodx.schema import Question, Rationale

RUNS = Path("runs")
COST_QUESTIONS = 20
"""Answers that a bundle takes times of."""
CALIBRATION = 64
"""Rationales that an importance matrix is measured on."""


@dataclass(frozen=True)
class Source:
    """What is exported: the student's folder, its name, questions to compare on, its origin, and the package's default place."""

    student: Path
    name: str
    questions: list[str]
    origin: dict[str, Any]
    folder: Path
    calibration: tuple[list[Rationale], list[Question]] = ((), ())  # type: ignore[assignment]
    run: Run | None = None


def export(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="Run, or any local transformers folder; the newest finished run in runs/ by default."
        ),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="Format: gguf (the default) or onnx.", show_default=False)
    ] = None,
    quant: Annotated[
        list[str] | None,
        typer.Option(
            help="Of gguf f32, f16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0 or IQ4_NL (f16, Q8_0 and Q4_K_M by default); of onnx f32, int8, "
            "q8, q4 or mixed (q8, q4 and int8 by default); repeatable."
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Device whose format, quantisations, threads and budgets are taken: a name such as raspberry-pi-5, or a TOML file."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the package; RUN/export/FORMAT, or NAME-FORMAT, by default.")
    ] = None,
    questions: Annotated[
        int, typer.Option(min=1, help="Validation questions that each file is compared with the student on.")
    ] = 32,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer that is compared, in tokens.")] = 256,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; half of the machine's by default.")] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Also write a folder for a device: the package, the run's test questions, and a program that answers them there. A "
            "package of this student that is there already is taken as it is."
        ),
    ] = None,
    bundle_questions: Annotated[
        int | None, typer.Option(min=1, help="Most test questions in the bundle; all by default.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")] = False,
) -> None:
    """Write a student as GGUF files or ONNX graphs, each compared with the student before it is kept."""
    from kpodx.export.manifest import DEFAULTS, QUANTIZATIONS
    from kpodx.export.profiles import load_profile

    device = load_profile(profile) if profile else None
    form = form or (device.format if device else "gguf")
    if form not in QUANTIZATIONS:
        raise UsageError(f"--format {form}: expected {' or '.join(QUANTIZATIONS)}.")
    if device and form != device.format:
        raise UsageError(
            f"--format {form}: the profile {profile} is for {device.format}.", hint="Leave one of them out."
        )
    from kpodx.export.package import export_package

    found = _source(source, questions, Path(profile).stem if profile else form)
    target = output or found.folder
    quantizations = quant or (device.quantizations if device else DEFAULTS[form])
    bounds = {"name": Path(str(profile)).stem, **device.model_dump(mode="json")} if device else None
    if bundle is not None:
        if bundle.exists():
            raise UsageError(f"{bundle} exists already.", hint="Name another folder with --bundle, or remove it.")
        if found.run is None:
            raise UsageError("--bundle: a model alone has no test questions.", hint="Name a run in its place.")
        if is_package_of(target, found.student, form, quantizations, bounds):
            _write_bundle(bundle, target, found.run, quantizations, bundle_questions, json=json)
            return
    done = export_package(
        found.student,
        target,
        form,
        quantizations,
        found.questions,
        name=found.name,
        origin=found.origin,
        max_new_tokens=max_new_tokens,
        threads=threads or max(1, (os.cpu_count() or 2) // 2),
        progress=terminal.TerminalProgress(terminal.stderr_console()),
        calibration=found.calibration,
        profile=bounds,
    )
    if json and bundle is None:
        from dataclasses import asdict

        terminal.print_json({"package": str(target), "models": [asdict(item) for item in done]})
    if not json:
        _print(target, done, found.questions[0])
    if bundle is not None and found.run is not None:
        _write_bundle(bundle, target, found.run, quantizations, bundle_questions, json=json)


def is_package_of(
    folder: Path, student: Path, form: str, quantizations: Sequence[str], profile: dict[str, Any] | None
) -> bool:
    """Whether a whole package of this student, for this profile, with these quantisations at least, is there already."""
    from kpodx.acceptance.package import load_package
    from kpodx.artifacts import hash_model
    from kpodx.export.manifest import PACKAGE

    if not (folder / PACKAGE).is_file():
        return False
    manifest = load_package(folder)
    held = {model["quantization"] for model in manifest["models"]}
    made = manifest["kind"], manifest.get("profile"), (manifest.get("origin") or {}).get("student")
    return made == (form, profile, hash_model(student)) and held >= set(quantizations)


def _write_bundle(
    folder: Path, package: Path, run: Run, quantizations: Sequence[str], limit: int | None, *, json: bool
) -> None:
    from kpodx.acceptance.bundle import NEEDS, describe_bundle, device_of, write_bundle
    from kpodx.acceptance.evaluate import asked_records
    from kpodx.acceptance.package import load_package
    from kpodx.acceptance.question_sets import run_questions

    manifest, asked = load_package(package), asked_records(run_questions(run, limit)[0])
    settings = run.manifest["recipe"]["evaluation"]
    device = device_of(manifest, max_new_tokens=settings["max_new_tokens"])
    name = f"{run.manifest.get('recipe_name') or run.name}, test"
    described = describe_bundle(
        package, manifest, asked, device, name=name, cost_questions=COST_QUESTIONS, models=quantizations
    )
    write_bundle(folder, package, manifest, described, asked)
    if json:
        terminal.print_json({"package": str(package), "bundle": str(folder), "questions": len(asked)})
        return
    terminal.say(
        f"{folder}: {len(asked)} questions for {', '.join(model['quantization'] for model in described['models'])}"
    )
    terminal.say(f"on the device: pip install {NEEDS[manifest['kind']]} && python run.py")
    terminal.say("and back here: kpodx evaluate --import results.jsonl")


def _print(target: Path, done: Sequence[Exported], question: str) -> None:
    rows = [
        (
            item.name,
            f"{item.size / 1e6:.1f}",
            f"{item.agreement.equal}/{item.agreement.prompts}",
            terminal.percent(item.agreement.shared_tokens),
            f"{item.agreement.divergence:.2g}",
        )
        for item in done
    ]
    columns = ("model", "MB", "answers equal", "tokens before the first difference %", "divergence, nats a token")
    terminal.print_table(str(target), columns, rows)
    terminal.say(f'try it: python {target}/run.py --model {target}/{done[0].name} "{question}"')


def _source(source: Path | None, count: int, kind: str) -> Source:
    from kpodx.artifacts import STUDENT, load_questions, load_rationales
    from kpodx.export.origin import model_licence, run_origin
    from kpodx.runs import MANIFEST, load_run, newest_run
    from kpodx.schema import Split

    if source is not None and not (source / MANIFEST).is_file():
        if not (source / "config.json").is_file():
            raise RunError(
                f"{source} is neither a run nor a model: it has no {MANIFEST} and no config.json.",
                hint="`kpodx status` shows the newest run.",
            )
        name = re.sub(r"[^A-Za-z0-9._-]", "-", source.resolve().name)
        origin: dict[str, Any] = {"base_model": {"name": name, "licence": model_licence(str(source))}}
        return Source(source, name, generated_questions(count), origin, Path(f"{name}-{kind}"))
    run = load_run(source) if source else newest_run(RUNS)
    kept = load_questions(run.folder("dataset"))
    asked = [q.question for q in kept if q.split is Split.VALIDATION and not q.choices][:count]
    if not asked:
        terminal.say(f"{run.name} has no validation questions without options: generated ones are asked instead")
    folder = run.folder("distillation")
    name = str(run.manifest.get("recipe_name") or run.name)
    origin = {"run": run.name, "recipe": run.manifest.get("recipe_name"), "distillation": folder.name}
    summary = run.summary("evaluation") if "evaluation" in run.manifest.get("phases", {}) else {}
    origin |= run_origin(run.manifest, run.folder("rationales"), summary)
    place = run.path / "export" / kind
    calibration = (load_rationales(run.folder("rationales"))[:CALIBRATION], kept)
    return Source(folder / STUDENT, name, asked or generated_questions(count), origin, place, calibration, run)


def generated_questions(count: int) -> list[str]:
    """Questions of the generator, for students that come without any."""
    from kpodx.dataset.config import DatasetConfig
    from kpodx.dataset.phase import build_questions

    config = DatasetConfig.model_validate(
        {"format": "embedded", "embedded": {"train": count, "validation": 0, "test": 0}}
    )
    return [question.question for question in build_questions(config)[0]]
