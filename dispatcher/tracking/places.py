"""Where in the view each message is: its number, by its id.

Ids may be random, and an index that takes them one by one changes a page for each. So what is new is looked up in
memory, and goes into the index by and by: the hashes are 256 slices, and whenever enough came, one slice's new ones go
there together, to pages that are neighbours. With ten million messages each of these pages takes four or five at once.

Hashes may meet: what is found here may be another message's place, and whoever asks compares ids.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final
from zlib import crc32

SCHEMA: Final = """
CREATE TABLE places (hash INTEGER, message INTEGER, PRIMARY KEY (hash, message)) WITHOUT ROWID;
CREATE TABLE placed (up_to INTEGER NOT NULL);
INSERT INTO placed VALUES (0);
"""
_SLICES: Final = 256
# Of a hash of 32 bits the highest 8 name its slice. SQLite keeps a signed number of 32 bits in four bytes.
_BITS: Final = 24
_MIDDLE: Final = 1 << 31
# So many new ones come before the next slice's go into the index; an id is in memory until all slices had their turn.
EVERY: Final = 1024
# So many hashes are looked up by one statement.
_CHUNK: Final = 400
_FIND: Final = f"SELECT message FROM places WHERE hash IN ({', '.join('?' * _CHUNK)})"  # noqa: S608 - only question marks
# What was there before a crash may come again.
_PLACE: Final = "INSERT OR IGNORE INTO places VALUES (?, ?)"


class Places:
    """The numbers of all rows of the table `messages` in *db*, in whose transactions everything here takes part."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.recall()

    def recall(self) -> None:
        """Go by what the file says: at first, and when a transaction was undone."""
        self._new: list[dict[str, int]] = [{} for _ in range(_SLICES)]
        self._turn = 0
        (up_to,) = self._db.execute("SELECT up_to FROM placed").fetchone()
        self._last: int = up_to
        for number, mid in self._db.execute("SELECT id, mid FROM messages WHERE id > ? ORDER BY id", (up_to,)):
            self._new[_hash(mid) >> _BITS][mid] = self._last = number
        # By the end of this round of slices everything up to here is in the index. However seldom processes live for
        # a whole one, rounds end: what was found here has waited.
        self._round_began_at = self._last
        self._waiting = self._last - up_to

    def add(self, mid: str) -> int:
        """Return the number of the message *mid*, which has none yet."""
        number = self._last = self._last + 1
        self._new[_hash(mid) >> _BITS][mid] = number
        self._waiting += 1
        return number

    def find(self, mids: Iterable[str]) -> Iterator[int]:
        """Yield the numbers that messages of *mids* may have."""
        hashes = []
        for mid in mids:
            hash_ = _hash(mid)
            if (number := self._new[hash_ >> _BITS].get(mid)) is None:
                hashes.append(hash_ - _MIDDLE)
            else:
                yield number
        # Neighbours in the index are found together.
        hashes.sort()
        for start in range(0, len(hashes), _CHUNK):
            chunk = hashes[start : start + _CHUNK]
            # Filled up, so that it is always the same statement.
            chunk += chunk[-1:] * (_CHUNK - len(chunk))
            for (number,) in self._db.execute(_FIND, chunk):
                yield number

    def settle(self) -> None:
        """Let what has waited for long enough go into the index."""
        while self._waiting >= EVERY:
            self._waiting -= EVERY
            found = self._new[self._turn]
            self._db.executemany(_PLACE, sorted((_hash(mid) - _MIDDLE, number) for mid, number in found.items()))
            self._new[self._turn] = {}
            self._turn += 1
            if self._turn == _SLICES:
                self._turn = 0
                self._db.execute("UPDATE placed SET up_to = ?", (self._round_began_at,))
                self._round_began_at = self._last


def _hash(mid: str) -> int:
    return crc32(mid.encode())
