from collections import Counter, defaultdict
from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from typing_extensions import override

from dispatcher.domain.message import Message
from dispatcher.pacing.fair_queue import FairQueue, Flow
from dispatcher.pacing.gates import Gate
from tests.unit.pacing.making import make_message

WEIGHTS = (9, 1)
LARGEST = 24

costs = st.lists(st.integers(1, LARGEST), min_size=1, max_size=80)


class Turnstile(Gate):
    """A gate that is open or shut."""

    __slots__ = ("shut",)

    def __init__(self) -> None:
        super().__init__("campaign")
        self.shut = False

    @override
    def opens_at(self, now: float) -> float:
        return now + 1.0 if self.shut else now


def make_queue(weights: Sequence[int] = (1,), throttles: dict[str, Gate] | None = None) -> FairQueue:
    return FairQueue(None, weights, throttles or {}, lambda gate, flow, _now: gate.waiting.append(flow))


def take(queue: FairQueue) -> Message:
    message = queue.pop(0.0)
    assert message is not None
    return message


def drawn(name: str, costs: Sequence[int], priority: int = 0) -> list[Message]:
    return [make_message(name, cost=cost, priority=priority, offset=offset) for offset, cost in enumerate(costs)]


# ---------------------------------------------------------------------- campaigns


@given(costs=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, LARGEST)), max_size=60))
def test_within_a_campaign_the_first_is_served_first(costs: list[tuple[str, int]]) -> None:
    queue = make_queue()
    expected: dict[str, list[Message]] = defaultdict(list)
    for campaign, cost in costs:
        message = make_message(campaign, cost=cost)
        expected[campaign].append(message)
        queue.push(message)
    for _ in costs:
        message = take(queue)
        assert message is expected[message.job.campaign].pop(0)
    assert queue.pop(0.0) is None


@settings(max_examples=150, deadline=None)
@given(campaigns=st.lists(costs, min_size=2, max_size=5))
def test_campaigns_that_wait_together_get_equal_segments(campaigns: list[list[int]]) -> None:
    queue = make_queue()
    for index, of_campaign in enumerate(campaigns):
        for message in drawn(str(index), of_campaign):
            queue.push(message)
    left = Counter({str(index): len(of_campaign) for index, of_campaign in enumerate(campaigns)})
    sent = Counter(dict.fromkeys(left, 0))
    while all(left.values()):
        message = take(queue)
        sent[message.job.campaign] += message.cost
        left[message.job.campaign] -= 1
        assert max(sent.values()) - min(sent.values()) <= 2 * LARGEST


def test_a_campaign_a_hundred_times_larger_takes_no_more_than_half() -> None:
    queue = make_queue()
    for message in drawn("large", [1] * 1000):
        queue.push(message)
    for message in drawn("small", [1] * 10):
        queue.push(message)
    first = Counter(take(queue).job.campaign for _ in range(20))
    assert first["small"] >= 9


def test_a_campaign_that_was_alone_owes_nothing_for_it() -> None:
    queue = make_queue()
    for message in drawn("first", [1] * 1000):
        queue.push(message)
    for _ in range(400):
        take(queue)
    for message in drawn("second", [1] * 500):
        queue.push(message)
    campaigns = Counter(take(queue).job.campaign for _ in range(100))
    assert 49 <= campaigns["first"] <= 51


@settings(max_examples=50, deadline=None)
@given(a=costs, b=costs, for_nothing=st.integers(1, 4))
def test_a_turn_for_nothing_costs_a_campaign_nothing(a: list[int], b: list[int], for_nothing: int) -> None:
    queue = make_queue()
    for message in [*drawn("a", a * 3), *drawn("b", b * 3)]:
        queue.push(message)
    left, sent, came_back = Counter(a=3 * len(a), b=3 * len(b)), Counter(a=0, b=0), Counter[str]()
    while left["a"] and left["b"]:
        message = take(queue)
        # Only one of the two meets this, and yet it gets as much in the end.
        if message.job.campaign == "a" and came_back[message.job.id] < for_nothing:
            came_back[message.job.id] += 1
            queue.push(message, front=True)
            continue
        sent[message.job.campaign] += message.cost
        left[message.job.campaign] -= 1
        assert abs(sent["a"] - sent["b"]) <= 2 * LARGEST


@given(departed=st.lists(st.integers(1, 5), min_size=1, max_size=20), data=st.data())
def test_what_comes_back_is_in_its_order_again_however_it_came_back(departed: list[int], data: st.DataObject) -> None:
    queue = make_queue()
    messages = drawn("a", [1] * 30)
    for message in messages:
        queue.push(message)
    out = [take(queue) for _ in departed]
    for message, departed_at in zip(out, sorted(departed), strict=True):
        message.departed_at = float(departed_at)
    for message in data.draw(st.permutations(out)):
        queue.push(message, front=True)
    assert [take(queue).offset for _ in messages] == list(range(30))


