from datetime import date
from pathlib import Path

import pytest

from dispatcher.config.load import config_path, examine, load, load_from
from dispatcher.config.sections import TopicsSection
from dispatcher.domain.errors import ConfigError, DispatcherError
from dispatcher.domain.fleet import (
    A2PCampaign,
    Account,
    Brand,
    Fleet,
    Pool,
    PriorityClass,
    Redelivery,
    Secret,
    Sender,
    SenderKind,
)
from dispatcher.domain.frequency import FrequencySettings
from dispatcher.domain.hours import Hours
from dispatcher.domain.quiet_hours import DEFAULT_HOURS, QuietHoursSettings
from dispatcher.domain.rate import Rate
from dispatcher.domain.settings import (
    AlertSettings,
    AlertWebhook,
    ContentSettings,
    KafkaSettings,
    Listen,
    OptOutSettings,
    Settings,
    SimulatorSettings,
    TwilioSettings,
    WebhookSettings,
)
from dispatcher.domain.topics import Topics

CONFIGS = Path(__file__).parents[3] / "configs"
FULL = Path(__file__).with_name("full.yaml")
MAIN_SID = "AC" + "0" * 31 + "1"
PROMO_SID = "AC" + "0" * 31 + "2"
SERVICE = "MG" + "0" * 31 + "1"
ENVIRON = {
    "KAFKA_PASSWORD": "kafka-secret",
    "KEY_PASSWORD": "pem-secret",
    "MAIN_SID": MAIN_SID,
    "MAIN_TOKEN": "12345678901234567890123456789012",
    "KEY_SECRET": "key-secret",
    "ALERT_URL": "https://hooks.example.com/T0/B0/secret",
}
SMALLEST = f"""\
kafka: {{bootstrap_servers: "127.0.0.1:9092"}}
accounts: {{main: {{sid: {MAIN_SID}, auth_token: token}}}}
senders:
  - {{number: "72345", kind: short_code, account: main}}
  - {{number: "+18885550100", kind: toll_free, account: main}}
  - {{number: "+12065550100", kind: long_code, account: main}}
pools: {{all: {{senders: ["72345", "+18885550100", "+12065550100"]}}}}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key_reaches_its_setting() -> None:
    assert load(FULL, ENVIRON) == Settings(
        kafka=KafkaSettings(
            bootstrap_servers="kafka-1:9092,kafka-2:9092",
            group_id="dispatcher",
            partitions=12,
            replication_factor=3,
            create_topics=False,
            dedup_horizon=3600.0,
            security={
                "security_protocol": "SASL_SSL",
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": "dispatcher",
                "sasl_plain_password": Secret("kafka-secret"),
                "sasl_kerberos_service_name": "kafka",
                "sasl_kerberos_domain_name": "example.com",
                "ssl_cafile": "ca.pem",
                "ssl_certfile": "client.pem",
                "ssl_keyfile": "client.key",
                "ssl_password": Secret("pem-secret"),
            },
        ),
        twilio=TwilioSettings(
            base_url="https://api.twilio.com",
            request_timeout=15.0,
            in_doubt_hold_off=30.0,
            transport="aiohttp",
            queue_target=0.5,
        ),
        webhooks=WebhookSettings(
            public_url="https://hooks.example.com/twilio",
            listen=Listen(host="0.0.0.0", port=8080),  # noqa: S104 - only a value
            metrics_listen=Listen(host="127.0.0.1", port=9402),
            spool=Path("/var/lib/dispatcher/callbacks"),
            spool_size=2 * 1024**3,
        ),
        fleet=Fleet(
            accounts={
                "main": Account(
                    name="main",
                    sid=MAIN_SID,
                    auth_token=Secret("12345678901234567890123456789012"),
                    api_key_sid="SK" + "0" * 31 + "1",
                    api_key_secret=Secret("key-secret"),
                    max_concurrency=60,
                    retry_share=0.1,
                    rate=Rate(800, "s"),
                    daily_cap=150_000,
                ),
                "promo": Account(
                    name="promo",
                    sid=PROMO_SID,
                    auth_token=Secret("fallback-token"),
                    max_concurrency=80,
                    parent="main",
                    countries=frozenset({"US", "CA", "GB"}),
                ),
            },
            senders={
                "72345": Sender(
                    number="72345",
                    kind=SenderKind.SHORT_CODE,
                    account="main",
                    rate=Rate(100, "s", 20),
                    prefixes=("+1",),
                    mms_rate=Rate(40, "s"),
                    media_prefixes=("+1",),
                ),
                "+18885550100": Sender(
                    number="+18885550100",
                    kind=SenderKind.TOLL_FREE,
                    account="main",
                    rate=Rate(3, "s"),
                    prefixes=("+1",),
                    mms_rate=Rate(25, "s"),
                    media_prefixes=("+1",),
                ),
                "+12065550100": Sender(
                    number="+12065550100",
                    kind=SenderKind.LONG_CODE,
                    account="promo",
                    a2p_campaign="promo-10dlc",
                    media_prefixes=("+1",),
                ),
                "+447700900123": Sender(
                    number="+447700900123",
                    kind=SenderKind.LONG_CODE,
                    account="main",
                    rate=Rate(1, "s"),
                    # Jersey shares the United Kingdom's.
                    prefixes=("+44", "+353"),
                    mms_rate=Rate(1, "s"),
                ),
                SERVICE: Sender(
                    number=SERVICE,
                    kind=SenderKind.MESSAGING_SERVICE,
                    account="main",
                    rate=Rate(30, "s"),
                    mms_rate=Rate(10, "s"),
                    media_prefixes=("+1", "+61"),
                ),
                "ACME": Sender(
                    number="ACME",
                    kind=SenderKind.ALPHANUMERIC,
                    account="main",
                    rate=Rate(10, "s"),
                    prefixes=("+33",),
                ),
            },
            a2p_campaigns={
                "promo-10dlc": A2PCampaign(
                    name="promo-10dlc",
                    brand="acme",
                    rates={
                        "att": Rate(75, "s"),
                        "tmobile": Rate(40, "s"),
                        "verizon": Rate(240, "min"),
                        "other": Rate(10, "s"),
                    },
                    mms_rates={
                        "att": Rate(40, "s"),
                        "tmobile": Rate(20, "s"),
                        "verizon": Rate(2, "s"),
                        "other": Rate(1, "s"),
                    },
                )
            },
            brands={"acme": Brand(name="acme", tmobile_daily_cap=200_000)},
            pools={
                "marketing": Pool(
                    name="marketing",
                    senders=("72345", "+18885550100", "+12065550100", "+447700900123", SERVICE, "ACME"),
                    spill_after=0.0,
                    in_doubt="unknown",
                    validity=300.0,
                    quiet_hours=True,
                    retry_undelivered=Redelivery(codes=(30003, 30017), attempts=2, after=7200.0),
                    frequency=False,
                )
            },
            family_rate=Rate(1500, "s"),
        ),
        topics=Topics(
            results="acme.results", dead_letters="acme.dead-letters", journal="acme.journal", control="acme.control"
        ),
        priorities=(
            PriorityClass(name="normal", topic="jobs.normal", weight=3),
            PriorityClass(name="bulk", topic="jobs.bulk", weight=1),
        ),
        metrics=Listen(host="::1", port=9400),
        simulator=SimulatorSettings(
            seed=7,
            latency_low=0.01,
            latency_high=0.02,
            tail_share=0.005,
            tail_high=1.0,
            concurrency=30,
            callbacks=False,
            undelivered_share=0.04,
            refuse_429_share=0.05,
            refuse_500_share=0.01,
            accept_then_500_share=0.02,
            accept_then_drop_share=0.03,
            accept_then_hang_share=0.0,
            callback_duplicate_share=0.06,
            callback_reorder_share=0.07,
            callback_loss_share=0.08,
            callback_early_share=0.09,
            callback_forged_share=0.1,
            filtered={"SALE": 0.11},
            tmobile_caps={"acme": 5000},
            rate_factors={"72345": 0.5},
            service_senders=2,
        ),
        alerts=AlertSettings(
            delivery_below=0.8,
            code_share=0.025,
            of_at_least=100,
            within=600,
            slow_delivery=30,
            queue_depth=60,
            callbacks_missing=50,
            stalled_after=180,
            lag=5000,
            webhooks=(
                AlertWebhook(url=Secret("https://hooks.example.com/T0/B0/secret"), format="slack"),
                AlertWebhook(url=Secret("https://example.com/alerts?key=hush")),
            ),
        ),
        opt_outs=OptOutSettings(
            reach="pool",
            replies={
                "72345": {
                    "en": {
                        "stop": "You get no more messages from Acme.",
                        "start": "Welcome back.",
                        "help": "Acme, 1-888-555-0100.",
                    },
                    "fr": {"stop": "Plus de messages de Acme."},
                }
            },
        ),
        quiet_hours=QuietHoursSettings(
            hours={
                **DEFAULT_HOURS,
                "US": Hours.parse("09:00-20:00"),
                "US-UT": Hours.parse("mon-sat 10:00-18:00"),
            },
            holidays={"US": frozenset({date(2026, 12, 25)})},
            spread=1800.0,
        ),
        frequency=FrequencySettings(per_day=3, per_campaign=1, at_least_between=4 * 3600.0, remembers=7 * 86400.0),
        content=ContentSettings(
            rules={"links": "refuse", "tobacco": "warn", "secrets": "refuse"}, words={"secrets": ("password",)}
        ),
    )


def test_what_is_left_out_is_the_default(tmp_path: Path) -> None:
    settings = load(written(tmp_path, SMALLEST), {})
    assert settings.kafka == KafkaSettings(bootstrap_servers="127.0.0.1:9092")
    assert settings.twilio == TwilioSettings()
    assert settings.webhooks is None
    assert settings.metrics is None
    assert settings.topics == Topics()
    assert settings.simulator == SimulatorSettings()
    assert settings.opt_outs == OptOutSettings()
    assert settings.alerts == AlertSettings()
    assert settings.priorities == (
        PriorityClass(name="urgent", topic="campaign.jobs.urgent", weight=9),
        PriorityClass(name="bulk", topic="campaign.jobs", weight=1),
    )
    assert settings.fleet.family_rate == Rate(2000, "s")
    assert settings.fleet.pools["all"] == Pool(name="all", senders=("72345", "+18885550100", "+12065550100"))
    reach = {number: (sender.rate, sender.prefixes) for number, sender in settings.fleet.senders.items()}
    assert reach == {
        "72345": (Rate(100, "s"), ("+1",)),
        "+18885550100": (Rate(3, "s"), ("+1",)),
        "+12065550100": (Rate(1, "s"), ("+",)),
    }


def test_a_key_without_a_value_counts_as_left_out(tmp_path: Path) -> None:
    empty = "twilio:\nwebhooks: ~\nsimulator:\n  faults:\ntopics:\n  results:\n"
    assert load(written(tmp_path, SMALLEST + empty), {}) == load(written(tmp_path, SMALLEST), {})


def test_the_hold_off_follows_the_time_out(tmp_path: Path) -> None:
    settings = load(written(tmp_path, SMALLEST + "twilio: {request_timeout: 40s}\n"), {})
    assert settings.twilio.in_doubt_hold_off == 45.0


def test_webhooks_listen_where_a_container_can_be_reached(tmp_path: Path) -> None:
    settings = load(written(tmp_path, SMALLEST + "webhooks: {public_url: 'https://hooks.example.com'}\n"), {})
    assert settings.webhooks is not None
    assert str(settings.webhooks.listen) == "0.0.0.0:8080"


def test_variables_serve_numbers_and_truths_too(tmp_path: Path) -> None:
    text = SMALLEST + 'simulator: {seed: "${SEED}", callbacks: "${CALLBACKS}", rate_factors: {"72345": "${FACTOR}"}}\n'
    simulator = load(written(tmp_path, text), {"SEED": "42", "CALLBACKS": "false", "FACTOR": "1.5"}).simulator
    assert (simulator.seed, simulator.callbacks, simulator.rate_factors) == (42, False, {"72345": 1.5})


def test_a_topic_cannot_be_one_of_the_default_jobs_topics(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'"campaign\.jobs" is the topic for jobs of bulk already; name another'):
        load(written(tmp_path, SMALLEST + "topics: {results: campaign.jobs}\n"), {})


def test_two_listeners_may_both_leave_the_port_to_the_system(tmp_path: Path) -> None:
    text = "webhooks: {public_url: 'http://127.0.0.1', listen: '127.0.0.1:0'}\nmetrics: {listen: '127.0.0.1:0'}\n"
    assert load(written(tmp_path, SMALLEST + text), {}).metrics == Listen(host="127.0.0.1", port=0)


def test_anchors_write_a_thing_once(tmp_path: Path) -> None:
    text = SMALLEST.replace("all: {senders: [", "all: {senders: &numbers [").replace(
        "]}}", "]}, more: {senders: *numbers}}"
    )
    pools = load(written(tmp_path, text), {}).fleet.pools
    assert pools["more"].senders == pools["all"].senders


@pytest.mark.parametrize("name", ["demo", "staging"])
def test_a_config_for_this_machine_needs_no_environment(name: str) -> None:
    settings, remarks = examine(CONFIGS / f"{name}.yaml", {})
    assert remarks == ()
    assert settings.twilio.base_url == "http://127.0.0.1:8010"
    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"


def test_the_production_config_names_every_variable_it_needs() -> None:
    with pytest.raises(ConfigError) as caught:
        load(CONFIGS / "production.yaml", {})
    sentences = [mistake.what for mistake in caught.value.mistakes]
    names = [sentence.split()[0] for sentence in sentences if "is not set in the environment" in sentence]
    assert len(names) == len(sentences)
    sids = {"TWILIO_ACCOUNT_SID": MAIN_SID, "PROMO_ACCOUNT_SID": PROMO_SID}
    others = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", "WEBHOOKS_URL": "https://hooks.example.com"}
    environ = dict.fromkeys(names, "secret") | sids | others
    settings, remarks = examine(CONFIGS / "production.yaml", environ)
    assert remarks == ()
    assert settings.kafka.security["sasl_plain_password"] == Secret("secret")


def test_each_topic_can_be_renamed() -> None:
    assert set(TopicsSection.model_fields) == set(Topics.__dataclass_fields__)


def test_remarks_point_at_what_deserves_a_second_look(tmp_path: Path) -> None:
    text = FULL.read_text(encoding="utf-8").replace("${MAIN_SID}", PROMO_SID).replace(', "+447700900123", ', ", ")
    _, remarks = examine(written(tmp_path, text), ENVIRON)
    lines = text.splitlines()
    assert [(lines[remark.line - 1].strip(), remark.what) for remark in remarks] == [
        (f"sid: {PROMO_SID}", '"main" has the same SID, so its limits are counted twice'),
        ('- number: "+447700900123"', '"+447700900123" is in no pool, so it sends nothing'),
    ]


def test_the_option_comes_before_the_environment() -> None:
    environ = {"DISPATCHER_CONFIG": "there.yaml"}
    assert config_path(Path("here.yaml"), environ) == Path("here.yaml")
    assert config_path(None, environ) == Path("there.yaml")


@pytest.mark.parametrize("environ", [{}, {"DISPATCHER_CONFIG": ""}])
def test_no_config_at_all_is_said_in_a_sentence(environ: dict[str, str]) -> None:
    with pytest.raises(DispatcherError, match=r"^no config file is named; use -c FILE or set DISPATCHER_CONFIG$"):
        load_from(None, environ)


def test_a_file_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DispatcherError, match=r"none.yaml cannot be read: no such file or directory$"):
        load(tmp_path / "none.yaml", {})
    with pytest.raises(DispatcherError, match=r"cannot be read: is a directory$"):
        load(tmp_path, {})


def test_a_file_in_another_encoding_is_said_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("# Café\n".encode("latin-1"))
    with pytest.raises(DispatcherError, match=r"is no UTF-8 text; save it as UTF-8$"):
        load(path, {})


def test_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode())
    assert load(path, {}) == load(written(tmp_path, SMALLEST), {})
