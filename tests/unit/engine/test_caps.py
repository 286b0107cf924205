"""A cap holds to the segment, and nothing of it is lost, whoever crashes when: workers in a world of our making."""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import count
from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.domain.caps import CapRules, Charge
from dispatcher.domain.claims import CapRecord, Claim, Takeover
from dispatcher.domain.fleet import A2PCampaign, Brand, Fleet, Pool, Sender, SenderKind
from dispatcher.domain.job import Job
from dispatcher.domain.message import Message
from dispatcher.domain.rate import Rate
from dispatcher.engine.caps import Caps, Leave
from tests.clock import FakeClock
from tests.unit.pacing.making import Desk, make_account

PARTITIONS = 4
NUMBER = "+12065550100"
MOST_STEPS = 20_000


def fleet(cap: int | None = 50, *, daily: int | None = None) -> Fleet:
    account = make_account()
    rate = Rate(75, "s")
    return Fleet(
        accounts={"main": type(account)(name="main", sid=account.sid, auth_token=account.auth_token, daily_cap=daily)},
        senders={
            NUMBER: Sender(number=NUMBER, kind=SenderKind.LONG_CODE, account="main", a2p_campaign="promo"),
            "72345": Sender(number="72345", kind=SenderKind.SHORT_CODE, account="main", rate=rate),
        },
        a2p_campaigns={
            "promo": A2PCampaign(
                name="promo", brand="acme", rates={"att": rate, "tmobile": rate, "verizon": rate, "other": rate}
            )
        },
        brands={"acme": Brand(name="acme", tmobile_daily_cap=cap)},
        pools={"all": Pool(name="all", senders=(NUMBER,)), "both": Pool(name="both", senders=(NUMBER, "72345"))},
    )


class World:
    """Kafka and Twilio: what outlives every worker. A job is a number, and in the partition that the number says."""

    def __init__(
        self, random: Random, *, cap: int, daily: int | None, costs: list[int], p_decline: float, p_doubt: float
    ) -> None:
        self.random = random
        self.clock = FakeClock()
        self.rules = CapRules(fleet(cap, daily=daily))
        self.cap = cap
        self.daily = inf if daily is None else daily
        self.costs = costs
        self.p_decline = p_decline
        self.p_doubt = p_doubt
        self.topic: list[CapRecord] = []
        self.results: dict[int, list[tuple[int, tuple[Charge, ...]]]] = defaultdict(list)
        self.journal: dict[int, tuple[Charge, ...]] = {}
        self.concluded: set[int] = set()
        self.parked: set[int] = set()
        self.texted: Counter[int] = Counter()
        self.late: list[CapRecord] = []

    @property
    def segments(self) -> int:
        return sum(self.costs[job] * times for job, times in self.texted.items())

    def take(self, job: int) -> str:
        """Twilio gets the request for *job*: what the one who sent it comes to know."""
        if self.random.random() < self.p_decline:
            return "declined"
        if self.random.random() < self.p_doubt / 2:
            return "silence"  # it never came
        self.texted[job] += 1
        assert self.segments <= self.cap
        assert self.texted.total() <= self.daily
        return "silence" if self.random.random() < self.p_doubt else "accepted"


