"""Nothing lost, nothing twice: whatever dies, freezes or breaks, each job has one result, and Twilio's log agrees."""

import asyncio
import logging
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stage import Stage, job, open_stage, until
from dispatcher.broker import jars
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.domain.errors import DispatcherError
from tests.system.chaos import HEALED, NOBODY, TROUBLES, Hand, Link, Trouble, hire, judge

pytestmark = [pytest.mark.kafka, pytest.mark.system]

RATE = 200

log = logging.getLogger("chaos")


@pytest.fixture
def broker() -> Iterator[LocalKafka]:
    """A Kafka of the test's own: it may be killed, and one that holds the topics of many tests pauses."""
    try:
        jars.find_java()
        jars.fetch()
    except DispatcherError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    with LocalKafka() as running:
        yield running


@asynccontextmanager
async def chaos(
    folder: Path, broker: LocalKafka, *, seed: int = 1, in_doubt: str = "resend", rate: int = RATE, **sections: Any
) -> AsyncIterator[Stage]:
    """A stage with one sender, whose requests carry ids and whose doubts are short."""
    async with open_stage(
        folder,
        broker.address,
        senders=[{"number": "72345", "kind": "short_code", "account": "main", "rate": f"{rate}/s"}],
        pools={"marketing": {"senders": ["72345"], "in_doubt": in_doubt}},
        webhooks={"public_url": NOBODY},
        **{
            "twilio": {"request_timeout": "5s", "in_doubt_hold_off": "5s"},
            "simulator": {"callbacks": False, "undelivered": "0%", "seed": seed, **sections.pop("simulator", {})},
            **sections,
        },
    ) as stage:
        await stage.start_simulator()
        yield stage


async def publish(stage: Stage, count: int) -> set[str]:
    jobs = [job("spring", row, "marketing") for row in range(count)]
    await stage.publish(jobs)
    return {one["id"] for one in jobs}


async def results_are_there(stage: Stage, count: int, *, within: float = 60.0) -> None:
    """Come back once the run is so far."""
    topic = stage.config["topics"]["results"]

    async def are_there() -> bool:
        return await stage.count(topic) >= count

    await until(are_there, within=within, what=f"{count} results")


async def finish(stage: Stage, count: int, *hands: Hand, rate: int = RATE) -> None:
    """Wait until all is settled and committed: as long as what is left takes at *rate*, and the time to heal.

    Then stop *hands*.
    """
    loop = asyncio.get_running_loop()
    left = count - await stage.count(stage.config["topics"]["results"])
    deadline = loop.time() + left / rate + HEALED

    async def is_settled() -> bool:
        return await stage.lag() == 0

    await stage.wait_for_results(count, within=deadline - loop.time())
    await until(is_settled, within=deadline - loop.time(), what="a lag of 0")
    log.info("healed %.0f s before the deadline", deadline - loop.time())
    for hand in hands:
        # 130: it was asked to end before it had begun; a signal's number: while Python still read its modules.
        assert await hand.process.stop() in {0, 130, -signal.SIGINT, -signal.SIGTERM}, hand.process.log.read_text(
            encoding="utf-8"
        )[-3000:]


# ---------------------------------------------------------------------- death


async def test_smoke_a_worker_is_killed_and_another_goes_on(broker: LocalKafka, tmp_path: Path) -> None:
    rng = random.Random(11)
    async with chaos(tmp_path, broker) as stage:
        ids = await publish(stage, 2000)
        first = await hire(stage, "first")
        second = await hire(stage, "second")
        await results_are_there(stage, rng.randint(200, 800))
        death = await first.kill(stage)
        await finish(stage, 2000, second)
        await judge(stage, ids, crashes=[death], title="smoke")


