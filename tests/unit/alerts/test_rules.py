from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest

from dispatcher.alerts.rules import EVERYTHING, Figures, Finding, judge, spans_of
from dispatcher.domain.counts import NOTHING, Counts, Scope
from dispatcher.domain.feedback import Deed, Rule
from dispatcher.domain.sender_health import SenderHealth
from dispatcher.domain.settings import AlertSettings

SETTINGS = AlertSettings()
SHORT, LONG = spans_of(SETTINGS)
SPRING = Scope("campaign", "spring")
NOW = 1_800_000_000.0


class Windows:
    """The same counts in every window, but for those that are told."""

    def __init__(self, counts: Mapping[Scope, Counts], short: Mapping[Scope, Counts] | None = None) -> None:
        self._counts = counts
        self._short = counts if short is None else short

    def scopes(self, now: float) -> Collection[Scope]:
        assert now == NOW
        return [*self._counts]

    def counts(self, scope: Scope, span: int, now: float) -> Counts:
        assert now == NOW
        return (self._short if span == SHORT else self._counts).get(scope, NOTHING)


def findings(figures: Figures, **settings: Any) -> dict[tuple[str, str], Finding]:
    found = list(judge(figures, replace(SETTINGS, **settings), NOW))
    by_key = {(finding.alert, finding.subject): finding for finding in found}
    assert len(by_key) == len(found)
    return by_key


def of(counts: Counts, scope: Scope = SPRING) -> dict[tuple[str, str], Finding]:
    return findings(Figures(recent=Windows({scope: counts})))


def health(**changes: Any) -> SenderHealth:
    values = {"queue_delay": 1.0, "queue_delay_p95": 2.0, "delays": 50, "queued_messages": 9, "queued_segments": 9}
    return SenderHealth(sender="72345", at="", left_segments=10, counts=NOTHING, **values | changes)


@pytest.mark.parametrize(
    ("delivered", "failed", "is_wrong", "is_calm"),
    [
        (1000, 0, False, True),
        (950, 50, False, True),
        (949, 51, False, False),
        (900, 100, False, False),
        (899, 101, True, False),
        (0, 1000, True, False),
    ],
)
def test_a_delivery_rate_is_wrong_below_its_threshold_and_calm_half_way_above_it(
    delivered: int, failed: int, *, is_wrong: bool, is_calm: bool
) -> None:
    found = of(Counts(delivered=delivered, failed=failed))["delivery_rate", "campaign spring"]
    assert (found.is_wrong, found.is_calm, found.severity) == (is_wrong, is_calm, "page")


def test_messages_that_never_came_to_twilio_are_no_failed_deliveries() -> None:
    found = of(Counts(delivered=300, refused=700, codes={21610: 700}))
    assert found["delivery_rate", "campaign spring"].is_calm
    assert found["code_spike", "campaign spring, error 21610"].is_wrong


@pytest.mark.parametrize("count", [0, 1, 199])
def test_of_a_handful_of_messages_nothing_is_judged(count: int) -> None:
    assert of(Counts(failed=count, codes={30007: count})) == {}


def test_a_filtered_campaign_is_told_what_to_do() -> None:
    found = of(Counts(delivered=920, failed=80, codes={30007: 80}))["code_spike", "campaign spring, error 30007"]
    assert (found.is_wrong, found.value, found.threshold) == (True, 0.08, 0.05)
    assert found.why == (
        "error 30007 ended 8.0% of the messages of campaign spring within 20 s (more than 5%); carriers filter what it "
        "says; pause it and change the text (`dispatcher campaign pause spring`)"
    )


def test_what_has_just_begun_is_seen_in_the_short_window() -> None:
    long = {SPRING: Counts(delivered=29_840, failed=160, codes={30007: 160})}
    short = {SPRING: Counts(delivered=1840, failed=160, codes={30007: 160})}
    assert findings(Figures(recent=Windows(long, short)))["code_spike", "campaign spring, error 30007"].is_wrong
    # And what is over there still counts in the long one.
    assert findings(Figures(recent=Windows(short, long)))["code_spike", "campaign spring, error 30007"].is_wrong


def test_an_error_is_told_of_campaigns_and_senders_and_not_again_of_all() -> None:
    counts = Counts(delivered=900, failed=100, codes={30034: 100})
    recent = Windows({EVERYTHING: counts, SPRING: counts, Scope("sender", "72345"): counts})
    subjects = {subject for alert, subject in findings(Figures(recent=recent)) if alert == "code_spike"}
    assert subjects == {"campaign spring, error 30034", "sender 72345, error 30034"}


def test_an_error_that_nobody_knows_leads_to_twilio() -> None:
    found = of(Counts(delivered=500, failed=500, codes={39999: 500}))
    assert found["code_spike", "campaign spring, error 39999"].why.endswith(
        "see https://www.twilio.com/docs/api/errors/39999"
    )
    assert "is 39999, see" in found["delivery_rate", "campaign spring"].why


def test_failures_without_a_code_are_told_without_one() -> None:
    assert of(Counts(failed=500))["delivery_rate", "campaign spring"].why.endswith(
        "the most frequent error is not named"
    )


