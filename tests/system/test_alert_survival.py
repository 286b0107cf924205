"""An alert that is raised outlives its tracker: it is not raised again, and not forgotten."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.stage import Process, Stage, free_port, open_stage, until
from dispatcher.alerts.alarms import CLEAR_AFTER, RAISE_AFTER

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow]

RULE = {"when": {"code": 30003, "share": ">3%", "of_at_least": 100, "within": "5min"}, "do": "alert"}
KEYS = {
    "code_spike/campaign spring, error 30003",
    "code_spike/sender 72345, error 30003",
    "feedback_rule/campaign spring, error 30003 above 3% within 5 min",
}


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Told:
    """What Kafka is told of messages, and which alerts follow."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._rows = iter(range(10**6))

    async def track(self, name: str) -> Process:
        process = await self.stage.start("track", "-c", str(self.stage.config_file), name=name)
        await self.stage._answers(process, f"http://{self.stage.config['tracking']['metrics_listen']}/readyz")
        return process

    async def end(self, delivered: int, undelivered: int) -> None:
        """Let so many messages have ended now."""
        mids = [f"m{next(self._rows)}" for _ in range(delivered + undelivered)]
        topics = self.stage.config["topics"]
        await self.stage.append(topics["results"], ((mid, self._result(mid)) for mid in mids))
        await self.stage.append(topics["callbacks"], self._callbacks(mids, delivered))

    async def alerts(self) -> list[tuple[str, str]]:
        records = await self.stage.read(self.stage.config["topics"]["alerts"], 1)
        return sorted((record.key.decode(), orjson.loads(record.value)["state"]) for record in records)

    def _result(self, mid: str) -> bytes:
        found = {"campaign": "spring", "to": "+12065550142", "status": "accepted", "sender": "72345", "account": "main"}
        return orjson.dumps({"id": mid, "sid": f"SM{mid}", "segments": 1, "at": now(), **found})

    def _callbacks(self, mids: list[str], delivered: int) -> Iterator[tuple[str, bytes]]:
        for row, mid in enumerate(mids):
            end: dict[str, Any] = (
                {"status": "delivered"} if row < delivered else {"status": "undelivered", "error_code": 30003}
            )
            said = {"kind": "status", "mid": mid, "attempt": 1, "account": "main", "sid": f"SM{mid}"}
            parties = {"From": "72345", "To": "+12065550142"}
            yield mid, orjson.dumps({**said, **end, "received_at": now(), "parameters": parties})


async def test_an_alert_outlives_its_tracker_is_raised_once_and_cleared_once(kafka: str, tmp_path: Path) -> None:
    async with open_stage(
        tmp_path,
        kafka,
        tracking={"database": str(tmp_path / "view.sqlite"), "metrics_listen": f"127.0.0.1:{free_port()}"},
        feedback={"rules": [RULE]},
    ) as stage:
        told = Told(stage)
        tracker = await told.track("tracker-0")
        await told.end(276, 24)
        raised = sorted((key, "raised") for key in KEYS)

        async def is_raised() -> bool:
            return await told.alerts() == raised

        await until(is_raised, within=RAISE_AFTER + 25, what="the alerts")
        await tracker.kill()
        tracker = await told.track("tracker-1")
        # All is as wrong as it was, and nothing more is heard: neither is it raised again nor well again.
        await asyncio.sleep(CLEAR_AFTER + RAISE_AFTER + 5)
        assert await told.alerts() == raised
        await told.end(3000, 0)
        await asyncio.sleep(CLEAR_AFTER / 2)
        await tracker.stop()
        await told.track("tracker-2")
        assert await told.alerts() == raised

        async def is_cleared() -> bool:
            return await told.alerts() == sorted(raised + [(key, "cleared") for key in KEYS])

        await until(is_cleared, within=CLEAR_AFTER + 30, what="that all is well")