# ---------------------------------------------------------------------- classes


@settings(max_examples=100, deadline=None)
@given(urgent=costs, bulk=costs, seed=st.integers(0, 1000))
def test_classes_that_wait_together_share_by_weight(urgent: list[int], bulk: list[int], seed: int) -> None:
    random = Random(seed)
    queue = make_queue(WEIGHTS)
    kinds = (urgent, bulk)
    sent = [0, 0]
    since_bulk = 0

    def push(priority: int) -> None:
        queue.push(make_message(f"{priority}-{random.randint(0, 3)}", cost=random.choice(kinds[priority]),
                                priority=priority))  # fmt: skip

    for priority in (0, 1):
        for _ in range(20):
            push(priority)
    for _ in range(1000):
        message = take(queue)
        sent[message.priority] += message.cost
        push(message.priority)
        since_bulk = 0 if message.priority else since_bulk + message.cost
        assert since_bulk <= 9 * LARGEST + LARGEST, "bulk never starves"
        # After n rounds the weights say 9 n and n; each may be ahead or behind by a message, and a round.
        assert abs(sent[0] - 9 * sent[1]) <= 9 * (LARGEST + 1) + LARGEST


def test_a_class_that_was_alone_owes_nothing_for_it() -> None:
    queue = make_queue(WEIGHTS)
    for message in drawn("bulk", [1] * 500, priority=1):
        queue.push(message)
    for _ in range(400):
        take(queue)
    for message in drawn("urgent", [1] * 500, priority=0):
        queue.push(message)
    classes = Counter(take(queue).priority for _ in range(100))
    assert 9 <= classes[1] <= 11


def test_a_turn_for_nothing_costs_a_class_nothing() -> None:
    queue = make_queue(WEIGHTS)
    for message in [*drawn("bulk", [1] * 100, priority=1), *drawn("urgent", [1] * 900, priority=0)]:
        queue.push(message)
    came_back = set[str]()
    sent: Counter[int] = Counter()
    while sent.total() < 500:
        message = take(queue)
        if message.priority == 0 and message.job.id not in came_back:
            came_back.add(message.job.id)
            queue.push(message, front=True)
            continue
        sent[message.priority] += 1
    assert sent[0] >= 445


def test_an_urgent_message_passes_a_hundred_thousand_that_wait() -> None:
    queue = make_queue(WEIGHTS)
    for message in drawn("bulk", [1] * 1000, priority=1):
        queue.push(message)
    take(queue)
    queue.push(make_message("urgent", priority=0))
    assert "urgent" in {take(queue).job.campaign for _ in range(2)}


@given(waiting=st.lists(st.tuples(st.integers(0, 2), st.integers(1, LARGEST)), max_size=40), priority=st.integers(0, 2))
def test_a_message_waits_behind_its_class_and_those_above(waiting: list[tuple[int, int]], priority: int) -> None:
    queue = make_queue((9, 3, 1))
    for of_class, cost in waiting:
        queue.push(make_message("a", cost=cost, priority=of_class))
    assert queue.cost_ahead(priority) == sum(cost for of_class, cost in waiting if of_class <= priority)


# ---------------------------------------------------------------------- throttles


def test_a_throttled_campaign_stands_aside_and_comes_back() -> None:
    gate = Turnstile()
    queue = make_queue(throttles={"slow": gate})
    for message in [*drawn("slow", [1] * 5), *drawn("fast", [1] * 5)]:
        queue.push(message)
    gate.shut = True
    assert {take(queue).job.campaign for _ in range(3)} == {"fast"}
    gate.shut = False
    queue.release(gate.waiting.popleft())
    assert not gate.waiting, "it stood aside once"
    assert {take(queue).job.campaign for _ in range(4)} == {"slow", "fast"}


def test_the_waiting_of_a_throttled_campaign_is_still_counted() -> None:
    gate = Turnstile()
    gate.shut = True
    queue = make_queue(throttles={"slow": gate})
    for message in drawn("slow", [3, 4]):
        queue.push(message)
    assert queue.pop(0.0) is None
    assert queue.count == 2
    assert queue.cost_ahead(0) == 7


def test_what_was_drained_while_it_stood_aside_does_not_come_back_twice() -> None:
    gate = Turnstile()
    gate.shut = True
    queue = make_queue(throttles={"slow": gate})
    for message in drawn("slow", [1, 1]):
        queue.push(message)
    assert queue.pop(0.0) is None
    drained = list(queue.drain())
    for message in drained:
        queue.push(message)
    gate.shut = False
    queue.release(gate.waiting.popleft())
    assert [take(queue) for _ in drained] == drained
    assert queue.pop(0.0) is None


