import pytest

from dispatcher.compliance.content import PROHIBITED_WORDS, RULES, Action, ContentRules
from dispatcher.domain.job import Job

EVERYTHING: dict[str, Action] = dict.fromkeys([*RULES, *PROHIBITED_WORDS, "ours"], "refuse")


def finding(body: str | None, rules: dict[str, Action] | None = None, tags: dict[str, str] | None = None) -> str | None:
    def nobody(*_: object) -> None:
        raise AssertionError("nothing was to warn")

    job = Job(id="1", campaign="c", to="+12065550142", pool="all", body=body, tags=tags)
    return ContentRules(EVERYTHING if rules is None else rules, {"ours": ("snus", "a.b")}, nobody).finding(job)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("20% off all cigars today", '"cigars", which the category tobacco'),
        ("HAPPY HOUR at Joe's", '"happy hour", which the category alcohol'),
        ("Snus is here", '"snus", which the category ours'),
        ("An a.b for you", '"a.b", which the category ours'),
        ("See https://bit.ly/3xY", "a link of bit.ly"),
        ("See BIT.LY/3xY.", "a link of bit.ly"),
        ("go to www.tinyurl.com/x", "a link of tinyurl.com"),
        ("Hi {{ name }}, hello", "{{ name }}"),
        ("Hi {first_name}!", "{first_name}"),
        ("Hi ${name}", "${name}"),
        ("Hi %FIRSTNAME%", "%FIRSTNAME%"),
        ("Hi *|FNAME|*", "*|FNAME|*"),
        ("Hi <FIRST_NAME>", "<FIRST_NAME>"),
    ],
)
def test_what_carriers_filter_is_found(body: str, sentence: str) -> None:
    found = finding(body)
    assert found is not None
    assert sentence in found


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        "Essex, Middlesex and a beeran",
        "Write to me@bit.ly.example",
        "See https://shop.rabbit.ly/x or https://notbit.ly/x or bit.lyx",
        "100% off {} and 50%-70% off; [ACME] <3",
        "An axb for you",
        "We are live at https://acme.example/spring. Reply STOP to opt out.",
    ],
)
def test_what_is_fine_is_left_alone(body: str | None) -> None:
    assert finding(body) is None


@pytest.mark.parametrize(
    ("body", "tags", "is_refused"),
    [
        ("Welcome!", {"first_contact": "true"}, True),
        ("Welcome! Reply STOP to opt out", {"first_contact": "true"}, False),
        ("Welcome! To opt-out text us", {"first_contact": "true"}, False),
        ("Bienvenue ! ARRÊT pour finir", {"first_contact": "true"}, False),
        ("Don't be nonstop", {"first_contact": "true"}, True),
        ("Welcome!", {"first_contact": "false"}, False),
        ("Welcome!", None, False),
    ],
)
def test_a_first_contact_says_how_to_opt_out(body: str, tags: dict[str, str] | None, *, is_refused: bool) -> None:
    assert (finding(body, tags=tags) is not None) is is_refused


def test_a_rule_that_warns_tells_and_lets_pass() -> None:
    told: list[tuple[str, str]] = []
    rules = ContentRules({"alcohol": "warn", "links": "refuse"}, {}, lambda rule, job, _: told.append((rule, job.id)))
    job = Job(id="1", campaign="c", to="+12065550142", pool="all", body="Free beer")
    assert rules.finding(job) is None
    assert told == [("alcohol", "1")]
    assert rules.finding(Job(id="2", campaign="c", to="+12065550142", pool="all", body="beer: t.co/x")) is not None


def test_rules_that_are_not_asked_for_are_not_there() -> None:
    assert finding("Free beer at bit.ly/x for {{ name }}", rules={}) is None
