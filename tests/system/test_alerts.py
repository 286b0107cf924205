"""What goes wrong with a campaign is told within half a minute, and who says STOP is texted no more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from twilio.request_validator import RequestValidator

from benchmarks.stage import MAIN, Stage, free_port, job, open_stage, until

pytestmark = [pytest.mark.kafka, pytest.mark.system]

# From the first message on.
WITHIN = 30.0
SECONDS = 40
RATE = 50


class Pager:
    """A webhook that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.told.append(orjson.loads(await request.read()))
        return web.Response()


@pytest.fixture
async def pager() -> AsyncIterator[Pager]:
    found = Pager()
    runner = web.ServerRunner(web.Server(found.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    found.url = f"http://{host}:{port}/hush"
    yield found
    await runner.cleanup()


@asynccontextmanager
async def all_on_stage(folder: Path, kafka: str, pager: Pager, **simulator: Any) -> AsyncIterator[Stage]:
    address = f"127.0.0.1:{free_port()}"
    sections: dict[str, Any] = {
        "senders": [{"number": "72345", "kind": "short_code", "account": "main", "rate": f"{2 * RATE}/s"}],
        "pools": {"marketing": {"senders": ["72345"]}},
        "webhooks": {"public_url": f"http://{address}", "listen": address, "spool": str(folder / "spool")},
        "tracking": {
            "database": str(folder / "tracking.sqlite"),
            "metrics_listen": f"127.0.0.1:{free_port()}",
        },
        "alerts": {"webhooks": [{"url": pager.url}]},
        "simulator": {"callbacks": True, "undelivered": "0%", **simulator},
    }
    async with open_stage(folder, kafka, **sections) as stage:
        await stage.start_simulator()
        await stage.start("receive", "-c", str(stage.config_file), name="receiver")
        tracker = await stage.start("track", "-c", str(stage.config_file), name="tracker")
        await stage._answers(tracker, f"http://{stage.config['tracking']['metrics_listen']}/readyz")
        await stage.start_worker()
        yield stage


async def test_a_filtered_campaign_is_told_of_within_half_a_minute(kafka: str, tmp_path: Path, pager: Pager) -> None:
    async with all_on_stage(tmp_path, kafka, pager, filtered={"SALE": "8%"}) as stage:
        await stage.publish(
            one
            for row in range(SECONDS * RATE)
            for one in (
                job("spring", row, "marketing", "SALE, today only"),
                job("autumn", row, "marketing", "Your parcel is on its way"),
            )
        )
        topic = stage.config["topics"]["alerts"]

        async def is_told() -> bool:
            return any(alert["subject"] == "campaign spring, error 30007" for alert in pager.told)

        await until(is_told, within=WITHIN, what="an alert at the webhook")
        records = {record.key.decode(): orjson.loads(record.value) for record in await stage.read(topic, 1)}
        alert = records["code_spike/campaign spring, error 30007"]
        assert alert in pager.told
        assert (alert["state"], alert["severity"], alert["threshold"]) == ("raised", "page", 0.05)
        assert "carriers filter what it says" in alert["why"]
        assert not [key for key in records if "autumn" in key]
        assert "hush" not in (tmp_path / "tracker.log").read_text(encoding="utf-8")


async def test_who_says_stop_is_texted_no_more_and_after_start_again(kafka: str, tmp_path: Path, pager: Pager) -> None:
    async with all_on_stage(tmp_path, kafka, pager) as stage:
        topic = stage.config["topics"]["suppressions"]
        ana = job("spring", 0, "marketing")["to"]

        async def say(word: str, records: int) -> None:
            url = f"{stage.config['webhooks']['public_url']}/twilio/inbound"
            fields = {"AccountSid": MAIN["sid"], "From": ana, "To": "72345", "MessageSid": f"SM{word}", "Body": word}
            signature = RequestValidator(MAIN["auth_token"]).compute_signature(url, fields)
            async with stage.http.post(url, data=fields, headers={"X-Twilio-Signature": signature}) as response:
                assert response.status == 200

            async def is_written() -> bool:
                return len(await stage.read(topic)) >= records

            await until(is_written, within=30, what=f"what {word} changes")
            # The worker reads it as soon as the test does.
            await asyncio.sleep(2.0)

        async def status_of(row: int, count: int) -> str:
            await stage.publish([{**job("spring", row, "marketing"), "to": ana}])
            results = {result["id"]: result for result in await stage.wait_for_results(count, within=30)}
            return str(results[job("spring", row, "marketing")["id"]]["status"])

        assert await status_of(0, 1) == "accepted"
        await say("Stop.", 1)
        assert await status_of(1, 2) == "suppressed"
        await say("START", 2)
        assert await status_of(2, 3) == "accepted"
        records = await stage.read(topic)
        assert [(record.key.decode(), record.value is None) for record in records] == [(ana, False), (ana, True)]
