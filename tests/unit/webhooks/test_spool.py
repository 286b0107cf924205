import os
from collections import deque
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from stat import S_ISDIR
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dispatcher.domain.errors import DispatcherError
from dispatcher.webhooks import spool as spool_module
from dispatcher.webhooks.spool import Spool

LIMIT = 1024 * 1024
SEGMENT_SIZE = 100
RECORD = st.binary(min_size=0, max_size=40)
GROUP = st.lists(RECORD, min_size=1, max_size=4)


def drained(folder: Path) -> list[bytes]:
    """Return, as a process that starts now would, every record in *folder*, in order."""
    spool = Spool(folder, LIMIT)
    records = contents(spool)
    spool.close()
    return records


def contents(spool: Spool) -> list[bytes]:
    """Take every record out of *spool*, in order."""
    records = []
    while (found := spool.oldest()) is not None:
        records += found[1]
        spool.drop(found[0])
    return records


def failing(call: Callable[..., None], broken: set[str]) -> Callable[..., None]:
    """Return *call* on a disk where it fails for what is *broken*: a "file", its "folder" or a file's "cut"."""

    def do(file: int, *arguments: int) -> None:
        if ("folder" if S_ISDIR(os.fstat(file).st_mode) else "cut" if arguments else "file") in broken:
            raise OSError(ENOSPC, "No space left on device")
        call(file, *arguments)

    return do


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, LIMIT)


@st.composite
def crashes(draw: st.DrawFn) -> tuple[list[list[bytes]], list[bytes], int, bytes]:
    """Groups that were kept, the one being written, how many of its bytes got there, and what stands behind them."""
    kept, torn = draw(st.lists(GROUP, max_size=4)), draw(GROUP)
    size = sum(8 + len(record) for record in torn)
    return kept, torn, draw(st.integers(0, size)), draw(st.one_of(st.binary(max_size=60), st.just(b"\0" * 64)))


@given(crashes())
@settings(deadline=None)
def test_a_crash_at_any_byte_loses_nothing_kept_and_adds_nothing(
    crash: tuple[list[list[bytes]], list[bytes], int, bytes],
) -> None:
    kept, torn, written, rubbish = crash
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder), LIMIT)
        for group in kept:
            spool.append(group)
        safe = spool.size
        spool.append(torn)
        spool.close()
        (segment,) = segments(Path(folder))
        segment.write_bytes(segment.read_bytes()[: safe + written] + rubbish)
        found = drained(Path(folder))
    expected = [record for group in kept for record in group]
    assert found[: len(expected)] == expected
    # Of the group that nobody was promised there may be some, whole and in order.
    assert found[len(expected) :] == torn[: len(found) - len(expected)]


@given(st.lists(GROUP, min_size=1, max_size=4), st.data())
@settings(deadline=None)
def test_a_bit_that_flips_never_becomes_a_record(groups: list[list[bytes]], data: st.DataObject) -> None:
    records = [record for group in groups for record in group]
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder), LIMIT)
        for group in groups:
            spool.append(group)
        spool.close()
        (segment,) = segments(Path(folder))
        content = bytearray(segment.read_bytes())
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
        segment.write_bytes(content)
        found = drained(Path(folder))
    assert found == records[: len(found)]
    assert len(found) < len(records)


