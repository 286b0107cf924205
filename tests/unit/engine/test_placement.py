"""Where messages wait, and when they move."""

from collections import Counter
from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.domain.fleet import Carrier, Fleet, Pool
from dispatcher.domain.message import Message
from dispatcher.engine.placement import Placement
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.pacer import Pacer
from dispatcher.pacing.turns import Share
from tests.unit.engine.stage import Stage, accepted, declined
from tests.unit.pacing.making import make_account, make_fleet, make_message, make_sender

NOW = 1000.0


class Site:
    """Lanes in which nothing moves but what `Placement` moves; what leaves is taken out by hand."""

    def __init__(self, fleet: Fleet, *, weights: Sequence[int] = (1,)) -> None:
        self.fleet = fleet
        self.left: list[Message] = []
        self.pacer = Pacer(
            admit=lambda _message, _now: True,
            depart=lambda message, _lane, _now: self.left.append(message),
            run_dry=self._run_dry,
        )
        self.hierarchy = Hierarchy(fleet, weights=weights, queue_target=1.0, random=Random(1), hold=self.pacer.hold)
        self.placement = Placement(fleet, self.hierarchy, self.pacer)

    def _run_dry(self, lane: Lane, now: float) -> None:
        self.placement.relieve(lane, now)

    def lane(self, number: str, carrier: Carrier | None = None) -> Lane:
        return self.hierarchy.lane(self.fleet.senders[number], carrier)

    def place(self, messages: Sequence[Message], now: float = NOW) -> None:
        for message in messages:
            assert self.placement.place(message, now)


def recipients(many: int, seed: int = 0) -> list[str]:
    random = Random(seed)
    return [f"+1{random.randrange(2_000_000_000, 9_999_999_999)}" for _ in range(many)]


def by_sender(messages: Sequence[Message]) -> Counter[str]:
    return Counter(message.sender.number for message in messages if message.sender)


# ---------------------------------------------------------------------- which lane


def test_each_carrier_of_a_10dlc_number_has_its_lane() -> None:
    rates: dict[Carrier, float] = {"att": 75, "tmobile": 40, "verizon": 4, "other": 1}
    site = Site(make_fleet([make_sender("+12065550100", a2p="ten")], a2p={"ten": rates}))
    site.place([make_message(carrier="att"), make_message(carrier="att"), make_message()])
    assert site.lane("+12065550100", "att").queue.count == 2
    assert site.lane("+12065550100", "tmobile").queue.count == 0
    assert site.lane("+12065550100", None).queue.count == 1


def test_a_10dlc_number_weighs_what_its_carriers_make_together() -> None:
    """Not what its lanes do: that of unknown carriers adds nothing."""
    rates: dict[Carrier, float] = {"att": 25, "tmobile": 25, "verizon": 25, "other": 25}
    fleet = make_fleet([make_sender("+12065550100", a2p="ten"), make_sender("72345", 100)], a2p={"ten": rates})
    pool = Pool(name="all", senders=tuple(fleet.senders), spill_after=1e9)
    site = Site(make_fleet(list(fleet.senders.values()), a2p={"ten": rates}, pools=[pool]))
    messages = [make_message(to=to) for to in recipients(4000)]
    site.place(messages)
    assert 0.46 < by_sender(messages)["72345"] / 4000 < 0.54


def test_numbers_of_one_10dlc_campaign_weigh_no_more_than_one() -> None:
    rates: dict[Carrier, float] = {"att": 25, "tmobile": 25, "verizon": 25, "other": 25}
    numbers = [f"+1206555010{digit}" for digit in range(4)]
    senders = [*(make_sender(number, a2p="ten") for number in numbers), make_sender("72345", 100)]
    pool = Pool(name="all", senders=tuple(sender.number for sender in senders), spill_after=1e9)
    site = Site(make_fleet(senders, a2p={"ten": rates}, pools=[pool]))
    messages = [make_message(to=to) for to in recipients(4000)]
    site.place(messages)
    assert 0.46 < by_sender(messages)["72345"] / 4000 < 0.54


def test_what_its_own_sender_would_make_wait_too_long_goes_to_another() -> None:
    fleet = make_fleet([make_sender("72345", 1), make_sender("72346", 1)])
    site = Site(fleet)
    to = recipients(1)[0]
    messages = [make_message(to=to) for _ in range(15)]
    site.place(messages)
    own, other = by_sender(messages).most_common()
    assert own[1] == 11, "ten seconds of its rate, and the one that fills them"
    assert other[1] == 4


