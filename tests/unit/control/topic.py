"""A control topic in memory, as its producer, its consumer and its admin client in one."""

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from tests.clock import FakeClock


class Topic:
    """Reading on lets time pass. *on_write* is called after each write, with the key: a worker may answer there."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.records: list[Any] = []
        self.position_ = 0
        self.members: list[str] = []
        self.before_next_write: Callable[[], None] = lambda: None

    def append(self, key: str, value: bytes | None) -> None:
        at = SimpleNamespace(key=key.encode(), value=value, offset=len(self.records))
        self.records.append(at)

    async def send_and_wait(self, _topic: str, *, key: bytes, value: bytes | None, partition: int) -> Any:
        assert partition == 0
        self.before_next_write()
        self.before_next_write = lambda: None
        self.append(key.decode(), value)
        return self.records[-1]

    def assign(self, _: list[TopicPartition]) -> None:
        pass

    async def seek_to_beginning(self, _: TopicPartition) -> None:
        self.position_ = 0

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, len(self.records))

    async def position(self, _: TopicPartition) -> int:
        return self.position_

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        if self.position_ == len(self.records):
            self.clock.advance(timeout_ms / 1000)
        new, self.position_ = self.records[self.position_ :], len(self.records)
        return {TopicPartition("dispatch.control", 0): new} if new else {}

    async def describe_consumer_groups(self, _: list[str]) -> list[Any]:
        members = [(f"{name}-id", name, "/127.0.0.1", b"", b"") for name in self.members]
        return [SimpleNamespace(groups=[(0, "dispatcher", "Stable", "consumer", "range", members)])]
