"""What the chaos tests need: workers that die when told, links that can be cut, and the judge."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Literal, Self, get_args

import aiohttp
import psutil

from benchmarks.stage import Process, Stage, free_port, until
from dispatcher.clock import SystemClock
from dispatcher.delivery.request import STATUS_PATH
from dispatcher.domain.journal import Page, decode_page, open_intents
from dispatcher.simulator.judgement import overruns

log = logging.getLogger("chaos")

MAX_CONCURRENCY = 80
# Callbacks go nowhere.
NOBODY = "http://127.0.0.1:9"
# Seconds after which nothing may be left once everything is healthy again.
HEALED = 60.0

Direction = Literal["there", "back"]
Trouble = Literal["what is said is late", "answers are late", "silence", "old connections are late", "resets", "slow"]
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)
_FROZEN: dict[Trouble, tuple[Direction, ...]] = {
    "what is said is late": ("there",),
    "answers are late": ("back",),
    "silence": ("there", "back"),
    "old connections are late": ("there", "back"),
}


@dataclass(slots=True)
class Hand:
    """A worker with a config and a metrics port of its own."""

    process: Process
    metrics: str

    async def is_ready(self, stage: Stage) -> None:
        """Come back when it owns partitions."""
        await stage._answers(self.process, f"http://{self.metrics}/readyz")

    def poke(self) -> None:
        """Let happen what it was hired for: its event loop is blocked, or its clock jumps."""
        os.kill(self.process.pid, signal.SIGUSR1)

    async def kill(self, stage: Stage) -> "Death":
        """Kill it, and return what is known of its death."""
        in_flight = await self._in_flight(stage)
        await self.process.kill()
        return Death(self.process, SystemClock.now(), in_flight)

    async def has_died(self, within: float = 60.0) -> "Death":
        """Come back when it has killed itself, with what is known of that; a new owner has not begun by then."""

        async def is_dead() -> bool:
            return self.process.process.returncode is not None

        await until(is_dead, within=within, what=f"the death of {self.process.name}")
        assert self.process.process.returncode == -9, self.process.log.read_text(encoding="utf-8")[-2000:]
        return Death(self.process, SystemClock.now())

    async def _in_flight(self, stage: Stage) -> int:
        """Return how many of its requests are in flight; none before it shows metrics."""
        name = "dispatcher_requests_in_flight{"
        with contextlib.suppress(aiohttp.ClientError):
            async with stage.http.get(f"http://{self.metrics}/metrics") as page:
                lines = (await page.text()).splitlines()
            return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(name))
        return 0

    async def has_frozen(self, within: float = 60.0) -> None:
        """Come back when it has stopped itself."""
        process = psutil.Process(self.process.pid)

        async def is_stopped() -> bool:
            return process.status() == psutil.STATUS_STOPPED

        await until(is_stopped, within=within, what=f"the freezing of {self.process.name}")


@dataclass(frozen=True, slots=True)
class Death:
    """A worker's: *at* is when it wrote nothing any more; how many requests were *in_flight*, where that is known."""

    process: Process
    at: datetime
    in_flight: int | None = None

    def left_in_doubt(
        self, journal: Mapping[int, Sequence[Page]], results: Mapping[str, Mapping[str, Any]]
    ) -> set[str]:
        """Return the ids of the jobs that it had announced and not concluded, by what is in Kafka now.

        Nobody knows of these whether they were sent. Whoever concluded them since did so after the death. The *journal*
        is by partition.
        """
        owner = f"{socket.gethostname()}:{self.process.pid}"
        return {
            intent.id
            for pages in journal.values()
            for intent in open_intents(page for page in pages if page.owner == owner).values()
            if datetime.fromisoformat(results[intent.id]["at"]) > self.at
        }


