"""Which offsets of a partition are settled: what is committed, and what a new owner must not do again.

A commit holds the watermark (everything below is settled) and, in its metadata, a bitmap of what is settled above.
"""

from base64 import b64decode, b64encode
from collections import deque

# 24,000 bits are 3,000 bytes, or 4,000 characters in base64: below the 4,096 that Kafka takes as metadata.
LARGEST_SPAN = 24_000
_VERSION = "1 "


class PartitionOffsets:
    """The offsets of one partition that this worker has in hand.

    *start* and *metadata* are those of the last commit. Offsets are taken in ascending order, with gaps where the log
    has some, and settled in any order.
    """

    __slots__ = ("_base", "_bits", "_next", "_open", "_unsettled", "partition", "topic")

    def __init__(self, topic: str, partition: int, start: int, metadata: str = "") -> None:
        self.topic = topic
        self.partition = partition
        self._base = start & ~7  # offset of the bitmap's first bit
        self._bits = bytearray(_decode(metadata))
        self._open: deque[int] = deque()
        self._next = start
        self._unsettled = 0

    def take(self, offset: int) -> bool:
        """Take *offset* in hand; False when it was settled before the last commit and needs nothing more."""
        self._next = offset + 1
        if not self._open and offset - self._base > LARGEST_SPAN:
            # A gap in the log (retention, or a first start): nothing below it is ever asked about again.
            self._base = offset & ~7
            self._bits.clear()
        if self._is_settled(offset):
            return False
        self._open.append(offset)
        self._unsettled += 1
        return True

    def settle(self, offset: int) -> None:
        """The record at *offset* needs nothing more."""
        self._unsettled -= 1
        index = (offset - self._base) >> 3
        if index >= len(self._bits):
            self._bits.extend(bytes(index + 1 - len(self._bits)))
        self._bits[index] |= 1 << (offset & 7)
        while self._open and self._is_settled(self._open[0]):
            self._open.popleft()

    @property
    def watermark(self) -> int:
        """The offset to commit: everything below it is settled."""
        return self._open[0] if self._open else self._next

    @property
    def in_hand(self) -> int:
        """How many records are taken and not settled."""
        return self._unsettled

    @property
    def has_room(self) -> bool:
        """Whether one more record may be taken without the bitmap outgrowing the metadata."""
        return self._next - self.watermark < LARGEST_SPAN

    @property
    def position(self) -> int:
        """The offset after the last one that was taken."""
        return self._next

    def commit(self) -> tuple[int, str]:
        """Return the watermark and the metadata that say what is settled now."""
        watermark = self.watermark
        settled_bytes = (watermark >> 3) - (self._base >> 3)
        if settled_bytes > 0:
            del self._bits[:settled_bytes]
            self._base = watermark & ~7
        above = bytes(self._bits).rstrip(b"\0")
        if watermark - self._base >= len(above) * 8:
            return watermark, ""
        return watermark, _VERSION + b64encode(above).decode("ascii")

    def _is_settled(self, offset: int) -> bool:
        index = (offset - self._base) >> 3
        return index < len(self._bits) and bool(self._bits[index] & (1 << (offset & 7)))


def _decode(metadata: str) -> bytes:
    """Return the bitmap in *metadata*; nothing when another program wrote it."""
    return b64decode(metadata.removeprefix(_VERSION)) if metadata.startswith(_VERSION) else b""
