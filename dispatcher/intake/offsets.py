"""Which offsets of a partition are settled: what is committed, and what a new owner must not do again.

A commit holds the watermark (everything below is settled) and, in its metadata, a bitmap of what is settled above and
the positions from which a new owner has to read the journal and the results.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections import deque
from dataclasses import dataclass

from dispatcher.domain.message import JournalPage

# 24,000 bits are 3,001 bytes, or 4,004 characters in base64; with the positions it stays below the 4,096 that Kafka
# takes as metadata.
LARGEST_SPAN = 24_000
_VERSION = "3"
# What a commit can say of what is settled; a gap in the log between two open offsets may be wider.
_MOST_BYTES = 3_030


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """Where a partition's last owner stood. *results* is an offset, *journal* a partition of it and an offset.

    They are None when nobody has said.
    """

    watermark: int = 0
    settled: bytes = b""
    journal: tuple[int, int] | None = None
    results: int | None = None

    @classmethod
    def read(cls, watermark: int, metadata: str) -> "Bookmark":
        """Return what a commit says; of a stranger's only the watermark."""
        version, _, rest = metadata.partition(" ")
        fields = rest.split(" ")
        try:
            book, _, page = fields[0].partition(":")
            journal, results, settled = (int(book), int(page)), int(fields[1]), b64decode(fields[2], validate=True)
        except (IndexError, ValueError, NotBase64):
            return cls(watermark=watermark)
        if version != _VERSION:
            return cls(watermark=watermark)
        return cls(watermark=watermark, settled=settled, journal=journal, results=results)


class PartitionOffsets:
    """The offsets of one partition that this worker has in hand.

    Offsets are taken in ascending order, with gaps where the log has some, and settled in any order. *is_owned* turns
    False for good when the partition goes to somebody else: what comes back for it then is no longer ours to settle.
    """

    __slots__ = ("_base", "_bits", "_next", "_pages", "_taken", "_unsettled", "is_owned", "partition", "topic")

    def __init__(self, topic: str, partition: int, bookmark: Bookmark) -> None:
        self.topic = topic
        self.partition = partition
        self.is_owned = True
        self._base = bookmark.watermark & ~7  # offset of the bitmap's first bit
        self._bits = bytearray(bookmark.settled)  # reaches as far as what was taken
        self._taken: deque[int] = deque()  # in order; what is settled of them goes when it comes to stand first
        self._next = bookmark.watermark
        self._unsettled = 0
        self._pages: dict[int, JournalPage] = {}

    def take(self, offset: int) -> bool:
        """Take *offset* in hand; False when it was settled before the last commit and needs nothing more."""
        self._next = offset + 1
        if not self._unsettled:
            self._taken.clear()
            self._forget_below(offset)
        index = (offset - self._base) >> 3
        if index >= len(self._bits):
            self._reach(index)
        elif self._bits[index] & (1 << (offset & 7)):
            return False
        self._taken.append(offset)
        self._unsettled += 1
        return True

    def settle(self, offset: int) -> None:
        """The record at *offset*, which was taken, needs nothing more."""
        self._unsettled -= 1
        page = self._pages.pop(offset, None)
        if page is not None:
            page.open -= 1
        self._bits[(offset - self._base) >> 3] |= 1 << (offset & 7)

    def recall(self, offset: int) -> None:
        """*offset* was settled by an owner who did not come to commit it; to be said before it is taken."""
        index = (offset - self._base) >> 3
        if index >= 0:
            self._reach(index)
            self._bits[index] |= 1 << (offset & 7)

    def is_open(self, offset: int) -> bool:
        """Say whether the job at *offset* is to be taken again; to be asked when what is settled was recalled."""
        return offset >= self._next and not self._is_settled(offset)

    def announce(self, offset: int, page: JournalPage) -> None:
        """The journal's *page* says that the job at *offset* is about to be sent: it is kept until that is settled."""
        before = self._pages.get(offset)
        if before is not None:
            before.open -= 1
        self._pages[offset] = page
        page.open += 1

    def is_settled(self, offset: int) -> bool:
        """Say whether the record at *offset* needs nothing more."""
        return offset < self.watermark or self._is_settled(offset)

    @property
    def watermark(self) -> int:
        """The offset to commit: everything below it is settled."""
        taken, bits, base = self._taken, self._bits, self._base
        while taken and bits[(taken[0] - base) >> 3] & (1 << (taken[0] & 7)):
            taken.popleft()
        return taken[0] if taken else self._next

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

    def commit(self, *, journal: tuple[int, int], results: int) -> tuple[int, str]:
        """Return the watermark and the metadata that say what is settled now.

        *journal* and *results* are the positions from which a new owner reads what this commit does not say.
        """
        watermark = self.watermark
        self._forget_below(watermark)
        settled = b64encode(bytes(self._bits[:_MOST_BYTES]).rstrip(b"\0")).decode("ascii")
        return watermark, f"{_VERSION} {journal[0]}:{journal[1]} {results} {settled}"

    def _forget_below(self, offset: int) -> None:
        """Nothing below *offset* is ever asked about again."""
        needless = (offset >> 3) - (self._base >> 3)
        if needless < 0:
            self._bits.clear()  # the topic was made anew, and counts from zero
        elif needless:
            del self._bits[:needless]
        self._base = offset & ~7

    def _reach(self, index: int) -> None:
        """Let the bitmap have a byte with this *index*."""
        self._bits.extend(bytes(max(0, index + 1 - len(self._bits))))

    def _is_settled(self, offset: int) -> bool:
        index = (offset - self._base) >> 3
        return index < len(self._bits) and bool(self._bits[index] & (1 << (offset & 7)))
