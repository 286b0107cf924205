"""Runs one real Apache Kafka on this machine, for development, the demo and the tests."""

import contextlib
import shutil
import socket
import struct
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from dispatcher.broker import jars
from dispatcher.clock import SystemClock
from dispatcher.domain.errors import DispatcherError

HOST = "127.0.0.1"
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 10.0
_LINES_SHOWN = 15
# 179 MB resident, and ready in 2 to 3 s: a broker for one developer, not for a load.
_JAVA_FLAGS = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN")
# Any 16 bytes in base64; fixed, so that data of an earlier run is taken for this cluster's.
_CLUSTER_ID = "ZGlzcGF0Y2hlci1sb2NhbA"
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A group of one need not wait for others to join.
    "group.initial.rebalance.delay.ms": "0",
    # Back 4 s after a `kill -9` instead of 12.5: the controller waits for the old session to end.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "400",
    # A name with a slip in it should fail, not become a topic.
    "auto.create.topics.enable": "false",
    # The default takes half of the heap.
    "log.cleaner.dedupe.buffer.size": "16777216",
}
# Metadata, version 1, of no topic: its answer counts the brokers that take work
# (kafka.apache.org/protocol: api key, version, correlation id, no client id, no topics).
_WHO_IS_THERE = struct.pack(">ihhihi", 14, 3, 1, 0, -1, 0)


class LocalKafka:
    """One process that is broker and controller, listening on 127.0.0.1 alone; a context manager.

    *port* 0 takes a free one. Without *data_dir* the data live in a temporary folder until `close`. The calls block:
    start it before the event loop or in a thread. It runs in a session of its own, so Ctrl-C at the terminal does not
    end it behind the back of whoever started it; it ends when that one is killed. Every failure is a `DispatcherError`.
    """

    def __init__(self, *, port: int = 0, data_dir: Path | None = None) -> None:
        self._port = port or _free_port()
        self._temporary = data_dir is None
        self._folder = data_dir.absolute() if data_dir else Path(tempfile.mkdtemp(prefix="dispatcher-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The bootstrap address, `127.0.0.1:9092`."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process's id, while there is one."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Come back when the broker takes work, within a minute; its data are those of the last start."""
        java, libraries = jars.find_java(), jars.fetch()
        self._refuse_taken_port()
        program = [str(java), *_JAVA_FLAGS, "-cp", f"{libraries}/*"]
        properties = self._write_properties()
        if not (self._folder / "data" / "meta.properties").exists():
            self._format(program, properties)
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - the Java that was found, our own arguments
                    [*program, "kafka.Kafka", str(properties)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._watcher = _end_with_us(self._process.pid)
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def wait(self) -> None:
        """Wait for the process to end by itself, which is a `DispatcherError`."""
        if self._process:
            code = self._process.wait()
            raise self._failure(f"Kafka ended by itself with exit code {code}")

    def stop(self) -> None:
        """Let the broker write everything and end; after ten seconds it is killed."""
        if self._process:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_TIMEOUT)
        self.kill()

    def kill(self) -> None:
        """End the process as a crash would (SIGKILL); `start` brings it back with its data."""
        # The watcher first: a process id that is free again may soon be another's.
        if self._watcher:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop, and remove the data if they are temporary."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        return self._folder / "kafka.log"

    def _refuse_taken_port(self) -> None:
        """Look first: another Kafka at our port would answer in place of ours."""
        with socket.socket() as probe:
            # As Kafka does: connections of an earlier broker that linger in TIME_WAIT take no port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self._port))
            except OSError as error:
                raise DispatcherError(
                    f"Kafka cannot listen at {self.address} ({error.strerror}); stop what does, or take another port"
                ) from error

    def _write_properties(self) -> Path:
        controller = _free_port()
        properties = _PROPERTIES | {
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{HOST}:{controller}",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "log.dirs": str(self._folder / "data"),
        }
        file = self._folder / "server.properties"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        except OSError as error:
            raise DispatcherError(f"Kafka cannot keep its data in {self._folder}: {error.strerror}") from error
        return file

    def _format(self, program: list[str], properties: Path) -> None:
        command = [*program, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(properties)]
        with self._log.open("ab") as log:
            done = subprocess.run(  # noqa: S603 - the Java that was found, our own arguments
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=_START_TIMEOUT
            )
        if done.returncode:
            raise self._failure("Kafka could not prepare its data")

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        clock = SystemClock()
        deadline = clock.monotonic() + _START_TIMEOUT
        while not _takes_work(self._port):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
                raise self._failure("Kafka did not start")
            if clock.monotonic() > deadline:
                raise self._failure(f"Kafka was not ready after {_START_TIMEOUT:.0f} s")

    def _failure(self, what: str) -> DispatcherError:
        log = self._log.read_text(errors="replace")
        if "UnsupportedClassVersionError" in log:
            return DispatcherError(f"{what}: it needs Java 17 or newer; point JAVA_HOME to one")
        tail = "".join(f"\n  {line}" for line in log.splitlines()[-_LINES_SHOWN:])
        return DispatcherError(f"{what}; the end of its log:{tail}")


def _end_with_us(pid: int) -> subprocess.Popen[bytes]:
    """Start what ends *pid* when we are killed: then the pipe that it reads from closes."""
    return subprocess.Popen(  # noqa: S603 - a constant
        ["/bin/sh", "-c", 'read -r _; kill "$0"', str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _takes_work(port: int) -> bool:
    """Ask the broker itself: an open port alone says little."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(_WHO_IS_THERE)
            answer = connection.makefile("rb").read(12)
    except OSError:
        return False
    return len(answer) == 12 and struct.unpack(">iii", answer)[2] > 0  # noqa: PLR2004 - length, correlation id, brokers


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