@pytest.mark.slow
@pytest.mark.parametrize("in_doubt", ["resend", "unknown"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_workers_are_killed_at_random_moments(
    broker: LocalKafka, tmp_path: Path, seed: int, in_doubt: str
) -> None:
    rng = random.Random(seed)
    count, kills = 8000, 4
    async with chaos(tmp_path, broker, seed=seed, in_doubt=in_doubt) as stage:
        ids = await publish(stage, count)
        hands = [await hire(stage, "worker-0"), await hire(stage, "worker-1")]
        deaths = []
        for kill in range(kills):
            await results_are_there(stage, count * (kill + 1) // (kills + 1), within=90)
            await asyncio.sleep(rng.uniform(0, 1))
            victim = hands.pop(rng.randrange(len(hands)))
            deaths.append(await victim.kill(stage))
            hands.append(await hire(stage, f"worker-{kill + 2}", ready=False))
        await finish(stage, count, *hands)
        await judge(stage, ids, crashes=deaths, in_doubt=in_doubt, title=f"random kills, {seed}, {in_doubt}")


@pytest.mark.slow
@pytest.mark.parametrize("in_doubt", ["resend", "unknown"])
async def test_a_large_run_with_twenty_kills(broker: LocalKafka, tmp_path: Path, in_doubt: str) -> None:
    rng = random.Random(20)
    count, kills, rate = 20_000, 20, 500
    async with chaos(tmp_path, broker, seed=20, in_doubt=in_doubt, rate=rate) as stage:
        ids = await publish(stage, count)
        hands = [await hire(stage, "worker-0"), await hire(stage, "worker-1")]
        deaths = []
        for kill in range(kills):
            # Some of them while the group still gets over the last one.
            if rng.random() < 0.7:
                await results_are_there(stage, count * (kill + 1) // (kills + 1), within=90)
            await asyncio.sleep(rng.uniform(0, 4))
            victim = hands.pop(rng.randrange(len(hands)))
            deaths.append(await victim.kill(stage))
            hands.append(await hire(stage, f"worker-{kill + 2}", ready=False))
        await finish(stage, count, *hands, rate=rate)
        await judge(stage, ids, crashes=deaths, in_doubt=in_doubt, title=f"20 kills, {in_doubt}")


@pytest.mark.slow
@pytest.mark.parametrize("in_doubt", ["resend", "unknown"])
@pytest.mark.parametrize(
    "edge", ["announced", "posting", "answered", "concluded", "written", "committing", "committed"]
)
async def test_a_worker_dies_at_an_edge_of_the_protocol(
    broker: LocalKafka, tmp_path: Path, edge: str, in_doubt: str
) -> None:
    rng = random.Random(edge)
    # A page of the journal takes along what 20 ms and more bring.
    pages = {"announced": rng.randint(20, 120)}
    call = rng.randint(2, 4) if edge.startswith("commit") else pages.get(edge, rng.randint(50, 400))
    async with chaos(tmp_path, broker, in_doubt=in_doubt) as stage:
        ids = await publish(stage, 1500)
        doomed = await hire(stage, "doomed", edge=edge, call=call, ready=False)
        death = await doomed.has_died()
        heir = await hire(stage, "heir", ready=False)
        await finish(stage, 1500, heir)
        await judge(stage, ids, crashes=[death], in_doubt=in_doubt, title=f"{edge} {call}, {in_doubt}")


@pytest.mark.slow
@pytest.mark.parametrize("edge", ["revoked", "drained", "recovered", "resumed"])
async def test_a_worker_dies_inside_a_rebalance(broker: LocalKafka, tmp_path: Path, edge: str) -> None:
    async with chaos(tmp_path, broker) as stage:
        ids = await publish(stage, 4000)
        # The second rebalance of the first worker is the one that the second worker's coming makes.
        call = 2 if edge in {"recovered", "resumed"} else 1
        doomed = await hire(stage, "doomed", edge=edge, call=call)
        await results_are_there(stage, 300)
        heir = await hire(stage, "heir", ready=False)
        death = await doomed.has_died()
        await finish(stage, 4000, heir)
        await judge(stage, ids, crashes=[death], title=edge)


# ---------------------------------------------------------------------- frozen


@pytest.mark.slow
@pytest.mark.parametrize("in_doubt", ["resend", "unknown"])
@pytest.mark.parametrize("seconds", [5, 20, 60])
async def test_one_of_two_workers_is_frozen(broker: LocalKafka, tmp_path: Path, seconds: int, in_doubt: str) -> None:
    count = 2000 + RATE * seconds
    async with chaos(tmp_path, broker, in_doubt=in_doubt) as stage:
        ids = await publish(stage, count)
        hands = [await hire(stage, "frozen"), await hire(stage, "other")]
        await results_are_there(stage, 500)
        os.kill(hands[0].process.pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(hands[0].process.pid, signal.SIGCONT)
        await finish(stage, count, *hands)
        await judge(stage, ids, crashes=1, in_doubt=in_doubt, title=f"frozen {seconds} s, {in_doubt}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "edge", ["assigned", "noted", "announced", "posting", "answered", "writing", "written", "committing"]
)
async def test_a_worker_freezes_at_an_edge_of_the_protocol_until_another_has_taken_over(
    broker: LocalKafka, tmp_path: Path, edge: str
) -> None:
    rng = random.Random(edge)
    call = {"assigned": 1, "committing": rng.randint(4, 6)}.get(edge, rng.randint(50, 400))
    async with chaos(tmp_path, broker) as stage:
        ids = await publish(stage, 5000)
        frozen = await hire(stage, "frozen", edge=edge, call=call, freezes=True, ready=False)
        await frozen.has_frozen()
        other = await hire(stage, "other", ready=False)
        # The group gives the partitions away after 15 s; what was in doubt is settled 10 s later.
        await asyncio.sleep(30)
        os.kill(frozen.process.pid, signal.SIGCONT)
        await finish(stage, 5000, frozen, other)
        await judge(stage, ids, crashes=1, title=f"frozen at {edge} {call}")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [10, 20])
async def test_the_event_loop_of_one_of_two_workers_is_blocked(
    broker: LocalKafka, tmp_path: Path, seconds: int
) -> None:
    count = 2000 + RATE * seconds
    async with chaos(tmp_path, broker) as stage:
        ids = await publish(stage, count)
        hands = [await hire(stage, "blocked", blocks=seconds), await hire(stage, "other")]
        await results_are_there(stage, 500)
        hands[0].poke()
        await asyncio.sleep(seconds)
        await finish(stage, count, *hands)
        await judge(stage, ids, crashes=1, title=f"loop blocked {seconds} s")


# ---------------------------------------------------------------------- wrong clocks


@pytest.mark.slow
@pytest.mark.parametrize("of_two", [1, 2])
@pytest.mark.parametrize("step", [3600, -3600])
async def test_wall_clocks_jump_by_an_hour_and_back(
    broker: LocalKafka, tmp_path: Path, step: float, of_two: int
) -> None:
    count = 8000
    faults = {"faults": {"accept_then_drop": "2%", "refuse_500": "1%"}}
    async with chaos(tmp_path, broker, simulator=faults) as stage:
        ids = await publish(stage, count)
        hands = [await hire(stage, name, steps=(step, -step)) for name in ("one", "two")]
        # Each time some are in doubt; what the first leaves, another looks into by a clock of its own.
        await results_are_there(stage, 1000)
        for hand in hands[:of_two]:
            hand.poke()
        await results_are_there(stage, 3000)
        await hands[0].process.kill()
        await results_are_there(stage, 5000)
        if of_two == 2:
            hands[1].poke()
        await finish(stage, count, hands[1])
        await judge(stage, ids, crashes=1, title=f"clocks of {of_two} jump by {step} s")


@pytest.mark.slow
async def test_the_broker_is_killed_and_comes_back(broker: LocalKafka, tmp_path: Path) -> None:
    async with chaos(tmp_path, broker) as stage:
        ids = await publish(stage, 3000)
        hands = [await hire(stage, "one"), await hire(stage, "two")]
        await results_are_there(stage, 500)
        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(5)
        await asyncio.to_thread(broker.start)
        await finish(stage, 3000, *hands)
        await judge(stage, ids, crashes=2, title="broker killed")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [10, 45])
async def test_the_broker_is_frozen(broker: LocalKafka, tmp_path: Path, seconds: int) -> None:
    async with chaos(tmp_path, broker) as stage:
        ids = await publish(stage, 3000)
        hands = [await hire(stage, "one"), await hire(stage, "two")]
        await results_are_there(stage, 500)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        await finish(stage, 3000, *hands)
        await judge(stage, ids, crashes=2, title=f"broker frozen {seconds} s")


# ---------------------------------------------------------------------- links


@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_link_to_twilio_is_bad(broker: LocalKafka, tmp_path: Path, trouble: Trouble) -> None:
    async with chaos(tmp_path, broker) as stage, Link(int(stage.simulator_url.rpartition(":")[2])) as link:
        ids = await publish(stage, 3000)
        hands = [await hire(stage, "one", twilio_by=link.port), await hire(stage, "two", twilio_by=link.port)]
        await results_are_there(stage, 500)
        await link.suffer(trouble, 15, random.Random(trouble))
        await finish(stage, 3000, *hands)
        await judge(stage, ids, title=f"Twilio: {trouble}")


@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_link_of_one_worker_to_kafka_is_bad(broker: LocalKafka, tmp_path: Path, trouble: Trouble) -> None:
    async with chaos(tmp_path, broker) as stage, Link(int(stage.kafka.rpartition(":")[2])) as link:
        ids = await publish(stage, 6000)
        hands = [await hire(stage, "one", kafka_by=link.port), await hire(stage, "two")]
        await results_are_there(stage, 500)
        await link.suffer(trouble, 25, random.Random(trouble))
        await finish(stage, 6000, *hands)
        await judge(stage, ids, crashes=1, title=f"Kafka: {trouble}")


# ---------------------------------------------------------------------- storms


@pytest.mark.slow
@pytest.mark.parametrize("in_doubt", ["resend", "unknown"])
@pytest.mark.parametrize(
    "faults",
    [
        {"refuse_429": "30%"},
        {"refuse_500": "10%"},
        {"accept_then_500": "5%", "accept_then_drop": "5%"},
        {"accept_then_hang": "2%"},
        {
            "refuse_429": "10%",
            "refuse_500": "3%",
            "accept_then_500": "2%",
            "accept_then_drop": "2%",
            "accept_then_hang": "1%",
        },
    ],
    ids="+".join,
)
async def test_twilio_storms(broker: LocalKafka, tmp_path: Path, faults: dict[str, str], in_doubt: str) -> None:
    count = 3000
    async with chaos(tmp_path, broker, in_doubt=in_doubt, simulator={"faults": faults}) as stage:
        ids = await publish(stage, count)
        hands = [await hire(stage, "one"), await hire(stage, "two")]
        # Milder ones are done by then; where every tenth is answered 429, Twilio asks for few requests at once.
        await asyncio.sleep(30)
        await stage.turn_knobs(**{f"{fault}_share": 0.0 for fault in faults})
        await finish(stage, count, *hands)
        statuses = await judge(stage, ids, crashes=100, in_doubt=in_doubt, title=f"storm {faults}, {in_doubt}")
        # Only what was answered 500 without being processed is truly unknown.
        assert statuses["unknown"] <= 1.5 * count * int(faults.get("refuse_500", "0%")[:-1]) / 100


@pytest.mark.slow
async def test_workers_come_and_go_under_slow_requests(broker: LocalKafka, tmp_path: Path) -> None:
    rng = random.Random(5)
    count = 2000
    async with chaos(
        tmp_path,
        broker,
        twilio={"request_timeout": "20s"},
        simulator={"latency": {"low": "2s", "high": "4s", "tail": "5s"}},
    ) as stage:
        ids = await publish(stage, count)
        hands = [await hire(stage, "worker-0")]
        leaving: list[Hand] = []
        for number in range(1, 9):
            await asyncio.sleep(rng.uniform(2, 4))
            if len(hands) > 1 and rng.random() < 0.5:
                leaver = hands.pop(rng.randrange(len(hands)))
                os.kill(leaver.process.pid, signal.SIGTERM)
                leaving.append(leaver)
            else:
                hands.append(await hire(stage, f"worker-{number}", ready=False))
        await finish(stage, count, *hands, *leaving, rate=20)
        await judge(stage, ids, title="come and go")
