"""The program on a stage: Twilio's stand-in and workers as processes, a real Kafka, and the stand-in's log to judge by.

Benchmarks and system tests share it. Nothing here looks into the program: it is started, stopped and killed as an
operator would, and what it did is read from Kafka and from the stand-in.
"""

import asyncio
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from dispatcher.domain.topics import Topics

PARTITIONS = 12
PROGRAM = ("-m", "dispatcher")
MAIN = {"sid": "AC" + "1" * 32, "auth_token": "main-token"}
PROMO = {"sid": "AC" + "2" * 32, "auth_token": "promo-token", "parent": "main"}

_MOST_UNACKNOWLEDGED = 10_000
_names = itertools.count()


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def job(campaign: str, row: int, pool: str, body: str = "Hello from the stage", **more: Any) -> dict[str, Any]:
    """Return a job for a recipient of its own; the stand-in's carrier of the recipient goes by the last digit."""
    to = f"+1206{5_000_000 + row:07d}"
    return {"id": f"{campaign}-{row:06d}", "campaign": campaign, "to": to, "pool": pool, "body": body, **more}


async def until(condition: Callable[[], Awaitable[bool]], *, within: float, what: str) -> None:
    """Come back when *condition* holds; `TimeoutError` says *what* did not come within so many seconds."""
    try:
        async with asyncio.timeout(within):
            while not await condition():  # noqa: ASYNC110 - the condition lies in another process
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TimeoutError(f"not within {within:g} s: {what}") from None


def cpu_seconds(pid: int) -> float:
    """Return the processor time that the process with *pid* has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Process:
    """One process of the program."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        """Its id."""
        return self.process.pid

    async def stop(self, within: float = 40.0) -> int:
        """Ask it to end (SIGTERM) and return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(within):
            return await self.process.wait()

    async def kill(self) -> None:
        """End it as a crash would."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def memory(self) -> int:
        """Return the bytes of memory that are its own now."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used, user and system."""
        return cpu_seconds(self.pid)


@dataclass(slots=True)
class Stage:
    """A config of its own, topics of its own, and whatever was started on it."""

    folder: Path
    kafka: str
    config: dict[str, Any]
    http: aiohttp.ClientSession
    started: list[Process] = field(default_factory=list)

    @property
    def config_file(self) -> Path:
        """The config, as the program reads it."""
        return self.folder / "dispatcher.yaml"

    @property
    def simulator_url(self) -> str:
        """Where the stand-in answers."""
        url: str = self.config["twilio"]["base_url"]
        return url

    def topic(self, priority: str = "bulk") -> str:
        """Return the jobs topic of a priority class."""
        topic: str = self.config["priorities"][priority]["topic"]
        return topic

    def write_config(self) -> None:
        """Write the config; JSON is YAML."""
        self.config_file.write_text(json.dumps(self.config, indent=2), encoding="utf-8")

    async def start(self, *arguments: str, name: str, program: Sequence[str] = PROGRAM) -> Process:
        """Start `dispatcher` (or what else Python runs as *program*) with *arguments*.

        What it prints goes to a file in the stage's folder.
        """
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started = Process(name, process, log)
        self.started.append(started)
        return started

    async def command(self, *arguments: str) -> Any:
        """Run a command of the program to its end and return the JSON that it prints; `RuntimeError` when it fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *PROGRAM,
            *arguments,
            "--json",
            env={**os.environ, "DISPATCHER_CONFIG": str(self.config_file)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, said = await process.communicate()
        if process.returncode:
            raise RuntimeError(said.decode())
        return orjson.loads(printed)

    async def start_simulator(self) -> Process:
        """Start the stand-in; come back when it answers."""
        process = await self.start("simulate", "-c", str(self.config_file), name="simulator")
        await self._answers(process, f"{self.simulator_url}/healthz")
        return process

    async def start_worker(
        self, name: str = "worker", *, ready: bool = True, workers: int | None = None, program: Sequence[str] = PROGRAM
    ) -> Process:
        """Start a worker, or so many *workers* under a supervisor; come back when it owns partitions.

        At once, when not *ready*.
        """
        several = () if workers is None else ("--workers", str(workers))
        process = await self.start("run", "-c", str(self.config_file), *several, name=name, program=program)
        if ready:
            await self._answers(process, f"http://{self.config['metrics']['listen']}/readyz")
        return process

    async def publish(self, jobs: Iterable[Mapping[str, Any] | bytes | None], priority: str = "bulk") -> int:
        """Append *jobs* (dicts, or the bytes of a record) to the topic of *priority*; return how many."""
        keyed = (
            (str(one["to"]), orjson.dumps(one)) if isinstance(one, Mapping) else (str(number), one)
            for number, one in enumerate(jobs)
        )
        return await self.append(self.topic(priority), keyed)

    async def append(self, topic: str, records: Iterable[tuple[str, bytes | None]]) -> int:
        """Append *records*, keys and values, to *topic*; return how many."""
        count = 0
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka, acks="all", linger_ms=5, max_batch_size=262144, max_request_size=2**21
        )
        await producer.start()
        try:
            written: list[asyncio.Future[Any]] = []
            for key, value in records:
                written.append(await producer.send(topic, value, key=key.encode()))
                count += 1
                if len(written) == _MOST_UNACKNOWLEDGED:
                    await asyncio.wait(written)
                    written.clear()
            if written:
                await asyncio.wait(written)
        finally:
            await producer.stop()
        return count

    async def read(self, topic: str, partitions: int = PARTITIONS) -> list[Any]:
        """Return every record that *topic*, of so many *partitions*, holds now."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka, max_partition_fetch_bytes=2**22)
        await consumer.start()
        try:
            all_of_it = [TopicPartition(topic, number) for number in range(partitions)]
            consumer.assign(all_of_it)
            await consumer.seek_to_beginning(*all_of_it)
            ends = await consumer.end_offsets(all_of_it)
            records: list[Any] = []
            wanted = sum(ends.values())
            while len(records) < wanted:
                for found in (await consumer.getmany(timeout_ms=1000)).values():
                    records.extend(found)
            return records
        finally:
            await consumer.stop()

    async def results(self) -> list[dict[str, Any]]:
        """Return every result so far."""
        return [orjson.loads(record.value) for record in await self.read(self.config["topics"]["results"])]

    async def count(self, topic: str) -> int:
        """Return how many records *topic* holds."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka)
        await consumer.start()
        try:
            ends = await consumer.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
            return int(sum(ends.values()))
        finally:
            await consumer.stop()

    async def lag(self) -> int:
        """Return how many records of the jobs topics the group has not committed as settled."""
        topics = [priority["topic"] for priority in self.config["priorities"].values()]
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka)
        await admin.start()
        await consumer.start()
        try:
            group = self.config["kafka"]["group_id"]
            committed = await admin.list_consumer_group_offsets(group, partitions=partitions)
            ends = await consumer.end_offsets(partitions)
            # Where nothing was ever committed Kafka says -1.
            return sum(ends[one] - max(0, committed[one].offset) for one in partitions)
        finally:
            await consumer.stop()
            await admin.close()

    async def wait_for_results(self, count: int, *, within: float) -> list[dict[str, Any]]:
        """Return the results once there are *count* of them."""
        topic = self.config["topics"]["results"]

        async def are_there() -> bool:
            return await self.count(topic) >= count

        await until(are_there, within=within, what=f"{count} results")
        return await self.results()

    async def report(self) -> dict[str, Any]:
        """Return what the stand-in saw."""
        async with self.http.get(f"{self.simulator_url}/_simulator/report") as response:
            report: dict[str, Any] = await response.json()
            return report

    async def turn_knobs(self, **knobs: float) -> None:
        """Change how the stand-in behaves, by names of `SimulatorSettings`."""
        async with self.http.post(f"{self.simulator_url}/_simulator/knobs", json=knobs) as response:
            response.raise_for_status()

    async def accepted(self) -> list[dict[str, Any]]:
        """Return the stand-in's log of accepted messages, in order."""
        log: list[dict[str, Any]] = []
        while True:
            url = f"{self.simulator_url}/_simulator/messages?after={len(log)}&limit=10000"
            async with self.http.get(url) as response:
                page = await response.json()
            found = page["messages"] if isinstance(page, dict) else page
            log.extend(found)
            if not found:
                return log

    async def metric(self, name: str) -> dict[str, float]:
        """Return the series of a worker's metric *name*, by what stands between the braces."""
        async with self.http.get(f"http://{self.config['metrics']['listen']}/metrics") as response:
            lines = (await response.text()).splitlines()
        found = [line.rpartition(" ") for line in lines if line.startswith((name + "{", name + " "))]
        return {series.removeprefix(name).strip("{}"): float(value) for series, _, value in found}

    async def _answers(self, process: Process, url: str) -> None:
        async def answers() -> bool:
            if process.process.returncode is not None:
                raise RuntimeError(f"{process.name} ended early:\n{process.log.read_text(encoding='utf-8')[-2000:]}")
            try:
                async with self.http.get(url) as response:
                    return response.ok
            except aiohttp.ClientError:
                return False

        await until(answers, within=60, what=f"{process.name} at {url}")


