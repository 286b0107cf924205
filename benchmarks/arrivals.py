"""Appends jobs to Kafka at a steady pace, whatever becomes of them: nobody who is slow is given time."""

import asyncio
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer

from benchmarks.stage import PARTITIONS, Stage
from dispatcher.clock import SystemClock

_TICK: Final = 0.001
_clock = SystemClock()


async def append_steadily(
    stage: Stage, jobs: Iterable[Mapping[str, Any]], rate: float, priority: str = "bulk"
) -> dict[str, float]:
    """Append *jobs* to the topic of *priority*, *rate* a second; return when each was due, by recipient (monotonic).

    What is due within a millisecond is one batch of a partition, the partitions taking turns: appended one by one, the
    jobs would cost this process as much as they cost the worker that is measured beside it.
    """
    topic = stage.topic(priority)
    records = [(job["to"], job["to"].encode(), orjson.dumps(job)) for job in jobs]
    due_at: dict[str, float] = {}
    async with AIOKafkaProducer(bootstrap_servers=stage.kafka, acks="all") as producer:
        start = _clock.monotonic()
        done = 0
        for turn in count():
            if done == len(records):
                break
            batch = producer.create_batch()
            due = start + done / rate
            while done < len(records) and due <= _clock.monotonic():
                to, key, value = records[done]
                if batch.append(timestamp=None, key=key, value=value) is None:
                    break
                due_at[to] = due
                done += 1
                due = start + done / rate
            if batch.record_count():
                await producer.send_batch(batch, topic, partition=turn % PARTITIONS)
            # Rather late than early, which uvloop's sleep may be: lateness counts as a wait.
            await asyncio.sleep(max(0.0, due - _clock.monotonic()) + _TICK)
        await producer.flush()
    return due_at