def test_what_is_too_long_depends_on_this_workers_share_of_a_rate() -> None:
    site = Site(make_fleet([make_sender("72345", 4), make_sender("72346", 4)]))
    site.hierarchy.share(Share(frozenset(range(3)), 12), NOW)
    to = recipients(1)[0]
    messages = [make_message(to=to) for _ in range(15)]
    site.place(messages)
    assert by_sender(messages).most_common()[0][1] == 11, "ten seconds at one a second"


# ---------------------------------------------------------------------- taking over


def crowded(pool_of_others: str = "all") -> tuple[Site, list[Message]]:
    """Return lanes of which the first has a hundred seconds of work, placed while the second was out."""
    pools = [Pool(name="all", senders=("72345", "72346")), Pool(name="otp", senders=("72345",))]
    site = Site(make_fleet([make_sender("72345", 10), make_sender("72346", 10)], pools=pools))
    site.placement.quarantine([site.fleet.senders["72346"]], "for a while", NOW - 29)
    messages = [make_message(to=to, pool=pool_of_others if index < 500 else "all", offset=index)
                for index, to in enumerate(recipients(1000))]  # fmt: skip
    site.place(messages)
    assert site.lane("72345").queue.count == 1000
    return site, messages


def test_a_lane_that_is_dry_takes_over_a_quarter_of_a_second_of_work() -> None:
    site, messages = crowded()
    dry = site.lane("72346")
    site.placement.relieve(dry, NOW + 10)
    assert dry.queue.count == 3, "at ten a second"
    assert by_sender(messages) == {"72345": 997, "72346": 3}
    assert [message.offset for message in messages if message.sender is dry.sender] == [0, 1, 2], "the first in line"
    assert site.placement.moved == 3


def test_only_what_belongs_to_the_pool_is_taken_over_and_the_rest_keeps_its_order() -> None:
    site, _ = crowded(pool_of_others="otp")
    site.placement.relieve(site.lane("72346"), NOW + 10)
    assert site.lane("72346").queue.count == 0, "it looks no further than its first 64"
    left = [message.offset for message in site.lane("72345").queue.drain()]
    assert left == sorted(left)
    assert len(left) == 1000


def test_a_lane_that_found_nothing_to_take_over_looks_again_a_second_later() -> None:
    site, messages = crowded(pool_of_others="otp")
    site.pacer.run(NOW + 10)  # it is back, and looks
    assert by_sender(messages)["72346"] == 0
    # What it could not take has left meanwhile.
    for _ in range(500):
        site.lane("72345").queue.pop(NOW + 10)
    site.pacer.run(NOW + 10.9)
    assert by_sender(messages)["72346"] == 0
    assert site.pacer.next_due() <= NOW + 11
    site.pacer.run(NOW + 11)
    assert by_sender(messages)["72346"] >= 3


def test_a_lane_in_quarantine_takes_over_nothing_until_it_is_back() -> None:
    site, messages = crowded()
    dry = site.lane("72346")
    site.placement.relieve(dry, NOW)
    assert dry.queue.count == 0
    site.pacer.run(NOW + 0.5)
    assert "72346" not in by_sender(messages)
    site.pacer.run(NOW + 1)
    assert by_sender(messages)["72346"] >= 3, "nobody had to call it"


def test_what_a_dry_lane_cannot_reach_stays() -> None:
    senders = [make_sender("72345", 10), make_sender("+447700900100", 10, prefixes=("+44",))]
    site = Site(make_fleet(senders))
    messages = [make_message(to=to) for to in recipients(1000)]
    site.place(messages)
    site.placement.relieve(site.lane("+447700900100"), NOW)
    assert by_sender(messages) == {"72345": 1000}


def test_a_message_moves_only_to_the_lane_of_its_carrier() -> None:
    rates: dict[Carrier, float] = {"att": 10, "tmobile": 10, "verizon": 10, "other": 10}
    fleet = make_fleet([make_sender("72345", 10), make_sender("+12065550100", a2p="ten")], a2p={"ten": rates})
    site = Site(fleet)
    site.placement.quarantine([fleet.senders["+12065550100"]], "for a while", NOW - 29)
    messages = [make_message(to=to, carrier="att" if index % 2 else "tmobile")
                for index, to in enumerate(recipients(1000))]  # fmt: skip
    site.place(messages)
    site.placement.relieve(site.lane("+12065550100", "att"), NOW + 10)
    moved = [message for message in messages if message.sender is fleet.senders["+12065550100"]]
    assert {message.job.carrier for message in moved} == {"att"}
    assert site.lane("+12065550100", "att").queue.count == len(moved) == 3


