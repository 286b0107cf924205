"""Jobs in Kafka become messages at Twilio, each sender at its rate: judged by the stand-in's log alone."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.stage import MAIN, PROMO, job, open_stage, until
from dispatcher.simulator.judgement import flows, overruns
from dispatcher.simulator.line import carrier_of

pytestmark = [pytest.mark.kafka, pytest.mark.system]

FLEET: dict[str, Any] = {
    "accounts": {"main": MAIN, "promo": PROMO},
    "senders": [
        {"number": "72345", "kind": "short_code", "account": "main", "rate": "100/s"},
        {"number": "+18885550100", "kind": "toll_free", "account": "main", "rate": "3/s"},
        {"number": "+12045550100", "kind": "long_code", "account": "main", "rate": "1/s"},
        {"number": "+12065550100", "kind": "long_code", "account": "promo", "a2p_campaign": "promo-10dlc"},
        {"number": "+12065550101", "kind": "long_code", "account": "promo", "a2p_campaign": "promo-10dlc"},
    ],
    "brands": {"acme": {}},
    "a2p_campaigns": {
        "promo-10dlc": {
            "brand": "acme",
            "rates": {"att": "40/s", "tmobile": "40/s", "verizon": "40/s", "other": "10/s"},
        }
    },
    "pools": {
        "marketing": {"senders": ["72345", "+18885550100", "+12045550100", "+12065550100", "+12065550101"]},
    },
}
UNLIMITED = [{"number": "72345", "kind": "short_code", "account": "main", "rate": "100000/s"}]


def with_carrier(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "carrier": carrier_of(one["to"])}


def of_any_length(rng: random.Random) -> str:
    """A text of 1 to 11 segments, in GSM-7 or UCS-2."""
    parts = rng.randint(1, 11)
    if rng.random() < 0.5:
        return "é" * rng.randint(1, min(1600, 153 * parts))
    return "ж" * rng.randint(1, min(737, 67 * parts))


@pytest.mark.parametrize("texts", ["one segment", "1 to 11 segments"])
async def test_every_sender_runs_at_its_rate_and_none_above(kafka: str, tmp_path: Path, texts: str) -> None:
    rng = random.Random(7)
    mixed = texts != "one segment"
    backlog = (with_carrier(job("spring", row, "marketing")) for row in range(2000 if mixed else 6000))
    async with open_stage(tmp_path, kafka, **FLEET) as stage:
        await stage.publish({**one, "body": of_any_length(rng)} if mixed else one for one in backlog)
        await stage.start_simulator()
        worker = await stage.start_worker()

        async def enough_was_sent() -> bool:
            flow = (await stage.report())["senders"]["72345"]
            return bool(flow["segments"] > 1200)

        await until(enough_was_sent, within=60, what="1,200 segments by the short code")
        waiting = await stage.metric("dispatcher_lane_waiting_messages")
        assert await worker.stop() == 0
        report = await stage.report()
        assert overruns(report) == []
        for name, flow in flows(report).items():
            # The last message is paid for after it has left, so it does not count against the time before it.
            assert flow["achieved_rate"] >= 0.97 * flow["rate"], name
        # Nobody had run dry: the rates above were reached with work waiting in every lane that is used.
        idle = {lane for lane, messages in waiting.items() if not messages}
        assert idle <= {'lane="+12065550100 unknown"', 'lane="+12065550101 unknown"'}
        results = await stage.results()
        assert Counter(result["status"] for result in results) == {"accepted": report["messages"]}
        assert report["texted_twice"]["texts"] == 0


async def test_an_account_runs_just_below_its_concurrency(kafka: str, tmp_path: Path) -> None:
    latency = {"low": "150ms", "high": "150ms", "tail": "150ms", "tail_share": "0%"}
    async with open_stage(
        tmp_path, kafka, senders=UNLIMITED, simulator={"callbacks": False, "concurrency": 20, "latency": latency}
    ) as stage:
        await stage.publish(job("spring", row, "marketing") for row in range(3000))
        await stage.start_simulator()
        worker = await stage.start_worker()
        await stage.wait_for_results(2500, within=60)
        await worker.stop()
        log = await stage.accepted()
        settled = [one["at"] for one in log if one["at"] > log[0]["at"] + 5]
        refused = (await stage.report())["accounts"]["main"]["refusals_by_second"]
        first = min(map(int, refused))
        late = sum(codes.get("20429", 0) for second, codes in refused.items() if int(second) > first + 5)
        assert late <= 0.01 * len(settled)
        assert len(settled) / (settled[-1] - settled[0]) >= 0.9 * 20 / 0.15


async def test_a_saturated_pool_does_not_hold_up_another(kafka: str, tmp_path: Path) -> None:
    senders = [
        {"number": "72345", "kind": "short_code", "account": "main", "rate": "1/s"},
        {"number": "72346", "kind": "short_code", "account": "main", "rate": "100/s"},
    ]
    pools = {"slow": {"senders": ["72345"]}, "marketing": {"senders": ["72346"]}}
    async with open_stage(tmp_path, kafka, senders=senders, pools=pools) as stage:
        stage.config["pools"] = pools
        stage.write_config()
        await stage.publish(job("slow", row, "slow") for row in range(50_000))
        await stage.publish(job("fast", 50_000 + row, "marketing") for row in range(1000))
        await stage.start_simulator()
        await stage.start_worker(ready=False)

        async def the_fast_ones_are_through() -> bool:
            return bool((await stage.report())["senders"]["72346"]["messages"] == 1000)

        await until(the_fast_ones_are_through, within=45, what="1,000 messages of the pool that is free")
        report = await stage.report()
        fast, slow = report["senders"]["72346"], report["senders"]["72345"]
        assert fast["achieved_rate"] >= 97
        assert slow["messages"] <= 1.05 * (slow["last_at"] - slow["first_at"]) + 2


async def test_a_small_campaign_gets_half_of_the_rate_beside_a_large_one(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka) as stage:
        await stage.publish(job("large", row, "marketing") for row in range(30_000))
        await stage.publish(job("small", 30_000 + row, "marketing") for row in range(300))
        small = {job("small", 30_000 + row, "marketing")["to"] for row in range(300)}
        await stage.start_simulator()
        await stage.start_worker()

        async def the_small_one_is_through() -> bool:
            return sum(one["to"] in small for one in await stage.accepted()) == len(small)

        await until(the_small_one_is_through, within=60, what="the small campaign")
        turns = [index for index, one in enumerate(await stage.accepted()) if one["to"] in small]
        assert 0.48 <= len(turns) / (turns[-1] - turns[0] + 1) <= 0.52


async def test_an_urgent_message_overtakes_a_hundred_thousand(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka) as stage:
        await stage.publish(job("bulk", row, "marketing") for row in range(100_000))
        await stage.start_simulator()
        await stage.start_worker()
        await stage.wait_for_results(300, within=60)
        for row in range(5):
            before = len(await stage.accepted())
            code = job("otp", 200_000 + row, "marketing")
            await stage.publish([code], "urgent")

            async def it_is_through(to: str = code["to"]) -> bool:
                return any(one["to"] == to for one in (await stage.accepted())[-500:])

            await until(it_is_through, within=30, what="an urgent message")
            place = next(index for index, one in enumerate(await stage.accepted()) if one["to"] == code["to"])
            # A second of its sender's rate. (`before` was counted before it was published.)
            assert place - before <= 100


def with_bad_records() -> Iterator[dict[str, Any] | bytes | None]:
    """2,000 jobs, and after every tenth a record that is none."""
    good = job("bad", 0, "marketing")
    bad: list[bytes | None] = [
        b"{",
        None,
        b"",
        b"[1]",
        b"x" * 1_000_000,
        orjson.dumps({**good, "to": "12065550142"}),
        orjson.dumps({**good, "colour": "red"}),
        orjson.dumps({**good, "id": 3}),
        orjson.dumps({**good, "pool": "unheard-of"}),
        orjson.dumps({**good, "body": None}),
    ]
    for row in range(2000):
        yield job("spring", row, "marketing")
        if row % 10 == 9:
            yield bad[row // 10 % len(bad)]


async def test_bad_records_become_dead_letters_and_hold_up_nothing(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka, senders=UNLIMITED) as stage:
        await stage.publish(with_bad_records())
        await stage.start_simulator()
        worker = await stage.start_worker()
        results = await stage.wait_for_results(2000, within=60)
        assert Counter(result["status"] for result in results) == {"accepted": 2000}
        assert len({result["id"] for result in results}) == 2000
        assert await worker.stop() == 0
        letters = await stage.read(stage.config["topics"]["dead_letters"])
        reasons = Counter(dict(letter.headers)["reason"].decode() for letter in letters)
        assert sum(reasons.values()) == 200
        assert all(count in {20, 40} for count in reasons.values()), reasons


async def test_a_worker_that_is_stopped_and_started_texts_nobody_twice(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka, senders=UNLIMITED) as stage:
        await stage.publish({**job("spring", row, "marketing"), "tags": {"row": str(row)}} for row in range(10_000))
        await stage.start_simulator()
        for stops in range(1, 4):
            worker = await stage.start_worker(f"worker-{stops}")
            await stage.wait_for_results(2000 * stops, within=60)
            assert await worker.stop() == 0
        await stage.start_worker("worker-last")
        results = await stage.wait_for_results(10_000, within=60)
        assert Counter(result["status"] for result in results) == {"accepted": 10_000}
        log = await stage.accepted()
        assert len(log) == len({one["to"] for one in log}) == 10_000


async def test_an_id_that_is_published_twice_is_sent_once(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka, senders=UNLIMITED) as stage:
        await stage.publish(job("spring", row, "marketing") for row in range(500))
        await stage.publish(job("spring", row, "marketing") for row in range(250))
        await stage.start_simulator()
        worker = await stage.start_worker("worker-1")
        await stage.wait_for_results(750, within=60)
        await worker.stop()
        await stage.publish(job("spring", row, "marketing") for row in range(250, 500))
        await stage.start_worker("worker-2")
        results = await stage.wait_for_results(1000, within=60)
        assert Counter(result["status"] for result in results) == {"accepted": 500, "suppressed": 500}
        assert all("published before" in result["reason"] for result in results if result["status"] == "suppressed")
        assert len(await stage.accepted()) == 500
