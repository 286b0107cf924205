"""The view: every record counts once, sums are those of the messages, and what is overdue is found."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.domain.errors import DispatcherError
from dispatcher.tracking import places
from dispatcher.tracking.lifecycle import Conclusion, News
from dispatcher.tracking.view import POLLS, View

POLL_AFTER = 60.0


def result(
    mid: str, campaign: str = "spring", status: str = "accepted", at: float = 100.0, **changes: Any
) -> Conclusion:
    known: dict[str, Any] = {
        "mid": mid, "campaign": campaign, "to": "+12065550142", "sender": "72345", "account": "main",
        "carrier": "att", "sid": f"SM{mid}", "status": status, "code": None, "segments": 2, "attempts": 1, "at": at,
    }  # fmt: skip
    return Conclusion(**known | changes)


def news(mid: str, status: str, at: float = 101.0, **changes: Any) -> News:
    known: dict[str, Any] = {
        "mid": mid, "sid": f"SM{mid}", "attempt": 1, "status": status, "code": None, "sender": "72345",
        "to": "+12065550142", "account": "main", "at": at,
    }  # fmt: skip
    return News(**known | changes)


@pytest.fixture(autouse=True)
def quick_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "EVERY", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracking.sqlite"


@pytest.fixture
def view(path: Path) -> Iterator[View]:
    view = View(path, poll_after=POLL_AFTER)
    yield view
    view.close()


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the file says, but for the numbers that messages have in it."""
    queries = {
        "messages": "SELECT mid, sender, sid, status, code, segments, accepted_at, left_at, changed_at FROM messages",
        "counts": "SELECT campaign, sender, carrier, status, code, messages, segments FROM counts WHERE messages != 0",
        "delays": "SELECT what, campaign, sender, bucket, messages, round(seconds, 6) FROM delays",
    }
    db = sqlite3.connect(path)
    try:
        return {name: sorted(db.execute(query).fetchall(), key=repr) for name, query in queries.items()}
    finally:
        db.close()


