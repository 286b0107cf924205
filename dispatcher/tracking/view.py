"""The local view of all messages: SQLite, with what was read of the topics in the same transaction as what it said.

The topics are the truth. Each record counts exactly once, whenever the process dies; a file that is gone, or of another
make, is built anew from the first record on.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from dispatcher.domain.errors import DispatcherError
from dispatcher.tracking import past, places
from dispatcher.tracking.lifecycle import STAGES, Conclusion, Heard, News, Track
from dispatcher.tracking.past import Passed
from dispatcher.tracking.places import Places
from dispatcher.tracking.sums import Before, Progress, Sums

log = structlog.get_logger()

# A message is asked about so often; the pauses double. From 5 min on that is until 2 h 35 min after its acceptance:
# of carriers that send no receipts nothing more is to be heard.
POLLS: Final = 5
# So many messages are read by one statement.
_CHUNK: Final = 400
_CACHE_KIB: Final = 131_072
_MMAP_BYTES: Final = 1 << 30
# A page that changes often is written to the file once in so many; and what the log's file may keep for the next.
_CHECKPOINT_PAGES: Final = 16_384
_LOG_BYTES: Final = 1 << 26

# Raised whenever what is kept, or what it means, changes.
_VERSION: Final = 3
_SCHEMA: Final = f"""
CREATE TABLE offsets (topic TEXT, partition INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, partition))
    WITHOUT ROWID;
CREATE TABLE campaigns (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, mid TEXT NOT NULL, campaign INTEGER, sender TEXT, account TEXT, carrier TEXT,
    sid TEXT, attempt INTEGER, status TEXT, code INTEGER, segments INTEGER, accepted_at REAL, left_at REAL,
    changed_at REAL, due REAL, polls INTEGER, job TEXT
);
CREATE INDEX open ON messages (campaign, due) WHERE due IS NOT NULL;
CREATE TABLE counts (
    campaign TEXT, sender TEXT, carrier TEXT, status TEXT, code INTEGER, messages INTEGER, segments INTEGER,
    PRIMARY KEY (campaign, sender, carrier, status, code)
) WITHOUT ROWID;
CREATE TABLE delays (
    what TEXT, campaign TEXT, sender TEXT, bucket INTEGER, messages INTEGER, seconds REAL,
    PRIMARY KEY (what, campaign, sender, bucket)
) WITHOUT ROWID;
{places.SCHEMA}
"""
# A number of its own keeps a message where those of the same time are, however random its id is: news of one are news
# of its neighbours, and only their pages change.
_LOADED = (
    "id, mid, campaign, sender, account, carrier, sid, attempt, status, code, segments, accepted_at, left_at, "
    "changed_at, due, polls, job"
)
_INSERT = f"INSERT INTO messages VALUES ({', '.join('?' * 17)})"  # noqa: S608 - only question marks
_UPDATE = """
UPDATE messages SET campaign = ?, sender = ?, account = ?, carrier = ?, sid = ?, attempt = ?, status = ?, code = ?,
    segments = ?, accepted_at = ?, left_at = ?, changed_at = ?, due = ?, polls = ?, job = ? WHERE id = ?
"""
_COUNT = """
INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    messages = messages + excluded.messages, segments = segments + excluded.segments
"""
_DELAY = """
INSERT INTO delays VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    messages = messages + excluded.messages, seconds = seconds + excluded.seconds
"""
_LOAD = f"SELECT {_LOADED} FROM messages WHERE id IN ({', '.join('?' * _CHUNK)})"  # noqa: S608 - our own words
_MOVE_ON = "INSERT INTO offsets VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next"
_NEWEST_OPEN = "SELECT max(campaign) FROM messages WHERE due IS NOT NULL AND campaign < ?"
_OVERDUE = (
    "SELECT id, mid, sid, account, attempt, status FROM messages "
    "WHERE due IS NOT NULL AND campaign = ? AND due <= ? ORDER BY due LIMIT ?"
)
_COUNT_OVERDUE = "SELECT count(*) FROM messages WHERE due IS NOT NULL AND campaign = ? AND due <= ?"

Position = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A message came to another status; as `dispatcher.domain.delivery` has it, with the time in seconds."""

    id: str
    campaign: str
    to: str
    sender: str | None
    account: str | None
    carrier: str | None
    sid: str
    status: str
    before: str
    code: int | None
    segments: int
    at: float
    by: str
    job: str | None = None