# ---------------------------------------------------------------------- against a model


class AgainstLists(RuleBasedStateMachine):
    """A queue that keeps a list a campaign and knows no turns: any of their heads may come next."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[tuple[int, str], list[Message]] = defaultdict(list)
        self.out: list[Message] = []
        self.clock = 1.0

    @initialize(weights=st.sampled_from([(1,), (9, 1), (9, 3, 1)]))
    def open(self, weights: tuple[int, ...]) -> None:
        self.gates = {name: Turnstile() for name in "ab"}
        self.throttles = dict[str, Gate](self.gates)
        self.queue = make_queue(weights, self.throttles)
        self.classes = len(weights)

    @rule(name=st.sampled_from("abcd"), priority=st.integers(0, 2), cost=st.integers(1, LARGEST))
    def push(self, name: str, priority: int, cost: int) -> None:
        message = make_message(name, cost=cost, priority=priority % self.classes)
        self.queue.push(message)
        self.lists[message.priority, name].append(message)

    @rule()
    def pop(self) -> None:
        message = self.queue.pop(0.0)
        shut = {name for name in self.throttles if self.gates[name].shut}
        aside = {(flow.of_class, flow.campaign) for gate in self.gates.values() for flow in gate.waiting}
        if message is None:
            ready = [name for (_, name), waiting in self.lists.items() if waiting and name not in shut]
            assert all(any(name == campaign for _, campaign in aside) for name in ready)
            return
        assert message.job.campaign not in shut
        assert message is self.lists[message.priority, message.job.campaign].pop(0)
        self.clock += 1.0
        message.departed_at = self.clock
        self.out.append(message)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        message = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.queue.push(message, front=True)
        waiting = self.lists[message.priority, message.job.campaign]
        before = [other for other in waiting if 0 < other.departed_at < message.departed_at]
        waiting.insert(len(before), message)

    @rule(name=st.sampled_from("ab"))
    def shut(self, name: str) -> None:
        self.gates[name].shut = True

    @rule(name=st.sampled_from("ab"))
    def let_through(self, name: str) -> None:
        gate = self.gates[name]
        gate.shut = False
        while gate.waiting:
            flow: Flow = gate.waiting.popleft()
            self.queue.release(flow)

    @rule(name=st.sampled_from("ab"))
    def lift(self, name: str) -> None:
        self.throttles.pop(name, None)
        self.queue.throttle(name, None)

    @rule(name=st.sampled_from("ab"))
    def throttle(self, name: str) -> None:
        self.throttles[name] = self.gates[name]
        self.queue.throttle(name, self.gates[name])

    @rule()
    def drain(self) -> None:
        drained = list(self.queue.drain())
        assert Counter(map(id, drained)) == Counter(id(message) for each in self.lists.values() for message in each)
        for key, expected in self.lists.items():
            assert [message for message in drained if (message.priority, message.job.campaign) == key] == expected
        self.lists.clear()

    @invariant(check_during_init=False)
    def counts(self) -> None:
        waiting = [message for each in self.lists.values() for message in each]
        assert self.queue.count == len(waiting)
        for priority in range(self.classes):
            ahead = sum(message.cost for message in waiting if message.priority <= priority)
            assert self.queue.cost_ahead(priority) == ahead


AgainstLists.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgainstLists = AgainstLists.TestCase


@given(
    waiting=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1), st.integers(1, LARGEST)), max_size=40),
    popped=st.integers(0, 10),
    held=st.booleans(),
)
def test_a_campaign_that_is_withdrawn_is_gone_and_the_others_wait_as_before(
    waiting: list[tuple[str, int, int]],
    popped: int,
    held: bool,  # noqa: FBT001 - hypothesis calls it
) -> None:
    gate = Turnstile()
    gate.shut = held
    queue = make_queue(WEIGHTS, {"a": gate})
    there = []
    for campaign, priority, cost in waiting:
        message = make_message(campaign, cost=cost, priority=priority)
        there.append(message)
        queue.push(message)
    for _ in range(popped):
        if (message_ := queue.pop(0.0)) is not None:
            there.remove(message_)
    of_a = [message for message in there if message.job.campaign == "a"]
    assert queue.waiting_of("a") == len(of_a)
    withdrawn = queue.withdraw("a")
    assert sorted(map(id, withdrawn)) == sorted(map(id, of_a))
    for flow in gate.waiting:
        queue.release(flow)
    gate.shut = False
    rest = [message for message in there if message.job.campaign != "a"]
    assert queue.count == len(rest)
    assert queue.cost_ahead(1) == sum(message.cost for message in rest)
    assert sorted(id(queue.pop(0.0)) for _ in rest) == sorted(map(id, rest))
    assert queue.pop(0.0) is None
