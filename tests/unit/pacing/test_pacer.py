"""Corners of the pacer that fleets in motion come to only by chance."""

from math import inf
from random import Random

import pytest

from dispatcher.domain.message import Message
from dispatcher.domain.rate import Rate
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.pacer import Pacer
from tests.unit.pacing.making import make_account, make_fleet, make_message, make_sender

NOW = 1000.0


class Yard:
    """Two fast lanes of an account; what is announced may leave when the test says so."""

    def __init__(self, *, concurrency: int = 10) -> None:
        self.announced: list[Message] = []
        self.left: list[Message] = []
        self.dry: list[Lane] = []
        self.refused: set[int] = set()
        self.pacer = Pacer(
            admit=lambda message, _now: id(message) not in self.refused,
            depart=self._depart,
            run_dry=lambda lane, _now: self.dry.append(lane),
            announce=lambda message, _lane: self.announced.append(message),
            ahead=0.05,
        )
        fleet = make_fleet(
            [make_sender("72345", 1000.0), make_sender("72346", 1000.0)],
            accounts=[make_account(concurrency=concurrency)],
        )
        self.hierarchy = Hierarchy(fleet, weights=[1], queue_target=1.0, random=Random(1), hold=self.pacer.hold)
        self.a, self.b = self.hierarchy.lanes()

    def _depart(self, message: Message, _lane: Lane, now: float) -> None:
        message.departed_at = now
        self.left.append(message)

    def offer(self, lane: Lane, many: int, campaign: str = "spring") -> list[Message]:
        messages = [make_message(campaign, offset=offset) for offset in range(many)]
        for message in messages:
            self.pacer.offer(lane, message)
        return messages

    def crowd_out(self) -> list[Message]:
        """Have the first lane take all the room there is, and the second wait for some."""
        self.offer(self.a, 20)
        self.pacer.run(NOW)
        messages = self.offer(self.b, 5)
        self.pacer.run(NOW)
        assert self.b.waiting_at is self.b.standby
        return messages


@pytest.fixture
def yard() -> Yard:
    return Yard()


def test_a_message_that_comes_to_a_full_account_is_announced_while_it_waits() -> None:
    yard = Yard(concurrency=1)
    first = yard.offer(yard.a, 1)
    yard.pacer.run(NOW)
    yard.pacer.announced(yard.a, first[0])
    yard.pacer.run(NOW)
    assert yard.left == first
    second = yard.offer(yard.b, 1)
    yard.pacer.run(NOW)
    assert yard.announced == [*first, *second]


def test_what_is_withdrawn_makes_room_for_a_lane_in_line(yard: Yard) -> None:
    messages = yard.crowd_out()
    yard.pacer.withdraw(yard.a, yard.announced[0])
    yard.pacer.run(NOW)
    assert messages[0] in yard.announced


def test_what_is_withdrawn_lets_those_behind_it_have_their_turn(yard: Yard) -> None:
    messages = yard.offer(yard.a, 25)
    yard.pacer.run(NOW)
    assert yard.announced == messages[:11], "as many as may stand by"
    for message in messages[:11]:
        yard.pacer.withdraw(yard.a, message)
    yard.pacer.run(NOW)
    assert yard.announced == messages[:22]
    for message in messages[11:22]:
        yard.pacer.withdraw(yard.a, message)
    yard.pacer.run(NOW)
    for message in messages[22:]:
        yard.pacer.withdraw(yard.a, message)
    yard.pacer.run(NOW)
    assert yard.announced == messages
    assert set(yard.dry) == {yard.a}, "now that nothing is left"


def test_what_is_drained_makes_room_for_a_lane_in_line(yard: Yard) -> None:
    messages = yard.crowd_out()
    for message in yard.announced:
        yard.pacer.announced(yard.a, message)
    assert len(yard.pacer.drain(yard.a)) == 20
    yard.pacer.run(NOW)
    assert messages[0] in yard.announced


def test_what_left_for_nothing_does_not_wait_in_line_for_room(yard: Yard) -> None:
    """It takes some itself: when the ceiling has come down meanwhile, there never would be any."""
    returned = yard.offer(yard.a, 8)
    yard.pacer.run(NOW)
    for message in returned:
        yard.pacer.announced(yard.a, message)
    yard.pacer.run(NOW)
    assert yard.left == returned
    stand_by = yard.offer(yard.b, 11)
    yard.pacer.run(NOW)
    yard.offer(yard.a, 5)
    yard.pacer.run(NOW)
    assert yard.a.waiting_at is yard.a.standby
    yard.a.concurrency.limit.change_maximum(5.0)
    for message in returned:
        yard.a.concurrency.answered(0.1, NOW, healthy=True)
        yard.a.give_back(message)
        yard.pacer.go_again(yard.a, message)
    for message in stand_by[:11]:
        yard.pacer.withdraw(yard.b, message)
    yard.pacer.run(NOW + 1)
    assert yard.left[8:] == returned[:5], "as many as may be in flight"


def test_a_lane_of_which_all_is_held_by_its_campaign_leaves_the_line(yard: Yard) -> None:
    yard.hierarchy.throttle("slow", Rate(1, "s"), NOW)
    yard.offer(yard.a, 20)
    yard.pacer.run(NOW)
    yard.offer(yard.b, 5, "slow")
    yard.pacer.run(NOW)
    assert yard.b.waiting_at is yard.b.standby
    yard.hierarchy.throttles["slow"].take(10, NOW)
    yard.pacer.withdraw(yard.a, yard.announced[0])
    yard.pacer.run(NOW)
    assert yard.b.waiting_at is None
    for message in yard.announced[1:]:
        yard.pacer.withdraw(yard.a, message)
    yard.pacer.run(NOW + 11)
    assert "slow" in [message.job.campaign for message in yard.announced]


def test_a_message_that_is_not_admitted_takes_nothing_from_the_gates(yard: Yard) -> None:
    messages = yard.offer(yard.a, 3)
    yard.pacer.run(NOW)
    yard.refused = {id(message) for message in messages[:2]}
    for message in messages:
        yard.pacer.announced(yard.a, message)
    yard.pacer.run(NOW)
    assert yard.left == messages[2:]
    assert yard.a.concurrency.in_flight == 1
    assert set(yard.dry) == {yard.a}, "now that nothing is left"


def test_a_lane_that_waits_for_its_announcements_is_not_dry(yard: Yard) -> None:
    yard.offer(yard.a, 1)
    yard.pacer.run(NOW)
    assert not yard.dry
    assert yard.pacer.next_due() == inf
