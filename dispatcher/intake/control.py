"""Follows the control topic: what operators, rules and publishers say about campaigns and senders."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.control import CAMPAIGN, SENDER, CampaignRecord, SenderRecord, decode_campaign, decode_sender
from dispatcher.domain.rate import Rate

log = structlog.get_logger()

RETRY_AFTER = 1.0
LOOK_AGAIN = 0.05
# aiokafka's idempotent producer would try for ever.
TELL_TIMEOUT = 10.0

Ends = Callable[[Collection[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


class ControlReader:
    """Hands each record to *campaign* with the campaign's name, or *sender* with its number; None: it was removed.

    *acknowledge* is told the offset before which everything is obeyed, whenever something was. *ends* says where
    partitions end, asked of Kafka by other means than *consumer*, whose fetch may be waiting for what comes.
    """

    def __init__(
        self,
        consumer: Any,
        topic: str,
        clock: Clock,
        *,
        ends: Ends,
        campaign: Callable[[str, CampaignRecord | None], None],
        sender: Callable[[str, SenderRecord | None], None],
        acknowledge: Callable[[int], Awaitable[None]],
    ) -> None:
        self._consumer = consumer
        self._partition = TopicPartition(topic, 0)
        self._clock = clock
        self._ends = ends
        self._campaign = campaign
        self._sender = sender
        self._acknowledge = acknowledge
        self._before = 0
        self._is_acknowledged = False

    async def begin(self) -> None:
        """Read all there is, so that no campaign starts before it is known what holds for it."""
        end = (await self._ends([self._partition]))[self._partition]
        self._consumer.assign([self._partition])
        while await self._consumer.position(self._partition) < end:
            await self._read()
        await self._tell()

    async def follow(self) -> None:
        """Read what comes, for ever."""
        while True:
            try:
                await self._read()
                await self._tell()
            except (KafkaError, TimeoutError) as error:
                log.warning("the control topic cannot be read, or not be answered; trying again", error=repr(error))
                await self._clock.sleep(RETRY_AFTER)

    async def caught_up(self) -> None:
        """Come back when `follow` has read what is there by now: a word that was given before this is obeyed."""
        while True:
            try:
                end = (await self._ends([self._partition]))[self._partition]
                while await self._consumer.position(self._partition) < end:
                    await self._clock.sleep(LOOK_AGAIN)
            except KafkaError as error:
                log.warning("the control topic cannot be read; trying again", error=repr(error))
                await self._clock.sleep(RETRY_AFTER)
            else:
                return

    async def _read(self) -> None:
        found = await self._consumer.getmany(timeout_ms=1000)
        for records in found.values():
            for record in records:
                if self._obey((record.key or b"").decode("utf-8", "replace"), record.value):
                    self._before, self._is_acknowledged = record.offset + 1, False

    async def _tell(self) -> None:
        if not self._is_acknowledged:
            async with asyncio.timeout(TELL_TIMEOUT):
                await self._acknowledge(self._before)
            self._is_acknowledged = True

    def _obey(self, key: str, value: bytes | None) -> bool:
        """Do what a record says; say whether it was one to be obeyed."""
        try:
            if key.startswith(CAMPAIGN):
                self._campaign(key.removeprefix(CAMPAIGN), None if value is None else _campaign(value))
            elif key.startswith(SENDER):
                self._sender(key.removeprefix(SENDER), None if value is None else decode_sender(value))
            else:
                return False
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            log.warning("a control record cannot be read; it is passed over", key=key, error=str(error))
        return True


def _campaign(value: bytes) -> CampaignRecord:
    record = decode_campaign(value)
    if record.rate is not None:
        Rate.parse(record.rate)
    return record
