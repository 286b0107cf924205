from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.config.campaign_file import load_campaign
from dispatcher.config.load import load
from dispatcher.domain.campaign import Campaign
from dispatcher.domain.errors import ConfigError, DispatcherError
from dispatcher.domain.fleet import PriorityClass
from dispatcher.domain.rate import Rate
from dispatcher.domain.settings import Settings

CONFIGS = Path(__file__).parents[3] / "configs"

Written = Callable[[str], Path]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load(CONFIGS / "demo.yaml", {})


@pytest.fixture
def written(tmp_path: Path) -> Written:
    (tmp_path / "people.csv").write_text("to\n")

    def write(text: str) -> Path:
        path = tmp_path / "campaign.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def mistakes(file: Path, settings: Settings) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_campaign(file, settings, {})
    return [f"{mistake.line}:{mistake.column}: {mistake.what}" for mistake in caught.value.mistakes]


def test_media_need_a_sender_that_carries_them(written: Written, settings: Settings) -> None:
    senders = {number: replace(sender, media_prefixes=()) for number, sender in settings.fleet.senders.items()}
    without = replace(settings, fleet=replace(settings.fleet, senders=senders))
    file = written(RIGHT + "media_urls: ['https://example.com/a.png']\n")
    assert load_campaign(file, settings, {}).media_urls == ("https://example.com/a.png",)
    assert mistakes(file, without) == ['5:1: no sender of the pool "otp" carries media']


def test_every_key_reaches_the_campaign(written: Written, settings: Settings) -> None:
    file = written("""\
campaign: spring
pool: marketing
template: Hi {{ name }}
priority: urgent
rate: 50/s burst 5
window: {not_before: "2026-11-24T18:00:00Z", expires_at: 2026-11-24T20:00:00-01:00, stale_after: 2h}
media_urls: ["https://example.com/a.png", "https://example.com/b.png"]
recipients: people.csv
tags: {season: spring, year: 2026}
""")

    campaign = load_campaign(file, settings, {})

    assert campaign.template is not None
    assert campaign.template.render({"name": "Ana"}) == "Hi Ana"
    assert replace(campaign, template=None) == Campaign(
        name="spring",
        file=file,
        recipients=file.parent / "people.csv",
        pool="marketing",
        priority=PriorityClass(name="urgent", topic="campaign.jobs.urgent", weight=9),
        rate=Rate(50, "s", 5),
        not_before=datetime(2026, 11, 24, 18, tzinfo=UTC),
        expires_at=datetime(2026, 11, 24, 21, tzinfo=UTC),
        stale_after=7200.0,
        media_urls=("https://example.com/a.png", "https://example.com/b.png"),
        tags={"season": "spring", "year": "2026"},
    )


def test_a_campaign_needs_little_and_is_the_least_urgent(written: Written, settings: Settings) -> None:
    campaign = load_campaign(
        written("campaign: 2026\npool: otp\nbody: |\n  Hi\n  there\nrecipients: people.csv\n"), settings, {}
    )

    assert (campaign.name, campaign.body) == ("2026", "Hi\nthere")
    assert campaign.priority.name == "bulk"
    assert (campaign.rate, campaign.not_before, campaign.expires_at, campaign.tags) == (None, None, None, {})


def test_other_recipients_can_be_named(written: Written, settings: Settings, tmp_path: Path) -> None:
    file = written("campaign: spring\npool: otp\nbody: Hi\nrecipients: missing.csv\n")

    campaign = load_campaign(file, settings, {}, recipients=tmp_path / "denver.csv")

    assert campaign.recipients == tmp_path / "denver.csv"


def test_variables_come_from_the_environment(written: Written, settings: Settings) -> None:
    file = written("campaign: spring-${DAY}\npool: otp\nbody: Save $5\nrecipients: people.csv\n")

    campaign = load_campaign(file, settings, {"DAY": "tuesday"})

    assert (campaign.name, campaign.body) == ("spring-tuesday", "Save $5")


