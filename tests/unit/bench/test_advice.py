from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.bench.advice import advice
from dispatcher.bench.findings import keeps_up
from dispatcher.cli.bench import BOUND_BY
from dispatcher.domain.rate import Rate
from tests.unit.bench.making import account, flow, measured

PLACES = ("sender", "queue", "account", "family", "concurrency", "suspended", "journal", "worker", "idle")


@pytest.mark.parametrize(
    ("place", "accounts", "circumstances", "key", "says"),
    [
        ("account", {"rate": Rate(40, "s")}, {}, "accounts.main.rate", "need 80 messages/s, and it is held to 40/s"),
        ("family", {}, {"family_rate": Rate(40, "s")}, "twilio.family_rate", "80 messages/s, and such a family has 40"),
        ("concurrency", {"throttled": 7}, {}, "senders.account", "429 7 times, so account main is held to about 20"),
        ("concurrency", {"max_concurrency": 4}, {}, "accounts.main.max_concurrency", "allow 10"),
        ("queue", {"slowest": 2.4}, {}, "twilio.queue_target", "up to 2.4 s (p99), and 72345 may have 1s"),
        ("suspended", {}, {"errors": {"21606": 3}}, "senders", "Twilio answered with 21606 (3 times)"),
        ("journal", {}, {"journal": 0.25}, "kafka.bootstrap_servers", "took 250 ms (p99) until an intent was safe"),
        ("worker", {}, {"cpu": 1.0}, "--workers", "`dispatcher run --workers 2`"),
        ("worker", {}, {"cpu": 1.0, "partitions": 1}, "--workers", "(2 would be needed, and kafka.partitions as many)"),
        ("worker", {}, {"stand_in_cpu": 1.0}, "twilio.base_url", "the stand-in used 100% of a core"),
        ("sender", {}, {"late": 0.03}, "the machine", "timers are 30 ms late"),
        ("idle", {}, {}, "--seconds", "72345 ran out of messages in marketing"),
        ("sender", {}, {}, "--seconds", "rehearse again, for longer"),
    ],
)  # fmt: skip
def test_each_thing_that_binds_has_its_key_and_a_sentence_with_figures(
    place: str, accounts: dict[str, Any], circumstances: dict[str, Any], key: str, says: str
) -> None:
    found = advice(measured(flow(places={place: 40}), accounts={"main": account(**accounts)}, **circumstances))
    assert [one.key for one in found] == [key]
    assert says in found[0].sentence


def test_no_pool_names_it_is_said_of_whom() -> None:
    [found] = advice(measured(flow(name="+18885550100", pools=(), segments=0)))
    assert (found.key, found.sentence.partition(";")[0]) == ("pools", "no pool names +18885550100")


def test_senders_of_an_account_share_one_sentence_and_what_they_need_together() -> None:
    flows = [flow(name=f"7234{number}", places={"account": 40}) for number in range(6)]
    [found] = advice(measured(*flows, accounts={"main": account(rate=Rate(240, "s"))}))
    assert "need 480 messages/s" in found.sentence
    assert "72340, 72341, 72342 and 3 more" in found.sentence


def test_a_stand_in_that_drains_less_and_one_that_others_use_are_told_of_whatever_was_reached() -> None:
    found = advice(measured(flow(segments=1000), slowed={"72345": 0.5}, foreign=12))
    assert [one.key for one in found] == ["senders.rate", "twilio.base_url"]


flows = st.builds(
    flow,
    name=st.sampled_from(["72345", "72346", "acme/att"]),
    segments=st.integers(0, 1100),
    pools=st.sampled_from([(), ("marketing",)]),
    places=st.dictionaries(st.sampled_from(PLACES), st.integers(1, 40)),
)


@given(
    found=st.lists(flows, max_size=4),
    throttled=st.integers(0, 2),
    cpu=st.floats(0, 1.2),
    stand_in_cpu=st.floats(0, 1),
    late=st.floats(0, 0.1),
    lag=st.integers(0, 1),
)
def test_there_is_something_to_change_just_when_somebody_fell_short(
    found: list[Any], throttled: int, **circumstances: float
) -> None:
    seen = measured(*found, accounts={"main": account(throttled=throttled)}, **circumstances)
    sentences = advice(seen)
    assert bool(sentences) == any(not keeps_up(one, seen.seconds) for one in found)
    for one in sentences:
        assert one.key
        assert not one.sentence.endswith(".")
        assert "\n" not in one.sentence


def test_the_table_has_a_word_for_everything_that_may_bind() -> None:
    places = ("sender", "queue", "account", "family", "concurrency", "suspended", "idle", "no pool")
    assert {*places, "kafka", "worker", "stand-in", "machine"} == BOUND_BY.keys()


@pytest.mark.parametrize(("place", "needed"), [("account", 80), ("family", 240)])
def test_what_is_needed_counts_those_who_share_the_limit_and_have_messages(place: str, needed: int) -> None:
    accounts = {
        "main": account(rate=Rate(9, "s")),
        "promo": account(name="promo"),
        "apart": account(name="apart", family="apart"),
    }
    flows = [
        flow(places={place: 40}),
        flow(name="72346", account="promo", configured=200.0, segments=2000, messages=1600),
        flow(name="72347", account="apart", segments=1000, messages=800),
        flow(name="72348", segments=0, messages=0, pools=()),
    ]
    found = advice(measured(*flows, accounts=accounts))
    assert f"would need {needed} messages/s" in found[0].sentence
