"""Keeps records on disk that Kafka does not take in time: a bounded, append-only queue that survives `kill -9`.

The queue is a folder of segments, numbered in order; a segment is a run of frames: the record's length, a CRC-32 of
length and record, the record. A record is kept once `append` has come back, for it was fsynced then. Whatever a crash
leaves of a later one ends its segment, as nothing is appended to a segment that is not whole.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from struct import Struct
from zlib import crc32

import structlog

from dispatcher.domain.errors import DispatcherError

log = structlog.get_logger()

# A segment is closed when it has this many bytes. After a crash the oldest one may reach Kafka a second time.
SEGMENT_SIZE = 1024 * 1024
_FEW = 64 * 1024
_LENGTH = Struct(">I")
_HEAD = Struct(">II")
_DIGITS, _SUFFIX = 12, ".spool"


@dataclass(slots=True)
class _Segment:
    """A file of *records* whole frames in its first *size* bytes."""

    number: int
    path: Path
    size: int = 0
    records: int = 0


class Spool:
    """The queue in *folder*, of at most *limit* bytes. Its calls block, and are for one thread at a time.

    Opening it takes up what an earlier process has left. `DispatcherError` when the folder is of no use or another
    process has it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._limit = limit
        self._folder = folder
        self._file: int | None = None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(folder / "lock")
            self._segments = _found(folder)
        except OSError as error:
            raise DispatcherError(
                f"cannot keep callbacks in {folder}: {error.strerror}; let webhooks.spool name a folder to write to"
            ) from error
        self._next = self._segments[-1].number + 1 if self._segments else 1

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return sum(segment.size for segment in self._segments)

    @property
    def records(self) -> int:
        """How many records it holds."""
        return sum(segment.records for segment in self._segments)

    @property
    def has_room(self) -> bool:
        """Whether there is room for a few records more."""
        return self.size + _FEW <= self._limit

    def append(self, records: Sequence[bytes]) -> tuple[int, int]:
        """Keep *records*, all or none of them; return the segment they are in and the place of the first.

        `OSError` when there is no room for them, here or on the disk. None of them is promised to anybody then.
        """
        frames = b"".join(map(_framed, records))
        if self.size + len(frames) > self._limit:
            raise OSError(ENOSPC, "the spool is full")
        if self._file is None:
            self._file = self._start()
        segment = self._segments[-1]
        try:
            _write(self._file, frames)
            os.fsync(self._file)
        except OSError:
            # What a failed fsync has left on the disk nobody knows: nothing is appended to it.
            self._seal(segment.size)
            if not segment.records:
                self._segments.pop().path.unlink(missing_ok=True)
            raise
        first = segment.records
        segment.size += len(frames)
        segment.records += len(records)
        if segment.size >= SEGMENT_SIZE:
            self._seal()
        return segment.number, first

    def oldest(self) -> tuple[int, list[bytes]] | None:
        """Return the number and the records of the oldest segment, to which nothing is appended any more."""
        if not self._segments:
            return None
        if len(self._segments) == 1:
            self._seal()
        segment = self._segments[0]
        return segment.number, list(_records(segment.path.read_bytes()[: segment.size]))

    def drop(self, number: int) -> None:
        """Forget the oldest segment, which has this *number*: its records are safe elsewhere."""
        if self._segments[0].number != number:
            raise AssertionError("segments are dropped from the front")
        self._segments.pop(0).path.unlink()

    def close(self) -> None:
        """Let another process have it."""
        self._seal()
        os.close(self._lock)

    def _seal(self, size: int | None = None) -> None:
        """Append no more to the newest segment, and cut it off after *size* bytes where that can be done."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            if size is not None:
                os.ftruncate(file, size)
        except OSError:
            log.warning("a broken end of the spool cannot be cut off; whoever reads it skips it", exc_info=True)
        finally:
            os.close(file)

    def _start(self) -> int:
        """Start the next segment."""
        segment = _Segment(self._next, self._folder / f"{self._next:0{_DIGITS}d}{_SUFFIX}")
        self._next += 1
        file = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            _sync_folder(self._folder)
        except OSError:
            os.close(file)
            segment.path.unlink(missing_ok=True)
            raise
        self._segments.append(segment)
        return file


def _framed(record: bytes) -> bytes:
    length = _LENGTH.pack(len(record))
    return b"".join((length, _LENGTH.pack(crc32(record, crc32(length))), record))


def _records(frames: bytes) -> Iterator[bytes]:
    """Yield the records in *frames* up to the first that is not whole."""
    at = 0
    while at + _HEAD.size <= len(frames):
        length, checksum = _HEAD.unpack_from(frames, at)
        record = frames[at + _HEAD.size : at + _HEAD.size + length]
        if crc32(record, crc32(_LENGTH.pack(length))) != checksum:
            return
        yield record
        at += _HEAD.size + length


def _found(folder: Path) -> list[_Segment]:
    """Return the segments in *folder* that hold anything, the oldest first, and remove the others."""
    segments = []
    for path in sorted(folder.glob(f"{'[0-9]' * _DIGITS}{_SUFFIX}")):
        frames = path.read_bytes()
        lengths = [_HEAD.size + len(record) for record in _records(frames)]
        segment = _Segment(int(path.stem), path, size=sum(lengths), records=len(lengths))
        if segment.size < len(frames):
            log.warning(
                "the spool ends in a callback that was not written to its end, as after a crash; Twilio sends it again",
                segment=path.name,
                bytes=len(frames) - segment.size,
            )
        if segment.records:
            segments.append(segment)
        else:
            path.unlink()
    return segments


def _locked(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise DispatcherError(
            f"another process keeps its callbacks in {path.parent}; stop it, or let webhooks.spool name another folder"
        ) from None
    return file


def _sync_folder(folder: Path) -> None:
    """After a power cut a file is found again only when its folder is on disk, too."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
