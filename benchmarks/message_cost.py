"""What does a message cost, beside what others write for the same job?

Every contender reads one backlog from Kafka, makes a POST of each job with 128 in flight, and writes a result for each.
The dispatcher does all that it does for a user: limits, journal, compliance, results, metrics. The others do nothing
else (`benchmarks/peers/`). They take turns, and the ratios are those of the medians. A contender has a core for itself,
Kafka and the stand-in (`peers/floor.py`) share the others; where other programs run beside them, messages/s say little
and CPU a message still much. CPU and time run from the first POST to the last.

    python -m benchmarks.message_cost [--pairs 5] [--scenes http tls http-50ms tls-50ms]

Scenes that are not asked for keep what was measured of them before.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks import bounds, report
from benchmarks.peers.contenders import BOUNDS, OURS, Contender, contenders_of
from benchmarks.stage import MAIN, PARTITIONS, Process, Stage, free_port, job, open_stage, until
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import SystemClock

CONNECTIONS: Final = 128
POLL: Final = 0.01

clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Scene:
    """How the stand-in is reached, how long it takes to answer, and how large the backlog is."""

    scheme: str
    latency: float
    jobs: int


SCENES: Final = {
    "http": Scene("http", 0.0, 40_000),
    "tls": Scene("https", 0.0, 40_000),
    "http-50ms": Scene("http", 0.05, 12_000),
    "tls-50ms": Scene("https", 0.05, 12_000),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What was measured of one run: of the contender, and in microseconds of CPU what a message cost the others."""

    us: float
    rate: float
    stand_in_us: float
    kafka_us: float
    foreign_cores: float


async def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="runs of each contender")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    wanted = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    its_core, others = {cores[0]}, set(cores[1:]) or {cores[0]}
    os.sched_setaffinity(0, others)
    figures = _measured_before()
    with tempfile.TemporaryDirectory() as name, LocalKafka() as kafka:
        folder = Path(name)
        contenders = contenders_of(folder)
        certificate = _make_certificate(folder)
        for scene in wanted.scenes:
            if SCENES[scene].scheme == "https" and certificate is None:
                print(f"{scene} is left out: there is no openssl to make a certificate with")
                continue
            bench = Bench(SCENES[scene], folder, kafka, its_core, certificate)
            figures = {key: value for key, value in figures.items() if not key.startswith(f"{scene}: ")}
            figures |= {f"{scene}: {key}": value for key, value in (await bench.run(contenders, wanted.pairs)).items()}
    report.write("message_cost", figures)
    bounds.insist(figures)


class Bench:
    """One scene, played by all contenders in turn."""

    def __init__(
        self, scene: Scene, folder: Path, kafka: LocalKafka, its_core: set[int], certificate: Path | None
    ) -> None:
        self._scene = scene
        self._folder = folder
        self._kafka = kafka
        self._its_core = its_core
        self._certificate = certificate
        self._jobs = f"peers.jobs.{scene.jobs}.{scene.scheme}"

    async def run(self, contenders: Sequence[Contender], pairs: int) -> dict[str, Any]:
        """Return the figures of *pairs* rounds; every second round goes the other way."""
        load = [os.getloadavg()[0]]
        costs = await self.costs(contenders, pairs)
        load.append(os.getloadavg()[0])
        return {
            "load average before and after": [round(value, 1) for value in load],
            "commit": report.commit(),  # scenes are measured one by one
            **_figures(costs),
        }

    async def costs(self, contenders: Sequence[Contender], pairs: int) -> dict[str, list[Cost]]:
        """Return what a message cost each of *contenders*, by its name, in each of *pairs* rounds."""
        async with self._stage() as stage:
            await stage.publish(job("peers", row, "marketing") for row in range(self._scene.jobs))
        costs: dict[str, list[Cost]] = {contender.name: [] for contender in contenders}
        for number in range(pairs):
            for contender in contenders if number % 2 == 0 else reversed(contenders):
                cost = await self._measure(contender)
                costs[contender.name].append(cost)
                print(f"{self._scene.scheme} {contender.name:>14} {cost.us:6.1f} us {cost.rate:8.0f}/s")
        return costs

    def _stage(self) -> Any:
        return open_stage(
            self._folder,
            self._kafka.address,
            priorities={"bulk": {"topic": self._jobs, "weight": 1}},
            senders=[{"number": "72345", "kind": "short_code", "account": "main", "rate": "1000000/s"}],
            accounts={"main": {**MAIN, "max_concurrency": CONNECTIONS}},
            twilio={"base_url": f"{self._scene.scheme}://127.0.0.1:{free_port()}", "family_rate": "1000000/s"},
        )

    async def _measure(self, contender: Contender) -> Cost:
        messages = int(self._scene.jobs * contender.part)
        async with self._stage() as stage:
            stand_in = await self._start_stand_in(stage)
            if contender.name != OURS:
                await _create(self._kafka.address, stage.config["topics"]["results"])
            with on_cores(self._its_core):
                process = await contender.start(stage, connections=CONNECTIONS)
            watched = [psutil.Process(pid) for pid in (process.pid, stand_in.pid, self._kafka.pid, os.getpid())]
            first = await self._when(stage, process, 1, watched)
            last = await self._when(stage, process, messages, watched)
            await self._check_results(stage, messages)
        seconds, count, *cpu, busy = (after - before for before, after in zip(first, last, strict=True))
        us = [used / count * 1e6 for used in cpu]
        return Cost(us[0], count / seconds, us[1], us[2], max(0.0, busy - sum(cpu)) / seconds)

    async def _start_stand_in(self, stage: Stage) -> Process:
        options = [f"--latency={self._scene.latency}"]
        if self._scene.scheme == "https":
            options.append(f"--certificate={self._certificate}")
        port = stage.simulator_url.rpartition(":")[2]
        process = await stage.start(port, *options, name="floor", program=("-m", "benchmarks.peers.floor"))

        async def listens() -> bool:
            try:
                return await _posted(stage) == 0
            except OSError:
                return False

        await until(listens, within=20, what="the stand-in")
        return process

    @staticmethod
    async def _check_results(stage: Stage, messages: int) -> None:
        async def are_there() -> bool:
            return await stage.count(stage.config["topics"]["results"]) >= messages - CONNECTIONS

        await until(are_there, within=20, what="the results of what was posted")

    @staticmethod
    async def _when(stage: Stage, process: Process, wanted: int, watched: Sequence[psutil.Process]) -> list[float]:
        """Return, once *wanted* messages were posted: the time, how many they are, and the CPU seconds so far."""
        async with asyncio.timeout(120):
            while (count := await _posted(stage)) < wanted:
                if process.process.returncode is not None:
                    raise RuntimeError(
                        f"{process.name} ended early:\n{process.log.read_text(encoding='utf-8')[-2000:]}"
                    )
                await asyncio.sleep(POLL)
        return [clock.monotonic(), count, *(_cpu_of(one) for one in watched), _cpu_of_all()]


