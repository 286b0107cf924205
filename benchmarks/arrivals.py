"""Appends jobs to Kafka at a steady pace, whatever becomes of them: nobody who is slow is given time."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from benchmarks.stage import Stage
from dispatcher.clock import SystemClock

_TICK = 0.001
_clock = SystemClock()


async def append_steadily(
    stage: Stage, jobs: Iterable[Mapping[str, Any]], rate: float, priority: str = "bulk"
) -> dict[str, float]:
    """Append *jobs* to the topic of *priority*, *rate* a second; return when each was due, by recipient (monotonic)."""
    due_at: dict[str, float] = {}
    topic = stage.topic(priority)
    async with AIOKafkaProducer(bootstrap_servers=stage.kafka, acks="all") as producer:
        start = _clock.monotonic()
        for number, job in enumerate(jobs):
            due = start + number / rate
            if (early := due - _clock.monotonic()) > 0:
                # Rather late than early, which uvloop's sleep may be: lateness counts as a wait.
                await asyncio.sleep(early + _TICK)
            due_at[job["to"]] = due
            await producer.send(topic, orjson.dumps(job), key=job["to"].encode())
        await producer.flush()
    return due_at