@dataclass(slots=True)
class Told:
    """What a batch said: changes to tell on, in order; who came on; how often news amounted to what."""

    changes: list[Change] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    heard: dict[Heard, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """A message whose callbacks did not come; *number* is its place in the view."""

    number: int
    mid: str
    sid: str
    account: str
    attempt: int
    status: str


class View:
    """The file at *path*. Its calls block, and are for one thread.

    A message of which nothing final was heard is due to be asked about *poll_after* seconds after its acceptance.
    `DispatcherError` when the file is of no use, or another process has it.
    """

    def __init__(self, path: Path, *, poll_after: float) -> None:
        self._path = path
        self._poll_after = poll_after
        self._lock = _locked(path)
        try:
            self._db = _opened(path)
            self._ids: dict[str, int] = dict(self._db.execute("SELECT name, id FROM campaigns"))
            self._places = Places(self._db)
        except sqlite3.Error as error:
            os.close(self._lock)
            raise DispatcherError(f"{path} cannot be used ({error}); delete it, and it is built anew") from error
        self._names = {number: name for name, number in self._ids.items()}

    def close(self) -> None:
        """Let go of the file; what was not committed is undone."""
        self._db.close()
        os.close(self._lock)

    def positions(self) -> dict[Position, int]:
        """Return the offset to read on from, by topic and partition."""
        return {(topic, number): next_ for topic, number, next_ in self._db.execute("SELECT * FROM offsets")}

    def queued(self) -> dict[str, tuple[int, int]]:
        """Return the messages and segments that wait at Twilio, by sender, as far as is known."""
        queued = [name for name, stage in STAGES.items() if stage.end is None and not stage.left and stage.rank > 1]
        found = self._db.execute(
            "SELECT sender, sum(messages), sum(segments) FROM counts "  # noqa: S608 - only question marks
            f"WHERE status IN ({', '.join('?' * len(queued))}) GROUP BY sender",
            queued,
        )
        return {sender: (messages, segments) for sender, messages, segments in found}

    def since(self, begin: float) -> list[Passed]:
        """Return what came to pass from *begin* on, in seconds of the epoch, of the latest messages."""
        return list(past.since(self._db, begin))

    def apply(self, events: Sequence[News | Conclusion]) -> Told:
        """Take *events* in, in their order; they stay as soon as `commit` is called."""
        if not self._db.in_transaction:
            self._db.execute("BEGIN")
        told = Told()
        tracks = self._load({event.mid for event in events})
        befores: dict[str, Before] = {}
        for event in events:
            track = tracks.get(event.mid)
            if track is None:
                track = tracks[event.mid] = Track(event.mid)
            if event.mid not in befores:
                befores[event.mid] = Before.of(track)
            _take_in(event, track, told)
        sums = Sums()
        for mid, before in befores.items():
            sums.add(before, tracks[mid])
        self._save([tracks[mid] for mid in befores])
        self._db.executemany(_COUNT, [(*key, *count) for key, count in sums.counts.items()])
        self._db.executemany(_DELAY, [(*key, *delay) for key, delay in sums.delays.items()])
        told.progress = sums.progress
        return told

    def commit(self, positions: Mapping[Position, int]) -> None:
        """Keep what was applied, and that it is read up to *positions*."""
        if not self._db.in_transaction:
            self._db.execute("BEGIN")
        self._db.executemany(_MOVE_ON, [(*partition, offset) for partition, offset in positions.items()])
        self._db.execute("COMMIT")

    def undo(self) -> None:
        """Forget what was applied since the last commit."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
            # A number that was given since, to a campaign or a message, is not in the file.
            self._places.recall()
            self._ids = dict(self._db.execute("SELECT name, id FROM campaigns"))
            self._names = {number: name for name, number in self._ids.items()}

    def overdue(self, now: float, limit: int) -> list[Overdue]:
        """Return up to *limit* messages to be asked about, those of the newest campaigns first."""
        found: list[Overdue] = []
        for campaign in self._open_campaigns():
            rows = self._db.execute(_OVERDUE, (campaign, now, limit - len(found)))
            found += [
                Overdue(number=number, mid=mid, sid=sid, account=account or "", attempt=attempt, status=status)
                for number, mid, sid, account, attempt, status in rows
            ]
            if len(found) == limit:
                break
        return found

    def count_overdue(self, now: float) -> int:
        """Return how many messages are to be asked about."""
        return sum(self._db.execute(_COUNT_OVERDUE, (one, now)).fetchone()[0] for one in self._open_campaigns())

    def asked(self, messages: Iterable[Overdue], now: float) -> None:
        """Note that Twilio was asked about *messages* at *now*, or could not be: they are due later, or no more."""
        # The first pause is over by now: it is from *poll_after* on that pauses double.
        later = f"CASE WHEN polls + 1 < {POLLS} THEN ? + ? * (1 << polls) END"
        # The number may be another's by now: what told of this one may have been undone.
        query = f"UPDATE messages SET due = {later}, polls = polls + 1 WHERE id = ? AND mid = ? AND due IS NOT NULL"  # noqa: S608
        self._db.executemany(query, [(now, self._poll_after, one.number, one.mid) for one in messages])

    def _open_campaigns(self) -> Iterator[int]:
        """Yield the campaigns of whose messages more is to be heard, the newest first: one look into the index each."""
        campaign: int | None = 1 << 62
        while True:
            (campaign,) = self._db.execute(_NEWEST_OPEN, (campaign,)).fetchone()
            if campaign is None:
                return
            yield campaign

    def _load(self, mids: set[str]) -> dict[str, Track]:
        """Return what is known of *mids*, and of those few that share a hash with one of them."""
        numbers = list(self._places.find(mids))
        tracks: dict[str, Track] = {}
        for start in range(0, len(numbers), _CHUNK):
            chunk = numbers[start : start + _CHUNK]
            # Filled up, so that it is always the same statement.
            chunk += [0] * (_CHUNK - len(chunk))
            for number, mid, campaign, *rest in self._db.execute(_LOAD, chunk):
                tracks[mid] = Track(mid, number, self._names.get(campaign), *rest)
        return tracks

    def _save(self, tracks: Iterable[Track]) -> None:
        new: list[tuple[Any, ...]] = []
        known: list[tuple[Any, ...]] = []
        for track in tracks:
            campaign = None if track.campaign is None else self._number(track.campaign)
            row = (
                campaign, track.sender, track.account, track.carrier, track.sid, track.attempt, track.status,
                track.code, track.segments, track.accepted_at, track.left_at, track.changed_at, self._due(track),
                track.polls, track.job,
            )  # fmt: skip
            if track.number is None:
                new.append((self._places.add(track.mid), track.mid, *row))
            else:
                known.append((*row, track.number))
        self._db.executemany(_INSERT, new)
        self._db.executemany(_UPDATE, known)
        self._places.settle()

    def _due(self, track: Track) -> float | None:
        if track.campaign is None or not track.is_at_twilio or track.sid is None or track.polls >= POLLS:
            return None
        return track.due or (track.accepted_at or track.changed_at) + self._poll_after

    def _number(self, campaign: str) -> int:
        """Return the number of *campaign*; later ones have higher numbers."""
        number = self._ids.get(campaign)
        if number is None:
            cursor = self._db.execute("INSERT INTO campaigns (name) VALUES (?)", (campaign,))
            number = self._ids[campaign] = int(cursor.lastrowid or 0)
            self._names[number] = campaign
        return number


def _take_in(event: News | Conclusion, track: Track, told: Told) -> None:
    before = track.status
    if isinstance(event, News):
        heard = track.hear(event)
        told.heard[heard] = told.heard.get(heard, 0) + 1
        has_changed = heard is Heard.NEWS
    else:
        has_changed = track.conclude(event) and track.status != event.status
        before = event.status
    # Before its result nobody is told: it belongs to no campaign yet.
    if has_changed and track.campaign is not None:
        told.changes.append(
            Change(
                id=track.mid,
                campaign=track.campaign,
                to=event.to,
                sender=track.sender,
                account=track.account,
                carrier=track.carrier,
                sid=track.sid or "",
                status=track.status,
                before=before,
                code=track.code,
                segments=track.segments,
                at=track.changed_at,
                by=track.by or "callback",
                job=track.job,
            )
        )


def _opened(path: Path) -> sqlite3.Connection:
    db = _connected(path)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and version != _VERSION:
        log.warning("the view is of another make; it is built anew from the topics", file=str(path))
        db.close()
        for ending in ("", "-wal", "-shm"):
            Path(f"{path}{ending}").unlink(missing_ok=True)
        db, tables = _connected(path), 0
    if not tables:
        db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    return db


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # A machine that dies may lose the last transactions, offsets and all: they are read again.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        db.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
        db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _locked(path: Path) -> int:
    """Keep other trackers from the file; reading it is anybody's."""
    try:
        file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DispatcherError(
            f"cannot keep a view at {path}: {(error.strerror or str(error)).lower()}; let tracking.database name a "
            "file in a folder to write to"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise DispatcherError(
            f"another tracker has {path}; stop it, or let tracking.database name another file"
        ) from None
    return file
