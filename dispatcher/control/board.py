"""The control topic as an operator sees it: what holds now, and how to change it without undoing another's word."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from dispatcher.clock import Clock
from dispatcher.domain.control import (
    CAMPAIGN,
    COUNTED,
    PUBLISHED,
    SENDER,
    WORKER,
    CampaignRecord,
    Counted,
    SenderRecord,
    decode_applied,
    decode_campaign,
    decode_counted,
    decode_sender,
    encode,
)
from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.domain.settings import Settings
from dispatcher.transport.kafka import (
    TopicPartition,
    group_members,
)
from dispatcher.transport.topics import open_topic

# Seconds within which Kafka answers: longer than a broker that was killed takes to come back.
ANSWER_TIMEOUT = 60.0
# Seconds until every worker has obeyed, or has been given up by its group (`transport.kafka.SESSION_TIMEOUT`).
OBEYED_WITHIN = 20.0
LOOK_EVERY = 0.1
_POLL_MS = 100


@asynccontextmanager
async def open_board(settings: Settings, clock: Clock) -> AsyncIterator["Board"]:
    """Open the control topic and read all there is; `KafkaUnavailableError` when Kafka fails meanwhile."""
    try:
        async with open_topic(settings, settings.topics.control) as clients:
            board = Board(settings, clock, *clients)
            await board.read()
            yield board
    except TimeoutError as error:
        raise KafkaUnavailableError(
            f"Kafka did not answer for {ANSWER_TIMEOUT:.0f} s; run the command again when it does"
        ) from error


class Board:
    """What the control topic says now: *campaigns* by name, *senders* by number.

    *obeyed* is the offset before which each worker obeys everything, by its name.
    """

    def __init__(self, settings: Settings, clock: Clock, admin: Any, producer: Any, consumer: Any) -> None:
        self._group = settings.kafka.group_id
        self._clock = clock
        self._admin = admin
        self._producer = producer
        self._consumer = consumer
        self._partition = TopicPartition(settings.topics.control, 0)
        self._seen: list[tuple[int, str, bytes | None]] = []
        self.campaigns: dict[str, CampaignRecord] = {}
        self.senders: dict[str, SenderRecord] = {}
        self.published: dict[str, str] = {}
        self.counted: dict[str, Counted] = {}
        self.obeyed: dict[str, int] = {}

    async def read(self) -> None:
        """Read all there is."""
        self._consumer.assign([self._partition])
        await self._consumer.seek_to_beginning(self._partition)
        await self._read_on()

    async def change_campaign(self, name: str, change: Callable[[CampaignRecord | None], CampaignRecord]) -> int:
        """Write what *change* makes of the record of the campaign *name*; return the offset at which that stands.

        Another may write at the same moment. What *change* says is then made of the other's record, too.
        """
        return await self._change(f"{CAMPAIGN}{name}", lambda: change(self.campaigns.get(name)))

    async def change_sender(self, number: str, change: Callable[[SenderRecord], SenderRecord]) -> int:
        """Write what *change* makes of the record of the sender with *number*, as in `change_campaign`."""
        return await self._change(f"{SENDER}{number}", lambda: change(self.senders.get(number, SenderRecord())))

    async def _change(self, key: str, change: Callable[[], CampaignRecord | SenderRecord]) -> int:
        overwritten: bytes | None = None
        while True:
            try:
                record = change()
            except DispatcherError:
                if overwritten is not None:
                    await self._append(key, overwritten)
                raise
            offset = await self._append(key, encode(record))
            self._seen = []
            await self._read_on()
            others = [value for at, other, value in self._seen if other == key and at < offset]
            if not others:
                return offset
            overwritten = others[-1]
            self._note(key, overwritten)

    async def remember(self, name: str, counted: Counted) -> None:
        """Write down how far the results of the campaign *name* were counted; of two who do either one's will do."""
        await self._append(f"{COUNTED}{name}", encode(counted))

    async def members(self) -> list[str]:
        """Return the names of the workers that are in the group."""
        return sorted(await group_members(self._admin, self._group))

    async def wait_until_obeyed(self, offset: int) -> list[str]:
        """Come back when every worker of the group obeys the record at *offset*; return their names.

        A worker that has died is waited for until the group has given it up. `DispatcherError` names those who keep
        silent.
        """
        deadline = self._clock.monotonic() + OBEYED_WITHIN
        while True:
            await self._read_on()
            members = await self.members()
            silent = [member for member in members if self.obeyed.get(member, 0) <= offset]
            if not silent:
                return members
            if self._clock.monotonic() > deadline:
                raise DispatcherError(
                    f"it is written, but not every worker has said within {OBEYED_WITHIN:.0f} s that it obeys: "
                    f"{', '.join(silent)} may still send; look into its log, or stop it"
                )
            await self._clock.sleep(LOOK_EVERY)

    async def _append(self, key: str, value: bytes) -> int:
        # By itself aiokafka would wait for ever.
        async with asyncio.timeout(ANSWER_TIMEOUT):
            written = await self._producer.send_and_wait(
                self._partition.topic, key=key.encode(), value=value, partition=0
            )
        return int(written.offset)

    async def _read_on(self) -> None:
        """Read to the present end."""
        async with asyncio.timeout(ANSWER_TIMEOUT):
            end = (await self._consumer.end_offsets([self._partition]))[self._partition]
            while await self._consumer.position(self._partition) < end:
                found = await self._consumer.getmany(timeout_ms=_POLL_MS)
                for record in found.get(self._partition, ()):
                    key = (record.key or b"").decode("utf-8", "replace")
                    self._seen.append((record.offset, key, record.value))
                    self._note(key, record.value)

    def _note(self, key: str, value: bytes | None) -> None:
        """Keep what a record says; what cannot be read says nothing, to workers neither."""
        with suppress(msgspec.MsgspecError):
            if key.startswith(CAMPAIGN):
                name = key.removeprefix(CAMPAIGN)
                if value is None:
                    self.campaigns.pop(name, None)
                else:
                    self.campaigns[name] = decode_campaign(value)
            elif key.startswith(SENDER):
                number = key.removeprefix(SENDER)
                self.senders[number] = SenderRecord() if value is None else decode_sender(value)
            elif key.startswith(PUBLISHED) and value is not None:
                self.published[key.removeprefix(PUBLISHED)] = value.decode()
            elif key.startswith(COUNTED) and value is not None:
                self.counted[key.removeprefix(COUNTED)] = decode_counted(value)
            elif key.startswith(WORKER) and value is not None:
                self.obeyed[key.removeprefix(WORKER)] = decode_applied(value).before

    def mark(self, name: str) -> str:
        """Return what tells the campaign *name* from what had the same name before; empty where nothing was begun."""
        record = self.campaigns.get(name)
        return record.begun.mark if record is not None and record.begun is not None else ""

    def is_published(self, name: str) -> bool:
        """Say whether all rows of the campaign *name* are in the jobs topic, as far as a publisher began it."""
        mark = self.mark(name)
        return bool(mark) and self.published.get(name) == mark
