"""Finds the rows of a campaign that are in the jobs topic already: the topic is the truth, whatever crashed."""

import re
from collections.abc import Awaitable, Callable, Mapping
from itertools import chain
from typing import Any

import msgspec

from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.publishing.recipients import job_id
from dispatcher.transport.kafka import TopicPartition

_POLL_MS = 500
_STALL = 60.0
_DIGITS = re.compile(r"[0-9]{6,15}")


class _Published(msgspec.Struct, gc=False):
    """What counts of a job here."""

    id: str
    campaign: str


_decoder = msgspec.json.Decoder(_Published)


async def published_rows(
    consumer: Any,
    clock: Clock,
    *,
    topic: str,
    campaign: str,
    rows: int,
    start_offsets: Mapping[int, int],
    progress: Callable[[int, int], Awaitable[None]],
) -> bytearray:
    """Return a byte for each row, from 1 to *rows*, that is 1 where the row is in *topic* after *start_offsets*.

    *consumer* is of no group; *progress* is told how many records of how many have been read. `DispatcherError` when
    the topic no longer has all that was written since.
    """
    partitions = {TopicPartition(topic, partition): offset for partition, offset in start_offsets.items()}
    await _refuse_gaps(consumer, partitions, campaign)
    ends = await consumer.end_offsets(list(partitions))
    total = sum(ends[partition] - start for partition, start in partitions.items())
    found = bytearray(rows + 1)
    consumer.assign(list(partitions))
    for partition, start in partitions.items():
        consumer.seek(partition, start)
    left, deadline = total, clock.monotonic() + _STALL
    while left:
        batches = await consumer.getmany(timeout_ms=_POLL_MS)
        for record in chain.from_iterable(batches.values()):
            if (row := row_of(record.value, campaign)) is not None and row <= rows:
                found[row] = 1
        if batches:
            deadline = clock.monotonic() + _STALL
        elif clock.monotonic() > deadline:
            raise KafkaUnavailableError(f"Kafka gave nothing of {topic} for {_STALL:.0f} s; run the command again")
        left = sum([max(0, ends[partition] - await consumer.position(partition)) for partition in partitions])
        await progress(total - left, total)
    return found


async def _refuse_gaps(consumer: Any, partitions: Mapping[TopicPartition, int], campaign: str) -> None:
    """Raise `DispatcherError` where the topic lacks records that may be the campaign's."""
    first = await consumer.beginning_offsets(list(partitions))
    ends = await consumer.end_offsets(list(partitions))
    for partition, start in partitions.items():
        if not first[partition] <= start <= ends[partition]:
            raise DispatcherError(
                f"{partition.topic} no longer holds all that was written since the campaign began, so nobody can tell "
                f'which rows of "{campaign}" were published; look at the results, and publish the rest under a new name'
            )


def row_of(value: bytes | None, campaign: str) -> int | None:
    """Return the row that the job in *value* was made from; None for a job that is not of *campaign*."""
    try:
        job = _decoder.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    digits = job.id.removeprefix(f"{campaign}-")
    if job.campaign != campaign or not _DIGITS.fullmatch(digits) or job.id != job_id(campaign, int(digits)):
        return None
    return int(digits)