@settings(max_examples=30, deadline=None)
@given(rates=st.lists(st.sampled_from((1, 3, 10, 100)), min_size=2, max_size=4), many=st.integers(1, 400))
def test_all_senders_of_a_pool_finish_at_about_the_same_time(rates: list[int], many: int) -> None:
    """Whoever is done early takes over from who has more than ten seconds to do."""
    fleet = make_fleet([make_sender(f"7234{digit}", rate) for digit, rate in enumerate(rates)])
    stage = Stage(fleet)
    random = Random(many)
    for _ in range(many):
        stage.receive(to=f"+1{random.randrange(2_000_000_000, 9_999_999_999)}")
    at_best = many / (sum(rates) * 0.99)
    stage.run(at_best + 13)
    assert len(stage.results) == many


# ---------------------------------------------------------------------- quarantine


@settings(max_examples=50, deadline=None)
@given(many=st.integers(0, 60), out=st.sets(st.sampled_from("012"), min_size=1))
def test_quarantine_loses_no_message_and_moves_all_it_can(many: int, out: set[str]) -> None:
    fleet = make_fleet([make_sender(f"7234{digit}", 10) for digit in range(3)])
    site = Site(fleet)
    messages = [make_message(to=to) for to in recipients(many)]
    site.place(messages)
    stranded = site.placement.quarantine([fleet.senders[f"7234{digit}"] for digit in out], "stopped", NOW)
    assert stranded == []
    waiting = [message for lane in site.hierarchy.lanes() for message in lane.queue.drain()]
    assert Counter(map(id, waiting)) == Counter(map(id, messages))
    if len(out) < 3:
        assert not {f"7234{digit}" for digit in out} & set(by_sender(waiting))


def test_what_waited_in_a_campaign_moves_in_its_order() -> None:
    fleet = make_fleet([make_sender("72345", 1), make_sender("72346", 1)])
    site = Site(fleet)
    to = recipients(1)[0]
    messages = [make_message(to=to, offset=offset) for offset in range(8)]
    site.place(messages)
    own = messages[0].sender
    assert own is not None
    site.placement.quarantine([own], "its queue is full", NOW)
    other = next(number for number in fleet.senders if number != own.number)
    assert [message.offset for message in site.lane(other).queue.drain()] == list(range(8))


def test_all_senders_of_an_account_are_out_before_its_messages_are_placed() -> None:
    """Or each would be moved once for every sender, a hundred thousand times twenty."""
    senders = [make_sender(f"7234{digit}", 10) for digit in range(5)] + [make_sender("72399", 10, account="promo")]
    accounts = [make_account("main"), make_account("promo", parent="main")]
    pool = Pool(name="all", senders=tuple(sender.number for sender in senders), spill_after=1e9)
    site = Site(make_fleet(senders, accounts=accounts, pools=[pool]))
    messages = [make_message(to=to) for to in recipients(200)]
    site.place(messages)
    placed = 0
    place = site.placement.place

    def count_places(message: Message, now: float, *, front: bool = False) -> bool:
        nonlocal placed
        placed += 1
        return place(message, now, front=front)

    site.placement.place = count_places  # type: ignore[method-assign]
    to_move = sum(message.sender is not None and message.sender.account == "main" for message in messages)
    assert site.placement.quarantine_account("main", "stopped", NOW) == []
    assert placed == to_move
    assert by_sender(messages) == {"72399": 200}
    assert site.placement.health.count(NOW) == 5


def test_a_message_that_comes_by_another_sender_is_the_next_of_its_campaign_there() -> None:
    stage = Stage(
        make_fleet([make_sender("72345", 2), make_sender("72346", 2)]),
        twilio=lambda request: declined(21606) if request.message.job.id == "first" else accepted(request),
    )
    stage.receive(id="first", to=recipients(1)[0])
    for to in recipients(6, seed=1):
        stage.receive(to=to)
    stage.run(0.2)
    stage.twilio = accepted
    stage.run(5)
    second_try = [index for index, job in enumerate(stage.ids()) if job == "first"][1]
    assert second_try <= 4, "ahead of those that wait"
