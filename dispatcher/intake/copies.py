"""Which jobs the last owners parked without coming to commit it: told by the copies, which name what they settle."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from typing import Any

from aiokafka import TopicPartition

from dispatcher.domain.journal import Place
from dispatcher.domain.parking import NotParkedError, read_headers
from dispatcher.intake.offsets import Bookmark

# Copies are written by who committed less than a lease ago. With what Kafka takes to take them, a new owner finds all
# that no commit tells of among the last so many seconds of each tier.
UNCOMMITTED = 30.0

Offsets = Mapping[TopicPartition, int]


class Copies:
    """Reads the topics *parked* with a *consumer* of no group."""

    def __init__(self, consumer: Any, parked: Collection[str]) -> None:
        self._consumer = consumer
        self._parked = parked

    async def uncommitted(self, bookmarks: Mapping[TopicPartition, Bookmark]) -> set[Place]:
        """Return what was parked of partitions since they were committed as *bookmarks* say, and maybe before."""
        tiers = [partition for partition in bookmarks if partition.topic in self._parked]
        beginnings = await self._consumer.beginning_offsets(tiers)
        ends: Offsets = await self._consumer.end_offsets(tiers)
        latest = {tier: ends[tier] - 1 for tier in tiers if beginnings[tier] < ends[tier]}
        since: dict[TopicPartition, int] = {}
        async for record in self._read(latest, ends):
            since[TopicPartition(record.topic, record.partition)] = int(record.timestamp - UNCOMMITTED * 1000)
        found = await self._consumer.offsets_for_times(since) if since else {}
        copied: set[Place] = set()
        async for record in self._read({tier: at.offset for tier, at in found.items() if at is not None}, ends):
            with suppress(NotParkedError):
                place = read_headers(record.headers).copied
                if place is None or place.partition != record.partition:
                    continue
                bookmark = bookmarks.get(TopicPartition(place.topic, place.partition))
                if bookmark is not None and place.offset >= bookmark.watermark:
                    copied.add((place.topic, place.partition, place.offset))
        return copied

    async def _read(self, starts: Offsets, ends: Offsets) -> AsyncIterator[Any]:
        """Yield the records of each partition from its start to its end."""
        if not starts:
            return
        consumer = self._consumer
        consumer.assign(list(starts))
        for partition, start in starts.items():
            consumer.seek(partition, start)
        unread = set(starts)
        while unread:
            for partition, found in (await consumer.getmany(*unread, timeout_ms=1000)).items():
                for record in found:
                    if record.offset < ends[partition]:
                        yield record
                if await consumer.position(partition) >= ends[partition]:
                    unread.discard(partition)
        consumer.unsubscribe()
