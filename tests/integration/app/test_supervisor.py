"""Supervised processes, with small programs in the place of workers."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import psutil
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from benchmarks.stage import until
from dispatcher.app import supervisor as supervision
from dispatcher.app.process import LEFT_AT_ONCE
from dispatcher.app.supervisor import Supervisor, supervise
from dispatcher.clock import SystemClock
from dispatcher.config.load import load
from dispatcher.domain.errors import DispatcherError
from tests.clock import FakeClock

BEGIN = """
import json, os, pathlib, signal, sys
post = json.loads(os.environ["DISPATCHER_POST"])
folder = pathlib.Path(post["page"]).parent
def be_there():
    (folder / f"{post['worker']}-{os.getpid()}").touch()
"""
STAY = "be_there()\nwhile True: signal.pause()\n"
# Says that it is ready once there is a file of that name, and leaves with code 2 when it gets SIGUSR1.
BECOME_READY = """
import http.server, socketserver
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if (folder / "ready").exists() else 503)
        self.end_headers()
    def log_message(self, *_):
        pass
    def address_string(self):
        return ""
def refuse(*_):
    sys.stderr.write("dispatcher: the world has changed\\n")
    sys.stderr.flush()
    os._exit(2)
signal.signal(signal.SIGUSR1, refuse)
pathlib.Path(post["page"]).unlink(missing_ok=True)
server = socketserver.UnixStreamServer(post["page"], Ready)
be_there()
server.serve_forever()
"""


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with capture_logs() as events:
        yield events


class Scene:
    """A supervisor that runs a program, and what can be seen of its processes."""

    def __init__(self, folder: Path, program: str, workers: int) -> None:
        self.folder = folder
        self.clock = FakeClock()
        command = (sys.executable, "-c", BEGIN + program)
        self.supervisor = Supervisor(command, workers, folder, clock=self.clock, random=Random(1))
        self.stop = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.supervisor.run(self.stop))
            try:
                yield
            finally:
                self.stop.set()

    def seen(self) -> dict[int, list[int]]:
        """Return the ids of the processes that have been there, by worker."""
        found: dict[int, list[int]] = {}
        for file in sorted(self.folder.glob("*-*"), key=lambda file: file.stat().st_mtime_ns):
            worker, _, pid = file.name.partition("-")
            found.setdefault(int(worker), []).append(int(pid))
        return found

    async def until_seen(self, count: int) -> dict[int, list[int]]:
        async def are_seen() -> bool:
            return sum(map(len, self.seen().values())) == count

        await until(are_seen, within=30, what=f"{count} processes")
        return self.seen()

    async def until_said(self, log: Sequence[EventDict], event: str) -> EventDict:
        async def is_said() -> bool:
            self.clock.advance(supervision.LOOK_EVERY)
            return any(event in line["event"] for line in log)

        await until(is_said, within=30, what=event)
        return next(line for line in log if event in line["event"])


async def test_one_that_dies_is_started_again_and_the_others_go_on(tmp_path: Path, log: list[EventDict]) -> None:
    scene = Scene(tmp_path, STAY, 3)
    async with scene.running():
        first = await scene.until_seen(3)
        os.kill(first[2][0], signal.SIGKILL)
        said = await scene.until_said(log, "a worker ended")
        assert (said["worker"], said["ended"]) == (2, "SIGKILL")
        assert b"dispatcher_workers_running 2.0" in await scene.supervisor.render()
        scene.clock.advance(said["again_in"])
        then = await scene.until_seen(4)
        assert {worker: pids[0] for worker, pids in then.items()} == {worker: pids[0] for worker, pids in first.items()}
        assert len(then[2]) == 2
        page = await scene.supervisor.render()
        assert b"dispatcher_workers_running 3.0" in page
        assert b'dispatcher_worker_restarts_total{worker="2"} 1.0' in page
    assert not any(psutil.pid_exists(pid) for pids in scene.seen().values() for pid in pids)


async def test_one_that_refuses_to_start_ends_all_with_its_sentence(
    tmp_path: Path, log: list[EventDict], capfd: pytest.CaptureFixture[str]
) -> None:
    refuse = """
if post["worker"] != 1:
    be_there()
    sys.stderr.write("dispatcher: Kafka does not answer\\n")
    sys.exit(2)
