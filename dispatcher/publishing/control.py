"""What the control topic says about a campaign: what was begun, who publishes it now, and whether all of it is there.

Three records a campaign, since operators write, too: `campaign/<name>` is what others read and change, so a publisher
writes it once, at the beginning; `publishing/<name>` is the claim of the process that publishes it, renewed while it
lives and removed at its end; `published/<name>` says of what was begun at a time that every row is in the jobs topic.
"""

import asyncio
from typing import Any

import msgspec

from dispatcher.clock import Clock
from dispatcher.domain.control import CAMPAIGN, PUBLISHED, Begun, CampaignRecord, State, decode_campaign, encode
from dispatcher.domain.errors import DispatcherError
from dispatcher.transport.kafka import TopicPartition

# Seconds between two signs of life, and the silence after which nobody waits for the next one.
SIGN_OF_LIFE = 2.0
SILENCE = 6.0
# Seconds within which Kafka answers: longer than a broker that was killed takes to come back.
ANSWER_TIMEOUT = 60.0
_POLL_MS = 200


class ControlTopic:
    """The records of the campaign *name*; *run* tells this process from all others.

    *consumer* is of no group. *record* is the campaign's, as of the last time that anything was read. `TimeoutError`
    when Kafka does not answer.
    """

    def __init__(self, producer: Any, consumer: Any, clock: Clock, *, topic: str, name: str, run: str) -> None:
        self._producer = producer
        self._consumer = consumer
        self._clock = clock
        self._partition = TopicPartition(topic, 0)
        self._campaign_key = f"{CAMPAIGN}{name}".encode()
        self._published_key = f"{PUBLISHED}{name}".encode()
        self._claim_key = f"publishing/{name}".encode()
        self._name = name
        self._run = run.encode()
        self._claims: list[bytes | None] = []
        self._renewed_at = 0.0
        self._latest: list[CampaignRecord | None] = []
        self.record: CampaignRecord | None = None
        self._published: bytes | None = None

    @property
    def is_claimed(self) -> bool:
        """Whether a process publishes the campaign, or did and left no word."""
        return bool(self._claims) and self._claims[-1] is not None

    @property
    def is_published(self) -> bool:
        """Whether all of what was begun is in the jobs topic."""
        begun = self.record.begun if self.record is not None else None
        return begun is not None and self._published == begun.mark.encode()

    async def read(self) -> None:
        """Read all there is."""
        self._consumer.assign([self._partition])
        await self._consumer.seek_to_beginning(self._partition)
        await self._read_to_end()

    async def claim(self) -> None:
        """Become the only one who publishes the campaign, after `read`.

        A claim that its process left behind is waited out. `DispatcherError` when another process is at it.
        """
        if self.is_claimed:
            await self._wait_for_silence()
        # Two that begin at once have both seen nothing. The topic's order decides: each reads on up to its own claim,
        # and the second one finds the first's before it.
        self._claims = []
        await self._renew()
        async with asyncio.timeout(ANSWER_TIMEOUT):
            while self._run not in self._claims:
                await self._read()
        if self._others(self._claims[: self._claims.index(self._run)]):
            raise self._taken()

    async def keep(self) -> None:
        """Give a sign of life when one is due: call it often, and before whatever only the claim allows.

        `DispatcherError` when they failed to come for so long that another process has taken over.
        """
        if self._clock.monotonic() - self._renewed_at < SIGN_OF_LIFE:
            return
        before = self._renewed_at
        await self._renew()
        if self._clock.monotonic() - before > SILENCE:
            await self._read_to_end()
            if self._others(self._claims):
                raise self._taken()

    async def _renew(self) -> None:
        now = self._clock.monotonic()
        await self._append(self._claim_key, self._run)
        self._renewed_at = now
        await self._read(0)
        if self.record is not None and self.record.state == "cancelled":
            raise DispatcherError(
                f'the campaign "{self._name}" was cancelled; publish what is to be sent under another name'
            )

    async def release(self) -> None:
        """Let the next one begin without waiting."""
        await self._append(self._claim_key, None)

    async def begin(self, begun: Begun, *, rate: str | None, state: State) -> None:
        """Tell everybody about the campaign; what an operator said of it before stays."""
        while True:
            before = self.record
            record = CampaignRecord(
                state=before.state if before else state, order=before.order if before else None, rate=rate, begun=begun
            )
            await self._append(self._campaign_key, encode(record))
            self._latest = []
            await self._read_to_end()
            # An operator's word that came between what we had read and what we wrote has been overwritten.
            others = [one for one in self._latest if one != record]
            if self._latest[0] == record or (others[-1] is not None and others[-1].begun == begun):
                return
            self.record = others[-1]

    async def finish(self) -> None:
        """Tell everybody that every row is in the jobs topic."""
        if self.record is not None and self.record.begun is not None:
            await self._append(self._published_key, self.record.begun.mark.encode())

    async def _append(self, key: bytes, value: bytes | None) -> None:
        # By itself aiokafka would wait for ever.
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await self._producer.send_and_wait(self._partition.topic, key=key, value=value, partition=0)

    async def _wait_for_silence(self) -> None:
        self._claims = []
        deadline = self._clock.monotonic() + SILENCE
        while self._clock.monotonic() < deadline and not self._claims:
            await self._read()
        if self.is_claimed:
            raise self._taken()

    def _others(self, claims: list[bytes | None]) -> bool:
        return any(claim not in {None, self._run} for claim in claims)

    def _taken(self) -> DispatcherError:
        return DispatcherError(
            f'another process is publishing the campaign "{self._name}" at this moment; let it finish, or stop it first'
        )

    async def _read_to_end(self) -> None:
        end = (await self._consumer.end_offsets([self._partition]))[self._partition]
        async with asyncio.timeout(ANSWER_TIMEOUT):
            while await self._consumer.position(self._partition) < end:
                await self._read()

    async def _read(self, timeout_ms: int = _POLL_MS) -> None:
        found = await self._consumer.getmany(timeout_ms=timeout_ms)
        for record in found.get(self._partition, ()):
            if record.key == self._claim_key:
                self._claims.append(record.value)
            elif record.key == self._campaign_key:
                self.record = self._decoded(record.value)
                self._latest.append(self.record)
            elif record.key == self._published_key:
                self._published = record.value

    def _decoded(self, value: bytes | None) -> CampaignRecord | None:
        if value is None:
            return None
        try:
            return decode_campaign(value)
        except msgspec.MsgspecError as error:
            raise DispatcherError(
                f'the control topic has a record of the campaign "{self._name}" that cannot be read ({error}); '
                "publish under another name"
            ) from error