class Worker:
    """One life of a worker, from its takeover of *indices* to its death."""

    def __init__(self, world: World, indices: set[int]) -> None:
        self.world = world
        self.indices = indices
        self.read_to = 0
        self.outbox: list[CapRecord] = []
        self.desks = {index: Desk(partition=index) for index in range(PARTITIONS)}
        self.is_frozen = False
        self.unsafe: list[Message] = []
        self.ready: list[Message] = []
        self.in_flight: list[tuple[Message, str]] = []
        self.doubts: list[Message] = []
        self.unacknowledged: list[Message] = []
        self.caps = Caps(
            world.rules,
            partitions=PARTITIONS,
            arrival=20.0,
            clock=world.clock,
            results_end=lambda index: len(world.results[index]),
        )
        self.caps.tell(granted=self.unsafe.append, short=self.come_short)
        self.sender = fleet().senders[NUMBER]
        self.take_over()

    def take_over(self) -> None:
        world = self.world
        world.topic.append(Takeover(owner="me", indices=tuple(self.indices)))
        epoch = len(world.topic) - 1
        self.read(len(world.topic))
        since = self.caps.begin(epoch, self.indices)
        charged = {}
        for index in self.indices:
            start = since.get(index, len(world.results[index]))
            start = world.random.randint(0, start)  # the horizon may lie before it
            charged[index] = [
                (start + place, charges) for place, (_, charges) in enumerate(world.results[index][start:])
            ]
        mine = {job for job in range(len(world.costs)) if job % PARTITIONS in self.indices}
        open_jobs = mine - world.concluded - world.parked
        doubted = {job for job in open_jobs if job in world.journal}
        self.caps.recover(
            self.indices,
            charged,
            {("campaign.jobs", job % PARTITIONS, job): world.journal[job] for job in doubted},
        )
        for job in sorted(open_jobs):
            message = self.message(job)
            if job in doubted:
                self.caps.inherit(message)
                self.doubts.append(message)
            else:
                self.offer(message)

    def message(self, job: int) -> Message:
        one = Job(id=str(job), campaign="spring", to="+12065550143", pool="all", body="Hi", carrier="tmobile")
        desk = self.desks[job % PARTITIONS]
        return Message(job=one, origin=desk, offset=job, priority=0, cost=self.world.costs[job], appended_at=0.0)

    def offer(self, message: Message) -> None:
        match self.caps.reserve(message, self.sender):
            case Leave.GRANTED:
                self.unsafe.append(message)
            case Leave.SHORT:
                self.come_short(message)
            case Leave.ASKED:
                pass

    def come_short(self, message: Message) -> None:
        self.caps.put_on_shelf(message, self.sender)

    def steps(self) -> list[Callable[[], None]]:
        """Return what this worker may do next; nothing: it waits for others, or for time to pass."""
        world = self.world
        possible: list[tuple[Any, Callable[[], None]]] = [
            (self.read_to < len(world.topic), lambda: self.read(world.random.randint(1, 3))),
            (self.outbox, self.write),
        ]
        if self.is_frozen:
            return [step for is_possible, step in possible if is_possible] + [self.claim]
        possible += [
            (self.unsafe, self.announce),
            (self.ready, self.send),
            (self.in_flight, self.hear),
            (self.doubts, self.resolve),
            (self.unacknowledged, self.acknowledge),
            (self.caps.shelf.is_stirred, self.serve),
        ]
        return [step for is_possible, step in possible if is_possible] + [self.claim]

    def claim(self) -> None:
        self.caps.look()
        self.outbox += self.caps.claims()

    def read(self, most: int) -> None:
        for record in self.world.topic[self.read_to : self.read_to + most]:
            self.caps.heard(self.read_to, record)
            self.read_to += 1

    def write(self) -> None:
        self.world.topic.append(self.outbox.pop(0))

    def announce(self) -> None:
        message = self.unsafe.pop(0)
        self.world.journal[message.offset] = message.charged
        self.ready.append(message)

    def send(self) -> None:
        message = self.ready.pop(0)
        self.in_flight.append((message, self.world.take(message.offset)))

    def hear(self) -> None:
        message, said = self.in_flight.pop(self.world.random.randrange(len(self.in_flight)))
        if said == "silence":
            self.doubts.append(message)
        else:
            self.conclude(message, said)

    def resolve(self) -> None:
        message = self.doubts.pop(0)
        if self.world.texted[message.offset]:
            self.conclude(message, "accepted")
            return
        del self.world.journal[message.offset]
        self.caps.give_back(message)
        self.offer(message)

    def conclude(self, message: Message, said: str) -> None:
        self.caps.conclude(message, "accepted" if said == "accepted" else "refused", message.cost)
        self.unacknowledged.append(message)

    def acknowledge(self) -> None:
        message = self.unacknowledged.pop(0)
        self.world.results[message.origin.partition].append((message.offset, message.charged))
        self.world.concluded.add(message.offset)
        self.world.journal.pop(message.offset, None)
        message.origin.settle(message.offset)

    def serve(self) -> None:
        again, put_off = self.caps.serve()
        for message in again:
            self.offer(message)
        for message, until, reason in put_off:
            assert reason in {"tmobile_cap", "account_cap"}
            assert until == pytest.approx(self.world.clock.epoch(), abs=24 * 3600)
            self.world.parked.add(message.offset)

    def die(self) -> None:
        """What it had written may still come into the topic, late. Maybe it is only frozen, and goes on to claim."""
        self.is_frozen = self.world.random.random() < 0.3
        if not self.is_frozen:
            self.world.late += self.outbox

    def rest(self) -> None:
        """Nothing is to be done any more but to say so: then nothing is held back, and nobody waits."""
        self.claim()
        self.outbox, said = [], self.outbox
        self.world.topic += said
        self.world.clock.advance(70.0)


