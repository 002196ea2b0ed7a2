"""Run a study's tasks in processes of their own, several at a time, and stop them cleanly."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from kpodx.phase_folders import is_complete
from kpodx.study.plan import StudyPlan, Task

STOP_SECONDS = 60.0
"""How long a process may take to save its state after it was asked to stop."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended: its exit code, how long it took, and whether an earlier study run had finished it."""

    task: Task
    exit_code: int
    seconds: float
    cached: bool
    log: Path


@dataclass
class StudyRunner:
    """Runs the tasks of a plan.

    Attributes:
        plan: what there is to do.
        folder: of the study; logs go to `logs/` in it.
        jobs: processes at a time.
        devices: CUDA devices that the processes take in turn; none leaves the choice to the recipe.
        report: called after each task, in this thread.
    """

    plan: StudyPlan
    folder: Path
    jobs: int
    devices: tuple[str, ...] = ()
    report: Callable[[Outcome, int], None] = lambda _outcome, _left: None
    _processes: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> list[Outcome]:
        """Run all tasks, those that others need first.

        A task whose predecessor failed is not run. KeyboardInterrupt stops all processes, which save their state.
        """
        free_devices: queue.Queue[str] = queue.Queue()
        for number in range(self.jobs):
            free_devices.put(self.devices[number % len(self.devices)] if self.devices else "")
        outcomes: dict[int, Outcome] = {}
        running: dict[Future[Outcome], int] = {}
        waiting = list(range(len(self.plan.tasks)))

        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                while waiting or running:
                    for place in self._ready(waiting, outcomes):
                        waiting.remove(place)
                        running[pool.submit(self._do, self.plan.tasks[place], free_devices)] = place
                    if not running:
                        break
                    done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in done:
                        outcomes[running.pop(future)] = outcome = future.result()
                        self.report(outcome, len(waiting) + len(running))
            except KeyboardInterrupt:
                self._stop()
                raise

        return [outcomes[place] for place in sorted(outcomes)]

    def _ready(self, waiting: Sequence[int], outcomes: Mapping[int, Outcome]) -> list[int]:
        """Return the waiting tasks whose predecessors all succeeded."""
        return [
            place
            for place in waiting
            if all(need in outcomes and outcomes[need].exit_code == 0 for need in self.plan.tasks[place].needs)
        ]

    def _do(self, task: Task, free_devices: queue.Queue[str]) -> Outcome:
        device = free_devices.get()
        log = self.folder / "logs" / f"{task.run.folder.name}-{task.phase}.log"
        begun = time.monotonic()
        try:
            if self._is_done(task):
                return Outcome(task, 0, 0.0, True, log)
            code = self._call(task, device, log)
        finally:
            free_devices.put(device)
        return Outcome(task, code, time.monotonic() - begun, False, log)

    def _is_done(self, task: Task) -> bool:
        folder = task.run.folder / task.phase / task.fingerprint[:12]
        return not task.is_last and is_complete(folder, task.fingerprint, {})

    def _call(self, task: Task, device: str, log: Path) -> int:
        owners = {self.plan.tasks[need].run.folder for need in task.needs} - {task.run.folder}
        reuse = [part for owner in sorted(owners) for part in ("--reuse", str(owner))]
        stop = [] if task.is_last else ["--to", task.phase]
        command = [
            sys.executable, "-m", "kpodx", "distill", self.plan.recipe, *task.run.overrides,
            "--run", str(task.run.folder), *stop, *reuse,
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._num_threads()), "PYTHONSAFEPATH": "1"}
        if device:
            environment["CUDA_VISIBLE_DEVICES"] = device.removeprefix("cuda:")

        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            with self._lock:
                if self._stopping.is_set():
                    return 130
                # In a group of its own, so that Ctrl-C reaches it through us only, and once.
                process = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                    start_new_session=True,
                )  # fmt: skip
                self._processes.add(process)
            code = process.wait()
        with self._lock:
            self._processes.discard(process)
        return code

    def _num_threads(self) -> int:
        """Return the threads of one process: more than there are cores in all would slow every run down severalfold."""
        share = max(1, (os.cpu_count() or 1) // self.jobs)
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        return min(share, int(wanted)) if wanted.isdecimal() and int(wanted) > 0 else share

    def _stop(self) -> None:
        """Ask all processes to save their state and end; end those that do not."""
        self._stopping.set()
        with self._lock:
            processes = list(self._processes)
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
