"""Looks into the callbacks topic for proof that Twilio has a message: any callback with its id is one."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.domain.errors import KafkaUnavailableError


class _Callback(msgspec.Struct, gc=False):
    """What is read of a callback's record."""

    mid: str | None = None
    sid: str | None = None


_decode = msgspec.json.Decoder(_Callback).decode


class CallbackLog:
    """Reads *topic* with a *consumer* of no group, only when there is something to look for."""

    def __init__(self, consumer: Any, topic: str, partitions: int) -> None:
        self._consumer = consumer
        self._partitions = [TopicPartition(topic, number) for number in range(partitions)]

    async def proofs(self, wanted: Collection[str], since: datetime) -> Mapping[str, str]:
        """Return the SIDs of those message ids in *wanted* that a callback since *since* speaks of, by id.

        `KafkaUnavailableError` when Kafka does not say.
        """
        try:
            return await self._read(wanted, since)
        except KafkaError as error:
            raise KafkaUnavailableError(f"Kafka does not show the callbacks ({type(error).__name__})") from error

    async def _read(self, wanted: Collection[str], since: datetime) -> Mapping[str, str]:
        consumer = self._consumer
        consumer.assign(self._partitions)
        at = int(since.timestamp() * 1000)
        starts = await consumer.offsets_for_times(dict.fromkeys(self._partitions, at))
        ends = await consumer.end_offsets(self._partitions)
        unread = set()
        for partition, start in starts.items():
            if start is not None and start.offset < ends[partition]:
                consumer.seek(partition, start.offset)
                unread.add(partition)
        found: dict[str, str] = {}
        while unread:
            for partition, records in (await consumer.getmany(*unread, timeout_ms=1000)).items():
                for record in records:
                    if record.key is not None and (mid := record.key.decode()) in wanted:
                        _note(found, mid, record.value)
                if await consumer.position(partition) >= ends[partition]:
                    unread.discard(partition)
        consumer.unsubscribe()
        return found


def _note(found: dict[str, str], mid: str, value: bytes) -> None:
    try:
        callback = _decode(value)
    except msgspec.MsgspecError:
        return  # not of our receiver's making
    if callback.mid == mid and callback.sid is not None:
        found[mid] = callback.sid