async def hire(
    stage: Stage,
    name: str,
    *,
    ready: bool = True,
    edge: str | None = None,
    call: int = 1,
    freezes: bool = False,
    blocks: float | None = None,
    steps: Sequence[float] = (),
    kafka_by: int | None = None,
    twilio_by: int | None = None,
) -> Hand:
    """Start a worker on *stage*; it dies, or *freezes*, at the *call*-th step of *edge*.

    Poked, its event loop is blocked for *blocks* seconds, or its wall clock jumps by the next of *steps* (seconds).
    The URL for its callbacks bears its *name*, and so does the stand-in's log. *kafka_by* and *twilio_by* are ports of
    links that lead to Kafka and to the stand-in.
    """
    listen = f"127.0.0.1:{free_port()}"
    config = stage.config | {"metrics": {"listen": listen}, "webhooks": {"public_url": f"{NOBODY}/{name}"}}
    if twilio_by is not None:
        config["twilio"] = config["twilio"] | {"base_url": f"http://127.0.0.1:{twilio_by}"}
    file = stage.folder / f"{name}.yaml"
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")
    traps: dict[str, Any] = {"diary": str(stage.folder / f"{name}.diary")}
    if edge is not None:
        traps |= {"edge": edge, "call": call, "signal": "SIGSTOP" if freezes else "SIGKILL"}
    if kafka_by is not None:
        traps["reroute"] = [int(stage.kafka.rpartition(":")[2]), kafka_by]
    if blocks is not None:
        traps["blocks"] = blocks
    if steps:
        traps["steps"] = steps
    program = ("-m", "tests.system.chaos_launcher", json.dumps(traps))
    hand = Hand(await stage.start("run", "-c", str(file), name=name, program=program), listen)
    if ready:
        await hand.is_ready(stage)
    return hand


