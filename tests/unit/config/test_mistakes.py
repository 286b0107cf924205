"""Each case breaks full.yaml in one place; `«` in the new text marks where the mistake is to be found."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.config.load import load
from dispatcher.domain.errors import ConfigError

FULL = Path(__file__).with_name("full.yaml").read_text(encoding="utf-8")
SECRETS = {
    "KAFKA_PASSWORD": "hush-kafka",
    "KEY_PASSWORD": "hush-pem",
    "MAIN_TOKEN": "hush-main",
    "KEY_SECRET": "hush-key",
    "ALERT_URL": "https://hooks.example.com/T0/B0/hush-url",
    "PROMO_TOKEN": "hush-promo",
}
ENVIRON = {"MAIN_SID": "AC" + "0" * 31 + "1", **SECRETS}
RATE_HINT = 'write an amount and a period, like "100/s", "240/min" or "200000/day"'
DURATION_HINT = 'write a number and a unit, like "20s", "250ms" or "5min"'


def mistakes_in(directory: Path, text: str, environ: dict[str, str] = ENVIRON) -> list[str]:
    """Return the mistakes found in *text*, each as `line:column: what`."""
    path = directory / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load(path, environ)
    except ConfigError as error:
        return [str(mistake).removeprefix(f"{path}:") for mistake in error.mistakes]
    return []


def broken(old: str, new: str) -> tuple[str, str]:
    """Return full.yaml with *new* for *old*, and the place of the mark in it."""
    assert FULL.count(old) == 1, f"{old!r} is there {FULL.count(old)} times"
    before, _, after = FULL.replace(old, new).partition("«")
    return before + after, f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


CASES = [
    # YAML itself
    (
        "group_id: dispatcher",
        "group_id: a«: b",
        'there is a ":" too many, or the indentation is off; quote the value',
    ),
    ("group_id: dispatcher", "group_id: «@here", "a value cannot start with this character; quote it"),
    ("  group_id", "«\tgroup_id", "there is a tab; indent with spaces"),
    (
        "group_id: dispatcher",
        "group_id: «*hush",
        'a "*" starts a reference to an anchor, and there is no such anchor; quote the value',
    ),
    ("group_id: dispatcher", "group_id: «!hush x", 'a "!" starts a tag, and there is no such tag; quote the value'),
    ("group_id: dispatcher", "group_id: «!!hush!x y", 'a "!" starts a tag, and there is no such tag; quote the value'),
    ("twilio:", "«---\ntwilio:", 'a second document starts here; drop the "---" and what follows'),
    ("group_id: dispatcher", "group_id: x«\x07", "this character cannot stand in YAML; remove it"),
    ("[GB, JE, IE]", "[«${COUNTRY}]", 'inside { } and [ ] a variable needs quotes: "${NAME}"'),
    ("brand: acme", "brand: acme\n    «brand: acme", '"brand" is given twice, first in line 73; keep one of them'),
    ("[GB, JE, IE]", "«&loop [*loop]", "this refers to what it is part of; write it out"),
    ("group_id: dispatcher", "? «[a]\n  : b", "a key has to be text"),
    # Variables
    (
        "${MAIN_SID}",
        "«${MIAN_SID}",
        'MIAN_SID is not set in the environment; export it, or write a default: "${MIAN_SID:-default}"',
    ),
    (
        "kafka-1:9092,kafka-2:9092",
        "«${HOST}:${PORT}",
        'HOST and PORT are not set in the environment; export them, or write a default: "${HOST:-default}"',
    ),
    ("${MAIN_SID}", "«${MAIN_SID:?}", 'this is no variable; write "${NAME}" or "${NAME:-default}"'),
    ("${MAIN_TOKEN}", '«"${EMPTY:-}"', "this is empty; write a value"),
    # Keys
    ("kafka:\n", "«kafak:\n", 'unknown key "kafak"; did you mean "kafka"?'),
    ("  group_id", "  «GROUP_ID", 'unknown key "GROUP_ID"; did you mean "group_id"?'),
    ("      att:", "      «at&t:", 'unknown key "at&t"; did you mean "att"?'),
    (
        "    spill_after: 0s",
        "    «rate: 5/s",
        (
            'unknown key "rate"; there are "senders", "spill_after", "in_doubt", "validity", "quiet_hours", '
            '"frequency", "retry_undelivered"'
        ),
    ),
    ("  promo-10dlc:\n    brand: acme\n", "  «promo-10dlc:\n", '"brand" is missing: the brand behind the campaign'),
    (
        '- number: "72345"\n    kind: short_code\n',
        '- «number: "72345"\n',
        '"kind" is missing: short_code, toll_free, long_code or alphanumeric; a service needs none',
    ),
    ("    a2p_campaign:", "    «a2p_campaing:", 'unknown key "a2p_campaing"; did you mean "a2p_campaign"?'),
    # Values of another shape
    ("metrics:\n  listen:", "metrics:\n  «- listen:", "a section is needed here, with the keys listen"),
    ("[GB, JE, IE]", "«GB", 'a list is needed here, like ["a", "b"]'),
    ("[GB, JE, IE]", "«[]", "this is empty; write at least one"),
    (
        "brands:\n  acme:\n    tmobile_daily_cap: 200_000",
        "brands: «acme",
        "names are needed here, with a section for each",
    ),
    ("group_id: dispatcher", "group_id: «[a]", "text is needed here, not a list"),
    ("group_id: dispatcher", "group_id: «true", "text is needed here, not true or false"),
    ("group_id: dispatcher", "group_id: «{a: b}", "text is needed here, not a mapping"),
    ("group_id: dispatcher", "group_id: «2026", 'YAML reads 2026 as a number; quote it: "2026"'),
    ("group_id: dispatcher", 'group_id: «""', "this is empty; write a value"),
    # Compliance
    ("[US, CA, GG]", "[US, «XX]", '"XX" is no country; write its ISO code, like "US" or "GB"'),
    (
        'US: "09:00-20:00"',
        'US: «"9-20"',
        '"9-20" are no hours; write "08:00-21:00" or "mon-sat 09:00-20:00, sun 12:00-18:00"',
    ),
    (
        "US-UT:",
        "«US-XX:",
        '"US-XX" is no place that numbers tell; write a country or a US state, like "GB" or "US-TX"',
    ),
    ('US: ["2026-12-25"]', 'US: [«"25.12."]', '"25.12." is no day; write one like "2026-12-25"'),
    ("links: refuse", "«lnks: refuse", 'there is no rule "lnks"; did you mean "links"?'),
    ("links: refuse", "links: «forbid", '"forbid" is not known here; there are "refuse", "warn"'),
    (
        ", secrets: refuse}\n  words: {secrets:",
        "}\n  words: {«secrets:",
        'no rule uses these words; write "secrets: refuse" or "secrets: warn" under content.rules',
    ),
    # Kafka
    ("partitions: 12", "partitions: «0", '"0" is too small; write 1 or more'),
    ("partitions: 12", "partitions: «twelve", "a whole number is needed here, not text"),
    ("partitions: 12", "partitions: «1.5", "a whole number is needed here, not a fraction"),
    ("kafka-1:9092,kafka-2:9092", "«kafka-1", 'hosts with ports are needed here, like "kafka-1:9092,kafka-2:9092"'),
    ("kafka-1:9092,kafka-2:9092", "«[a:1]", 'hosts with ports are needed here, like "kafka-1:9092,kafka-2:9092"'),
    ("create_topics: false", "create_topics: «no", "true or false is needed here, without quotes"),
    (
        "protocol: SASL_SSL",
        "protocol: «SASL_TLS",
        '"SASL_TLS" is not known here; did you mean "SASL_SSL"?',
    ),
    (
        "mechanism: SCRAM-SHA-512",
        "mechanism: «SCRAM-SHA-51",
        '"SCRAM-SHA-51" is not known here; did you mean "SCRAM-SHA-512"?',
    ),
    (
        "SASL_SSL\n  sasl_mechanism: SCRAM-SHA-512\n  sasl_plain_username: dispatcher\n",
        "«SASL_SSL\n  sasl_mechanism: SCRAM-SHA-512\n",
        '"sasl_plain_username" is missing; "SCRAM-SHA-512" needs it',
    ),
    # Twilio and the addresses
    ("https://api.twilio.com/", "«api.twilio.com", 'this is no URL; write one like "https://hooks.example.com"'),
    (
        "https://api.twilio.com/",
        "«https://me:hush@api.twilio.com/",
        "the URL may have a host, a port and a path; leave out user, query and fragment",
    ),
    ("request_timeout: 15s", "request_timeout: «15", f'"15" is no duration; {DURATION_HINT}'),
    ("request_timeout: 15s", "request_timeout: «soon", f'"soon" is no duration; {DURATION_HINT}'),
    ("request_timeout: 15s", "request_timeout: «0s", '"0s" is no time at all; write a duration above zero'),
    (
        "hold_off: 30s",
        "hold_off: «14s",
        "a request may still be under way then; write at least the request_timeout, 15s",
    ),
    (
        "listen: 0.0.0.0:8080",
        "listen: «8080",
        '"8080" is no address to listen on; write host and port, like "127.0.0.1:9400"',
    ),
    (
        "listen: 0.0.0.0:8080",
        "listen: «0.0.0.0:80800",
        '"0.0.0.0:80800" is no address to listen on; write host and port, like "127.0.0.1:9400"',
    ),
    ('"[::1]:9400"', "«127.0.0.1:8080", "webhooks.listen has this port already; write another"),
    ('"[::1]:9400"', "«127.0.0.1:9402", "webhooks.metrics_listen has this port already; write another"),
    ("127.0.0.1:9402", "«127.0.0.1:8080", "webhooks.listen has this port already; write another"),
    ("spool: /var/lib/dispatcher/callbacks", "spool: «''", "this is empty; write a value"),
    (
        "spool_size: 2 GiB",
        "spool_size: «2 GB",
        '"2 GB" is no size; write a whole number and KiB, MiB or GiB, like "256MiB"',
    ),
    ("spool_size: 2 GiB", "spool_size: «1023KiB", '"1023KiB" is too small; write "1MiB" or more'),
    # Alerts
    (
        "url: ${ALERT_URL}",
        "url: «hush-hush",
        'this is no URL; write the one that you were given, like "${SLACK_WEBHOOK_URL}"',
    ),
    ("format: slack", "format: «slak", '"slak" is not known here; did you mean "slack"?'),
    ("code_share: 2.5%", "code_share: «0.025", '"0.025" is no share; write "0%" to "100%"'),
    ("within: 10min", "within: «0s", '"0s" is no time at all; write a duration above zero'),
    # Opt-outs
    ("reach: pool", "reach: «pools", '"pools" is not known here; did you mean "pool"?'),
    ('    "72345":\n      en:', '    «"72346":\n      en:', 'there is no sender "72346"; did you mean "72345"?'),
    (
        '    "72345":\n      en:',
        '    «"+18885550100":\n      en:',
        "Twilio answers for a toll_free itself; drop this, or set the words up at Twilio (Advanced Opt-Out)",
    ),
    # Accounts
    ("${MAIN_SID}", "«AC123", 'this is no account SID; it is "AC" and 32 hex digits'),
    ("${MAIN_SID}", "«${MAIN_TOKEN}", 'this is no account SID; it is "AC" and 32 hex digits'),
    ("SK00000000000000000000000000000001", "«SK1", 'this is no API key SID; it is "SK" and 32 hex digits'),
    ("${MAIN_TOKEN}", "«12345678901234567890123456789012", "YAML reads this as a number; quote it"),
    (
        "SK00000000000000000000000000000001\n    api_key_secret: ${KEY_SECRET}",
        "«SK00000000000000000000000000000001",
        '"api_key_secret" is missing: the secret of this API key',
    ),
    (
        "api_key_sid: SK00000000000000000000000000000001\n    api_key_secret: ",
        "api_key_secret: «",
        '"api_key_sid" is missing: the API key of this secret',
    ),
    ("max_concurrency: 60", "max_concurrency: «-1", '"-1" is too small; write 1 or more'),
    ("parent: main", "parent: «mian", 'there is no account "mian"; did you mean "main"?'),
    ("parent: main", "parent: «promo", '"promo" cannot be its own parent; drop the key'),
    (
        "    parent: main\n",
        '    parent: main\n  third: {sid: "AC00000000000000000000000000000003", auth_token: x, parent: «promo}\n',
        '"promo" is a subaccount itself; Twilio has one level of them, so write its parent, "main"',
    ),
    # Senders
    ('number: "72345"', "number: «72345", 'YAML reads 72345 as a number; quote it: "72345"'),
    (
        '- number: "+18885550100"',
        "- number: «+18885550100",
        'YAML reads +18885550100 as a number; quote it: "+18885550100"',
    ),
    ('["72345",', "[«72345,", 'YAML reads 72345 as a number; quote it: "72345"'),
    ('- number: "+447700900123"', '- number: «"72345"', '"72345" is a sender already, in line 48; drop one of them'),
    (
        '- number: "72345"',
        '- number: «"+15550"',
        '"+15550" is no short code; it has 3 to 8 digits and no plus, like "72345"',
    ),
    (
        '- number: "+18885550100"',
        '- number: «"+12065550199"',
        '"+12065550199" is no toll-free number; it starts with +1 and 800, 833, 844, ..., like "+18885550100"',
    ),
    (
        '- number: "+12065550100"',
        '- number: «"2065550100"',
        '"2065550100" is no long code; it is a number in E.164, like "+12065550100"',
    ),
    (
        '- number: "+12065550100"',
        '- number: «"+18335550100"',
        '"+18335550100" is a toll-free number; write "kind: toll_free"',
    ),
    ("kind: short_code", "kind: «shortcode", '"shortcode" is not known here; did you mean "short_code"?'),
    (
        "kind: toll_free\n    account: main",
        "kind: toll_free\n    account: «man",
        'there is no account "man"; did you mean "main"?',
    ),
    ("rate: 100/s burst 20", "rate: «fast", f'"fast" is no rate; {RATE_HINT}'),
    ("rate: 100/s burst 20", "rate: «100", f'"100" is no rate; {RATE_HINT}'),
    ("rate: 100/s burst 20", "rate: «-3/s", f'"-3/s" is no rate; {RATE_HINT}'),
    ("rate: 100/s burst 20", "rate: «0/s", 'the rate "0/s" would never send; write one above zero'),
    (
        "a2p_campaign: promo-10dlc",
        "a2p_campaign: «promo",
        'there is no 10DLC campaign "promo"; did you mean "promo-10dlc"?',
    ),
    (
        "    a2p_campaign: promo-10dlc",
        "    a2p_campaign: promo-10dlc\n    «rate: 1/s",
        "the rates of a2p_campaign hold for this sender; drop rate",
    ),
    (
        "    rate: 100/s burst 20",
        "    «a2p_campaign: promo-10dlc",
        "10DLC campaigns are for long codes and services, and this is a short_code; drop a2p_campaign",
    ),
    (
        '- number: "72345"\n',
        "- «rate_of: 1/s\n",
        'unknown key "rate_of"; did you mean "rate"?',
    ),
    (
        "- service: MG00000000000000000000000000000001\n    account: main\n    rate: 30/s",
        "- «account: main\n    rate: 30/s",
        '"number" is missing: the short code, E.164 number or letters; or "service", a Messaging Service\'s SID',
    ),
    (
        "- service: MG00000000000000000000000000000001",
        "- service: «MG1",
        'this is no Messaging Service\'s SID; it is "MG" and 32 hex digits',
    ),
    (
        "- service: MG00000000000000000000000000000001",
        '- number: "72346"\n    «service: MG00000000000000000000000000000001',
        "a sender is a number or a Messaging Service; drop one of the two",
    ),
    (
        "- service: MG00000000000000000000000000000001",
        "- service: MG00000000000000000000000000000001\n    kind: «short_code",
        "a service is a messaging_service; drop kind",
    ),
    (
        "- service: MG00000000000000000000000000000001\n    account: main\n    rate: 30/s",
        "- «service: MG00000000000000000000000000000001\n    account: main",
        '"rate" is missing: what its senders may send together, in segments, like "100/s"; Twilio cannot tell',
    ),
    (
        '- number: "+12065550100"\n    kind: long_code',
        '- number: «"+12065550100"\n    kind: messaging_service',
        '"+12065550100" is no Messaging Service; write "service:" and its SID, which begins with MG',
    ),
    (
        "number: ACME",
        'number: «"A*C"',
        '"A*C" is no alphanumeric sender; it has 2 to 11 letters, digits and spaces, like "ACME"',
    ),
    (
        "kind: alphanumeric\n    account: main",
        "kind: alphanumeric\n    «mms_rate: 1/s\n    account: main",
        "letters carry no media; drop mms_rate",
    ),
    (
        "- number: ACME\n    kind: alphanumeric\n    account: main\n    countries: [FR]",
        "- «number: ACME\n    kind: alphanumeric\n    account: main",
        '"countries" is missing: where these letters are registered, or need not be, like ["GB", "DE"]',
    ),
    (
        "[FR]",
        "[FR, «CA]",
        "numbers that begin with +1 get no messages from letters; drop it, or send from a number there",
    ),
    ("mms_rate: 10/s", "mms_rate: «some", f'"some" is no rate; {RATE_HINT}, or "none"'),
    (
        "    a2p_campaign: promo-10dlc",
        "    a2p_campaign: promo-10dlc\n    «mms_rate: 1/s",
        "the mms_rates of a2p_campaign hold for this sender; drop mms_rate",
    ),
    (
        "{att: 40/s, tmobile: 20/s",
        "{att: 40/s, tmobile: 1/s, «t-mobile: 20/s",
        'unknown key "t-mobile"; did you mean "tmobile"?',
    ),
    ("[GB, JE, IE]", "[GB, «UK]", '"UK" is no country; write its ISO code, like "US" or "GB"'),
    ("account: promo\n    a2p", "«account:\n    a2p", "text is needed here, not nothing"),
    # 10DLC campaigns and brands
    ("brand: acme", "brand: «acmee", 'there is no brand "acmee"; did you mean "acme"?'),
    ("verizon: 240/min", "verizon: «240", f'"240" is no rate; {RATE_HINT}'),
    ("200_000", "«0", '"0" is too small; write 1 or more'),
    ("150_000", "«0", '"0" is too small; write 1 or more'),
    ("per_day: 3", "per_day: «0", '"0" is too small; write 1 or more'),
    ("tmobile_caps: {acme:", "tmobile_caps: {«acmee:", 'there is no brand "acmee"; did you mean "acme"?'),
    # Pools
    (
        '"+12065550100", "+44',
        '«"+12065550101", "+44',
        'there is no sender "+12065550101"; did you mean "+12065550100"?',
    ),
    ('"+12065550100", "+44', '«"72345", "+44', '"72345" is in this pool already; drop one of them'),
    ("transport: aiohttp", "transport: «curl", '"curl" is not known here; there are "wire", "aiohttp"'),
    ("in_doubt: unknown", "in_doubt: «maybe", '"maybe" is not known here; there are "resend", "unknown"'),
    (
        "codes: [30003, 30017]",
        "codes: [30003, «30007]",
        (
            "30007 does not pass by waiting, so nothing is sent again for it; there are 30003, 30008, 30017, 30410, "
            "30450, 30453, 30500"
        ),
    ),
    ("attempts: 2", "attempts: «0", '"0" is too small; write 1 or more'),
    ("retry_share: 10%", "retry_share: «0%", '"0%" is too little; write more, up to "100%"'),
    ("validity: 5min", "validity: «11h", '"11h" is no validity that Twilio takes; write "1s" to "10h"'),
    # Priorities and topics
    ("weight: 3", "weight: «0", '"0" is too small; write 1 or more'),
    ("topic: jobs.normal", "topic: «jobs.bulk", '"jobs.bulk" is the topic for jobs of bulk already; name another'),
    (
        "control: acme.control",
        "control: «acme.results",
        '"acme.results" is the topic for results already; name another',
    ),
    (
        "topic: jobs.normal",
        "topic: «my jobs",
        '"my jobs" is no name for a topic; write up to 249 letters, digits, ".", "_" and "-"',
    ),
    # The simulator
    ("refuse_429: 5%", "refuse_429: «5", '"5" is no share; write "0%" to "100%"'),
    ("refuse_429: 5%", "refuse_429: «101%", '"101%" is no share; write "0%" to "100%"'),
    ("high: 20ms", "high: «9ms", '"high" is below "low"; write at least as much'),
    ('"72345": 0.5', '"72345": «-1', "a number above zero is needed here, like 0.5"),
    ('"72345": 0.5', '"72345": «half', "a number above zero is needed here, like 0.5"),
    ('"72345": 0.5', '«"7234": 0.5', 'there is no sender "7234"; did you mean "72345"?'),
]


def test_the_file_that_the_cases_break_is_right(tmp_path: Path) -> None:
    assert mistakes_in(tmp_path, FULL) == []


@pytest.mark.parametrize(("old", "new", "sentence"), CASES)
def test_a_mistake_is_named_at_its_place(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    text, place = broken(old, new)
    assert f"{place}: {sentence}" in mistakes_in(tmp_path, text)


@pytest.mark.parametrize(("old", "new", "sentence"), CASES)
def test_a_mistake_is_reported_once(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    text, place = broken(old, new)
    # A name that is wrong where it is given is unknown where it is used; that is no echo.
    elsewhere = re.compile(r"there is no (sender|account|brand)")
    at_its_place = [mistake for mistake in mistakes_in(tmp_path, text) if not elsewhere.search(mistake)]
    assert len(at_its_place) <= 1, (place, sentence)


def test_all_mistakes_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = FULL
    for old, new in (
        ("partitions: 12", "partitons: 12"),
        ("${MAIN_TOKEN}", "${NOT_SET}"),
        ("parent: main", "parent: mian"),
        ("rate: 100/s burst 20", "rate: 0/s"),
        ("in_doubt: unknown", "in_doubt: maybe"),
        ("topic: jobs.normal", "topic: jobs.bulk"),
    ):
        text = text.replace(old, new)
    found = mistakes_in(tmp_path, text)
    lines = [int(mistake.partition(":")[0]) for mistake in found]
    assert len(found) == 6
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("old", "new"), [("accounts:", "acounts:"), ("senders:\n", "sendrs:\n"), ("number:", "numbr:")]
)
def test_what_follows_from_a_misspelt_key_is_not_reported(tmp_path: Path, old: str, new: str) -> None:
    (mistake,) = mistakes_in(tmp_path, FULL.replace(old, new, 1))
    assert "unknown key" in mistake


def test_every_missing_key_of_a_section_is_named(tmp_path: Path) -> None:
    assert mistakes_in(tmp_path, "") == [
        '1:1: "kafka" is missing: how to reach Kafka',
        '1:1: "accounts" is missing: Twilio accounts by name',
        '1:1: "senders" is missing: what to send from',
        '1:1: "pools" is missing: senders that stand in for each other, by name',
    ]


def test_a_file_that_is_no_mapping_says_which_keys_are_needed(tmp_path: Path) -> None:
    (mistake,) = mistakes_in(tmp_path, "just text")
    assert mistake.startswith("1:1: a section is needed here, with the keys kafka, twilio, webhooks,")


def test_a_file_nested_without_end_is_refused(tmp_path: Path) -> None:
    assert mistakes_in(tmp_path, "[" * 5000) == ["1:1: this is nested too deeply"]


NAMES = {"main", "promo", "promo-10dlc", "acme", "marketing", "bulk", "normal"}
KEYS = [
    (number, match.start(1) + 1, match[1])
    for number, line in enumerate(FULL.splitlines(), start=1)
    if (match := re.match(r" *(?:- )?([\w-]+):(?:\s|$)", line)) and match[1] not in NAMES
]


@st.composite
def typos(draw: st.DrawFn) -> tuple[int, int, str, str]:
    """Draw a key of full.yaml, where it stands, and a way to get it wrong: a letter lost, doubled, swapped or new."""
    line, column, key = draw(st.sampled_from(KEYS))
    at = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from("aeqxz_"))
    wrong = draw(
        st.sampled_from(
            [
                key[:at] + key[at + 1 :],
                key[:at] + key[at] * 2 + key[at + 1 :],
                key[:at] + key[at : at + 2][::-1] + key[at + 2 :],
                key[:at] + letter + key[at + 1 :],
                key[:at] + letter + key[at:],
            ]
        ).filter(lambda word: word not in {"", *(known for _, _, known in KEYS)})
    )
    return line, column, key, wrong


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(typo=typos())
def test_any_key_that_is_misspelt_is_found_where_it_stands(tmp_path: Path, typo: tuple[int, int, str, str]) -> None:
    line, column, key, wrong = typo
    lines = FULL.splitlines()
    lines[line - 1] = lines[line - 1].replace(f"{key}:", f"{wrong}:", 1)
    assert any(
        mistake.startswith(f'{line}:{column}: unknown key "{wrong}"; ')
        for mistake in mistakes_in(tmp_path, "\n".join(lines))
    )


VALUES = [number for number, line in enumerate(FULL.splitlines()) if re.search(r": .*[^:]$", line)]


@pytest.mark.parametrize("index", VALUES)
@pytest.mark.parametrize("secret", ["hush-hush", "7345566778899001", "0/s", "+12065550199 hush", "http://u:hush@h?x=1"])
def test_a_secret_in_the_wrong_place_is_not_shown(tmp_path: Path, index: int, secret: str) -> None:
    lines = FULL.splitlines()
    lines[index] = re.sub(r": .*$", ': "${MISPLACED}"', lines[index])
    found = mistakes_in(tmp_path, "\n".join(lines), ENVIRON | {"MISPLACED": secret})
    assert not [mistake for mistake in found if secret in mistake]


@pytest.mark.parametrize("index", [number for number in VALUES if "${" in FULL.splitlines()[number]])
@pytest.mark.parametrize(
    "text", ["*hush1234", "&hush1234", "!hush1234", "@hush1234", "{hush1234: x}", "[hush1234]", "1234567890"]
)
def test_a_secret_written_into_the_file_is_not_shown(tmp_path: Path, index: int, text: str) -> None:
    lines = FULL.splitlines()
    lines[index] = re.sub(r": .*$", f": {text}", lines[index])
    found = mistakes_in(tmp_path, "\n".join(lines))
    assert found
    assert not [mistake for mistake in found if "hush" in mistake or "1234567890" in mistake]


def test_settings_print_without_their_secrets(tmp_path: Path) -> None:
    path = tmp_path / "full.yaml"
    path.write_text(FULL, encoding="utf-8")
    printed = repr(load(path, ENVIRON))
    assert "***" in printed
    assert "hush" not in printed
