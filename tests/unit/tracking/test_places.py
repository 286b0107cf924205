"""Whatever has happened, a message is found where it is, and what is kept in memory stays small."""

import sqlite3
from collections.abc import Iterator
from random import Random
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.tracking import places
from dispatcher.tracking.places import SCHEMA, Places

# Small, so that rounds end.
EVERY = 2
ROUND = EVERY * 256


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "EVERY", EVERY)


def opened() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(f"CREATE TABLE messages (id INTEGER PRIMARY KEY, mid TEXT NOT NULL); {SCHEMA}")
    return db


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = opened()
    yield db
    db.close()


def add(db: sqlite3.Connection, found: Places, mids: list[str]) -> None:
    db.executemany("INSERT INTO messages VALUES (?, ?)", [(found.add(mid), mid) for mid in mids])
    found.settle()


def mids_of(db: sqlite3.Connection, found: Places, mids: list[str]) -> list[str]:
    """Return the ids of all messages that are where *mids* may be."""
    numbers = ", ".join(str(number) for number in found.find(mids))
    query = f"SELECT mid FROM messages WHERE id IN ({numbers})"  # noqa: S608 - only numbers
    return sorted(mid for (mid,) in db.execute(query))


def in_memory(found: Places) -> int:
    return sum(len(part) for part in found._new)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 900), st.sampled_from(["commit", "commit", "undo", "die"])), max_size=6))
def test_however_batches_end_each_message_that_was_kept_is_found_and_no_other(
    steps: list[tuple[int, str]],
) -> None:
    db = opened()
    found, known, next_ = Places(db), list[str](), 0
    for count, end in steps:
        fresh = [f"m{number}" for number in range(next_, next_ + count)]
        next_ += count
        db.execute("BEGIN")
        add(db, found, fresh)
        assert mids_of(db, found, known + fresh) == sorted(known + fresh)
        if end == "commit":
            db.execute("COMMIT")
            known += fresh
        else:
            db.execute("ROLLBACK")
            if end == "undo":
                found.recall()
            else:
                found = Places(db)
            assert mids_of(db, found, fresh) == []
        assert mids_of(db, found, known) == sorted(known)
    db.close()


def test_the_index_takes_everything_in_by_and_by(db: sqlite3.Connection) -> None:
    found = Places(db)
    for first in range(0, 6 * ROUND, 8):
        add(db, found, [f"m{number}" for number in range(first, first + 8)])
        assert in_memory(found) <= ROUND + 8
    (indexed,) = db.execute("SELECT count(*) FROM places").fetchone()
    assert indexed + in_memory(found) == 6 * ROUND
    (up_to,) = db.execute("SELECT up_to FROM placed").fetchone()
    assert up_to >= 4 * ROUND


def test_processes_that_do_not_live_for_a_round_leave_no_more_behind(db: sqlite3.Connection) -> None:
    for life in range(40):
        found = Places(db)
        assert in_memory(found) <= 2 * ROUND
        add(db, found, [f"{life}-{number}" for number in range(ROUND // 4)])
    assert len(mids_of(db, found, [f"0-{number}" for number in range(ROUND // 4)])) == ROUND // 4


def test_what_goes_into_the_index_together_are_neighbours_there(db: sqlite3.Connection) -> None:
    found = Places(db)
    random = Random(1)
    for _ in range(20 * ROUND):
        found.add(random.randbytes(16).hex())
    found._waiting = EVERY
    found.settle()
    hashes = [hash_ for (hash_,) in db.execute("SELECT hash FROM places")]
    assert len(hashes) > ROUND // 20
    assert max(hashes) - min(hashes) < 1 << 24


def test_of_two_ids_with_one_hash_both_places_are_named(db: sqlite3.Connection) -> None:
    assert crc32(b"plumless") == crc32(b"buckeroo")
    found = Places(db)
    add(db, found, ["plumless", "buckeroo", *(f"m{number}" for number in range(2 * ROUND))])
    assert in_memory(found) < 2 * ROUND
    assert mids_of(db, found, ["plumless"]) == ["buckeroo", "plumless"]
