"""The phases in order: what each reads, when a finished one is used again, and how a run goes on after a kill."""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kpodx
from kpodx.config import nearest
from kpodx.errors import KpodxError, RunError, StorageError, UsageError
from kpodx.fingerprints import ContentHashes, Revisions, fingerprint
from kpodx.launch import Launch, wait_for
from kpodx.phase_folders import adopt, begin, content_digest, finish, is_complete, put_aside
from kpodx.runs import MANIFEST, Run, describe_environment, load_run, open_run, read_done
from kpodx.runtime import PhaseContext, Progress, SilentProgress, derive_seed, limit_threads
from kpodx.storage import storing

if TYPE_CHECKING:
    from kpodx.recipe import ResolvedRecipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Phase:
    """One phase of a run.

    Attributes:
        name: its one word: folder, table of the recipe, word on the command line.
        reads: the phases whose files it may read.
        version: raised when its code changes what it writes.
        uses: other settings that change what it writes, as tables or dotted keys.
        distributed: whether all processes of a multi-process launch run it together.
        module: the module with its `run`; the phase's own `phase.py` if empty.
    """

    name: str
    reads: tuple[str, ...]
    version: int
    uses: tuple[str, ...] = ()
    distributed: bool = False
    module: str = ""

    def run(self, context: PhaseContext) -> dict[str, object]:
        """Import the phase's code and run it."""
        module = importlib.import_module(self.module or f"kpodx.{self.name}.phase")
        summary: dict[str, object] = module.run(context)
        return summary


_MODEL = ("student", "runtime.device", "runtime.dtype")

PHASES = (
    Phase("dataset", (), 3),
    Phase("rationales", ("dataset",), 4),
    Phase("weighting", ("dataset", "rationales"), 3, _MODEL),
    Phase("difficulty", ("dataset", "rationales", "weighting"), 2, _MODEL),
    # The schedule's last stage is a share of the epochs.
    Phase("curriculum", ("dataset", "rationales", "difficulty"), 3, (*_MODEL, "distillation.epochs")),
    Phase(
        "distillation", ("dataset", "rationales", "weighting", "difficulty", "curriculum"), 2, _MODEL, distributed=True
    ),
    Phase("evaluation", ("dataset", "distillation"), 3, _MODEL),
)


@dataclass(frozen=True)
class PlannedPhase:
    """A phase that the run needs.

    Attributes:
        phase: the phase.
        reads: the phases that it reads under this recipe.
        fingerprint: 64 hexadecimal digits; equal work has an equal fingerprint.
        seed: its own seed.
        input_files: content hash of each file that its table names, by dotted key.
    """

    phase: Phase
    reads: tuple[str, ...]
    fingerprint: str
    seed: int
    input_files: dict[str, str]

    @property
    def name(self) -> str:
        """The phase's name."""
        return self.phase.name

    @property
    def folder(self) -> str:
        """Its folder, relative to the run."""
        return f"{self.name}/{self.fingerprint[:12]}"


@dataclass(frozen=True)
class PhaseResult:
    """A finished phase: `seconds` it took when it ran, `cached` if it was finished before, its folder and summary."""

    name: str
    seconds: float
    cached: bool
    folder: Path
    summary: dict[str, Any]


@dataclass(frozen=True)
class PipelineResult:
    """A run that reached the phase asked for."""

    run: Path
    phases: tuple[PhaseResult, ...] = ()

    def summary(self, phase: str) -> dict[str, Any]:
        """What a phase said of itself; empty if it was not part of the run."""
        return next((result.summary for result in self.phases if result.name == phase), {})


@dataclass(frozen=True)
class Choice:
    """Which phases to run.

    Attributes:
        start: phases before this one must be finished already; None for no such demand.
        stop: the last phase; None for all.
        force: phases to run again although they are finished.
        reuse: other runs whose finished phases may serve.
    """

    start: str | None = None
    stop: str | None = None
    force: tuple[str, ...] = ()
    reuse: tuple[Path, ...] = ()


def check_phase_name(name: str, phases: Sequence[Phase] = PHASES) -> str:
    """`name` if it is a phase's; UsageError with the nearest name else."""
    names = [phase.name for phase in phases]
    if name not in names:
        guess = nearest(name, names)
        raise UsageError(
            f"No phase {name!r}: expected one of {', '.join(names)}." + (f" Did you mean {guess!r}?" if guess else "")
        )
    return name


