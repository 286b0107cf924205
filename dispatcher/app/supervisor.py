"""Runs several workers as processes: starts the dead ones again, shows all metrics as one, ends all together."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from dispatcher.app.life import Life
from dispatcher.app.metrics import serve_page
from dispatcher.app.post import Post
from dispatcher.app.process import LEFT_AT_ONCE
from dispatcher.app.restarts import Restarts
from dispatcher.app.worker_pages import ask, merge
from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.settings import Settings
from dispatcher.transport.kafka import SESSION_TIMEOUT

log = structlog.get_logger()

# Seconds that workers have to end once they are asked to: longer than they need (worker.DRAIN_TIMEOUT and closing).
STOP_TIMEOUT = 45.0
LOOK_EVERY = 0.5
# The exit code for what an operator has to mend (`__main__`).
MENDABLE = 2
# It drained, or was asked to end before it had begun to work.
ENDED_WELL = {0, LEFT_AT_ONCE}
# Exit codes of a process that ended by itself, so that its consumer took leave of the group; None: it never began.
LEFT_GROUP = {None, 0, 1, MENDABLE}


async def supervise(
    settings: Settings, command: Sequence[str], *, workers: int, clock: Clock, random: Random, stop: asyncio.Event
) -> None:
    """Keep *workers* processes of *command* running until *stop* is set; then let all of them drain.

    Raises the `DispatcherError` of a worker that refuses to start, after the others have ended.
    """
    if workers > settings.kafka.partitions:
        raise DispatcherError(
            f"kafka.partitions is {settings.kafka.partitions}, so more workers than that would have nothing to do; "
            f"start {settings.kafka.partitions} or fewer"
        )
    # Only we may look into it, so nobody else reads the workers' pages or takes their place.
    with tempfile.TemporaryDirectory(prefix="dispatcher-", ignore_cleanup_errors=True) as folder:
        supervisor = Supervisor(command, workers, Path(folder), clock=clock, random=random)
        async with AsyncExitStack() as stack:
            if settings.metrics is not None:
                await stack.enter_async_context(
                    serve_page(settings.metrics, render=supervisor.render, unready=supervisor.unready)
                )
            log.info("supervising", workers=workers)
            await supervisor.run(stop)
    log.info("stopped; every worker has ended")


@dataclass(slots=True)
class Worker:
    """One of the workers, through all its lives."""

    post: Post
    restarts: Restarts
    life: Life | None = None
    was_ready: bool = False


class Supervisor:
    """Starts *workers* processes of *command*, with their sockets in *folder*, and starts again what dies."""

    def __init__(self, command: Sequence[str], workers: int, folder: Path, *, clock: Clock, random: Random) -> None:
        self._command = command
        self._folder = folder
        self._clock = clock
        json_logs = not sys.stderr.isatty()
        self._workers = [
            Worker(
                Post(worker=number, page=str(folder / f"{number}.sock"), json_logs=json_logs),
                Restarts(random, SESSION_TIMEOUT),
            )
            for number in range(1, workers + 1)
        ]
        self._pages = {worker.post.worker: worker.post.socket for worker in self._workers}
        self._refused = False
        # Not in the registry of the workers' metrics: these are the supervisor's alone.
        self._registry = CollectorRegistry()
        self._running = Gauge("dispatcher_workers_running", "Worker processes that run, now.", registry=self._registry)
        self._restarted = Counter(
            "dispatcher_worker_restarts",
            "Times that a worker which had died was started again.",
            ["worker"],
            registry=self._registry,
        )
        for worker in self._workers:
            self._restarted.labels(worker.post.worker)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the workers running until *stop* is set; come back when all have ended."""
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._keep(worker), name=f"worker {worker.post.worker}") for worker in self._workers
            ]
            running.append(tasks.create_task(self._notice_who_is_ready(), name="readiness"))
            await stop.wait()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._leave_at_once)
            log.info("stopping; what is in flight comes back first")
            for task in running:
                task.cancel()

    async def render(self) -> bytes:
        """Return the metrics of all workers and of the supervisor."""
        pages = await ask(self._pages, "/metrics")
        return await asyncio.to_thread(merge, pages, self._registry)

    async def unready(self) -> str:
        """Return which workers are not ready; the empty text when all are."""
        missing = self._pages.keys() - await ask(self._pages, "/readyz")
        return f"workers that are not ready: {', '.join(map(str, sorted(missing)))}" if missing else ""

    async def _keep(self, worker: Worker) -> None:
        """Run *worker*, life after life."""
        while True:
            born = self._clock.monotonic()
            life = await self._live(worker)
            code, said = (life.code, life.last_words) if life is not None else (None, "")
            now = self._clock.monotonic()
            if code == MENDABLE and not worker.was_ready:
                self._refused = True
                raise DispatcherError(said or "a worker refuses to start; the log says why")
            restart = worker.restarts.died(now, lived=now - born, left_group=code in LEFT_GROUP)
            log.error(
                "a worker dies again and again right after its start; it is left down for now, and others do its work"
                if restart.poisoned
                else "a worker ended; it is started again",
                worker=worker.post.worker,
                ended=life.ended_by if life is not None else "before it began",
                lived=round(now - born, 1),
                again_in=round(restart.after, 1),
                **({"said": said} if said else {}),
            )
            await self._clock.sleep(restart.after)
            self._restarted.labels(worker.post.worker).inc()

    async def _live(self, worker: Worker) -> Life | None:
        """Return a life that has ended, None if it could not begin; cancelled, end it."""
        try:
            worker.life = life = await Life.begin(self._command, worker.post)
        except OSError as error:
            log.error("the machine refuses to start a process", worker=worker.post.worker, error=error.strerror)  # noqa: TRY400 - its reason is enough
            return None
        self._running.inc()
        try:
            await life.to_the_end()
        finally:
            if life.code is None:
                await life.end(within=STOP_TIMEOUT)
                if life.code not in ENDED_WELL and not self._refused:
                    log.warning("a worker did not end as it should", worker=worker.post.worker, ended=life.ended_by)
            self._running.dec()
        return life

    async def _notice_who_is_ready(self) -> None:
        """Remember who has been ready once: what keeps a worker from its first start is for an operator to mend."""
        while not all(worker.was_ready for worker in self._workers):
            waiting = {worker.post.worker: worker for worker in self._workers if not worker.was_ready}
            ready = await ask({number: self._pages[number] for number in waiting}, "/readyz")
            for number in ready:
                waiting[number].was_ready = True
            await self._clock.sleep(LOOK_EVERY)
        log.info("every worker is ready", workers=len(self._workers))

    def _leave_at_once(self) -> None:
        for worker in self._workers:
            if worker.life is not None:
                worker.life.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(LEFT_AT_ONCE)