def run(world: World, *, lives: int) -> list[Worker]:
    """Let the workers work until all is concluded or put off; return those that are left."""
    random = world.random
    halves = [{0, 1}, {2, 3}]
    workers = [Worker(world, half) for half in halves]
    frozen: list[Worker] = []
    for _ in range(MOST_STEPS):
        if world.late and random.random() < 0.05:
            world.topic.append(world.late.pop(0))
        if random.random() < 0.02:
            world.clock.advance(random.choice([0.1, 1.0, 70.0]))
        if lives and random.random() < 0.01:
            lives -= 1
            # Who is left takes over all, or another comes and they share: everybody starts anew either way.
            for worker in workers:
                worker.die()
            frozen += [worker for worker in workers if worker.is_frozen]
            shares = random.choice([halves, [{0, 1, 2, 3}], [{0}, {1, 2, 3}]])
            workers = [Worker(world, share) for share in shares]
        random.choice(random.choice([*workers, *frozen]).steps())()
        if not lives and len(world.concluded) + len(world.parked) == len(world.costs):
            return workers
    raise AssertionError(f"{len(world.costs) - len(world.concluded) - len(world.parked)} jobs wait for ever")


@given(
    seed=st.integers(0, 2**32),
    cap=st.integers(1, 60),
    daily=st.none() | st.integers(1, 60),
    jobs=st.integers(0, 90),
    largest=st.sampled_from([1, 1, 3]),
    p_decline=st.sampled_from([0.0, 0.1, 0.5]),
    p_doubt=st.sampled_from([0.0, 0.2, 0.5]),
    lives=st.integers(0, 6),
)
@settings(max_examples=200, deadline=None)
def test_caps_are_used_up_to_the_segment_and_never_exceeded_whoever_dies(
    seed: int,
    cap: int,
    daily: int | None,
    jobs: int,
    largest: int,
    p_decline: float,
    p_doubt: float,
    lives: int,
) -> None:
    random = Random(seed)
    costs = [random.randint(1, largest) for _ in range(jobs)]
    world = World(random, cap=cap, daily=daily, costs=costs, p_decline=p_decline, p_doubt=p_doubt)
    workers = run(world, lives=lives)
    assert max(world.texted.values(), default=0) <= 1
    # Nobody was put off who would have fitted.
    left = cap - world.segments if world.texted.total() < world.daily else 0
    assert all(costs[job] > left for job in world.parked)
    # Everything that was charged is spent or came back, and nobody waits any more.
    for _ in range(3):
        for worker in workers:
            worker.rest()
        for worker in workers:
            worker.read(len(world.topic))
    for worker in workers:
        assert not worker.caps.asked()
        assert not worker.caps.shelf
        for rule, spent in (("tmobile/acme", world.segments), ("account/main", world.texted.total())):
            book = worker.caps.book.day(rule, "2026-11-24")
            assert book.spent == (spent if rule in world.rules.caps else 0)
            assert not (book.is_scarce and book.open)


class Purse:
    """The caps of a worker that has the partition index 0; the other index is another's."""

    def __init__(self, cap: int, *, daily: int | None = None) -> None:
        self.clock = FakeClock()
        self.desk = Desk()
        self.sender = fleet().senders[NUMBER]
        self.caps = Caps(
            CapRules(fleet(cap, daily=daily)), partitions=2, arrival=20.0, clock=self.clock, results_end=lambda _: 0
        )
        self.granted: list[Message] = []
        self.short: list[Message] = []
        self.caps.tell(granted=self.granted.append, short=self.short.append)
        self._offsets = count(1)
        self.caps.begin(0, [0])

    def message(self, offset: int) -> Message:
        job = Job(id=str(offset), campaign="spring", to="+12065550143", pool="all", body="Hi", carrier="tmobile")
        return Message(job=job, origin=self.desk, offset=offset, priority=0, cost=1, appended_at=0.0)

    def reserve(self, message: Message) -> Leave:
        return self.caps.reserve(message, self.sender)

    def read(self, *records: CapRecord) -> None:
        for record in records:
            self.caps.heard(next(self._offsets), record)

    def claim(self, want: int, *, cap: str = "tmobile/acme", index: int = 1, epoch: int = 0, seq: int = 1) -> Claim:
        """Return what another worker claims."""
        limit = self.caps.rules.caps[cap].limit
        day = "2026-11-24"
        return Claim(cap=cap, day=day, limit=limit, index=index, epoch=epoch, seq=seq, want=want, spent=0, results=0)

    def spend(self, message: Message) -> None:
        self.caps.conclude(message, "accepted", 1)
        self.desk.settle(message.offset)