def reads_of(phase: Phase, recipe: Any) -> tuple[str, ...]:
    """The phases that `phase` reads under this recipe: plain methods need neither token weights nor a schedule."""
    optional = {"weighting", "difficulty", "curriculum"}
    if phase.name == "distillation":
        needs = recipe.distillation.needs
        if "curriculum" in needs and recipe.curriculum.remeasure_every and recipe.difficulty.uses_weights:
            # Difficulties that are measured again are weighed as they were before.
            needs |= {"weighting"}
        return tuple(name for name in phase.reads if name not in optional or name in needs)
    if phase.name == "difficulty" and not recipe.difficulty.uses_weights:
        return tuple(name for name in phase.reads if name != "weighting")
    return phase.reads


def needed_phases(recipe: Any, stop: str | None = None, phases: Sequence[Phase] = PHASES) -> list[Phase]:
    """The phases up to `stop` that it, or the end of the whole run, needs; in order."""
    by_name = {phase.name: phase for phase in phases}
    stop = check_phase_name(stop or phases[-1].name, phases)
    wanted: set[str] = set()
    waiting = [stop, phases[-1].name]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += reads_of(by_name[name], recipe)
    last = [phase.name for phase in phases].index(stop)
    return [phase for phase in phases[: last + 1] if phase.name in wanted]


def plan_run(
    recipe: Any, revisions: Revisions, stop: str | None = None, phases: Sequence[Phase] = PHASES
) -> list[PlannedPhase]:
    """The phases to run with their fingerprints, in order; hub commits are looked up only where a phase needs one."""
    hashes = ContentHashes()
    planned: dict[str, PlannedPhase] = {}
    for phase in needed_phases(recipe, stop, phases):
        reads, seed = reads_of(phase, recipe), phase_seed(phase.name, recipe)
        digest, files = fingerprint(
            name=phase.name,
            version=phase.version,
            uses=phase.uses,
            seed=seed,
            recipe=recipe,
            upstream={name: planned[name].fingerprint for name in reads},
            revisions=revisions,
            hashes=hashes,
        )
        planned[phase.name] = PlannedPhase(phase, reads, digest, seed, files)
    return list(planned.values())


def phase_seed(name: str, recipe: Any) -> int:
    """The seed in the phase's table, or one derived from the recipe's."""
    own = getattr(getattr(recipe, name), "seed", None)
    return derive_seed(name, recipe.seed) if own is None else int(own)


def run_pipeline(
    resolved: ResolvedRecipe,
    run_dir: Path,
    choice: Choice | None = None,
    *,
    progress: Progress | None = None,
    on_phase: Callable[[PlannedPhase, bool], None] = lambda _planned, _cached: None,
    launch: Launch | None = None,
    phases: Sequence[Phase] = PHASES,
) -> PipelineResult:
    """Run what is not finished, and leave a run folder that says how each number came about.

    Args:
        resolved: the recipe.
        run_dir: the run folder; a new one, or one of an earlier call, which goes on where it stopped.
        choice: which phases to run; all if None.
        progress: where progress is shown.
        on_phase: called as each phase begins, with whether it is finished already.
        launch: which of several processes this is; the only one if None. All but process 0 take part in distributed
            phases only.
        phases: the phases, for tests.

    Raises:
        RunError: the folder is foreign, locked or damaged, or a phase before `choice.start` is not finished.
        KpodxError: what a phase raised, or the disk is full; all finished phases stay finished.
        KeyboardInterrupt: passed on, after the state was saved.
    """
    choice, progress = choice or Choice(), progress or SilentProgress()
    check_choice(choice, phases)
    if choice.start not in (None, phases[0].name) and not choice.reuse and not (run_dir / MANIFEST).is_file():
        raise RunError(
            f"--from {choice.start} expects the phases before it in {run_dir}, where no run is.",
            hint="Leave --from out to run them, or name the run that has them with --run or --reuse.",
        )
    limit_threads(resolved.recipe.runtime.num_threads)
    if launch and launch.follows:
        return _follow(resolved.recipe, run_dir, progress, phases)
    with open_run(run_dir) as run, _recorded(run):
        revisions = Revisions(run.manifest.setdefault("revisions", {}), save=run.save)
        _describe(run, resolved)
        plan = plan_run(resolved.recipe, revisions, choice.stop, phases)
        worker = _Worker(run, resolved.recipe, plan, choice, revisions.by_model(resolved.recipe), progress)
        worker.prepare(before=_names_before(choice.start, phases))
        results = []
        for planned in plan:
            cached = worker.is_finished(planned)
            on_phase(planned, cached)
            results.append(worker.finish(planned, cached))
        run.manifest["state"] = "finished" if plan[-1].name == phases[-1].name else "partial"
    return PipelineResult(run.path, tuple(results))


