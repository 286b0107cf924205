"""How long does `campaign show` take for a campaign of 2,000,000 results: at first, and when some more have come?"""

import asyncio
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer

from benchmarks import report
from benchmarks.stage import PARTITIONS, Stage, open_stage
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import SystemClock

RESULTS: Final = 2_000_000
MORE: Final = 20_000


async def main() -> None:
    """Run the benchmark."""
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        async with open_stage(Path(folder), kafka.address) as stage:
            report.write("show", await measure(stage))


async def measure(stage: Stage) -> dict[str, Any]:
    """Return the seconds that it takes, the program's start included."""
    worker = await stage.start_worker()  # makes the topics
    await stage.command("campaign", "pause", "spring", "--unknown")
    await worker.stop()
    await _write(stage, 0, RESULTS)
    figures: dict[str, Any] = {"results": RESULTS}
    for name, more in (("at first", 0), ("again", 0), (f"{MORE:,} later", MORE)):
        await _write(stage, RESULTS, more)
        began = SystemClock.monotonic()
        shown = await stage.command("campaign", "show", "spring")
        figures[f"seconds, {name}"] = round(SystemClock.monotonic() - began, 1)
    if shown["done"] != RESULTS + MORE:
        raise RuntimeError(f"it counted {shown['done']}")
    return figures


async def _write(stage: Stage, first: int, count: int) -> None:
    """Write *count* results as workers do, an hour old."""
    topic = stage.config["topics"]["results"]
    an_hour_ago = int(SystemClock.epoch() * 1000) - 3_600_000
    producer = AIOKafkaProducer(bootstrap_servers=stage.kafka, max_batch_size=2**19, max_request_size=2**20)
    await producer.start()
    try:
        rows = iter(range(first, first + count))
        partition = 0
        while chunk := [*islice(rows, 1500)]:
            batch = producer.create_batch()
            for row in chunk:
                batch.append(timestamp=an_hour_ago, key=None, value=_result(row))
            await (await producer.send_batch(batch, topic, partition=partition))
            partition = (partition + 1) % PARTITIONS
    finally:
        await producer.stop()


def _result(row: int) -> bytes:
    refused = row % 50 == 0
    return orjson.dumps(
        {
            "id": f"spring-{row:07d}",
            "campaign": "spring",
            "to": f"+1206{row:07d}",
            "status": "refused" if refused else "accepted",
            "sender": "72345",
            "account": "main",
            "sid": None if refused else f"SM{row:032x}",
            "segments": 0 if refused else 2,
            "code": 21211 if refused else None,
            "reason": "The 'To' number is not a valid phone number." if refused else None,
            "attempts": 1,
            "job": {"topic": "campaign.jobs", "partition": row % PARTITIONS, "offset": row},
            "at": "2026-11-24T18:00:00.000+00:00",
        }
    )


if __name__ == "__main__":
    asyncio.run(main())
