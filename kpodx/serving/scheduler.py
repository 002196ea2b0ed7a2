"""Who is answered when: a bounded queue, batches of what waits, workers that are started again when they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Sequence

from kpodx.errors import ModelError, WorkerError
from kpodx.serving.catalogue import ServedModel
from kpodx.serving.jobs import Ask, Done, Failed, Job
from kpodx.serving.limits import Limits
from kpodx.serving.metrics import Metrics
from kpodx.serving.processes import WorkerProcess

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a worker is started again; doubled each time, until one lives for long."""
LONG_LIFE = 60.0


class QueueFullError(Exception):
    """Too many requests wait.

    Args:
        waiting: how many.
        retry_after: about how many seconds they take.
    """

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} requests wait already, which is the limit; try again in about {retry_after} s")
        self.retry_after = retry_after


class StoppingError(Exception):
    """The service stops, and takes no more requests."""


class Lane:
    """The requests of one model, and its workers."""

    def __init__(self, model: ServedModel, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size if model.is_exact_in_batches else 1
        self.waiting: deque[Job] = deque()
        self.running: dict[Job, WorkerProcess] = {}
        self.ready: set[WorkerProcess] = set()
        self.was_ready = False
        self.seconds_per_job = 1.0
        self.changed = asyncio.Event()

    def take(self) -> list[Job]:
        """The jobs to answer next, in the order they came; one beside which a worker died goes alone."""
        jobs: list[Job] = []
        while (
            self.waiting and len(jobs) < self.batch_size and not (jobs and (self.waiting[0].deaths or jobs[0].deaths))
        ):
            job = self.waiting.popleft()
            if not job.is_over:
                jobs.append(job)
        return jobs


class Scheduler:
    """All models' lanes; use it as an asynchronous context manager, which starts and ends the workers.

    Args:
        models: to serve.
        limits: of the queue, batches and times.
        metrics: where it counts.
        workers: processes of each model.
    """

    def __init__(self, models: Sequence[ServedModel], limits: Limits, metrics: Metrics, workers: int = 1) -> None:
        self.lanes = {model.id: Lane(model, limits.batch_size) for model in models}
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._limits, self._metrics, self._num_workers = limits, metrics, workers
        self._keepers: list[asyncio.Task[None]] = []
        self._asides: set[asyncio.Task[None]] = set()
        self._is_open = True

    async def __aenter__(self) -> Scheduler:
        self._keepers = [
            asyncio.create_task(self._keep_worker(lane))
            for lane in self.lanes.values()
            for _ in range(self._num_workers)
        ]
        for keeper in self._keepers:
            keeper.add_done_callback(self._miss)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.close()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, *self._asides, return_exceptions=True)
        self.abandon()

    @property
    def is_ready(self) -> bool:
        """Whether every model has a worker."""
        return self._is_open and all(lane.ready for lane in self.lanes.values())

    @property
    def is_open(self) -> bool:
        """Whether requests are taken."""
        return self._is_open

    @property
    def num_waiting(self) -> int:
        """Requests that no worker has."""
        return sum(len(lane.waiting) for lane in self.lanes.values())

    @property
    def num_running(self) -> int:
        """Requests that workers have."""
        return sum(len(lane.running) for lane in self.lanes.values())

    def submit(self, model: str, ask: Ask) -> Job:
        """Put a request into the queue.

        Raises:
            StoppingError: nothing is taken any more.
            QueueFullError: the queue is full.
        """
        if not self._is_open:
            raise StoppingError("the service stops")
        lane = self.lanes[model]
        if self.num_waiting >= self._limits.queue:
            seconds = (len(lane.waiting) + 1) * lane.seconds_per_job / max(1, len(lane.ready))
            raise QueueFullError(self.num_waiting, min(60, max(1, math.ceil(seconds))))
        job = Job(model, ask)
        job.expiry = asyncio.get_running_loop().call_later(self._limits.wait_seconds, self._expire, job)
        lane.waiting.append(job)
        lane.changed.set()
        return job

    def cancel(self, job: Job) -> None:
        """Forget a request that nobody waits for any more; one that is over stays over."""
        if job.is_over:
            return
        self._end(job, Failed("failed", "cancelled"))
        lane = self.lanes[job.model]
        if worker := lane.running.get(job):
            task = asyncio.create_task(worker.cancel(job))
            self._asides.add(task)
            task.add_done_callback(self._asides.discard)
        else:
            lane.waiting.remove(job)

    def close(self) -> None:
        """Take no more requests."""
        self._is_open = False

    def abandon(self) -> None:
        """Tell all whose requests are not over that they will not be."""
        for lane in self.lanes.values():
            for job in (*lane.waiting, *lane.running):
                self._end(job, Failed("stopping", "the service stops"))

    def _expire(self, job: Job) -> None:
        lane = self.lanes[job.model]
        if job in lane.waiting:
            lane.waiting.remove(job)
            self._end(job, Failed("overdue", f"no worker was free for {self._limits.wait_seconds:g} seconds"))

    def _end(self, job: Job, event: Failed) -> None:
        if job.expiry:
            job.expiry.cancel()
        job.tell(event)

    async def _keep_worker(self, lane: Lane) -> None:
        """Keep one worker of a model alive: a dead one is followed by another, at a bounded rate."""
        pause = 0.0
        while True:
            begun = time.monotonic()
            try:
                await self._run_worker(lane)
            except WorkerError as error:
                if not lane.was_ready:
                    self._give_up(lane, error)
                    return
                calm = time.monotonic() - begun > LONG_LIFE
                pause = 0.0 if calm else min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
                logger.warning("The worker of %s ended: %s. Another one starts in %g s.", lane.model.id, error, pause)
                self._metrics.deaths.add(lane.model.id)
            await asyncio.sleep(pause)

    def _miss(self, keeper: asyncio.Task[None]) -> None:
        """A keeper that a mistake of ours ended: the service ends with it, since its model would not come back."""
        if not keeper.cancelled() and (error := keeper.exception()) and not self.failure.done():
            self.failure.set_result(error)

    def _give_up(self, lane: Lane, error: WorkerError) -> None:
        """A model that was never loaded will not be at a second try."""
        if not self.failure.done():
            hint = "Export it again, or ask it alone to see more: kpodx ask."
            self.failure.set_result(ModelError(f"{lane.model.path} cannot be served: {error.message}", hint=hint))

    async def _run_worker(self, lane: Lane) -> None:
        """One worker's life."""
        worker = await WorkerProcess.start(lane.model)
        watching = asyncio.create_task(worker.watch(lane.changed.set))
        lane.ready.add(worker)
        lane.was_ready = True
        self._metrics.starts.add(lane.model.id)
        logger.info("%s is ready (process %d).", lane.model.id, worker.pid)
        try:
            while True:
                # Nothing may be awaited between looking and waiting.
                while worker.is_alive and not (jobs := lane.take()):
                    lane.changed.clear()
                    await lane.changed.wait()
                if not worker.is_alive:
                    await worker.raise_death()
                await self._answer(lane, worker, jobs)
        finally:
            lane.ready.discard(worker)
            await worker.stop()
            await watching

    async def _answer(self, lane: Lane, worker: WorkerProcess, jobs: Sequence[Job]) -> None:
        """Let a worker answer a batch; where it dies, what can be repeated goes to the head of the queue."""
        lane.running |= dict.fromkeys(jobs, worker)
        begun = time.monotonic()
        for job in jobs:
            if job.expiry:
                job.expiry.cancel()
        try:
            async with contextlib.aclosing(worker.answer(jobs, self._limits.stall_seconds)) as events:
                async for job, event in events:
                    if isinstance(event, Done) and not job.is_over:
                        self._metrics.completion_tokens.add(lane.model.id, amount=event.tokens)
                    job.tell(event)
        except WorkerError as error:
            for job in reversed(jobs):
                self._rescue(lane, job, error)
            raise
        finally:
            for job in jobs:
                lane.running.pop(job, None)
                if job not in lane.waiting:
                    self._end(job, Failed("stopping", "the service stops"))
        seconds = (time.monotonic() - begun) / len(jobs)
        lane.seconds_per_job += 0.2 * (seconds - lane.seconds_per_job)

    def _rescue(self, lane: Lane, job: Job, error: WorkerError) -> None:
        job.deaths += 1
        if job.can_be_repeated:
            lane.waiting.appendleft(job)
            lane.changed.set()
            loop = asyncio.get_running_loop()
            job.expiry = loop.call_later(self._limits.wait_seconds, self._expire, job)
        else:
            self._end(job, Failed("worker", f"the process that answered ended: {error.message}"))
