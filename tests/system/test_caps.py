"""A brand's day with T-Mobile is used up to the segment by two workers, and not exceeded, through a kill of either."""

import asyncio
import logging
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from benchmarks.stage import Stage, job, open_stage, until
from dispatcher.clock import SystemClock
from dispatcher.domain.caps import CLOCKS_DIFFER, TMOBILE_ZONE, Cap
from tests.system.chaos import Hand, hire

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow]
log = logging.getLogger("caps")

CAP = 2000
NUMBER = "+12065550100"
RATES = {"att": "300/s", "tmobile": "300/s", "verizon": "300/s", "other": "300/s"}
FLEET = {
    "senders": [{"number": NUMBER, "kind": "long_code", "account": "main", "a2p_campaign": "promo-10dlc"}],
    "a2p_campaigns": {"promo-10dlc": {"brand": "acme", "rates": RATES}},
    "brands": {"acme": {"tmobile_daily_cap": CAP}},
    "pools": {"marketing": {"senders": [NUMBER], "in_doubt": "resend"}},
    "twilio": {"request_timeout": "3s", "in_doubt_hold_off": "3s"},
}
TMOBILE_DIGITS = "345"
DAY = Cap(name="tmobile/acme", limit=CAP, unit="segments", zone=TMOBILE_ZONE, reason="tmobile_cap")


def jobs(count: int, *, other: int = 0) -> list[dict[str, object]]:
    """Return *count* jobs to T-Mobile, and so many *other* ones."""
    found: list[dict[str, object]] = []
    row = 0
    wanted = {"tmobile": count, "att": other}
    while any(wanted.values()):
        one = job("spring", row, "marketing")
        carrier = "tmobile" if one["to"][-1] in TMOBILE_DIGITS else "att" if one["to"][-1] in "012" else None
        row += 1
        if carrier is not None and wanted[carrier]:
            wanted[carrier] -= 1
            found.append(one | {"carrier": carrier})
    return found


async def not_around_midnight() -> None:
    """The day must not end while the test runs."""
    day = DAY.day_at(SystemClock.epoch(), 3.0)
    if not day.opens + CLOCKS_DIFFER < SystemClock.epoch() < day.closes - 400:
        pytest.skip("it is about midnight in California")


async def segments_to_tmobile(stage: Stage) -> int:
    return sum(one["segments"] for one in await stage.accepted() if one["to"][-1] in TMOBILE_DIGITS)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_two_workers_use_a_cap_up_to_the_segment_through_a_kill_of_either(
    kafka: str, tmp_path: Path, seed: int
) -> None:
    await not_around_midnight()
    rng = Random(seed)
    published = jobs(3000, other=500)
    async with open_stage(tmp_path, kafka, **FLEET) as stage:
        await stage.start_simulator()
        workers: list[Hand] = [await hire(stage, f"worker-{number}") for number in range(2)]
        await stage.publish(published)
        for number in rng.sample(range(2), 2):
            at = rng.randint(100, CAP // 2) if number == 0 else rng.randint(CAP // 2, CAP - 1)

            async def has_come_so_far(at: int = at) -> bool:
                return await segments_to_tmobile(stage) >= at

            await until(has_come_so_far, within=60, what=f"{at} segments")
            log.info("killing worker %d at %d segments", number, await segments_to_tmobile(stage))
            await workers[number].kill(stage)
            workers[number] = await hire(stage, f"worker-{number}-again")

        async def all_are_concluded_or_wait_for_tomorrow() -> bool:
            return await stage.lag() == 0

        await until(all_are_concluded_or_wait_for_tomorrow, within=120, what="the end")
        await asyncio.sleep(5.0)  # one too many would come now
        assert await segments_to_tmobile(stage) == CAP
        report = await stage.report()
        assert [*report["brands"]["acme"].values()] == [CAP]
        assert report["texted_twice"]["texts"] == 0
        results = await stage.results()
        assert Counter(result["status"] for result in results) == {"accepted": CAP + 500}
        for hand in workers:
            assert await hand.process.stop() == 0


async def test_who_was_texted_is_known_to_the_next_owner(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka, **FLEET, frequency={"per_campaign": 1}) as stage:
        await stage.start_simulator()
        first = await hire(stage, "first")
        recipients = [job("spring", row, "marketing") for row in range(200)]
        await stage.publish(recipients)
        await stage.wait_for_results(200, within=60)
        await first.kill(stage)
        second = await hire(stage, "second")
        await stage.publish(one | {"id": f"{one['id']}-again"} for one in recipients)
        results = await stage.wait_for_results(400, within=60)
        assert Counter(result["status"] for result in results) == {"accepted": 200, "suppressed": 200}
        assert len(await stage.accepted()) == 200
        assert await second.process.stop() == 0
