import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.sharding.health import FIRST_QUARANTINE, FORGIVEN_AFTER, LONGEST_QUARANTINE, Health

NOW = 1000.0
SENDER = "72345"


class Heard(list[tuple[str, float]]):
    """What `Health` said of suspensions."""

    def __call__(self, number: str, until: float) -> None:
        self.append((number, until))


def test_a_quarantine_ends_by_itself() -> None:
    health = Health(Heard())
    quarantine = health.quarantine(SENDER, "its queue is full", NOW)
    assert quarantine.until == NOW + FIRST_QUARANTINE
    assert health.is_out(SENDER, NOW)
    assert health.is_out(SENDER, quarantine.until - 0.001)
    assert not health.is_out(SENDER, quarantine.until)


def test_only_the_sender_is_out() -> None:
    health = Health(Heard())
    health.quarantine(SENDER, "its queue is full", NOW)
    assert not health.is_out("72346", NOW)
    assert health.count(NOW) == 1
    assert health.count(NOW + FIRST_QUARANTINE) == 0


def test_each_quarantine_in_a_row_is_twice_as_long_up_to_half_an_hour() -> None:
    health = Health(Heard())
    now, lengths = NOW, []
    for _ in range(9):
        quarantine = health.quarantine(SENDER, "again", now)
        lengths.append(quarantine.length)
        assert quarantine.until == now + quarantine.length
        now = quarantine.until + 1.0
    assert lengths == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    assert LONGEST_QUARANTINE == 1800


def test_a_sender_that_worked_for_a_while_starts_anew() -> None:
    health = Health(Heard())
    until = health.quarantine(SENDER, "full", NOW).until
    until = health.quarantine(SENDER, "full", until).until
    assert health.quarantine(SENDER, "full", until + FORGIVEN_AFTER).length == FIRST_QUARANTINE


@given(later=st.lists(st.floats(0, FIRST_QUARANTINE - 0.001), max_size=10))
def test_what_others_in_flight_meet_does_not_make_it_longer(later: list[float]) -> None:
    heard = Heard()
    health = Health(heard)
    first = health.quarantine(SENDER, "full", NOW)
    for seconds in later:
        assert health.quarantine(SENDER, "still full", NOW + seconds) is first
    assert heard == [(SENDER, first.until)]


@pytest.mark.parametrize(
    ("account", "prefix", "may"), [("main", "+44", False), ("main", "+1", True), ("promo", "+44", True)]
)
def test_a_closed_country_is_closed_for_one_account(account: str, prefix: str, *, may: bool) -> None:
    health = Health(Heard())
    health.close_country("main", "+44")
    assert health.may_reach(account, prefix) is may
