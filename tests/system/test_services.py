"""Messaging Services, media and letters through the whole program: their rates, and nothing twice where they are."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stage import MAIN, Stage, job, open_stage, until
from dispatcher.simulator.judgement import flows, overruns
from dispatcher.simulator.line import numbers_of_service
from tests.system.chaos import NOBODY, hire, judge

pytestmark = [pytest.mark.kafka, pytest.mark.system]

SERVICE = "MG" + "5" * 32
MEDIA = {"media_urls": ["https://example.com/spring.png"]}


def rows(campaign: str, first: int, many: int, pool: str, **more: Any) -> list[dict[str, Any]]:
    return [job(campaign, row, pool, **more) for row in range(first, first + many)]


async def test_a_service_media_and_letters_each_run_at_their_rate_and_none_above(kafka: str, tmp_path: Path) -> None:
    fleet: dict[str, Any] = {
        "accounts": {"main": MAIN},
        "senders": [
            {"service": SERVICE, "account": "main", "rate": "60/s", "mms_rate": "20/s"},
            {"number": "72345", "kind": "short_code", "account": "main", "rate": "50/s", "mms_rate": "40/s"},
            {"number": "ACME", "kind": "alphanumeric", "account": "main", "countries": ["GB"]},
        ],
        "pools": {
            "club": {"senders": [SERVICE]},
            "marketing": {"senders": ["72345"]},
            "abroad": {"senders": ["ACME"]},
        },
    }
    seconds = 20
    backlog = rows("club", 0, 60 * seconds, "club") + rows("club", 10_000, 20 * seconds, "club", **MEDIA)
    backlog += rows("spring", 20_000, 50 * seconds, "marketing")
    backlog += rows("spring", 30_000, 40 * seconds, "marketing", **MEDIA)
    backlog += [{**one, "to": f"+4477{row:08}"} for row, one in enumerate(rows("uk", 0, 10 * seconds, "abroad"))]
    async with open_stage(tmp_path, kafka, **fleet) as stage:
        await stage.publish(backlog)
        await stage.start_simulator()
        worker = await stage.start_worker()

        async def enough_was_sent() -> bool:
            return bool((await stage.report())["senders"][SERVICE]["segments"] > 60 * (seconds - 6))

        await until(enough_was_sent, within=90, what="most of what goes through the service")
        assert await worker.stop() == 0
        report = await stage.report()
        assert overruns(report) == []
        its_flows = flows(report)
        assert its_flows.keys() == {SERVICE, f"{SERVICE} mms", "72345", "72345 mms", "ACME"}
        for name, flow in its_flows.items():
            assert flow["achieved_rate"] >= 0.97 * flow["rate"], name
        results = await stage.results()
        assert Counter(result["status"] for result in results) == {"accepted": report["messages"]}
        by_sid = {result["sid"]: result for result in results}
        for text in await stage.accepted():
            assert by_sid[text["sid"]]["segments"] == text["segments"] == 1
            if text["service"] is not None:
                assert text["from"] in numbers_of_service(SERVICE, 3)
                assert by_sid[text["sid"]]["sender"] == SERVICE


async def test_a_worker_dies_with_a_service_in_doubt_and_what_twilio_has_is_not_sent_again(
    kafka: str, tmp_path: Path
) -> None:
    count = 1500
    async with open_stage(
        tmp_path,
        kafka,
        senders=[{"service": SERVICE, "account": "main", "rate": "150/s", "mms_rate": "50/s"}],
        pools={"marketing": {"senders": [SERVICE], "in_doubt": "resend"}},
        webhooks={"public_url": NOBODY},
        twilio={"request_timeout": "5s", "in_doubt_hold_off": "5s"},
        # Callbacks go nowhere, so that Twilio's list alone can tell; and some answers never come.
        simulator={"callbacks": False, "undelivered": "0%", "faults": {"accept_then_drop": "2%"}},
    ) as stage:
        await stage.start_simulator()
        jobs = rows("spring", 0, count - 300, "marketing") + rows("spring", count, 300, "marketing", **MEDIA)
        await stage.publish(jobs)
        first, second = await hire(stage, "first"), await hire(stage, "second")
        await results_are_there(stage, 300)
        death = await first.kill(stage)
        await stage.wait_for_results(count, within=120)
        assert await second.process.stop() == 0
        await judge(stage, {one["id"] for one in jobs}, crashes=[death], title="a service in doubt")


async def test_operators_call_a_service_by_its_sid(kafka: str, tmp_path: Path) -> None:
    senders = [
        {"service": SERVICE, "account": "main", "rate": "60/s", "mms_rate": "20/s"},
        {"number": "72345", "kind": "short_code", "account": "main", "rate": "50/s", "mms_rate": "none"},
    ]
    async with open_stage(
        tmp_path, kafka, senders=senders, pools={"marketing": {"senders": [SERVICE, "72345"]}}
    ) as stage:
        await stage.start_simulator()
        await stage.start_worker()
        await stage.command("sender", "suspend", SERVICE, "--why", "complaints")
        listed = {row["sender"]: row for row in await stage.command("sender", "list")}
        assert (listed[SERVICE]["state"], listed[SERVICE]["kind"]) == ("suspended", "messaging_service")
        assert (listed[SERVICE]["mms_rate"], listed["72345"]["mms_rate"]) == ("20/s", None)
        await stage.publish(rows("spring", 0, 50, "marketing"))
        results = await stage.wait_for_results(50, within=30)
        assert {result["sender"] for result in results} == {"72345"}
        await stage.command("sender", "resume", SERVICE)
        found = await stage.command("sender", "explain", "--to", "+12065550142", "--pool", "marketing", "--media")
        assert [one["sender"] for one in found["candidates"] if one["chosen"]] == [SERVICE]
        assert found["limits"][0] == f"sender {SERVICE}: 20/s messages with media"


async def results_are_there(stage: Stage, count: int) -> None:
    async def are_there() -> bool:
        return await stage.count(stage.config["topics"]["results"]) >= count

    await until(are_there, within=60, what=f"{count} results")