UNFINISHED = "syntax error: unexpected end of input, expected end of block"
RIGHT = "campaign: spring\npool: otp\nbody: Hi\nrecipients: people.csv\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RIGHT + "prioritty: urgent\n", ['5:1: unknown key "prioritty"; did you mean "priority"?']),
        (RIGHT + "window: {not_befor: x}\n", ['5:10: unknown key "not_befor"; did you mean "not_before"?']),
        (RIGHT.replace("pool: otp", "pool: marketin"), ['2:7: there is no pool "marketin"; did you mean "marketing"?']),
        (RIGHT + "priority: urgnt\n", ['5:11: there is no priority class "urgnt"; did you mean "urgent"?']),
        (
            RIGHT + "rate: 50\n",
            ['5:7: "50" is no rate; write an amount and a period, like "100/s", "240/min" or "200000/day"'],
        ),
        (
            RIGHT + "window: {not_before: 2026-11-24T18:00:00}\n",
            ['5:22: "2026-11-24T18:00:00" is no time with an offset; write one like "2026-11-24T18:00:00Z"'],
        ),
        (
            RIGHT + "window: {not_before: 2026-11-24T18:00:00Z, expires_at: 2026-11-24T18:00:00Z}\n",
            ["5:56: the window ends before it begins; write a later time"],
        ),
        (
            RIGHT + "window: {stale_after: 2 hours}\n",
            ['5:23: "2 hours" is no duration; write a number and a unit, like "20s", "250ms" or "5min"'],
        ),
        (
            RIGHT + "window: {stale_after: 0s}\n",
            ['5:23: "0s" is too short; write for how long a message may be late, like "2h"'],
        ),
        (RIGHT + "window: tomorrow\n", ["5:9: names and values are needed here, like NAME: VALUE"]),
        (RIGHT + "tags: [a]\n", ["5:7: names and values are needed here, like NAME: VALUE"]),
        (RIGHT + "tags: {a: [b]}\n", ["5:11: text is needed here"]),
        (RIGHT + "media_urls: https://example.com\n", ['5:13: a list is needed here; begin each line with "- "']),
        (
            RIGHT + "media_urls: [ftp://example.com, 'https://exa mple.com']\n",
            [
                f"5:{column}: this is no URL for media: it has to be one that Twilio can fetch, like "
                "https://example.com/picture.png"
                for column in (14, 33)
            ],
        ),
        (
            RIGHT + "media_urls: [" + ", ".join(["https://a.example"] * 11) + "]\n",
            ["5:204: this is one too many; there can be 10"],
        ),
        (
            RIGHT.replace("spring", "a" * 101),
            [f'1:11: "{"a" * 101}" is no name for a campaign; write up to 100 letters, digits, ".", "_" and "-"'],
        ),
        (
            RIGHT.replace("spring", "spring sale"),
            ['1:11: "spring sale" is no name for a campaign; write up to 100 letters, digits, ".", "_" and "-"'],
        ),
        (RIGHT.replace("body: Hi", "body:"), ["3:1: this is empty; write a value"]),
        (RIGHT.replace("body: Hi", "body: ' '"), ["3:7: the body is empty; write a text"]),
        (
            RIGHT.replace("body: Hi", "body: " + "a" * 1601),
            ["3:7: the body has 1601 characters; Twilio takes up to 1600"],
        ),
        (
            RIGHT.replace("body: Hi", "template: |\n  Hi\n  {% if name"),
            [
                # The place is the template's; the line is counted in it.
                f"3:11: this is no template: {UNFINISHED} in line 2 of it",
            ],
        ),
        (RIGHT + "template: Hi\n", ['3:1: there is a "template" already; keep one of them']),
        (
            RIGHT.replace("body: Hi\n", ""),
            ['1:1: there is nothing to send; write "template", "body" or "media_urls"'],
        ),
        (RIGHT + "pool: otp\n", ['5:1: "pool" is given twice, first in line 2; keep one of them']),
        (
            "body: Hi\n",
            [
                '1:1: "campaign" is missing: a name for it, with which the ids of its messages begin',
                '1:1: "pool" is missing: the pool of the config that sends it',
                '1:1: "recipients" is missing: a CSV file with a column "to"',
            ],
        ),
        (RIGHT.replace("pool:", "poool:"), ['2:1: unknown key "poool"; did you mean "pool"?']),
    ],
)
def test_each_mistake_is_named_at_its_place(
    written: Written, settings: Settings, text: str, expected: list[str]
) -> None:
    assert mistakes(written(text), settings) == expected


def test_recipients_that_are_not_there_are_a_mistake(written: Written, settings: Settings) -> None:
    file = written(RIGHT.replace("people.csv", "peple.csv"))

    missing = file.parent / "peple.csv"
    assert mistakes(file, settings) == [f'4:13: there is no file "{missing}"; write the path as seen from this file']


def test_all_mistakes_come_at_once_in_the_order_of_the_file(written: Written, settings: Settings) -> None:
    found = mistakes(
        written("rate: 0/s\nname: x\npool: a\ncampaign: a b\nbody: Hi\nrecipients: people.csv\n"), settings
    )

    assert [mistake.partition(": ")[0] for mistake in found] == ["1:7", "2:1", "3:7", "4:11"]


@pytest.mark.parametrize("text", ["", "- a\n", "hello\n"])
def test_what_is_no_campaign_is_refused(written: Written, settings: Settings, text: str) -> None:
    (mistake,) = mistakes(written(text), settings)

    assert mistake.startswith('1:1: this is no campaign; write "campaign: NAME"')


def test_a_file_that_is_not_there_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DispatcherError, match=r"missing\.yaml cannot be read: no such file or directory"):
        load_campaign(tmp_path / "missing.yaml", settings, {})


def test_a_file_that_is_no_utf8_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"body: caf\xe9")

    with pytest.raises(DispatcherError, match=r"is no UTF-8 text; save it as UTF-8"):
        load_campaign(tmp_path / "latin.yaml", settings, {})
