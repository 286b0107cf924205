"""What is known right now survives the process that knew it."""

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.domain.counts import Counts, Scope
from dispatcher.tracking.insight import ALL, Insight
from dispatcher.tracking.lifecycle import Conclusion, News
from dispatcher.tracking.view import View

SPANS = (10, 60)
NOW = 1_000_100.0
SCOPES = (
    ALL,
    *(Scope("campaign", name) for name in ("spring", "autumn")),
    Scope("sender", "72345"),
    Scope("sender", ""),
)


@st.composite
def lives(draw: st.DrawFn) -> list[Conclusion | News]:
    """Draw what is told of some messages, in the order of time."""
    told: list[Conclusion | News] = []
    for row in range(draw(st.integers(1, 12))):
        mid, campaign = f"m{row}", draw(st.sampled_from(["spring", "autumn"]))
        at = 1_000_000.0 + draw(st.integers(0, 7)) * 10
        status = draw(st.sampled_from(["accepted", "accepted", "accepted", "refused", "unknown"]))
        sender = "72345" if status == "accepted" else None
        code = 21610 if status == "refused" else None
        told.append(Conclusion(mid, campaign, "+1", sender, "main", None, f"SM{mid}", status, code, 1, 1, at))
        if status == "accepted":
            for news in draw(
                st.sampled_from([(), ("sent",), ("sent", "delivered"), ("sent", "undelivered"), ("failed",)])
            ):
                at += draw(st.integers(0, 3))
                found = 30003 if news in {"failed", "undelivered"} else None
                told.append(News(mid, f"SM{mid}", 1, news, found, "72345", "+1", "main", at))
    return sorted(told, key=lambda one: one.at)


def counts(insight: Insight) -> dict[tuple[Scope, int], Counts]:
    return {(scope, span): insight.recent.counts(scope, span, NOW) for scope in SCOPES for span in SPANS}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "view.sqlite"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives())
def test_a_tracker_that_starts_anew_counts_what_the_last_one_did(path: Path, told: list[Conclusion | News]) -> None:
    path.unlink(missing_ok=True)
    with closing(View(path, poll_after=60.0)) as view:
        first = Insight({}, SPANS)
        for one in told:
            first.learn(view.apply([one]))
        view.commit({})
        second = Insight({}, SPANS)
        second.remember(view.since(NOW - second.recent.longest))
        assert counts(second) == counts(first)


def test_of_what_was_long_ago_nothing_is_looked_up(path: Path) -> None:
    with closing(View(path, poll_after=60.0)) as view:
        view.apply([Conclusion("a", "spring", "+1", "72345", "main", None, "SMa", "accepted", None, 1, 1, 100.0)])
        assert view.since(101.0) == []
        assert [(one.step, one.at, one.messages) for one in view.since(100.0)] == [("accepted", 100, 1)]
