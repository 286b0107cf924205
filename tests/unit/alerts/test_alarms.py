from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.alerts.alarms import CLEAR_AFTER, RAISE_AFTER, Alarms
from dispatcher.alerts.rules import Finding
from dispatcher.domain.alert import Alert, decode, encode

START = datetime(2026, 11, 24, 18, tzinfo=UTC)
THRESHOLD = 10.0


def finding(value: float, subject: str = "campaign spring") -> Finding:
    is_wrong, is_calm = value > THRESHOLD, value <= THRESHOLD / 2
    return Finding("code_spike", subject, "page", value, THRESHOLD, is_wrong, is_calm, f"it is {value:.0f}")


def looks(alarms: Alarms, values: list[float | None], start: int = 0) -> list[tuple[int, Alert]]:
    """Look once a second, and return what was told when."""
    return [
        (second, alert)
        for second, value in enumerate(values, start)
        for alert in alarms.look([] if value is None else [finding(value)], START + timedelta(seconds=second))
    ]


def test_an_alert_is_raised_once_and_says_why_since_when() -> None:
    alarms = Alarms()
    ((second, alert),) = looks(alarms, [0, 0, *[11] * 100])
    assert second == 2 + RAISE_AFTER
    assert alert == Alert(
        alert="code_spike",
        subject="campaign spring",
        state="raised",
        severity="page",
        why="it is 11",
        value=11.0,
        threshold=10.0,
        since="2026-11-24T18:00:07.000+00:00",
        at="2026-11-24T18:00:07.000+00:00",
    )
    assert alarms.raised == [alert]
    assert alert.key == b"code_spike/campaign spring"
    assert decode(encode(alert)) == alert


def test_what_is_wrong_for_a_moment_is_not_told() -> None:
    assert looks(Alarms(), [*[11] * 5, 0, *[11] * 5, 9, *[11] * 5, None, *[11] * 5]) == []


def test_an_alert_is_cleared_when_it_has_been_calm_for_long_and_not_in_between() -> None:
    alarms = Alarms()
    values: list[float | None] = [*[11] * 10, *[7] * 200, *[4] * 59, 7, *[4] * 61]
    (_, raised), (second, cleared) = looks(alarms, values)
    assert second == 10 + 200 + 59 + 1 + CLEAR_AFTER
    assert (cleared.state, cleared.since, cleared.value, cleared.key) == ("cleared", raised.since, 4.0, raised.key)
    assert cleared.why == "all is well again for 60 s; it was: it is 11"
    assert alarms.raised == []
    # And it may be raised again.
    ((_, again),) = looks(alarms, [11] * 10, start=1000)
    assert again.state == "raised"


def test_what_nobody_speaks_of_any_more_is_calm() -> None:
    told = looks(Alarms(), [*[11] * 10, *[None] * 61])
    assert [alert.state for _, alert in told] == ["raised", "cleared"]
    assert told[1][1].value == 0.0


def test_what_was_raised_before_is_not_raised_again_but_cleared() -> None:
    first = Alarms()
    looks(first, [11] * 10)
    told = looks(Alarms(first.raised), [*[11] * 100, *[0] * 61], start=100)
    assert [(alert.state, alert.since) for _, alert in told] == [("cleared", first.raised[0].since)]


def test_each_subject_has_its_own_alert() -> None:
    alarms = Alarms()
    told = [
        alert.subject
        for second in range(10)
        for alert in alarms.look(
            [finding(11, "a"), finding(11, "b"), finding(1, "c")], START + timedelta(seconds=second)
        )
    ]
    assert told == ["a", "b"]


@given(st.lists(st.sampled_from([None, 1.0, 7.0, 11.0]), max_size=400))
def test_raised_and_cleared_take_turns_and_never_hurry(values: list[float | None]) -> None:
    told = looks(Alarms(), values)
    assert [alert.state for _, alert in told] == ["raised", "cleared"] * (len(told) // 2) + ["raised"] * (len(told) % 2)
    for second, alert in told:
        if alert.state == "raised":
            assert set(values[second - int(RAISE_AFTER) : second + 1]) == {11.0}
        else:
            assert set(values[second - int(CLEAR_AFTER) : second + 1]) <= {None, 1.0}