events = st.lists(
    st.one_of(
        st.builds(
            result,
            st.sampled_from("abcd"),
            st.sampled_from(["spring", "autumn"]),
            st.sampled_from(["accepted", "accepted", "refused", "unknown"]),
            st.integers(100, 110).map(float),
        ),
        st.builds(
            news,
            st.sampled_from("abcd"),
            st.sampled_from(["queued", "sent", "delivered", "undelivered"]),
            st.integers(100, 200).map(float),
            code=st.sampled_from([None, 30003]),
        ),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events, st.integers())
def test_however_news_come_in_batches_and_crashes_between_the_sums_are_those_of_the_messages(
    tmp_path: Path, drawn: list[News | Conclusion], seed: int
) -> None:
    random = Random(seed)
    whole, pieces = tmp_path / "whole.sqlite", tmp_path / "pieces.sqlite"
    for path in (whole, pieces):
        path.unlink(missing_ok=True)
    view = View(whole, poll_after=POLL_AFTER)
    view.apply(drawn)
    view.commit({("callbacks", 0): len(drawn)})
    view.close()

    view, position = View(pieces, poll_after=POLL_AFTER), 0
    while position < len(drawn):
        batch = drawn[position : position + random.randint(1, 7)]
        view.apply(batch)
        match random.choice(["commit", "commit", "undo", "die"]):
            case "commit":
                position += len(batch)
                view.commit({("callbacks", 0): position})
            case "undo":
                view.undo()
            case _:
                view.close()
                view = View(pieces, poll_after=POLL_AFTER)
                assert view.positions().get(("callbacks", 0), 0) == position
    view.close()
    # Delays are measured from what one batch knows; which of two ends of a batch came first does not matter to them.
    assert content(pieces)["messages"] == content(whole)["messages"]
    assert content(pieces)["counts"] == content(whole)["counts"]
    counted = Counter[str]()
    for _, _, _, status, _, messages, _ in content(pieces)["counts"]:
        counted[status] += messages
    known = {event.mid for event in drawn if isinstance(event, Conclusion)}
    assert counted == Counter(row[3] for row in content(pieces)["messages"] if row[0] in known)


def test_a_change_is_told_once_and_with_what_was_told_before(view: View) -> None:
    told = view.apply([result("a"), news("a", "sent"), news("a", "sent"), news("a", "delivered"), news("a", "sent")])
    assert [(one.before, one.status, one.campaign) for one in told.changes] == [
        ("accepted", "sent", "spring"),
        ("sent", "delivered", "spring"),
    ]


def test_what_was_undone_is_told_again_and_belongs_to_its_campaign(view: View) -> None:
    view.apply([result("a", "spring"), news("a", "sent")])
    view.undo()
    assert [change.id for change in view.apply([result("b", "autumn"), news("b", "sent")]).changes] == ["b"]
    assert [change.id for change in view.apply([result("a", "spring"), news("a", "sent")]).changes] == ["a"]
    view.commit({})
    told = view.apply([news("a", "delivered"), news("b", "delivered")])
    assert [(change.id, change.campaign) for change in told.changes] == [("a", "spring"), ("b", "autumn")]


def test_what_comes_before_the_result_is_told_with_it(view: View) -> None:
    assert view.apply([news("a", "sent"), news("a", "undelivered", code=30003)]).changes == []
    view.commit({})
    told = view.apply([result("a")])
    assert [(one.before, one.status, one.code, one.carrier) for one in told.changes] == [
        ("accepted", "undelivered", 30003, "att")
    ]


def test_a_change_says_where_the_job_stands_whichever_came_first(view: View) -> None:
    view.apply([news("a", "undelivered", code=30003), result("b", job="campaign.jobs/3/7")])
    view.commit({})
    told = view.apply([result("a", job="campaign.jobs/3/6"), news("b", "undelivered", code=30003)])
    assert {one.id: one.job for one in told.changes} == {"a": "campaign.jobs/3/6", "b": "campaign.jobs/3/7"}


def test_a_result_alone_changes_no_delivery(view: View) -> None:
    assert view.apply([result("a"), result("b", status="refused", code=21610)]).changes == []


def test_queued_is_what_twilio_took_and_has_not_sent(view: View) -> None:
    view.apply([*(result(mid) for mid in "abcde"), result("f", sender="72346"), result("g", status="refused")])
    view.apply([news("a", "sent"), news("b", "delivered"), news("c", "failed", code=30001), news("d", "queued")])
    assert view.queued() == {"72345": (2, 4), "72346": (1, 2)}


def test_delays_are_measured_from_the_acceptance(view: View, path: Path) -> None:
    view.apply([result("a", at=100.0), news("a", "sent", 100.3), news("a", "delivered", 103.0)])
    view.apply([news("b", "sent", 99.9), result("b", at=100.0)])  # the callback was quicker than the answer
    view.apply([result("c", at=100.0), news("c", "delivered", 900.0, by="poll")])  # when we asked says nothing
    view.commit({})
    assert content(path)["delays"] == [
        ("delivery", "spring", "72345", 4, 1, 3.0),
        ("queue", "spring", "72345", 0, 1, 0.0),
        ("queue", "spring", "72345", 1, 1, 0.3),
    ]


def test_what_nobody_called_about_is_overdue_the_newest_campaign_first(view: View) -> None:
    view.apply([result("a1", "spring"), result("b1", "autumn"), result("c1", "winter", at=150.0)])
    view.apply([result("a2", "spring"), result("b2", "autumn", at=90.0), news("b3", "sent"), result("b3", "autumn")])
    view.apply([news("a2", "delivered"), result("a3", status="refused"), result("a4", status="unknown", sid=None)])
    assert view.overdue(149.0, 10) == []
    assert [one.mid for one in view.overdue(160.0, 10)] == ["b2", "b1", "b3", "a1"]
    assert [one.mid for one in view.overdue(160.0, 2)] == ["b2", "b1"]
    assert view.count_overdue(160.0) == 4
    assert [one.mid for one in view.overdue(210.0, 1)] == ["c1"]
    found = view.overdue(160.0, 10)[2]
    assert (found.sid, found.account, found.attempt, found.status) == ("SMb3", "main", 1, "sent")


def test_one_that_was_asked_about_is_asked_again_after_pauses_that_double_and_at_last_no_more(view: View) -> None:
    view.apply([result("a", at=0.0)])
    view.commit({})
    now, pauses = POLL_AFTER, []
    for _ in range(POLLS - 1):
        assert [one.mid for one in view.overdue(now, 1)] == ["a"]
        view.asked(view.overdue(now, 1), now)
        asked_at = now
        while not view.overdue(now, 1):
            now += POLL_AFTER / 2
        pauses.append((now - asked_at) / POLL_AFTER)
    assert pauses == [1, 2, 4, 8]
    view.asked(view.overdue(now, 1), now)
    assert view.overdue(1e12, 1) == []
    # What comes all the same counts.
    assert [change.status for change in view.apply([news("a", "delivered")]).changes] == ["delivered"]
    assert view.overdue(1e12, 1) == []


def test_a_view_of_another_make_is_built_anew(path: Path) -> None:
    view = View(path, poll_after=POLL_AFTER)
    view.apply([result("a")])
    view.commit({("results", 0): 1})
    view.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    view = View(path, poll_after=POLL_AFTER)
    assert view.positions() == {}
    assert view.queued() == {}
    view.close()


def test_two_trackers_do_not_share_a_view(view: View, path: Path) -> None:
    with pytest.raises(DispatcherError, match="another tracker has"):
        View(path, poll_after=POLL_AFTER)
    assert view.positions() == {}


def test_a_file_that_is_no_view_is_named(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(DispatcherError, match=r"tracking\.sqlite cannot be used"):
        View(path, poll_after=POLL_AFTER)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DispatcherError, match=r"let tracking\.database name a file"):
        View(tmp_path / "nowhere" / "tracking.sqlite", poll_after=POLL_AFTER)


def test_two_messages_whose_ids_have_one_hash_are_two(view: View, path: Path) -> None:
    twins = "plumless", "buckeroo"
    view.apply([result(mid) for mid in twins])
    for first in range(0, 512, 64):
        view.apply([result(f"m{number}") for number in range(first, first + 64)])
    assert view.apply([news(twins[0], "delivered")]).changes[0].id == twins[0]
    view.commit({})
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(DISTINCT hash), count(*) FROM places WHERE message < 3").fetchone() == (1, 2)
    told = view.apply([news(mid, "sent") for mid in twins]).changes
    assert [(change.id, change.before) for change in told] == [(twins[1], "accepted")]


def test_what_was_asked_about_a_message_that_is_undone_is_not_noted_of_another(view: View) -> None:
    view.commit({})
    view.apply([result("a", at=0.0)])
    asked = view.overdue(POLL_AFTER, 1)
    view.undo()
    view.apply([result("b", at=0.0)])
    view.asked(asked, POLL_AFTER)
    assert [one.mid for one in view.overdue(POLL_AFTER, 1)] == ["b"]


def test_where_a_message_is_survives_what_is_undone_after_it(view: View) -> None:
    view.apply([result("a")])
    view.commit({})
    view.apply([result(f"m{number}") for number in range(300)])
    view.undo()
    assert [change.before for change in view.apply([news("a", "sent")]).changes] == ["accepted"]
