"""Whole fleets in motion: never above a limit, never idle below it, fair, and without a wasted wake-up."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.domain.fleet import CARRIERS, Account, Carrier, Fleet, Sender
from dispatcher.domain.rate import Rate
from dispatcher.pacing.turns import Share
from tests.unit.pacing.making import make_account, make_fleet, make_message, make_sender
from tests.unit.pacing.traffic import Departure, Traffic, largest_in_a_second

# With what is sent announced in the journal first, which takes a while, and without. A journal slower than messages are
# announced ahead costs beats and turns, but nothing else.
JOURNALS: dict[str, Callable[[Random], float] | None] = {
    "no journal": None,
    "journal": lambda random: random.uniform(0.002, 0.02),
    "slow journal": lambda random: random.uniform(0.02, 0.08),
}
with_and_without_a_journal = pytest.mark.parametrize("journal", ["no journal", "journal"])


def segments(departure: Departure) -> float:
    return departure.message.cost


def messages(_departure: Departure) -> float:
    return 1.0


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Short codes and toll-free numbers in two accounts of a family, and a 10DLC campaign with some numbers."""
    account_rates = draw(st.tuples(*[st.one_of(st.none(), st.integers(5, 200).map(lambda rate: Rate(rate, "s")))] * 2))
    accounts: list[Account] = [
        make_account("main", concurrency=draw(st.integers(1, 100)), rate=account_rates[0]),
        make_account("promo", concurrency=draw(st.integers(1, 100)), rate=account_rates[1], parent="main"),
    ]
    of_account = st.sampled_from(("main", "promo"))
    senders: list[Sender] = [
        make_sender(f"7234{index}", rate, account=draw(of_account))
        for index, rate in enumerate(draw(st.lists(st.integers(20, 300), max_size=2)))
    ]
    senders += [
        make_sender(f"+1888555010{index}", rate, account=draw(of_account))
        for index, rate in enumerate(draw(st.lists(st.sampled_from((0.5, 3.0, 10.0)), max_size=2)))
    ]
    numbers = draw(st.integers(0 if senders else 1, 3))
    senders += [make_sender(f"+1206555010{index}", a2p="promo-10dlc", account="promo") for index in range(numbers)]
    rates: dict[Carrier, float] = dict(zip(CARRIERS, draw(st.tuples(*[st.sampled_from((1.25, 4, 40, 75))] * 4))))  # noqa: B905 - four each
    family_rate = draw(st.sampled_from((20.0, 100.0, 2000.0)))
    return make_fleet(
        senders, accounts=accounts, a2p={"promo-10dlc": rates} if numbers else {}, family_rate=family_rate
    )


def assert_no_limit_is_passed(traffic: Traffic, fleet: Fleet, throttle: float | None, largest: int) -> None:
    out = sorted(traffic.accepted, key=lambda each: each.at)

    def within(rate: float, chosen: list[Departure], *, whole: bool = False) -> bool:
        at_most = rate * 1.05 + (1 if whole else largest)
        return largest_in_a_second(chosen, messages if whole else segments) <= at_most + 1e-6

    for sender in fleet.senders.values():
        if sender.rate is not None:
            assert within(sender.rate.per_second, [each for each in out if each.lane.sender is sender])
    for campaign in fleet.a2p_campaigns.values():
        its = [each for each in out if each.lane.sender.a2p_campaign == campaign.name]
        for carrier in CARRIERS:
            reached = [each for each in its if each.message.job.carrier in {carrier, None}]
            assert within(campaign.rates[carrier].per_second, reached)
    for account in fleet.accounts.values():
        if account.rate is not None:
            its = [each for each in out if each.lane.sender.account == account.name]
            assert within(account.rate.per_second, its, whole=True)
    assert within(fleet.family_rate.per_second, out, whole=True), "both accounts are of one family"
    if throttle is not None:
        assert within(throttle, [each for each in out if each.message.job.campaign == "throttled"])


