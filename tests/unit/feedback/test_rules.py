from typing import Any

import pytest

from dispatcher.domain.counts import Counts, Scope
from dispatcher.domain.feedback import Deed, Rule
from dispatcher.feedback.rules import Judge

SPRING, SHORT_CODE = Scope("campaign", "spring"), Scope("sender", "72345")


def rule(**changed: Any) -> Rule:
    usual: dict[str, Any] = {
        "code": 30007,
        "share": 0.05,
        "of_at_least": 200,
        "within": 300,
        "deed": Deed(what="pause_campaign"),
    }
    return Rule(**usual | changed)


def found(judge: Judge, counts: Counts, now: float = 0.0) -> list[str]:
    return [one.name for one in judge.judge([SPRING, SHORT_CODE, Scope("all", "")], lambda *_: counts, now)]


def ended(of: int, filtered: int, code: int = 30007) -> Counts:
    return Counts(delivered=of - filtered, failed=filtered, codes={code: filtered})


@pytest.mark.parametrize(
    ("counts", "applies"),
    [
        (ended(200, 11), True),
        (ended(200, 10), False),
        (ended(199, 50), False),
        (ended(1000, 500, code=30003), False),
        (Counts(accepted=5000), False),
    ],
)
def test_a_rule_applies_above_its_share_of_enough_that_ended(counts: Counts, applies: bool) -> None:  # noqa: FBT001 - a table
    assert found(Judge([rule()]), counts) == (["spring"] if applies else [])


@pytest.mark.parametrize(
    ("deed", "name"),
    [("pause_campaign", "spring"), ("alert", "spring"), ("suspend_sender 10min", "72345"), ("rate x0.5", "72345")],
)
def test_campaigns_are_counted_for_what_is_done_to_campaigns_and_senders_for_senders(deed: str, name: str) -> None:
    assert found(Judge([rule(deed=Deed.parse(deed))]), ended(200, 50)) == [name]


def test_a_rule_that_acted_rests_until_what_it_counted_is_over() -> None:
    judge = Judge([rule()])
    assert found(judge, ended(200, 50), 1000.0) == ["spring"]
    assert found(judge, ended(200, 50), 1299.0) == []
    assert found(judge, ended(200, 50), 1300.0) == ["spring"]


def test_what_could_not_be_done_is_found_again() -> None:
    judge = Judge([rule()])
    (finding,) = judge.judge([SPRING], lambda *_: ended(200, 50), 1000.0)
    judge.again(finding)
    assert found(judge, ended(200, 50), 1001.0) == ["spring"]


def test_why_is_told_in_figures() -> None:
    (finding,) = Judge([rule()]).judge([SPRING], lambda *_: ended(250, 20), 0.0)
    assert finding.why == "20 of 250 messages (8.0%) ended with 30007"
