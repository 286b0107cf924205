"""A producer that writes nothing once it may not, not even what aiokafka has in hand already."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError
from aiokafka.protocol.produce import ProduceRequest

from dispatcher.clock import Clock

LOOK_EVERY = 0.1
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)


class WriteRefusedError(KafkaError):
    """The batch was not written: this worker may no longer write."""

    retriable = False


class FencedProducer:
    """Asks *may_write* in the moment before a batch goes to Kafka, however long aiokafka has kept or retried it.

    An idempotent producer never gives a batch up: that of a worker which was frozen would be written when the worker
    wakes. While *may_write* says no, batches are held back, and sent on when it says yes again: the first try of one
    may have been written, and only its own producer can repeat it without writing it twice. After `give_up` they fail.
    What is on its way at that moment is cut off: a network that comes back would deliver it minutes later, when another
    worker has written outcomes of the same jobs.

    That leaves a gap in the producer's sequence, after which Kafka takes nothing from it; so the next batch goes by
    another producer that *make* returns.
    """

    def __init__(self, make: Callable[[], Any], may_write: Callable[[], bool], clock: Clock) -> None:
        self._make = make
        self._may_write = may_write
        self._clock = clock
        self._fence = self._fenced()

    async def start(self) -> None:
        """Connect."""
        await self._fence.producer.start()

    async def stop(self) -> None:
        """Write what may be written now, and disconnect."""
        if not self._may_write():
            self.give_up()
        await self._fence.producer.stop()

    def give_up(self) -> None:
        """Let everything fail that has not been written: it is another worker's business now."""
        self._fence.is_final = True

    def create_batch(self) -> Any:
        """Return an empty batch."""
        return self._fence.producer.create_batch()

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        """Hand *batch* over; the future that is returned tells what came of it."""
        if self._fence.is_final:
            await self._replace()
        return await self._fence.producer.send_batch(batch, topic, partition=partition)

    async def _replace(self) -> None:
        former, successor = self._fence, self._fenced()
        try:
            await successor.producer.start()
        except BaseException:
            await successor.producer.stop()
            raise
        self._fence = successor
        await former.producer.stop()

    def _fenced(self) -> "_Fence":
        return _Fence(self._make(), self._may_write, self._clock)


class _Fence:
    """Stands between *producer* and Kafka; once it *is_final*, no batch passes any more."""

    def __init__(self, producer: Any, may_write: Callable[[], bool], clock: Clock) -> None:
        self.producer = producer
        self.is_final = False
        self._may_write = may_write
        self._clock = clock
        self._client = producer.client
        self._send = self._client.send
        self._client.send = self._send_when_open

    async def _send_when_open(self, node_id: int, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        while isinstance(request, ProduceRequest):
            # Connecting may take long; what `send` does with a connection that stands, it does at once.
            await self._client.ready(node_id, group=group)
            if self.is_final:
                raise WriteRefusedError
            if self._may_write():
                return await self._write(node_id, request, group)
            await self._clock.sleep(LOOK_EVERY)
        return await self._send(node_id, request, group=group)

    async def _write(self, node_id: int, request: Any, group: Any) -> Any:
        """Write *request*, and cut it off when it may no longer be written before there is an answer."""
        connection = self._client._conns.get((node_id, group))  # noqa: SLF001 - aiokafka has no door to it
        writer = None if connection is None else connection._writer  # noqa: SLF001 - same
        if writer is None:  # it broke just now, which the client is about to tell
            return await self._send(node_id, request, group=group)
        # Closed the usual way, by us or by our death, a connection goes on sending what it holds.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
        watch = Watch(writer.transport, lambda: self._may_write() and not self.is_final)
        try:
            return await self._send(node_id, request, group=group)
        finally:
            watch.end()


class Watch:
    """Aborts *transport* once *may_go_on* says no, until it is ended."""

    __slots__ = ("_may_go_on", "_timer", "_transport")

    def __init__(self, transport: asyncio.WriteTransport, may_go_on: Callable[[], bool]) -> None:
        self._transport = transport
        self._may_go_on = may_go_on
        self._look_later()

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        if self._may_go_on():
            self._look_later()
        else:
            self._transport.abort()