def check_choice(choice: Choice, phases: Sequence[Phase] = PHASES) -> None:
    """UsageError where a phase is unknown or the order is reversed, RunError where a run to reuse is none."""
    for name in (*choice.force, *filter(None, (choice.start, choice.stop))):
        check_phase_name(name, phases)
    names = [phase.name for phase in phases]
    if choice.start and choice.stop and names.index(choice.start) > names.index(choice.stop):
        raise UsageError(
            f"--from {choice.start} comes after --to {choice.stop}.", hint=f"The order is {', '.join(names)}."
        )
    for other in choice.reuse:
        load_run(other)


def finished_phases(
    resolved: ResolvedRecipe, run_dir: Path, choice: Choice, revisions: Revisions, phases: Sequence[Phase] = PHASES
) -> list[tuple[PlannedPhase, bool]]:
    """The plan, and whether each phase is finished already; nothing is written, and no lock is needed."""
    found = []
    stale = set(choice.force)
    for planned in plan_run(resolved.recipe, revisions, choice.stop, phases):
        folders = [run_dir / planned.folder, *(other / planned.folder for other in choice.reuse)]
        done = any(is_complete(folder, planned.fingerprint, {}) for folder in folders)
        if not done or stale & set(planned.reads):
            stale.add(planned.name)
        found.append((planned, planned.name not in stale))
    return found


def _names_before(start: str | None, phases: Sequence[Phase]) -> list[str]:
    names = [phase.name for phase in phases]
    return names[: names.index(start)] if start else []


@contextlib.contextmanager
def memory_told() -> Iterator[None]:
    """Turn what Python, torch and CUDA raise when memory runs out into an error with a remedy."""
    try:
        yield
    except Exception as error:
        is_full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not is_full and "can't allocate memory" not in str(error):
            raise
        words = str(error).strip().splitlines() or ["no more memory"]
        raise KpodxError(
            f"The memory is full: {words[0][:200]}",
            hint="Lower the batch_size (or generation_batch_size) of the phase that ran, or take a smaller model.",
        ) from error


@contextlib.contextmanager
def _recorded(run: Run) -> Iterator[None]:
    """Leave the manifest saying how the run ended."""
    state, problem = "failed", None
    try:
        with storing(run.path), memory_told():
            yield
        state = run.manifest["state"]
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise
    finally:
        run.manifest.update(state=state, error=problem)
        # On a disk that takes nothing any more, the first fault is the one to report.
        with contextlib.suppress(StorageError) if problem else contextlib.nullcontext():
            run.save()


def _describe(run: Run, resolved: ResolvedRecipe) -> None:
    """Write into the manifest what was asked for, before anything runs."""
    run.manifest.update(
        kpodx=kpodx.__version__,
        state="running",
        recipe_name=resolved.recipe.name,
        recipe_path=str(resolved.path) if resolved.path else None,
        **describe_environment(resolved.path),
        recipe=resolved.recipe.model_dump(mode="json"),
        sources=resolved.sources,
        seeds={},
        inputs={},
        plan=[],
        phases={},
    )
    run.manifest.pop("running", None)
    run.save()


