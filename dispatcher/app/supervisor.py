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
# The exit code for what an operator has to mend, and what the sentence that names it begins with (`__main__`).
MENDABLE = 2
SENTENCE = b"dispatcher: "
# Exit codes of a process that ended by itself, so that its consumer took leave of the group; None: it never began.
LEFT_GROUP = {None, 0, 1, MENDABLE}
LONGEST_LINE = 1024 * 1024


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
    process: asyncio.subprocess.Process | None = None
    last_words: str = ""
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
            ended = await self._live(worker)
            now = self._clock.monotonic()
            if ended == MENDABLE and not worker.was_ready:
                self._refused = True
                raise DispatcherError(worker.last_words or "a worker refuses to start; the log says why")
            restart = worker.restarts.died(now, lived=now - born, left_group=ended in LEFT_GROUP)
            log.error(
                "a worker dies again and again right after its start; it is left down for now, and others do its work"
                if restart.poisoned
                else "a worker died; it is started again",
                **_described(worker, ended),
                lived=round(now - born, 1),
                again_in=round(restart.after, 1),
            )
            await self._clock.sleep(restart.after)
            self._restarted.labels(worker.post.worker).inc()

    async def _live(self, worker: Worker) -> int | None:
        """Run one process to its end and return its exit code, None if it could not begin; cancelled, let it drain."""
        try:
            # Its stdin is its lifeline (see `Post`). A session of its own: Ctrl-C at the terminal reaches us alone, and
            # the workers hear of it once, from us.
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**os.environ, **worker.post.environment()},
                stdin=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            worker.last_words = f"the process could not be started: {error.strerror}"
            return None
        worker.process = process
        worker.last_words = ""
        self._running.inc()
        relay = Relay(process)
        try:
            await relay.to_the_end()
            await process.wait()
        finally:
            if process.returncode is None:
                await _end(process, relay)
                worker.last_words = relay.last_words
                if process.returncode and not self._refused:
                    log.warning("a worker did not end as it should", **_described(worker, process.returncode))
            worker.last_words = relay.last_words
            worker.process = None
            self._running.dec()
        return process.returncode

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
            if worker.process is not None and worker.process.returncode is None:
                worker.process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(LEFT_AT_ONCE)


class Relay:
    """Passes on to our stderr what a worker says on its own, by whole lines: two workers never share one.

    The sentence with which a process ends is kept back as *last_words*: whoever knows the exit code shows it.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._rest = b""
        self.last_words = ""

    async def to_the_end(self) -> None:
        """Pass on until the worker says no more; can be cancelled, and called again to go on."""
        stream = self._process.stderr
        while stream is not None and (chunk := await stream.read(LONGEST_LINE)):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > LONGEST_LINE:
                lines.append(self._rest)
                self._rest = b""
            self._say(lines)
        if self._rest:
            self._say([self._rest])
            self._rest = b""

    def _say(self, lines: list[bytes]) -> None:
        for line in lines:
            if line.startswith(SENTENCE):
                self.last_words = line.removeprefix(SENTENCE).decode(errors="replace")
            else:
                sys.stderr.buffer.write(line + b"\n")
        sys.stderr.buffer.flush()


async def _end(process: asyncio.subprocess.Process, relay: Relay) -> None:
    """Ask *process* to end, and kill it when it has not in time."""
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await relay.to_the_end()
            await process.wait()
    except TimeoutError:
        process.kill()
        await relay.to_the_end()
        await process.wait()


def _described(worker: Worker, ended: int | None) -> dict[str, object]:
    """Return how *worker* ended, for the log."""
    how = signal.Signals(-ended).name if ended is not None and ended < 0 else f"exit code {ended}"
    said = {"said": worker.last_words} if worker.last_words else {}
    return {"worker": worker.post.worker, "ended": how, **said}