@pytest.mark.parametrize(
    ("delay", "is_wrong", "is_calm"),
    [(2.0, False, True), (31.0, False, False), (60.0, False, False), (61.0, True, False)],
)
def test_messages_that_wait_long_at_twilio_are_slow(delay: float, *, is_wrong: bool, is_calm: bool) -> None:
    figures = Figures(recent=Windows({}), senders=[health(queue_delay_p95=delay)])
    found = findings(figures)["slow_delivery", "sender 72345"]
    assert (found.is_wrong, found.is_calm) == (is_wrong, is_calm)


def test_a_sender_of_which_nothing_left_is_not_judged() -> None:
    assert findings(Figures(recent=Windows({}), senders=[health(queue_delay_p95=None)])) == {}


def test_a_queue_is_as_deep_as_it_takes_at_the_rate() -> None:
    figures = Figures(recent=Windows({}), senders=[health(queued_segments=12_100)], rates={"72345": 100.0})
    found = findings(figures)["queue_depth", "sender 72345"]
    assert (found.is_wrong, found.value, found.severity) == (True, 121.0, "ticket")


def test_jobs_that_wait_while_none_leaves_are_stalled() -> None:
    stalled = findings(Figures(recent=Windows({}), lag=10))["dispatch_stalled", "everything"]
    assert (stalled.is_wrong, stalled.is_calm) == (True, False)
    for counts in (Counts(accepted=1), Counts(refused=1)):
        assert findings(Figures(recent=Windows({EVERYTHING: counts}), lag=10))["dispatch_stalled", "everything"].is_calm
    assert findings(Figures(recent=Windows({}), lag=0))["dispatch_stalled", "everything"].is_calm


def test_too_many_jobs_are_a_lag() -> None:
    figures = Figures(recent=Windows({}), lag=100_001)
    assert findings(figures)["lag", "everything"].is_wrong
    assert not findings(figures, lag=100_001)["lag", "everything"].is_wrong


def test_missing_callbacks_are_counted() -> None:
    assert findings(Figures(recent=Windows({}), overdue=101))["callbacks_missing", "everything"].is_wrong
    assert findings(Figures(recent=Windows({}), overdue=50))["callbacks_missing", "everything"].is_calm


def test_what_is_not_known_is_not_judged() -> None:
    assert findings(Figures(recent=Windows({}))) == {}


def test_a_suspended_sender_says_by_whom_and_how_it_ends() -> None:
    figures = Figures(recent=Windows({}), suspended={"72345": "by ops until 2026-11-24 18:10:00 UTC: too slow"})
    found = findings(figures)["sender_suspended", "sender 72345"]
    assert found.is_wrong
    assert found.why == (
        "sender 72345 is suspended by ops until 2026-11-24 18:10:00 UTC: too slow; `dispatcher sender resume 72345` "
        "ends it"
    )


def own_rule(**changes: Any) -> Rule:
    usual: dict[str, Any] = {"code": 30003, "share": 0.02, "of_at_least": 100, "within": 60, "deed": Deed(what="alert")}
    return Rule(**usual | changes)


def by_own(*rules: Rule, failed: int, scope: Scope = SPRING) -> list[tuple[str, bool, bool]]:
    counts = Counts(delivered=100 - failed, failed=failed, codes={30003: failed})
    found = judge(Figures(recent=Windows({scope: counts}, short={})), SETTINGS, NOW, rules)
    return [(one.subject, one.is_wrong, one.is_calm) for one in found if one.alert == "feedback_rule"]


@pytest.mark.parametrize(
    ("failed", "is_wrong", "is_calm"), [(3, True, False), (2, False, False), (1, False, True), (0, False, True)]
)
def test_what_the_configs_own_rules_call_an_alert_is_one(failed: int, *, is_wrong: bool, is_calm: bool) -> None:
    subject = "campaign spring, error 30003 above 2% within 1 min"
    assert by_own(own_rule(), failed=failed) == [(subject, is_wrong, is_calm)]


def test_of_too_few_messages_or_of_a_sender_an_own_rule_says_nothing() -> None:
    assert by_own(own_rule(of_at_least=101), failed=50) == []
    assert by_own(own_rule(), failed=50, scope=Scope("sender", "72345")) == []
    assert by_own(own_rule(), failed=50, scope=EVERYTHING) == []


def test_two_own_rules_about_one_code_are_two_alerts() -> None:
    found = by_own(own_rule(), own_rule(share=0.125, within=90), failed=5)
    assert found == [
        ("campaign spring, error 30003 above 2% within 1 min", True, False),
        ("campaign spring, error 30003 above 12.5% within 90 s", False, True),
    ]


def test_an_own_alert_says_what_to_do() -> None:
    counts = Counts(delivered=90, failed=10, codes={30007: 10})
    (finding,) = [
        one
        for one in judge(Figures(recent=Windows({SPRING: counts})), SETTINGS, NOW, [own_rule(code=30007)])
        if one.alert == "feedback_rule"
    ]
    assert finding.why == (
        "error 30007 ended 10.0% of the messages of campaign spring within 1 min, above the 2% of feedback.rules; "
        "carriers filter what it says; pause it and change the text (`dispatcher campaign pause spring`)"
    )


def test_shares_are_judged_of_as_many_as_the_config_says_and_of_no_fewer() -> None:
    enough = SETTINGS.of_at_least
    assert of(Counts(failed=enough, codes={30003: enough}))
    assert not of(Counts(failed=enough - 1, codes={30003: enough - 1}))