@settings(max_examples=60, deadline=None)
@given(
    fleet=fleets(),
    throttle=st.sampled_from((2.0, 30.0)),
    largest=st.sampled_from((1, 11)),
    late=st.sampled_from((0.0, 0.015)),
    journal=st.sampled_from(list(JOURNALS)),
    refused=st.sampled_from((0.0, 0.2)),
    data=st.data(),
    seed=st.integers(0, 1000),
)
def test_every_message_leaves_once_and_no_limit_is_ever_passed(
    fleet: Fleet,
    throttle: float,
    largest: int,
    late: float,
    journal: str,
    refused: float,
    data: st.DataObject,
    seed: int,
) -> None:
    random = Random(seed)
    traffic = Traffic(
        fleet, weights=(9, 1), late=late, latency=lambda random: random.uniform(0.05, 0.3), journal=JOURNALS[journal],
        is_refused=lambda random, _: random.random() < refused, seed=seed,
    )  # fmt: skip
    traffic.hierarchy.throttle("throttled", Rate(throttle, "s"), traffic.now)
    offered = [
        make_message(
            random.choice(("spring", "throttled")),
            cost=random.randint(1, largest),
            priority=random.randint(0, 1),
            carrier=random.choice((None, *CARRIERS)),
        )
        for _ in range(data.draw(st.sampled_from((30, 150))))
    ]
    for message in offered:
        traffic.offer(random.choice(tuple(fleet.senders)), [message])
        if random.random() < 0.1:
            traffic.run(random.uniform(0, 0.5))
    traffic.run()

    assert Counter(id(each.message) for each in traffic.accepted) == Counter(map(id, offered))
    for lane in traffic.hierarchy.lanes():
        assert (lane.prepared, lane.prepared_cost, lane.standby.count, lane.standby.lanes) == (0, 0, 0, 0)
    # A campaign's throttle counts what is announced: of each lane one message may be held up after that, and more by
    # 429s.
    is_exact = not refused and JOURNALS[journal] is None
    assert_no_limit_is_passed(traffic, fleet, throttle if is_exact else None, largest)
    assert traffic.runs <= 10 * len(traffic.departures) + 20, "nothing polls"
    assert traffic.pacer.next_due() == inf


@settings(max_examples=30, deadline=None)
@given(
    rate=st.sampled_from((0.5, 1.0, 3.0, 10.0, 100.0, 300.0)),
    largest=st.sampled_from((1, 11, 24)),
    latency=st.sampled_from((0.01, 0.15, 0.4)),
    late=st.sampled_from((0.0, 0.015)),
    journal=st.sampled_from(("no journal", "journal")),
    seed=st.integers(0, 1000),
)
def test_a_lane_with_a_backlog_runs_at_97_percent_of_its_rate_or_more(
    rate: float, largest: int, latency: float, late: float, journal: str, seed: int
) -> None:
    random = Random(seed)
    fleet = make_fleet([make_sender("72345", rate)], accounts=[make_account(concurrency=200)])
    traffic = Traffic(fleet, late=late, latency=lambda _: latency, journal=JOURNALS[journal])
    seconds = max(5.0, 50 * largest / rate)
    backlog = [
        make_message(cost=random.randint(1, largest)) for _ in range(50 + int(2 * (5 + seconds) * rate / largest))
    ]
    traffic.offer("72345", backlog)
    traffic.run(5 + seconds)  # the account's ceiling is found in the first five
    sent = sum(each.message.cost for each in traffic.departures if each.at >= 5)
    assert len(traffic.departures) < len(backlog)
    assert sent >= 0.97 * rate * seconds - largest


@with_and_without_a_journal
def test_many_slow_lanes_of_one_account_all_run_at_their_rates(journal: str) -> None:
    """Each is about to leave now and then; together they are more than may stand by at once."""
    fleet = make_fleet([make_sender(f"+18885550{number:03}", 3.0) for number in range(50)])
    traffic = Traffic(fleet, journal=JOURNALS[journal])
    for number in fleet.senders:
        traffic.offer(number, [make_message(cost=5 if number.endswith("7") else 1) for _ in range(60)])
    traffic.run(15)
    sent: Counter[str] = Counter()
    for each in traffic.departures:
        if each.at >= 5:
            sent[each.lane.sender.number] += each.message.cost
    assert sum(sent.values()) >= 0.97 * 50 * 3 * 10
    assert min(sent.values()) >= 25