@asynccontextmanager
async def open_stage(folder: Path, kafka: str, **sections: Any) -> AsyncIterator[Stage]:
    """Set a stage in *folder*: *sections* of the config, topics and ports of its own; end what was started on it.

    Without sections: one short code of 100/s in the pool `marketing`, and a stand-in without callbacks.
    """
    name = f"stage{os.getpid()}-{next(_names)}"
    config: dict[str, Any] = {
        "kafka": {"bootstrap_servers": kafka, "group_id": name, "partitions": PARTITIONS},
        "twilio": {"base_url": f"http://127.0.0.1:{free_port()}"},
        "accounts": {"main": dict(MAIN)},
        "senders": [{"number": "72345", "kind": "short_code", "account": "main", "rate": "100/s"}],
        "pools": {"marketing": {"senders": ["72345"]}},
        "topics": {topic.name: f"{name}.{topic.name}" for topic in fields(Topics)},
        "priorities": {
            "urgent": {"topic": f"{name}.urgent", "weight": 9},
            "bulk": {"topic": f"{name}.bulk", "weight": 1},
        },
        "metrics": {"listen": f"127.0.0.1:{free_port()}"},
        "simulator": {"callbacks": False},
    }
    for section, value in sections.items():
        config[section] = {**config.get(section, {}), **value} if isinstance(value, dict) else value
    async with aiohttp.ClientSession() as http:
        stage = Stage(folder, kafka, config, http)
        stage.write_config()
        await _create_topics(stage)
        try:
            yield stage
        finally:
            for process in stage.started:
                await process.kill()


async def _create_topics(stage: Stage) -> None:
    """Make the jobs topics before there is a worker, so that a backlog can be waiting for it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stage.kafka)
    await admin.start()
    try:
        names = [priority["topic"] for priority in stage.config["priorities"].values()]
        await admin.create_topics(
            [NewTopic(name=name, num_partitions=PARTITIONS, replication_factor=1) for name in names]
        )
    finally:
        await admin.close()
