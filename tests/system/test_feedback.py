"""What Twilio calls back with acts on dispatch: with receiver, tracker and workers as processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stage import Stage, free_port, job, open_stage, until

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow]

RULE = {"when": {"code": 30007, "share": ">5%", "of_at_least": 100, "within": "1min"}, "do": "pause_campaign"}


@asynccontextmanager
async def everything(folder: Path, kafka: str, **sections: Any) -> AsyncIterator[Stage]:
    """Start the stand-in, a receiver and a tracker."""
    port, metrics, tracking = free_port(), free_port(), free_port()
    sections.setdefault("simulator", {"callbacks": True})
    async with open_stage(
        folder,
        kafka,
        webhooks={
            "public_url": f"http://127.0.0.1:{port}",
            "listen": f"127.0.0.1:{port}",
            "metrics_listen": f"127.0.0.1:{metrics}",
            "spool": str(folder / "spool"),
        },
        tracking={"database": str(folder / "view.sqlite"), "metrics_listen": f"127.0.0.1:{tracking}"},
        **sections,
    ) as stage:
        await stage.start_simulator()
        for name, at in (("receive", metrics), ("track", tracking)):
            process = await stage.start(name, "-c", str(stage.config_file), name=name)
            await stage._answers(process, f"http://127.0.0.1:{at}/healthz")
        yield stage


async def waiting_seconds(stage: Stage, drained: float) -> float:
    """Return how long the queue is that the stand-in drains at *drained* messages a second."""
    return sum(one["status"] in {"queued", "accepted"} for one in await stage.accepted()) / drained


@pytest.mark.parametrize(
    ("number", "kind", "rate"),
    [("72345", "short_code", 100), ("+18885550100", "toll_free", 10), ("+18885550100", "toll_free", 3)],
)
async def test_a_sender_that_drains_at_half_its_rate_is_found_out_and_returns(
    kafka: str, tmp_path: Path, number: str, kind: str, rate: int
) -> None:
    async with everything(
        tmp_path,
        kafka,
        senders=[{"number": number, "kind": kind, "account": "main", "rate": f"{rate}/s"}],
        pools={"marketing": {"senders": [number]}},
        simulator={"callbacks": True, "rate_factors": {number: 0.5}},
    ) as stage:
        await stage.publish(job("spring", row, "marketing") for row in range(150 * rate))
        await stage.start_worker()
        await asyncio.sleep(30)
        depths = []
        for _ in range(30):
            depths.append(await waiting_seconds(stage, rate / 2))
            await asyncio.sleep(1)
        assert max(depths) < 10, depths
        (factor,) = (await stage.metric("dispatcher_sender_rate_factor")).values()
        assert factor < 0.9
        await stage.http.post(f"{stage.simulator_url}/_simulator/knobs", json={"rate_factors": {number: 1.0}})

        async def is_back() -> bool:
            return (await stage.metric("dispatcher_sender_rate_factor"))[f'sender="{number}"'] == 1.0

        await until(is_back, within=90, what="the configured rate")


async def test_a_campaign_that_carriers_filter_is_paused_and_another_goes_on(kafka: str, tmp_path: Path) -> None:
    async with everything(
        tmp_path, kafka, feedback={"rules": [RULE]}, simulator={"callbacks": True, "filtered": {"WIN": "8%"}}
    ) as stage:
        await stage.publish(job("spring", row, "marketing", body="WIN now") for row in range(5000))
        await stage.publish(job("summer", 10_000 + row, "marketing", body="Hello") for row in range(5000))
        await stage.start_worker()

        async def is_paused() -> bool:
            campaigns = await stage.command("campaign", "list")
            return [(one["campaign"], one["state"], one["by"]) for one in campaigns] == [
                ("spring", "paused", "a feedback rule")
            ]

        await until(is_paused, within=30, what="the pause")
        (campaign,) = await stage.command("campaign", "list")
        assert campaign["why"].endswith("ended with 30007")
        await asyncio.sleep(1)
        before = await stage.accepted()
        await asyncio.sleep(5)
        after = (await stage.accepted())[len(before) :]
        assert not [one for one in after if one["to"] < "+12065010000"]
        assert len(after) >= 5 * 95