@with_and_without_a_journal
@pytest.mark.parametrize("late", [0.0, 0.015])
def test_lanes_do_not_hold_each_other_up(late: float, journal: str) -> None:
    rates = {"72345": 100.0, "72346": 200.0, "+18885550100": 3.0, "+18885550101": 10.0}
    fleet = make_fleet([make_sender(number, rate) for number, rate in rates.items()])
    traffic = Traffic(fleet, late=late, journal=JOURNALS[journal])
    for number, rate in rates.items():
        traffic.offer(number, [make_message() for _ in range(int(rate * 20))])
    traffic.run(11)
    for number, rate in rates.items():
        sent = sum(each.lane.sender.number == number and each.at >= 1 for each in traffic.departures)
        assert sent >= 0.97 * rate * 10 - 1


def test_the_numbers_of_a_10dlc_campaign_share_its_rate_for_each_carrier() -> None:
    rates: dict[Carrier, float] = {"att": 75, "tmobile": 40, "verizon": 4, "other": 1}
    numbers = ["+12065550100", "+12065550101", "+12065550102"]
    traffic = Traffic(make_fleet([make_sender(number, a2p="ten") for number in numbers], a2p={"ten": rates}))
    for number in numbers:
        for carrier in CARRIERS:
            traffic.offer(number, [make_message(carrier=carrier) for _ in range(400)])
    traffic.run(10)
    for carrier, rate in rates.items():
        sent = Counter(each.lane.sender.number for each in traffic.departures if each.message.job.carrier == carrier)
        assert 0.97 * rate * 10 - 1 <= sum(sent.values()) <= rate * 10 + 1
        assert max(sent.values()) - min(sent.values()) <= 0.03 * rate * 10 + 3


def test_a_recipient_of_unknown_carrier_fits_into_the_limit_of_each() -> None:
    rates: dict[Carrier, float] = {"att": 75, "tmobile": 40, "verizon": 4, "other": 10}
    traffic = Traffic(make_fleet([make_sender("+12065550100", a2p="ten")], a2p={"ten": rates}))
    traffic.offer("+12065550100", [make_message() for _ in range(200)])
    traffic.run(10)
    assert 38 <= len(traffic.departures) <= 41


@with_and_without_a_journal
@pytest.mark.parametrize("limit", ["account", "family", "concurrency"])
def test_lanes_that_share_a_limit_share_it_fairly(limit: str, journal: str) -> None:
    """Also when one of them has more to send, costlier messages, or a higher rate of its own."""
    account = make_account(
        concurrency=10 if limit == "concurrency" else 80, rate=Rate(50, "s") if limit == "account" else None
    )
    fleet = make_fleet(
        [make_sender("72345", 300.0), make_sender("72346", 200.0), make_sender("72347", 1000.0)],
        accounts=[account],
        family_rate=50.0 if limit == "family" else 2000.0,
    )
    # Answers that all come at once would find lanes with a low rate of their own unable to use their turns.
    traffic = Traffic(fleet, latency=lambda random: random.uniform(0.1, 0.2), journal=JOURNALS[journal])
    for number, cost, amount in (("72345", 1, 5000), ("72346", 3, 1000), ("72347", 11, 2000)):
        traffic.offer(number, [make_message(cost=cost) for _ in range(amount)])
    traffic.run(20)
    sent = Counter(each.lane.sender.number for each in traffic.departures)
    assert max(sent.values()) - min(sent.values()) <= 0.05 * sum(sent.values())
    if limit != "concurrency":
        assert sum(sent.values()) >= 0.97 * 50 * 20, "it is messages that are counted"


@with_and_without_a_journal
def test_a_lane_below_its_share_of_a_common_limit_gets_all_it_wants(journal: str) -> None:
    fleet = make_fleet([make_sender("72345", 300.0), make_sender("+18885550100", 3.0)], family_rate=50)
    traffic = Traffic(fleet, late=0.005, journal=JOURNALS[journal])
    traffic.offer("72345", [make_message() for _ in range(2000)])
    traffic.offer("+18885550100", [make_message() for _ in range(100)])
    traffic.run(20)
    sent = Counter(each.lane.sender.number for each in traffic.departures)
    assert sent["+18885550100"] >= 0.97 * 3 * 20 - 1
    assert sum(sent.values()) >= 0.97 * 50 * 20 - 1