class Queue(RuleBasedStateMachine):
    """The spool beside a plain queue, through crashes and restarts; segments are small."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(spool_module, "SEGMENT_SIZE", SEGMENT_SIZE)
        self.folder = TemporaryDirectory()
        self.spool = Spool(Path(self.folder.name), LIMIT)
        self.places: deque[tuple[int, list[bytes]]] = deque()

    def teardown(self) -> None:
        self.spool.close()
        self.folder.cleanup()
        self.patch.undo()

    @rule(group=GROUP)
    def append(self, group: list[bytes]) -> None:
        segment, place = self.spool.append(group)
        if self.places and self.places[-1][0] == segment:
            assert sum(8 + len(record) for record in self.places[-1][1]) < SEGMENT_SIZE
        if not self.places or self.places[-1][0] != segment:
            self.places.append((segment, []))
        assert place == len(self.places[-1][1])
        self.places[-1][1].extend(group)

    @precondition(lambda self: self.places)
    @rule()
    def look(self) -> None:
        assert self.spool.oldest() == self.places[0]

    @precondition(lambda self: self.places)
    @rule()
    def replay(self) -> None:
        found = self.spool.oldest()
        assert found == self.places.popleft()
        self.spool.drop(found[0])

    @rule()
    def crash(self) -> None:
        self.spool.close()
        self.spool = Spool(Path(self.folder.name), LIMIT)

    @invariant()
    def it_knows_how_much_it_holds(self) -> None:
        records = [record for _, held in self.places for record in held]
        assert self.spool.records == len(records)
        assert self.spool.size == sum(8 + len(record) for record in records)


TestQueue = Queue.TestCase
TestQueue.settings = settings(deadline=None, max_examples=50, stateful_step_count=30)


def test_nothing_is_in_an_empty_one(spool: Spool) -> None:
    assert spool.oldest() is None
    assert (spool.size, spool.records) == (0, 0)


def test_what_does_not_fit_is_refused_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 30)
    spool.append([b"0123456789"])
    with pytest.raises(OSError, match="full"):
        spool.append([b"", b"01234"])
    spool.append([b"0123"])
    spool.close()
    assert drained(tmp_path) == [b"0123456789", b"0123"]


def test_there_is_room_until_a_request_might_not_fit(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100 * 1024)
    spool.append([b"x" * 30 * 1024])
    assert spool.has_room
    spool.append([b"x" * 10 * 1024])
    assert not spool.has_room
    spool.close()


@pytest.mark.parametrize("before", [[], [b"kept"]])
@pytest.mark.parametrize("broken", [{"file"}, {"file", "cut"}, {"folder"}])
def test_a_disk_that_fails_is_told_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: list[bytes], broken: set[str]
) -> None:
    spool = Spool(tmp_path, LIMIT)
    if before:
        spool.append(before)
        spool.close()
        spool = Spool(tmp_path, LIMIT)
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", failing(os.fsync, broken))
        disk.setattr(os, "ftruncate", failing(os.ftruncate, broken & {"cut"}))
        for _ in range(3):
            with pytest.raises(OSError, match="No space"):
                spool.append([b"lost"])
    assert len(segments(tmp_path)) == len(before)
    spool.append([b"after"])
    assert contents(spool) == [*before, b"after"]


@pytest.mark.parametrize("broken", [{"file"}, {"file", "cut"}])
def test_what_a_broken_write_has_left_is_not_read(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch, broken: set[str]
) -> None:
    spool.append([b"kept"])
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", failing(os.fsync, broken))
        disk.setattr(os, "ftruncate", failing(os.ftruncate, broken & {"cut"}))
        with pytest.raises(OSError, match="No space"):
            spool.append([b"lost"])
    # It is cut off, where that can be done.
    assert (spool.size == segments(tmp_path)[0].stat().st_size) is ("cut" not in broken)
    spool.append([b"after"])
    assert len(segments(tmp_path)) == 2
    assert contents(spool) == [b"kept", b"after"]


def test_a_write_that_takes_only_some_bytes_is_finished(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as slow:
        slow.setattr(os, "write", lambda file, data: write(file, data[:3]))
        spool.append([b"0123456789", b"abc"])
    spool.close()
    assert drained(tmp_path) == [b"0123456789", b"abc"]


def test_records_are_synced_with_their_folder_before_they_count(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    sync = os.fsync

    def note(file: int) -> None:
        synced.append((Path(f"/proc/self/fd/{file}").readlink(), os.fstat(file).st_size))
        sync(file)

    monkeypatch.setattr(os, "fsync", note)
    spool.append([b"0123"])
    spool.append([b"4567"])
    (segment,) = segments(tmp_path)
    assert [path for path, _ in synced] == [tmp_path, segment, segment]
    assert [size for _, size in synced[1:]] == [12, 24]


def test_others_may_not_read_what_it_holds(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down"
    spool = Spool(folder, LIMIT)
    spool.append([b"+12065550142"])
    spool.close()
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_two_processes_cannot_have_one(tmp_path: Path, spool: Spool) -> None:
    del spool
    with pytest.raises(DispatcherError, match="another process keeps its callbacks in"):
        Spool(tmp_path, LIMIT)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DispatcherError, match=r"cannot keep callbacks in .*file: .*webhooks\.spool"):
        Spool(tmp_path / "file", LIMIT)


def test_what_others_have_put_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.spool").write_text("mine")
    Spool(tmp_path, LIMIT).close()
    assert (tmp_path / "notes.spool").read_text() == "mine"