def _figures(costs: dict[str, list[Cost]]) -> dict[str, Any]:
    """Return what is to be kept and shown of *costs*."""
    figures: dict[str, Any] = {}
    every = [cost for runs in costs.values() for cost in runs]
    figures["cores busy with other programs, median"] = round(statistics.median(c.foreign_cores for c in every), 2)
    us = {name: statistics.median(cost.us for cost in runs) for name, runs in costs.items()}
    for name, runs in costs.items():
        figures[f"{name}: us CPU a message, median of runs"] = round(us[name], 1)
        figures[f"{name}: us CPU a message, every run"] = [round(cost.us, 1) for cost in runs]
        figures[f"{name}: messages/s, median of runs"] = round(statistics.median(cost.rate for cost in runs))
        figures[f"{name}: messages/s, every run"] = [round(cost.rate) for cost in runs]
        figures[f"{name}: us CPU of Kafka a message, median of runs"] = _median(runs, lambda cost: cost.kafka_us)
        figures[f"{name}: us CPU of the stand-in a message, median"] = _median(runs, lambda cost: cost.stand_in_us)
    for name, median in us.items():
        if name != OURS:
            ratio = us[OURS] / median
            bound = BOUNDS.get(name)
            figures[f"of {name}"] = round(ratio, 3)
            if bound is not None:
                figures[f"of {name}, at most {bound}"] = bounds.verdict(holds=ratio <= bound)
    return figures


def _median(runs: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    return round(statistics.median(of(cost) for cost in runs), 1)


def _measured_before() -> dict[str, Any]:
    file = report.RESULTS / "message_cost.json"
    figures: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["figures"] if file.exists() else {}
    return figures


def _make_certificate(folder: Path) -> Path | None:
    """Make a certificate that everything started from here trusts (`SSL_CERT_FILE`); None where there is no openssl."""
    if shutil.which("openssl") is None:
        return None
    certificate, both = folder / "certificate.pem", folder / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", folder / "key.pem", "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    both.write_bytes(certificate.read_bytes() + (folder / "key.pem").read_bytes())
    os.environ["SSL_CERT_FILE"] = str(certificate)
    return both


async def _posted(stage: Stage) -> int:
    """Return how many messages the stand-in has accepted."""
    async with stage.http.get(stage.simulator_url, ssl=False) as response:
        return int(await response.read())


async def _create(kafka: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name=topic, num_partitions=PARTITIONS, replication_factor=1)])
    finally:
        await admin.close()


def _cpu_of(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def _cpu_of_all() -> float:
    """Return the CPU seconds that all programs of the machine have used."""
    used = psutil.cpu_times()
    return used.user + used.nice + used.system + used.irq + used.softirq


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Let what is started here run on *cores*: Go, for one, counts them when it starts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


if __name__ == "__main__":
    asyncio.run(main())
