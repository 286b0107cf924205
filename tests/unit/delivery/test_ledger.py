"""Intents are safe before messages leave, and each message is handed back once, whatever happens to its partition."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError

from dispatcher.delivery.ledger import IN_TIME, MOST_INHERITED, MOST_TRIED, TICK, Ledger
from dispatcher.domain.journal import Intent, Page, Tried, decode_page, open_intents, tried_before
from dispatcher.domain.message import JournalPage, Message
from dispatcher.domain.outcome import Attempt
from dispatcher.intake.offsets import Bookmark, PartitionOffsets
from tests.clock import FakeClock
from tests.unit.pacing.making import Desk, make_message


class Batch:
    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def append(self, *, timestamp: None, key: None, value: bytes) -> None:
        assert timestamp is key is None
        self.values.append(value)


class Producer:
    """Takes pages; the test acknowledges them."""

    def __init__(self) -> None:
        self.pages: list[tuple[int, Page, asyncio.Future[Any]]] = []
        self.refuse: KafkaError | None = None

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        assert topic == "dispatch.journal"
        assert batch.is_closed, "aiokafka would wait for more"
        await asyncio.sleep(0)
        if self.refuse is not None:
            refuse, self.refuse = self.refuse, None
            raise refuse
        future = asyncio.get_running_loop().create_future()
        [value] = batch.values
        self.pages.append((partition, decode_page(value), future))
        return future


class Office:
    """A ledger that runs, with its clock and its producer; *back* is what was handed back."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.producer = Producer()
        self.back: list[Message] = []
        self.ledger = Ledger(self.producer, "dispatch.journal", "host:1", clock, intended=self.back.extend)
        self.desks = [Desk(partition=partition) for partition in range(2)]
        self.retries: list[tuple[Any, Any]] = []
        self._end = 100

    async def settle_down(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def tick(self) -> None:
        await self.settle_down()
        self.clock.advance(TICK)
        await self.settle_down()

    async def open(self, *inherited: Intent, tried: Sequence[Tried] = ()) -> JournalPage:
        """Open the book, signed, with what was *inherited* and *tried*."""
        async with asyncio.TaskGroup() as tasks:
            opening = tasks.create_task(self.ledger.open_book(0, inherited, tried), name="open")
            await self.tick()
            while not opening.done():
                self.acknowledge()
                await self.tick()
        self.opened = [page for _, page, _ in self.producer.pages]
        self.producer.pages.clear()
        return opening.result()

    def acknowledge(self) -> None:
        """All pages written so far are safe."""
        for _, _, future in self.producer.pages:
            if not future.done():
                self._end += 1
                future.set_result(type("Metadata", (), {"offset": self._end})())

    def intend(self, offset: int, partition: int = 0, *, ahead: float = 0.0) -> Message:
        message = make_message(offset=offset)
        message.origin = self.desks[partition]
        intent = Intent("campaign.jobs", partition, offset, message.job.id, 1, "72345", 1.0)
        self.ledger.intend(message, intent, ahead)
        return message

    async def retry(self) -> None:
        """The pause after a failure is over."""
        for callback, arguments in self.retries:
            callback(*arguments)
        self.retries.clear()
        await self.tick()


@pytest.fixture
async def office(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    office = Office(clock)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(
        loop, "call_later", lambda _delay, callback, *arguments: office.retries.append((callback, arguments))
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(office.ledger.run(), name="ledger")
        await office.open()
        yield office
        running.cancel()


async def test_a_message_is_handed_back_when_its_intent_is_safe_and_not_before(office: Office) -> None:
    message = office.intend(7)
    await office.tick()
    [(partition, page, _)] = office.producer.pages
    assert partition == 0
    assert list(open_intents([page])) == [("campaign.jobs", 0, 7)]
    assert office.back == []
    office.acknowledge()
    await office.settle_down()
    assert office.back == [message]
    assert office.desks[0].announced == [7]


async def test_what_comes_while_a_page_is_on_its_way_shares_the_next(office: Office) -> None:
    office.intend(1)
    await office.tick()
    for offset in (2, 3, 4):
        office.intend(offset)
    await office.tick()
    assert len(office.producer.pages) == 1, "one page in flight"
    office.acknowledge()
    await office.tick()
    assert [intent.offset for intent in office.producer.pages[1][1].intents] == [2, 3, 4]


@pytest.mark.parametrize("ahead", [0.030, 0.040, 0.1])
async def test_what_is_announced_ahead_waits_for_more_and_is_written_in_time(office: Office, ahead: float) -> None:
    began = office.clock.monotonic()
    office.intend(1, ahead=ahead)
    while not office.producer.pages:
        office.intend(len(office.ledger._book.messages) + 1, ahead=ahead)
        await office.tick()
    left = began + ahead - office.clock.monotonic()
    assert IN_TIME - 2 * TICK <= left <= IN_TIME
    assert len(office.producer.pages[0][1].intents) > (ahead - IN_TIME) / TICK


async def test_what_is_wanted_at_once_takes_what_waits_along(office: Office) -> None:
    office.intend(1, ahead=1.0)
    await office.tick()
    assert not office.producer.pages
    office.intend(2)
    await office.tick()
    assert [intent.offset for intent in office.producer.pages[0][1].intents] == [1, 2]
    office.acknowledge()
    office.intend(3, ahead=1.0)
    await office.tick()
    assert len(office.producer.pages) == 1, "nobody wants that one yet"


@pytest.mark.parametrize("how", ["void", "failure"])
async def test_what_was_taken_back_or_not_taken_waits_for_nobody(office: Office, how: str) -> None:
    message = office.intend(1, ahead=1.0)
    if how == "void":
        office.ledger.void(message)
    else:
        office.intend(2)
        office.producer.refuse = KafkaConnectionError()
        await office.tick()
        await office.retry()
    await office.tick()
    [(_, page, _)] = office.producer.pages
    assert 1 in [intent.offset for intent in page.intents]


async def test_jobs_of_all_partitions_stand_in_one_book(office: Office) -> None:
    office.intend(1, partition=0)
    office.intend(1, partition=1)
    taken_back = make_message(offset=2)
    taken_back.origin = office.desks[1]
    office.ledger.void(taken_back)
    await office.tick()
    [(partition, page, _)] = office.producer.pages
    assert partition == 0
    assert list(open_intents([page])) == [("campaign.jobs", 0, 1), ("campaign.jobs", 1, 1)]
    assert page.void == [("campaign.jobs", 1, 2)]


@pytest.mark.parametrize("many", [1, MOST_INHERITED, MOST_INHERITED + 1, 3 * MOST_INHERITED])
async def test_what_was_inherited_is_said_again_and_kept_until_it_is_settled(office: Office, many: int) -> None:
    offsets = PartitionOffsets("campaign.jobs", 1, Bookmark())
    intents = [Intent("campaign.jobs", 1, offset, f"spring-{offset}", 1, "72345", 1.0) for offset in range(many)]
    page = await office.open(*intents)
    assert all(len(page.intents) <= MOST_INHERITED for page in office.opened)
    assert list(open_intents(office.opened).values()) == intents
    first = office._end - len(office.opened) + 1
    for offset in range(many):
        offsets.take(offset)
        offsets.announce(offset, page)
    for offset in range(many):
        assert office.ledger.position == (0, first)
        offsets.settle(offset)
    assert office.ledger.position == (0, office._end + 1)


@pytest.mark.parametrize("when", ["when it is sent", "when it is written"])
async def test_what_kafka_does_not_take_is_written_again_in_its_order(office: Office, when: str) -> None:
    if when == "when it is sent":
        office.producer.refuse = KafkaConnectionError()
    first = office.intend(1)
    await office.tick()
    if when == "when it is written":
        office.producer.pages[0][2].set_exception(KafkaConnectionError())
        await office.settle_down()
    second = office.intend(2)
    await office.tick()
    assert office.back == []
    await office.retry()
    assert [intent.offset for intent in office.producer.pages[-1][1].intents] == [1, 2]
    office.acknowledge()
    await office.settle_down()
    assert office.back == [first, second]


async def test_a_void_takes_back_what_was_announced_before_it(office: Office) -> None:
    first = office.intend(1)
    office.intend(2)
    await office.tick()
    office.ledger.void(first)
    office.acknowledge()
    await office.tick()
    pages = [page for _, page, _ in office.producer.pages]
    assert list(open_intents(pages)) == [("campaign.jobs", 0, 2)]


FULL = Attempt("2026-11-24T18:00:00.000+00:00", "72345", 21611, "its queue is full")


async def test_what_was_tried_before_stands_in_each_page_about_it(office: Office) -> None:
    """Earlier pages may be gone when a new owner reads."""
    message = office.intend(1)
    await office.tick()
    message.history = (FULL,)
    office.ledger.void(message)
    office.acknowledge()
    await office.tick()
    intent = Intent("campaign.jobs", 0, 1, message.job.id, 2, "72345", 1.0)
    office.ledger.intend(message, intent)
    office.acknowledge()
    await office.tick()
    _, failed, again = [page for _, page, _ in office.producer.pages]
    tried = Tried("campaign.jobs", 0, 1, (FULL,))
    assert tried_before([failed]) == tried_before([again]) == {tried.place: tried}
    assert open_intents([again]) == {tried.place: intent}


def test_of_what_two_owners_say_of_earlier_attempts_the_most_count() -> None:
    once, twice = (Tried("campaign.jobs", 0, 1, (FULL,) * many) for many in (1, 2))
    late = Page("frozen", tried=[once])
    assert tried_before([Page("next", tried=[twice]), late]) == {once.place: twice}


@pytest.mark.parametrize("many", [1, MOST_TRIED, MOST_TRIED + 1])
async def test_what_was_tried_under_a_former_owner_is_said_again(office: Office, many: int) -> None:
    tried = [Tried("campaign.jobs", 1, offset, (FULL,)) for offset in range(many)]
    await office.open(tried=tried)
    assert all(len(page.tried) <= MOST_TRIED for page in office.opened)
    assert list(tried_before(office.opened).values()) == tried


def test_an_owner_takes_back_nothing_of_anothers() -> None:
    """It was frozen, and its page is written when the next owner has announced the same job."""
    mine, theirs = (Intent("campaign.jobs", 0, 1, "spring-1", 1, "72345", at) for at in (1.0, 2.0))
    late = Page("frozen", intents=[], void=[("campaign.jobs", 0, 1)])
    pages = [Page("frozen", intents=[mine]), Page("next", intents=[theirs]), late]
    assert open_intents(pages) == {("campaign.jobs", 0, 1): theirs}
    assert not open_intents([*pages, Page("next", void=[("campaign.jobs", 0, 1)])])


async def test_a_void_for_a_partition_that_has_gone_is_nobodys_business(office: Office) -> None:
    message = make_message(offset=1)
    message.origin = office.desks[0]
    office.ledger.close_book()
    office.ledger.void(message)
    await office.tick()
    assert not office.producer.pages


async def test_a_new_owner_has_to_read_from_the_first_page_with_an_unsettled_job(office: Office) -> None:
    offsets = PartitionOffsets("campaign.jobs", 0, Bookmark())
    written = []
    for offset in (0, 1):
        offsets.take(offset)
        office.intend(offset).origin = offsets
        await office.tick()
        office.acknowledge()
        await office.tick()
        written.append(office._end)
    assert office.ledger.position == (0, written[0])
    offsets.settle(1)
    assert office.ledger.position == (0, written[0])
    offsets.settle(0)
    assert office.ledger.position == (0, written[1] + 1), "nothing of it is needed any more"


@pytest.mark.parametrize("how", ["closed", "opened anew"])
@pytest.mark.parametrize("stage", ["waiting", "on its way", "failed"])
async def test_when_the_books_are_closed_each_message_is_handed_back_once(office: Office, how: str, stage: str) -> None:
    """Or what stood by would be counted for ever, and in the end nothing more could be announced."""
    message = office.intend(1)
    if stage != "waiting":
        await office.tick()
    if stage == "failed":
        office.producer.pages[0][2].set_exception(KafkaConnectionError())
        await office.settle_down()
    if how == "closed":
        office.ledger.close_book()
    else:
        await office.open()
    await office.settle_down()
    office.acknowledge()
    await office.retry()
    await office.tick()
    assert office.back == [message]


async def test_a_page_that_fails_after_the_books_were_closed_is_handed_back_too(office: Office) -> None:
    message = office.intend(1)
    await office.tick()
    office.ledger.close_book()
    assert office.back == []
    office.producer.pages[0][2].set_exception(KafkaConnectionError())
    await office.settle_down()
    assert office.back == [message]
    assert not office.retries


async def test_a_book_that_is_closed_while_a_page_is_on_its_way_takes_nothing_back(office: Office) -> None:
    """The next owner may have announced the same job since: a void that came then would hide that it was sent."""
    message = office.intend(7)
    await office.tick()
    office.ledger.void(message)
    office.ledger.close_book()
    office.acknowledge()
    await office.tick()
    assert [page.void for _, page, _ in office.producer.pages] == [[]]


async def test_flushed_comes_back_when_everything_is_safe(office: Office) -> None:
    await office.ledger.flushed()
    office.intend(1)
    await office.tick()
    async with asyncio.TaskGroup() as tasks:
        flushed = tasks.create_task(office.ledger.flushed(), name="flush")
        await office.settle_down()
        assert not flushed.done()
        office.acknowledge()
        await office.settle_down()
        assert flushed.done()