@dataclass(frozen=True)
class _Worker:
    """Finishes one phase after the other in one run folder; `digests` holds the content digest of each finished one."""

    run: Run
    recipe: Any
    plan: list[PlannedPhase]
    choice: Choice
    revisions: dict[str, str]
    progress: Progress
    digests: dict[str, str] = field(default_factory=dict)

    def prepare(self, before: Sequence[str]) -> None:
        """Write the plan down, see that the phases named in `before` are finished, and put forced ones aside."""
        manifest = self.run.manifest
        manifest["plan"] = [
            {"name": p.name, "fingerprint": p.fingerprint, "folder": p.folder, "reads": list(p.reads)}
            for p in self.plan
        ]
        manifest["seeds"] = {p.name: p.seed for p in self.plan}
        manifest["inputs"] = {path: digest for p in self.plan for path, digest in p.input_files.items()}
        self.run.save()
        for planned in self.plan:
            if planned.name in before and (planned.name in self.choice.force or not self.is_finished(planned)):
                raise RunError(
                    f"--from expects a finished {planned.name} phase with these settings in {self.run.path}.",
                    hint="Leave --from out to run what is missing, or name the run that has it with --reuse.",
                )
        for planned in self.plan:
            if planned.name in self.choice.force and (self.run.path / planned.folder).exists():
                put_aside(self.run.path / planned.folder)

    def is_finished(self, planned: PlannedPhase) -> bool:
        """Whether the phase need not run; a finished copy in another run is brought here."""
        folder, inputs = self.run.path / planned.folder, self._inputs(planned)
        if is_complete(folder, planned.fingerprint, inputs):
            return True
        for other in () if planned.name in self.choice.force else self.choice.reuse:
            source = load_run(other).path / planned.folder
            if is_complete(source, planned.fingerprint, inputs):
                adopt(source, folder)
                return True
        return False

    def finish(self, planned: PlannedPhase, cached: bool) -> PhaseResult:
        """Run the phase unless it is finished, and record it in the manifest."""
        folder = self.run.path / planned.folder
        if not cached:
            self._run_phase(planned, folder)
        done = read_done(folder)
        self.digests[planned.name] = content_digest(done)
        self.run.manifest["phases"][planned.name] = {
            "fingerprint": planned.fingerprint,
            "folder": planned.folder,
            "seconds": done["seconds"],
            "cached": cached,
            "created": done["created"],
        }
        self.run.manifest.pop("running", None)
        self.run.save()
        return PhaseResult(planned.name, float(done["seconds"]), cached, folder, dict(done["summary"]))

    def _inputs(self, planned: PlannedPhase) -> dict[str, str]:
        return {name: self.digests[name] for name in planned.reads if name in self.digests}

    def _run_phase(self, planned: PlannedPhase, folder: Path) -> None:
        inputs = self._inputs(planned)
        resumed = begin(folder, planned.fingerprint, inputs)
        if resumed:
            logger.info("%s goes on from the partial state in %s", planned.name, folder)
        self.run.manifest["running"] = planned.name
        self.run.save()
        folders = {other.name: self.run.path / other.folder for other in self.plan if other.name in planned.reads}
        begun = time.monotonic()
        with storing(folder):
            summary = planned.phase.run(
                PhaseContext(self.recipe, folders, folder, planned.seed, self.revisions, self.progress)
            )
            finish(
                folder,
                phase=planned.name,
                version=planned.phase.version,
                fingerprint=planned.fingerprint,
                inputs=inputs,
                seconds=time.monotonic() - begun,
                resumed=resumed,
                summary=summary,
            )


def _follow(recipe: Any, run_dir: Path, progress: Progress, phases: Sequence[Phase]) -> PipelineResult:
    """Take part in the distributed phases of a run that process 0 of the same launch owns."""
    run_dir = run_dir.resolve()
    manifest = wait_for(run_dir, lambda seen: seen if seen.get("plan") else None)
    folders = {entry["name"]: run_dir / entry["folder"] for entry in manifest["plan"]}
    reads = {entry["name"]: entry["reads"] for entry in manifest["plan"]}
    pins = Revisions(manifest.get("revisions", {})).by_model(recipe)
    for phase in (phase for phase in phases if phase.distributed and phase.name in folders):
        name = phase.name
        if wait_for(run_dir, partial(_turn_of, name)) == "run":
            inputs = {other: folders[other] for other in reads[name]}
            phase.run(PhaseContext(recipe, inputs, folders[name], manifest["seeds"][name], pins, progress))
    return PipelineResult(run_dir)


def _turn_of(name: str, manifest: dict[str, Any]) -> str | None:
    """ "run" while process 0 is in the phase, "skip" once the phase is finished, None before."""
    if manifest.get("running") == name:
        return "run"
    return "skip" if name in manifest.get("phases", {}) else None