class Link:
    """A TCP link to a port of this machine that can be frozen in a direction, slowed, and reset.

    What is frozen is late, not lost, as with a network that comes back: unless whoever sent it has reset the connection
    meanwhile, which then takes with it what was under way.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._flows = _open_flows()
        self._transports: set[asyncio.StreamWriter] = set()
        self._delay = 0.0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        await self._server.wait_closed()
        while self._transports:  # noqa: ASYNC110 - each serving task leaves by itself
            await asyncio.sleep(0.01)

    async def suffer(self, trouble: Trouble, seconds: float, rng: Random) -> None:
        """Be in *trouble* for so long."""
        match trouble:
            case "resets":
                over = asyncio.get_running_loop().time() + seconds
                while asyncio.get_running_loop().time() < over:
                    await asyncio.sleep(rng.uniform(0.2, seconds / 5))
                    self.reset()
            case "slow":
                self._delay = 1.0
                await asyncio.sleep(seconds)
                self._delay = 0.0
            case _:
                flows = self._flows
                for direction in _FROZEN[trouble]:
                    flows[direction].clear()
                if trouble == "old connections are late":
                    self._flows = _open_flows()
                await asyncio.sleep(seconds)
                for flow in flows.values():
                    flow.set()

    def reset(self) -> None:
        """Break every connection."""
        for writer in self._transports:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        flows = self._flows
        both = {writer, far_writer}
        self._transports |= both
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(flows["there"], reader, far_writer))
                tasks.create_task(self._carry(flows["back"], far_reader, writer))
        finally:
            for end in both:
                end.transport.abort()
            self._transports -= both

    async def _carry(self, flow: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await flow.wait()
                if (broken := reader.exception()) is not None:
                    raise broken
                writer.write(data)
                await writer.drain()
            await flow.wait()
            writer.close()
            return
        writer.transport.abort()


def _open_flows() -> dict[Direction, asyncio.Event]:
    flows: dict[Direction, asyncio.Event] = {"there": asyncio.Event(), "back": asyncio.Event()}
    for flow in flows.values():
        flow.set()
    return flows


async def judge(
    stage: Stage,
    published: Collection[str],
    *,
    title: str,
    crashes: int | Sequence[Death] = (),
    in_doubt: str = "resend",
) -> Counter[str]:
    """Hold what is in Kafka against the stand-in's log; return how many results have each status.

    *crashes* are the deaths that a new owner could not know the end of. Of each is known exactly what it left in doubt:
    unknown is of that what never came to the stand-in, no more and no less. Of freezes only the number is known.
    """
    results, texts, report = await stage.results(), await stage.accepted(), await stage.report()
    of_id = {result["id"]: result for result in results}
    given = Counter(result["id"] for result in results)
    heard = Counter(text["to"] for text in texts)
    sids: dict[str, list[str]] = {}
    for text in texts:
        sids.setdefault(text["mid"], []).append(text["sid"])
    statuses = Counter(result["status"] for result in results)
    flow = next(iter(report["senders"].values()))
    log.info(
        "%s: %s, %s texts at %.1f/s, peak %s, deepest %.2f s",
        title, dict(statuses), len(texts), flow["achieved_rate"], flow["peak_1s"], flow["deepest_seconds"],
    )  # fmt: skip

    found = {
        "lost": sorted(set(published) - given.keys()),
        "never published": sorted(given.keys() - set(published)),
        "two results": [one for one, times in given.items() if times > 1],
        "texted twice, by id": [one for one, made in sids.items() if len(made) > 1],
        "texted twice, by recipient": [to for to, times in heard.items() if times > 1],
        "texted twice, by the stand-in": report["texted_twice"]["mids"],
        "accepted, and not in the log": [
            one for one, result in of_id.items() if result["status"] == "accepted" and one not in sids
        ],
        "accepted as another": [
            one
            for one, result in of_id.items()
            if result["status"] == "accepted" and one in sids and result["sid"] not in sids[one]
        ],
        "in the log, and neither accepted nor unknown": [
            one for one in sids if one in of_id and of_id[one]["status"] not in {"accepted", "unknown"}
        ],
        "taken from a worker after another had its partition": trespasses(stage, of_id, texts),
        "driven over the rate": overruns(report),
    }
    wrong = {what: (len(those), those[:5]) for what, those in found.items() if those}
    assert wrong == {}, f"{wrong}; {dict(statuses)}; {fullest_second(texts)}"
    if in_doubt == "resend":
        assert statuses == {"accepted": len(published)}
    else:
        assert statuses["accepted"] + statuses["unknown"] == len(published), statuses
        if isinstance(crashes, int):
            assert statuses["unknown"] <= MAX_CONCURRENCY * crashes, statuses
    if not isinstance(crashes, int):
        doubted = await _doubted(stage, of_id, sids, crashes)
        if in_doubt == "unknown":
            assert {one for one, result in of_id.items() if result["status"] == "unknown"} == doubted - sids.keys()
    return statuses


async def _doubted(
    stage: Stage, results: Mapping[str, Mapping[str, Any]], sids: Collection[str], deaths: Sequence[Death]
) -> set[str]:
    """Return which jobs were in doubt after *deaths*, and say of each how many it left and how many had arrived."""
    journal: dict[int, list[Page]] = {}
    for record in await stage.read(stage.config["topics"]["journal"]):
        journal.setdefault(record.partition, []).append(decode_page(record.value))
    doubted: set[str] = set()
    for death in deaths:
        left = death.left_in_doubt(journal, results)
        log.info(
            "death of %s: %s requests in flight; it left %d in doubt, of which %d had arrived",
            death.process.name,
            "?" if death.in_flight is None else death.in_flight,
            len(left),
            len(left & set(sids)),
        )
        doubted |= left
    return doubted


def fullest_second(texts: Sequence[Mapping[str, Any]]) -> str:
    """Say of the second that holds most how many came from whom, and whether a stall had bunched them."""
    times = [text["at"] for text in texts]
    first, last = max(
        ((first, bisect_right(times, at + 1.0)) for first, at in enumerate(times)), key=lambda span: span[1] - span[0]
    )
    senders = Counter(text["receiver"].removeprefix(NOBODY).split("/")[1] for text in texts[first:last])
    crowds = Counter(int((at - times[first]) / 0.01) for at in times[first:last])
    return (
        f"fullest second: {last - first} from {dict(senders)}, {times[first] - times[0]:.1f} s after the first; before "
        f"it nothing for {times[first] - times[max(0, first - 1)]:.3f} s; its fullest 10 ms: {crowds.most_common(3)}"
    )


def trespasses(
    stage: Stage, results: Mapping[str, Mapping[str, Any]], texts: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, float]]:
    """Return which messages a worker sent after their partition had come to another: the id, the worker, how late.

    The stand-in's clock is the workers' (the machine's monotonic one).
    """
    owners: dict[int, list[tuple[float, int, str]]] = {}
    for diary in stage.folder.glob("*.diary"):
        for line in diary.read_text(encoding="utf-8").splitlines():
            at, generation, indices = json.loads(line)
            for index in indices:
                owners.setdefault(index, []).append((at, generation, diary.stem))
    found = []
    for text in texts:
        worker = text["receiver"].removeprefix(NOBODY).removesuffix(STATUS_PATH).strip("/")
        if text["mid"] not in results:
            continue
        # Who hears late of an older assignment takes nothing from who has a newer one.
        came = [one for one in owners[results[text["mid"]]["job"]["partition"]] if one[0] <= text["at"]]
        at, _, owner = max(came, key=lambda one: (one[1], one[0]))
        if owner != worker:
            found.append((text["mid"], worker, round(text["at"] - at, 3)))
    return found
