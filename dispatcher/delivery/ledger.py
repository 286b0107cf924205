"""Keeps the journal: no request leaves before its intent is safe in Kafka. Intents of a tick go out as one record."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from dispatcher.clock import Clock
from dispatcher.domain.journal import Intent, Page, Tried, encode_page
from dispatcher.domain.message import JournalPage, Message
from dispatcher.telemetry import metrics

log = structlog.get_logger()

# Intents that come within a tick share a record, so that one costs next to nothing; the first after a pause does not
# wait for others. Seconds.
TICK = 0.006
# What is announced ahead of its time can wait for more: a record costs as much as four messages. It is written when so
# many seconds are left, in which Kafka acknowledges it.
IN_TIME = 0.025
RETRY_AFTER = 1.0
# Of what was inherited a page takes so many intents: of 150 bytes each, and Kafka takes records of 1 MB.
MOST_INHERITED = 1000
MOST_TRIED = 100  # of which each has attempts of 150 bytes


class _WrittenPage:
    """A page in Kafka: where it stands and how many of its jobs are not settled."""

    __slots__ = ("offset", "open")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.open = 0


class _Book:
    """One *partition* of the journal, which this worker writes: the page that is being filled, and those that count.

    A page counts while a new owner would have to read it. That which is being filled is to be written at *wanted_at*.
    """

    __slots__ = (
        "began",
        "end",
        "in_flight",
        "is_closed",
        "is_signed",
        "messages",
        "page",
        "partition",
        "wanted_at",
        "written",
    )

    def __init__(self, owner: str, partition: int) -> None:
        self.partition = partition
        self.end = 0
        self.began = 0.0
        self.wanted_at = -inf
        self.page = Page(owner)
        self.is_signed = False
        self.messages: list[Message] = []
        self.written: deque[_WrittenPage] = deque()
        self.in_flight = False
        self.is_closed = False

    @property
    def has_more(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.messages or self.page.intents or self.page.void or self.page.tried or not self.is_signed)

    @property
    def floor(self) -> int:
        """The offset from which a new owner has to read."""
        while self.written and not self.written[0].open:
            self.written.popleft()
        return self.written[0].offset if self.written else self.end


class Ledger:
    """Writes intents, and hands the messages to *intended* once a crash could not hide that they were sent.

    All of a worker's stand in one book, whatever partitions their jobs are of. Each message is handed back once: those
    whose intents are not written because the book was closed, as well.
    """

    def __init__(
        self, producer: Any, topic: str, owner: str, clock: Clock, *, intended: Callable[[list[Message]], None]
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._owner = owner
        self._clock = clock
        self._intended = intended
        self._book = _Book(owner, 0)
        self._book.is_closed = True
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def open_book(self, partition: int, inherited: Sequence[Intent], tried: Sequence[Tried] = ()) -> JournalPage:
        """Start anew in *partition* of the journal, with what was *inherited* in doubt, and what was *tried* before.

        Who takes over from us reads our book alone. The page that says so, the first of them if they are more, is
        returned. It is written even when nothing was inherited: it finds the way to the partition's leader before the
        first message has to, which takes up to half a second.
        """
        self.close_book()
        self._book = book = _Book(self._owner, partition)
        for begin in range(0, len(inherited) or 1, MOST_INHERITED):
            book.page.intents.extend(inherited[begin : begin + MOST_INHERITED])
            await self._write_now()
        for begin in range(0, len(tried), MOST_TRIED):
            book.page.tried.extend(tried[begin : begin + MOST_TRIED])
            await self._write_now()
        return book.written[0] if book.written else _WrittenPage(book.end)

    def close_book(self) -> None:
        """Write nothing any more: the partitions may have another owner. What was not written is handed back, too."""
        self._book.is_closed = True
        self._idle.set()
        self._hand_back(self._book)

    @property
    def position(self) -> tuple[int, int]:
        """The partition of the journal and the offset in it from which a new owner would have to read."""
        return self._book.partition, self._book.floor

    def intend(self, message: Message, intent: Intent, ahead: float = 0.0) -> None:
        """Write down that *message* is about to be sent, about *ahead* seconds from now."""
        book, now = self._book, self._clock.monotonic()
        if not book.messages:
            # The first of a page sees to it that it is written, whatever joins it.
            book.began = now
            self._idle.clear()
            self._wake.set()
        book.wanted_at = min(book.wanted_at, now + ahead - IN_TIME)
        book.page.intents.append(intent)
        book.messages.append(message)
        if message.history:
            book.page.tried.append(_tried(message))

    def void(self, message: Message) -> None:
        """Write down, some time soon, that the last request for *message* was not processed."""
        if self._book.is_closed:
            return  # its partition is gone; the new owner will look for itself
        page, origin = self._book.page, message.origin
        page.void.append((origin.topic, origin.partition, message.offset))
        self._book.wanted_at = -inf
        if message.history:
            page.tried.append(_tried(message))
        self._idle.clear()
        self._wake.set()

    async def _write_now(self) -> None:
        self._book.wanted_at = -inf
        self._idle.clear()
        self._wake.set()
        await self.flushed()

    async def run(self) -> None:
        """Write what comes, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            book = self._book
            if book.has_more and not book.in_flight and not book.is_closed:
                if book.wanted_at <= self._clock.monotonic():
                    await self._write(book)
                else:
                    self._wake.set()
            await self._clock.sleep(TICK)

    async def flushed(self) -> None:
        """Come back when everything is safe."""
        await self._idle.wait()

    async def _write(self, book: _Book) -> None:
        page, messages, began = book.page, book.messages, book.began
        book.page, book.messages, book.in_flight, book.wanted_at = Page(page.owner), [], True, inf
        batch = self._producer.create_batch()
        batch.append(timestamp=None, key=None, value=encode_page(page))
        batch.close()  # closed, it does not wait for more
        try:
            written = await self._producer.send_batch(batch, self._topic, partition=book.partition)
        except KafkaError as error:
            self._failed(book, page, messages, error)
        else:
            written.add_done_callback(partial(self._written, book, page, messages, began))

    def _written(
        self, book: _Book, page: Page, messages: list[Message], began: float, written: "asyncio.Future[Any]"
    ) -> None:
        if written.cancelled():
            return  # the producer is closed; nothing of this page leaves
        error = written.exception()
        if error is not None:
            self._failed(book, page, messages, error)
            return
        if messages:
            metrics.JOURNAL_SECONDS.observe(self._clock.monotonic() - began)
        book.in_flight, book.is_signed = False, True
        offset = written.result().offset
        book.end = offset + 1
        kept = _WrittenPage(offset)
        book.written.append(kept)
        for message in messages:
            message.origin.announce(message.offset, kept)
        self._intended(messages)
        if book.has_more:
            self._wake.set()
        elif book is self._book:
            self._idle.set()

    def _failed(self, book: _Book, page: Page, messages: list[Message], error: BaseException) -> None:
        """Try again with what came meanwhile: until Kafka takes it, nothing of it leaves."""
        log.warning("Kafka did not take intents; trying again", topic=self._topic, error=repr(error))
        book.wanted_at = -inf
        book.page.intents[:0] = page.intents
        book.page.void[:0] = page.void
        book.page.tried[:0] = page.tried
        book.messages[:0] = messages
        if book.is_closed:
            self._hand_back(book)
            return
        asyncio.get_running_loop().call_later(RETRY_AFTER, self._retry, book)

    def _hand_back(self, book: _Book) -> None:
        messages, book.messages = book.messages, []
        self._intended(messages)

    def _retry(self, book: _Book) -> None:
        book.in_flight = False
        self._wake.set()


def _tried(message: Message) -> Tried:
    origin = message.origin
    return Tried(origin.topic, origin.partition, message.offset, message.history)