"""
    scene = Scene(tmp_path, refuse + STAY, 3)
    with pytest.raises(ExceptionGroup) as raised:
        async with scene.running():
            await asyncio.Event().wait()
    reasons = set(map(str, raised.value.exceptions[0].exceptions))
    assert reasons == {"Kafka does not answer"}
    assert "Kafka does not answer" not in capfd.readouterr().err + str(log)
    assert not any(psutil.pid_exists(pid) for pids in scene.seen().values() for pid in pids)


async def test_one_that_was_ready_once_ends_nobody_else_whatever_its_exit_code(
    tmp_path: Path, log: list[EventDict]
) -> None:
    scene = Scene(tmp_path, BECOME_READY, 2)
    async with scene.running():
        first = await scene.until_seen(2)
        assert await scene.supervisor.unready() == "workers that are not ready: 1, 2"
        (tmp_path / "ready").touch()
        await scene.until_said(log, "every worker is ready")
        assert await scene.supervisor.unready() == ""
        os.kill(first[1][0], signal.SIGUSR1)
        said = await scene.until_said(log, "a worker ended")
        assert (said["ended"], said["said"]) == ("exit code 2", "the world has changed")
        assert await scene.supervisor.unready() == "workers that are not ready: 1"
        scene.clock.advance(said["again_in"])
        assert (await scene.until_seen(3))[2] == first[2]


async def test_one_that_dies_again_and_again_at_once_is_left_down(tmp_path: Path, log: list[EventDict]) -> None:
    scene = Scene(tmp_path, f"if post['worker'] == 1: be_there(); sys.exit(1)\n{STAY}", 2)
    async with scene.running():
        said = await scene.until_said(log, "again and again")
        assert said["worker"] == 1
        assert {worker: len(pids) for worker, pids in scene.seen().items()} == {1: 5, 2: 1}
        assert b"dispatcher_workers_running 1.0" in await scene.supervisor.render()


async def test_lines_of_workers_stay_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # In pieces, longer than a pipe takes at once, and the last one without its end.
    talk = """
for _ in range(20):
    for _ in range(30):
        os.write(2, str(post["worker"]).encode() * 5000)
    os.write(2, b"\\n")
os.write(2, str(post["worker"]).encode() * 10)
"""
    scene = Scene(tmp_path, talk + "os.close(2)\n" + STAY, 3)
    async with scene.running():
        await scene.until_seen(3)
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines) == sorted([str(n) * 150_000 for n in (1, 2, 3)] * 20 + [str(n) * 10 for n in (1, 2, 3)])


async def test_one_that_does_not_end_is_killed(
    tmp_path: Path, log: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "STOP_TIMEOUT", 0.5)
    scene = Scene(tmp_path, "if post['worker'] == 2: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAY, 2)
    async with scene.running():
        await scene.until_seen(2)
    assert not any(psutil.pid_exists(pid) for pids in scene.seen().values() for pid in pids)
    assert [line["ended"] for line in log if line.get("worker") == 2] == ["SIGKILL"]


async def test_more_workers_than_partitions_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "dispatcher.yaml"
    config.write_text(
        """
kafka: {bootstrap_servers: "127.0.0.1:9", partitions: 3}
accounts: {main: {sid: AC00000000000000000000000000000001, auth_token: token}}
senders: [{number: "72345", kind: short_code, account: main, rate: 1/s}]
pools: {marketing: {senders: ["72345"]}}
"""
    )
    settings = load(config, {})
    with pytest.raises(DispatcherError, match="start 3 or fewer"):
        await supervise(settings, ("false",), workers=4, clock=SystemClock(), random=Random(1), stop=asyncio.Event())


@pytest.mark.parametrize(
    ("obeys", "code"), [(True, -signal.SIGTERM), (False, LEFT_AT_ONCE)], ids=["and drains", "even when it hangs"]
)
async def test_a_worker_leaves_when_its_supervisor_has_gone(obeys: bool, code: int) -> None:  # noqa: FBT001 - a table
    program = f"""
import os, signal, time
from dispatcher.app import post
post.ORPHAN_DRAIN = {60 if obeys else 0.1}
if not {obeys}: signal.signal(signal.SIGTERM, signal.SIG_IGN)
assert post.Post.taken(os.environ).worker == 7
while True: signal.pause()
"""
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, "DISPATCHER_POST": '{"worker": 7, "page": "7.sock", "json_logs": true}'},
    )
    assert worker.stdin is not None
    worker.stdin.close()
    async with asyncio.timeout(30):
        assert await worker.wait() == code