@with_and_without_a_journal
def test_an_urgent_message_leaves_within_the_time_of_a_few_bulk_ones(journal: str) -> None:
    traffic = Traffic(make_fleet([make_sender("72345", 100.0)]), weights=(9, 1), journal=JOURNALS[journal])
    traffic.offer("72345", [make_message("bulk", priority=1) for _ in range(3000)])
    traffic.run(5.0)
    urgent = make_message("code", priority=0)
    traffic.offer("72345", [urgent])
    traffic.run(1.0)
    assert next(each.at for each in traffic.departures if each.message is urgent) <= 5.2


@with_and_without_a_journal
def test_a_throttled_campaign_is_held_over_all_its_lanes_and_delays_no_other(journal: str) -> None:
    fleet = make_fleet([make_sender("72345", 100.0), make_sender("72346", 100.0)])
    traffic = Traffic(fleet, journal=JOURNALS[journal])
    traffic.hierarchy.throttle("slow", Rate(10, "s"), traffic.now)
    for number in fleet.senders:
        traffic.offer(number, [make_message("slow") for _ in range(1000)])
        traffic.offer(number, [make_message("fast") for _ in range(1500)])
    traffic.run(11)
    sent = Counter(each.message.job.campaign for each in traffic.departures if each.at >= 1)
    assert 97 <= sent["slow"] <= 101
    assert sent["fast"] >= 0.97 * 2000 - sent["slow"]


@pytest.mark.parametrize("rate", [100.0, 2.0])
@pytest.mark.parametrize("owned", [range(6), range(3, 6), [11]])
@with_and_without_a_journal
def test_a_worker_with_a_part_of_the_partitions_sends_at_that_part_of_the_rate(
    journal: str, owned: Sequence[int], rate: float
) -> None:
    traffic = Traffic(make_fleet([make_sender("72345", rate)]), journal=JOURNALS[journal], latency=lambda _: 0.3)
    share = Share(frozenset(owned), 12)
    traffic.hierarchy.share(share, traffic.now)
    traffic.offer("72345", [make_message() for _ in range(int(70 * rate))])
    traffic.run(120)
    assert len(traffic.departures) == pytest.approx(0.99 * rate * share.part * 120, rel=0.01, abs=1)


def test_a_slow_network_is_no_reason_to_fill_the_queue_at_twilio() -> None:
    traffic = Traffic(make_fleet([make_sender("72345", 5.0)]), latency=lambda _: 30.0)
    traffic.offer("72345", [make_message() for _ in range(3000)])
    traffic.run(29)
    assert len(traffic.departures) == 6, "a second of the rate, and one message"


@pytest.mark.parametrize("rate", [0.5, 3.0, 20.0])
def test_a_message_is_announced_a_little_before_its_beat_and_leaves_on_it(rate: float) -> None:
    traffic = Traffic(make_fleet([make_sender("72345", rate)]), journal=lambda random: random.uniform(0.002, 0.045))
    traffic.offer("72345", [make_message() for _ in range(30)])
    traffic.run()
    # The first leaves at once, and the second makes use of the leeway.
    for before, each in pairwise(traffic.departures[1:]):
        assert each.at - before.at == pytest.approx(1 / (0.99 * rate), abs=1e-6)
        assert each.at - traffic.announced[id(each.message)] == pytest.approx(0.05, abs=1e-6)


def test_at_an_accounts_ceiling_what_leaves_next_is_announced_already() -> None:
    fleet = make_fleet([make_sender("72345", 1000.0)], accounts=[make_account(concurrency=4)])
    traffic = Traffic(fleet, latency=lambda _: 0.1, journal=lambda _: 0.04)
    traffic.offer("72345", [make_message() for _ in range(1000)])
    traffic.run(10)
    assert len(traffic.departures) >= 0.97 * 4 / 0.1 * 10
