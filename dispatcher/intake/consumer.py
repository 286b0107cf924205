"""Reads the jobs topics, keeps as many jobs in hand as it may, commits what is settled, survives rebalances."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeVar

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.domain.fence import Fence
from dispatcher.domain.fleet import PriorityClass
from dispatcher.domain.journal import Place
from dispatcher.domain.message import JournalPage
from dispatcher.intake.commits import Commits
from dispatcher.intake.held import Held
from dispatcher.intake.offsets import Bookmark, PartitionOffsets
from dispatcher.intake.recovery import History, Recovered
from dispatcher.intake.watchdog import LOOK_EVERY, Mechanism, Watchdog
from dispatcher.telemetry import metrics
from dispatcher.transport.fetching import steer
from dispatcher.transport.kafka import RebalanceListener, committed, fetches_next

log = structlog.get_logger()

# Jobs in hand of one priority class: so far the look-ahead reaches past a saturated pool or a large campaign.
MOST_IN_HAND = 100_000
# Bodies count too: of one class at most so many bytes, with what a job takes beside its record.
MOST_BYTES_IN_HAND = 64 * 1024 * 1024
BYTES_BESIDE_RECORD = 450
# Records taken at once: a few milliseconds of work, so that a beat of the pacing is not missed by more.
BATCH = 200
POLL = 0.2
# When a read takes longer, hardly anything comes: nobody has to wait for others then. Longer than Kafka gathers.
QUIET = 0.050
POLL_WHEN_FULL = 0.02
COMMIT_EVERY = 1.0
RETRY_AFTER = 1.0
MAKE_ROOM_EVERY = 1.0
# A Kafka that needs longer to say where topics end and what the group committed counts as one that does not answer.
ANSWER_WITHIN = 5.0
# Asking for a partition that is nobody's fetches nothing and keeps the group's poll guard content. Pausing instead
# would throw away what was prefetched.
NOTHING = TopicPartition("", -1)

_Value = TypeVar("_Value")
Receive = Callable[[PartitionOffsets, Sequence[Any], int], None]
ReceiveParked = Callable[[PartitionOffsets, Sequence[Any]], None]
Open = Callable[[], AbstractAsyncContextManager[Any]]
Ends = Callable[[Collection[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


class Intake:
    """Feeds the records of the jobs topics to *receive*, with the index of their priority class.

    *open_consumer* returns a consumer in the group that runs while its context lasts. When it stands still it is
    replaced; whether it does is judged by what *ends* says of where partitions end, asked of Kafka by other means.

    Records of the topics of *held* are fed to *receive_parked*, when they are old enough for it; *written* gives the
    end of what this worker wrote into such a topic's partition.

    *make_room* is called when of some partition no more may be taken in hand, *after_batch* when some have been fed.
    *drain* is awaited before partitions are given up: it comes back when nothing of them is in flight any more;
    *abandon* is called instead when they are lost already. *resume* is told
    what the last owners left, and which of all *partitions* indices this worker owns from now on; it returns the page
    of the journal that says again what they left in doubt. *positions* gives those of the journal and the results that
    belong into a commit, for an index. Each commit renews the *fence*.
    """

    def __init__(
        self,
        *,
        open_consumer: Open,
        ends: Ends,
        admin: Any,
        group_id: str,
        priorities: Sequence[PriorityClass],
        partitions: int,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        receive: Receive,
        held: Held,
        receive_parked: ReceiveParked,
        written: Callable[[str, int], int],
        make_room: Callable[[], None],
        after_batch: Callable[[], None],
        drain: Callable[[], Awaitable[None]],
        abandon: Callable[[], None],
        resume: Callable[[Recovered, Collection[int]], Awaitable[JournalPage]],
        positions: Callable[[int], tuple[tuple[int, int], int]],
        history: History,
        fence: Fence,
    ) -> None:
        self._open_consumer = open_consumer
        self._ends = ends
        self._admin = admin
        self._group_id = group_id
        self._priorities = priorities
        self._class_of = {priority.topic: index for index, priority in enumerate(priorities)}
        self._partitions = partitions
        self._clock = clock
        self._receive = receive
        self._held = held
        self._receive_parked = receive_parked
        self._written = written
        self._make_room = make_room
        self._makes_room_at = 0.0
        self._is_short = False
        self._is_quiet = True
        self._after_batch = after_batch
        self._drain = drain
        self._abandon = abandon
        self._resume = resume
        self._history = history
        self._fence = fence
        self._commits = Commits(tasks=tasks, clock=clock, fence=fence, positions=positions, renewed=after_batch)
        self._offsets: dict[TopicPartition, PartitionOffsets] = {}
        self._generation = 0
        self._consumer: Any = None
        self._watchdog = Watchdog()
        self._polls = 0
        self._record_bytes = 256.0  # a moving average

    async def run(self, stop: asyncio.Event) -> None:
        """Read until *stop* is set; then drain and commit.

        A consumer that stands still is replaced; the `DispatcherError` when that does not help says what stands still.
        """
        while not stop.is_set():
            commits = self._commits.done
            try:
                async with self._open_consumer() as self._consumer:
                    stuck = await self._serve(stop)
            except KafkaUnavailableError:
                if not self._polls:
                    raise
                log.warning("Kafka does not answer a new consumer; trying again")
                await self._pause(stop)
                continue
            if stuck is None:
                return
            if not self._watchdog.may_replace(stuck, has_worked=self._commits.done > commits):
                raise DispatcherError(
                    f"{stuck}, though Kafka answers, and another consumer did not help; start the worker again, and if "
                    f"that does not help either, look into Kafka's log for the group {self._group_id}"
                )
            log.error("the consumer is replaced", because=stuck.value)
            metrics.CONSUMERS_REPLACED.labels(stuck.name.lower()).inc()
            await self._pause(stop)

    @property
    def owns_partitions(self) -> bool:
        """Whether the group has given this worker anything to do."""
        return bool(self._offsets)

    async def commit_regularly(self) -> None:
        """Commit every second, for ever; that renews the lease."""
        while True:
            await self._clock.sleep(COMMIT_EVERY)
            await self._commits.commit(self._consumer)

    def measure(self) -> None:
        """Set the gauges of what is in hand and what waits."""
        for index, priority in enumerate(self._priorities):
            of_class = [(tp, offsets) for tp, offsets in self._offsets.items() if self._class_of.get(tp.topic) == index]
            metrics.JOBS_IN_HAND.labels(priority.name).set(sum(offsets.in_hand for _, offsets in of_class))
            lag = sum(max(0, (self._consumer.highwater(tp) or 0) - offsets.position) for tp, offsets in of_class)
            metrics.LAG.labels(priority.name).set(lag)
        for topic in self._held.topics:
            of_tier = [(tp, offsets) for tp, offsets in self._offsets.items() if tp.topic == topic]
            # Of a partition that rests the consumer hears nothing.
            ends = {tp: max(self._consumer.highwater(tp) or 0, self._written(topic, tp.partition)) for tp, _ in of_tier}
            waiting = sum(max(0, ends[tp] - offsets.position) for tp, offsets in of_tier)
            metrics.PARKED.labels(topic.rpartition(".")[2]).set(waiting)

    async def _serve(self, stop: asyncio.Event) -> Mechanism | None:
        """Work with the consumer until it stands still, or *stop* is set: then None; give up what it has."""
        listener = RebalanceListener(self._revoked, self._assigned)
        self._consumer.subscribe([*self._class_of, *self._held.topics], listener=listener)
        ways_to_end: dict[str, Coroutine[Any, Any, Any]] = {
            "stop": stop.wait(),
            "rebalances": listener.failure(),
            "intake": self._read(),
            "watchdog": self._watch(listener),
        }
        try:
            async with asyncio.TaskGroup() as tasks:
                ways = [tasks.create_task(way, name=name) for name, way in ways_to_end.items()]
                ended, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
        finally:
            # A call of this consumer that came later would hand over what is its successor's.
            await listener.dismiss()
        await self._give_up()
        self._commits.leave()
        return None if stop.is_set() else next(way.result() for way in ended)

    async def _read(self) -> Mechanism:
        """Feed what the consumer brings, until it fails."""
        me = asyncio.current_task()
        try:
            while True:
                await self._poll()
                self._polls += 1
        except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
            raise DispatcherError(
                f"Kafka does not let this worker read ({error}); grant it to read the jobs topics, and the group "
                f"{self._group_id}"
            ) from error
        except KafkaError as error:
            log.warning("the consumer fails", error=repr(error))
        except asyncio.CancelledError:
            # aiokafka also raises it when not we but a task of its own was cancelled.
            if me is None or me.cancelling():
                raise
            log.warning("the consumer fails; its coordination was cancelled")
        return Mechanism.BREAKING

    async def _watch(self, listener: RebalanceListener) -> Mechanism:
        """Come back when something of the consumer stands still that would not if all was well."""
        while True:
            await self._clock.sleep(LOOK_EVERY)
            if (stuck := self._watchdog.look(await self._what_moves(listener))) is not None:
                return stuck

    async def _what_moves(self, listener: RebalanceListener) -> dict[tuple[Mechanism, Hashable], object]:
        """Return what has to move until the next look: nothing while Kafka does not answer."""
        wanted = self._with_room()
        began = self._clock.monotonic()
        try:
            # Not cut short: a connection on which nothing comes is given up only when the request on it times out.
            await committed(self._admin, self._group_id, [TopicPartition(next(iter(self._class_of)), 0)])
            ends = await self._ends(wanted)
        except KafkaError:
            return {}
        if self._clock.monotonic() - began > ANSWER_WITHIN:
            return {}
        if listener.is_busy:
            return {(Mechanism.TAKEOVER, self._generation): self._history.records_read}
        moving: dict[tuple[Mechanism, Hashable], object] = {(Mechanism.GROUP, None): self._polls}
        if self._offsets:
            moving[Mechanism.COMMITS, None] = self._commits.done
        for partition in set(wanted) & set(self._with_room()):
            # Not what we have taken: the end of a transaction takes an offset, and is no record.
            reached = fetches_next(self._consumer, partition)
            if reached is None or reached < ends.get(partition, 0):
                moving[Mechanism.FETCHING, partition] = reached
        return moving

    async def _pause(self, stop: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_AFTER):
                await stop.wait()

    async def _poll(self) -> None:
        self._held.turn(self._offsets, self._clock.epoch())
        steer(self._consumer, gathers=not self._is_quiet, without=self._held.idle)
        has_more = bool(self._held) and self._feed_parked()
        wanted = self._with_room()
        if self._is_short and self._clock.monotonic() >= self._makes_room_at:
            self._makes_room_at = self._clock.monotonic() + MAKE_ROOM_EVERY
            self._make_room()
            self._after_batch()
        generation, began = self._generation, self._clock.monotonic()
        found = await self._consumer.getmany(
            *(wanted or (NOTHING,)), timeout_ms=int(POLL * 1000) if wanted and not has_more else 0, max_records=BATCH
        )
        self._is_quiet = self._clock.monotonic() - began > QUIET
        if not wanted:
            await self._clock.sleep(POLL_WHEN_FULL)
            return
        if generation != self._generation:
            # Another assignment came meanwhile, and these are of the old one or, since aiokafka lets a waiting
            # `getmany` go on with what is assigned next, of the new one. Whoever owns them reads them again.
            self._go_back_to_taken(found)
            return
        for partition, records in found.items():
            if partition.topic in self._held.topics:
                self._held.keep(self._consumer, partition, records, self._clock.epoch())
            else:
                self._take(self._offsets[partition], records, self._class_of[partition.topic])
        if found:
            self._after_batch()
        # With records at hand `getmany` never suspends: let the others on the loop have their turn.
        await self._clock.sleep(0)

    def _go_back_to_taken(self, partitions: Iterable[TopicPartition]) -> None:
        """Read next of *partitions*, where they are ours, what follows the last record that was taken in hand."""
        for partition in partitions:
            if (offsets := self._offsets.get(partition)) is not None:
                self._consumer.seek(partition, offsets.position)

    def _take(self, offsets: PartitionOffsets, records: Sequence[Any], priority: int) -> None:
        size = sum(len(record.value or b"") for record in records) / len(records)
        self._record_bytes += min(1.0, 0.001 * len(records)) * (size - self._record_bytes)
        self._receive(offsets, [record for record in records if offsets.take(record.offset)], priority)

    def _feed_parked(self) -> bool:
        """Hand on what was parked for long enough, a few milliseconds of work; say whether there is more of it."""
        most = self._most_of_a_partition()

        def has_room(partition: TopicPartition, more: int) -> bool:
            offsets = self._offsets[partition]
            return offsets.in_hand + more < most and offsets.has_room

        fed = 0
        for partition, records in self._held.ready(self._consumer, BATCH, self._clock.epoch(), has_room):
            offsets = self._offsets[partition]
            self._receive_parked(offsets, [record for record in records if offsets.take(record.offset)])
            fed += len(records)
        if fed:
            self._after_batch()
        return fed >= BATCH

    def _with_room(self) -> list[TopicPartition]:
        """Return the partitions of which more may be read, and see whether some have no room for more."""
        if not self._offsets:
            return []
        most = self._most_of_a_partition()
        roomy = [
            partition for partition, offsets in self._offsets.items() if offsets.in_hand < most and offsets.has_room
        ]
        self._is_short = len(roomy) < len(self._offsets)
        return [partition for partition in roomy if partition not in self._held]

    def _most_of_a_partition(self) -> float:
        """Return how many jobs of a partition may be in hand: what is parked counts as one class more."""
        jobs = min(MOST_IN_HAND, MOST_BYTES_IN_HAND / (self._record_bytes + BYTES_BESIDE_RECORD))
        partitions = len(self._offsets) / (len(self._class_of) + len(self._held.topics))
        return jobs / max(1.0, partitions)

    async def _revoked(self, _revoked: Iterable[TopicPartition]) -> None:
        """Give up everything before the group hands the partitions out anew."""
        log.info("partitions revoked", partitions=len(self._offsets))
        await self._give_up()

    async def _give_up(self) -> None:
        """Finish what is in flight and commit; or, when the lease has run out, leave it all to the next owner."""
        if not self._offsets:
            return
        if self._fence.is_open(self._clock.monotonic()):
            await self._drain()
            # First: what still comes back after a drain that took too long must not be written when they are gone.
            self._disown()
            await self._commits.commit(self._consumer)
        else:
            log.warning("the lease ran out; another worker may own the partitions already")
            self._disown()
            self._abandon()
        # Cleared only now: a commit between clearing and the next assignment would make the group rebalance twice.
        self._fence.close()
        self._generation += 1
        self._held.clear()
        self._offsets = {}
        self._commits.own({})
        metrics.PARTITIONS.set(0)

    def _disown(self) -> None:
        for offsets in self._offsets.values():
            offsets.is_owned = False

    async def _assigned(self, assigned: set[TopicPartition]) -> None:
        """Go on where the last owners stood, with this worker's share of every limit."""
        indices = self._indices(assigned)
        bookmarks, recovered = await self._read_past(assigned)
        owned = {
            partition: PartitionOffsets(partition.topic, partition.partition, bookmarks[partition])
            for partition in assigned
        }
        for topic, partition, offset in recovered.settled:
            if (offsets := owned.get(TopicPartition(topic, partition))) is not None:
                offsets.recall(offset)
        recovered.doubt = _open(recovered.doubt, owned)
        recovered.tried = _open(recovered.tried, owned)
        log.info("partitions assigned", indices=len(indices), of=self._partitions)
        if indices:
            page = await self._resume(recovered, indices)
            for topic, partition, offset in {**recovered.doubt, **recovered.tried}:
                owned[TopicPartition(topic, partition)].announce(offset, page)
        # Only now: a record that was taken before `resume` knows of the past might be sent again.
        self._generation += 1
        self._offsets = owned
        self._commits.own(owned)
        self._go_back_to_taken(owned)
        metrics.PARTITIONS.set(len(indices))
        # Nothing leaves before that: who was frozen while it heard of an assignment may not have it any more.
        await self._commits.commit(self._consumer)

    def _indices(self, assigned: set[TopicPartition]) -> set[int]:
        """Return the partition indices that *assigned* stands for: the same of every jobs topic."""
        by_topic = {
            topic: {tp.partition for tp in assigned if tp.topic == topic}
            for topic in (*self._class_of, *self._held.topics)
        }
        indices = set[int]().union(*by_topic.values())
        if any(of_topic != indices for of_topic in by_topic.values()):
            raise DispatcherError(
                f"the group {self._group_id} assigned unlike partitions of the jobs topics; "
                "let no other program join the group"
            )
        return indices

    async def _read_past(self, assigned: set[TopicPartition]) -> tuple[dict[TopicPartition, Bookmark], Recovered]:
        """Return what was committed of *assigned*, and what happened since."""
        while True:
            try:
                commits = await committed(self._admin, self._group_id, assigned)
                bookmarks = dict.fromkeys(assigned, Bookmark())
                for partition, commit in commits.items():
                    bookmarks[partition] = Bookmark.read(commit.offset, commit.metadata or "")
                return bookmarks, await self._history.read(bookmarks)
            except KafkaError as error:
                log.warning("what the last owner left cannot be read; trying again", error=repr(error))
                await self._clock.sleep(RETRY_AFTER)


def _open(found: Mapping[Place, _Value], owned: Mapping[TopicPartition, PartitionOffsets]) -> dict[Place, _Value]:
    """Return what was *found* of jobs that are to be taken again."""
    return {
        place: value
        for place, value in found.items()
        if (offsets := owned.get(TopicPartition(*place[:2]))) is not None and offsets.is_open(place[2])
    }
