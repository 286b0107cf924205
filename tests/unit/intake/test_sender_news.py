from datetime import timedelta

import pytest

from dispatcher.domain.control import encode
from dispatcher.domain.counts import Counts
from dispatcher.domain.sender_health import SenderHealth
from dispatcher.intake.sender_news import STALE_AFTER, SenderNews
from tests.clock import FakeClock


def told(clock: FakeClock, *, ago: float = 0.0) -> SenderHealth:
    return SenderHealth(
        sender="72345",
        at=(clock.now() - timedelta(seconds=ago)).isoformat(),
        queue_delay=4.0,
        queue_delay_p95=5.0,
        delays=10,
        queued_messages=0,
        queued_segments=0,
        left_segments=10,
        counts=Counts(codes={30001: 2}),
    )


def heard(clock: FakeClock, value: bytes | None) -> list[SenderHealth]:
    found: list[SenderHealth] = []
    SenderNews(None, "dispatch.senders", clock, found.append)._take(value)
    return found


def test_what_is_told_now_is_heard(clock: FakeClock) -> None:
    assert heard(clock, encode(told(clock))) == [told(clock)]


def test_what_a_tracker_tells_of_the_past_is_no_news(clock: FakeClock) -> None:
    assert heard(clock, encode(told(clock, ago=STALE_AFTER))) == []


@pytest.mark.parametrize("value", [None, b"[", b"{}", b"\xff"])
def test_what_cannot_be_read_is_passed_over(clock: FakeClock, value: bytes | None) -> None:
    assert heard(clock, value) == []