def test_what_is_handed_back_is_used_no_more_as_others_may_have_it() -> None:
    purse = Purse(2)
    messages = [purse.message(offset) for offset in range(2)]
    assert [purse.reserve(message) for message in messages] == [Leave.ASKED, Leave.ASKED]
    purse.read(*purse.caps.claims(), purse.claim(1))
    assert purse.granted == messages
    purse.caps.give_back(messages[0])
    handed_back = purse.caps.claims()
    assert purse.reserve(messages[0]) is not Leave.GRANTED
    purse.read(*handed_back, purse.claim(1, seq=2))
    assert purse.reserve(messages[0]) is Leave.SHORT


def test_who_waits_is_served_with_what_comes_back_before_more_was_claimed() -> None:
    purse = Purse(1)
    first, second = purse.message(0), purse.message(1)
    purse.reserve(first)
    purse.read(*purse.caps.claims())
    assert purse.reserve(second) is Leave.ASKED
    purse.caps.give_back(first)
    assert not purse.caps.claims()
    assert purse.granted == [first, second]


def test_what_is_needed_of_one_cap_is_kept_while_another_is_asked() -> None:
    """Both are scarce: otherwise it is handed back, and that of the other is while the first is asked again."""
    purse = Purse(1, daily=1)
    for cap in ("tmobile/acme", "account/main"):
        purse.read(purse.claim(5, cap=cap), purse.claim(0, cap=cap, seq=2))
    message = purse.message(0)
    assert purse.reserve(message) is Leave.ASKED
    for _ in range(5):
        # One cap's claim comes through at a time.
        for claim in purse.caps.claims():
            purse.read(claim)
    assert purse.granted == [message]
    assert not purse.caps.asked()


def test_who_waits_for_a_claim_that_is_not_read_yet_wakes_nobody_meanwhile() -> None:
    """It waits at the purse of another cap, too, of which nothing is claimed."""
    purse = Purse(10, daily=100)
    first, second = purse.message(0), purse.message(1)
    purse.reserve(first)
    purse.read(*purse.caps.claims())
    woken: list[None] = []
    purse.caps.wake = lambda: woken.append(None)
    assert purse.reserve(second) is Leave.ASKED
    claims = purse.caps.claims()
    assert len(woken) == len(claims) == 1
    assert not purse.caps.claims()
    assert len(woken) == 1
    purse.read(*claims)
    assert purse.granted == [first, second]


def test_nothing_is_claimed_of_one_cap_where_another_is_spent() -> None:
    purse = Purse(1, daily=5)
    first, second = purse.message(0), purse.message(1)
    purse.reserve(first)
    purse.read(*purse.caps.claims(), purse.claim(1), purse.claim(1, cap="account/main"))
    purse.spend(first)
    purse.read(*purse.caps.claims())
    assert purse.reserve(second) is Leave.SHORT
    purse.caps.put_on_shelf(second, purse.sender)
    assert [reason for _, _, reason in purse.caps.serve()[1]] == ["tmobile_cap"]


def test_who_comes_after_those_that_may_try_again_is_not_put_off_as_they_may_be_declined() -> None:
    purse = Purse(2)
    first, *others = [purse.message(offset) for offset in range(4)]
    purse.reserve(first)
    purse.read(*purse.caps.claims(), purse.claim(2))
    purse.spend(first)
    purse.read(*purse.caps.claims(), purse.claim(0, seq=2))
    for message in others:
        purse.caps.put_on_shelf(message, purse.sender)
    again, put_off = purse.caps.serve()
    assert again == others[:1]
    assert not put_off
    assert len(purse.caps.shelf) == 2


@pytest.mark.parametrize("is_claimed", [False, True])
def test_a_claim_that_comes_after_the_index_has_gone_to_another_grants_nothing(*, is_claimed: bool) -> None:
    purse = Purse(10)
    message = purse.message(0)
    purse.reserve(message)
    claims = purse.caps.claims()
    purse.read(Takeover(owner="b", indices=(0,)))
    if is_claimed:
        purse.read(purse.claim(5, index=0, epoch=1))
    purse.read(*claims)
    assert not purse.granted
    assert purse.caps.forget() == [message]
