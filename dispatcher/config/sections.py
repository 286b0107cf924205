"""The config file's sections: which keys there are and what each holds.

The descriptions are for people: editors show them through the JSON Schema, and a missing key is explained with them.
Defaults are the domain's, so a key that is not given is None here.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatcher.config.values import (
    Above,
    AccountSid,
    ApiKeySid,
    Count,
    Day,
    DeedText,
    Duration,
    Factor,
    Flag,
    HoursText,
    ListenAt,
    MmsRateText,
    PathText,
    RateText,
    SecretText,
    SecretUrl,
    Servers,
    ServiceSid,
    Share,
    Size,
    SomeShare,
    Span,
    Text,
    TopicName,
    TransientCode,
    Url,
    Validity,
    Wait,
    WholeNumber,
    WholeSeconds,
)
from dispatcher.domain.fleet import SenderKind


class Section(BaseModel):
    """Keys that are known, and no others. A section with nothing in it has none of its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value is None else value


class KafkaSection(Section):
    """How to reach Kafka."""

    bootstrap_servers: Servers = Field(description='the brokers as host:port, like "kafka-1:9092,kafka-2:9092"')
    group_id: Text | None = Field(None, description="the consumer group that all workers share (dispatcher)")
    partitions: Count | None = Field(
        None, description="partitions of every jobs topic, the most workers there can be (12)"
    )
    replication_factor: Count | None = Field(None, description="copies of each topic created (the broker's default)")
    create_topics: Flag | None = Field(None, description="create topics that are missing (true)")
    dedup_horizon: Wait | None = Field(
        None, description="for how long a job's id is remembered, so that it is sent once (10min)"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] | None = Field(
        None, description="how to talk to the brokers (PLAINTEXT)"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI"] | None = Field(
        None, description="how to prove who we are (PLAIN)"
    )
    sasl_plain_username: Text | None = Field(None, description="the user for PLAIN and SCRAM")
    sasl_plain_password: SecretText | None = Field(None, description="the password for PLAIN and SCRAM")
    sasl_kerberos_service_name: Text | None = Field(None, description="the brokers' service name for GSSAPI (kafka)")
    sasl_kerberos_domain_name: Text | None = Field(None, description="the brokers' domain for GSSAPI")
    ssl_cafile: Text | None = Field(None, description="file with the authorities that sign the brokers' certificates")
    ssl_certfile: Text | None = Field(None, description="file with our certificate, for brokers that ask for one")
    ssl_keyfile: Text | None = Field(None, description="file with our certificate's key")
    ssl_password: SecretText | None = Field(None, description="the password of ssl_keyfile")


class TwilioSection(Section):
    """How to reach Twilio, and how far to fill its queues."""

    base_url: Url | None = Field(None, description="Twilio or its stand-in (https://api.twilio.com)")
    request_timeout: Duration | None = Field(None, description="how long to wait for an answer (20s)")
    transport: Literal["wire", "aiohttp"] | None = Field(
        None, description="the HTTP client: the dispatcher's own, or aiohttp's (wire)"
    )
    in_doubt_hold_off: Duration | None = Field(
        None, description="how long to wait before asking what became of a request (request_timeout and 5s)"
    )
    queue_target: Duration | None = Field(
        None, description="how deep a sender's queue at Twilio may get, in time of its rate (1s)"
    )
    family_rate: RateText | None = Field(
        None, description="messages over an account and its subaccounts, Twilio's 63017 (2000/s)"
    )


class WebhooksSection(Section):
    """Where Twilio calls us."""

    public_url: Url = Field(description='the URL that Twilio calls and signs, like "https://hooks.example.com"')
    listen: ListenAt | None = Field(None, description="the address to listen on (0.0.0.0:8080)")
    metrics_listen: ListenAt | None = Field(
        None, description="where Prometheus reads `dispatcher receive`, which is a process of its own (nowhere)"
    )
    spool: PathText | None = Field(
        None, description="the folder for callbacks that Kafka does not take in time (callback-spool)"
    )
    spool_size: Size | None = Field(None, description="the most that the spool may hold (256MiB)")


class RepliesSection(Section):
    """What is answered in one language."""

    stop: Text | None = Field(None, description="the answer to STOP and its synonyms (none)")
    start: Text | None = Field(None, description="the answer to START and its synonyms (none)")
    help: Text | None = Field(None, description="the answer to HELP and its synonyms (none)")


class LanguagesSection(Section):
    """What is answered to recipients' words, by language."""

    en: RepliesSection = Field(description="the answers in English, and to every language that has none of its own")
    fr: RepliesSection = Field(RepliesSection(), description="the answers to ARRET and AIDE")


class OptOutsSection(Section):
    """What a recipient's STOP, START and HELP do."""

    reach: Literal["global", "pool", "sender"] | None = Field(
        None, description="what a STOP ends: everything, the pools of the number it came to, or that number (global)"
    )
    replies: dict[str, LanguagesSection] | None = Field(
        None, description="what short codes outside of a Messaging Service answer, by number; Twilio does elsewhere"
    )


class TrackingSection(Section):
    """How `dispatcher track` follows what becomes of messages."""

    database: PathText | None = Field(
        None,
        description="the file with the view of all messages, built anew when it is gone (tracking.sqlite)",
    )
    poll_after: Duration | None = Field(
        None, description="how long after a message's acceptance Twilio is asked what nobody called about (5min)"
    )
    poll_rate: RateText | None = Field(None, description="the most such questions over an account (20/s)")
    metrics_listen: ListenAt | None = Field(
        None, description="where Prometheus reads `dispatcher track`, which is a process of its own (nowhere)"
    )


class AlertWebhookSection(Section):
    """Whom to tell of alerts."""

    url: SecretUrl = Field(description='where to post to, like "${SLACK_WEBHOOK_URL}"; it is a secret')
    format: Literal["json", "slack"] | None = Field(None, description="the record itself, or Slack's form (json)")


class AlertsSection(Section):
    """What `dispatcher track` raises alerts at; each is cleared at half of its threshold."""

    delivery_below: Share | None = Field(None, description="the share of messages that has to arrive (90%)")
    code_share: Share | None = Field(None, description="the share of messages that one error code may end (5%)")
    of_at_least: Count | None = Field(None, description="of fewer messages that ended no share is judged (200)")
    within: WholeSeconds | None = Field(None, description="of the messages that ended within this time (5min)")
    slow_delivery: WholeSeconds | None = Field(None, description="how long one in twenty may wait at Twilio (1min)")
    queue_depth: WholeSeconds | None = Field(
        None, description="how much may wait at Twilio for a sender, in time of its rate (2min)"
    )
    callbacks_missing: Count | None = Field(None, description="messages about which nobody called back (100)")
    stalled_after: WholeSeconds | None = Field(
        None, description="how long jobs may wait without any coming to Twilio (2min)"
    )
    lag: Count | None = Field(None, description="jobs that may wait in Kafka (100000)")
    webhooks: list[AlertWebhookSection] | None = Field(None, description="whom to tell, beside the alerts topic")


class WhenSection(Section):
    """When a rule applies: to each campaign, or each sender, that its deed is about."""

    code: Count = Field(description="Twilio's error code that messages end with, like 30007")
    share: Above = Field(description='more than this share of those that ended, like ">5%"')
    of_at_least: Count = Field(description="of at least so many that ended")
    within: Span = Field(description='within this time, like "5min"')


class RuleSection(Section):
    """Something that is done by itself."""

    when: WhenSection = Field(description="when it is done")
    do: DeedText = Field(description='"suspend_sender 10min", "rate x0.5", "pause_campaign" or "alert"')


class FeedbackSection(Section):
    """How deliveries act on dispatch; `dispatcher track` has to run for it."""

    queue_delay: Duration | None = Field(
        None, description="how long a message may lie in its sender's queue at Twilio before the rate is cut (3s)"
    )
    rules: list[RuleSection] | None = Field(None, description="what is done when messages end with a code")


class MetricsSection(Section):
    """Where Prometheus reads us."""

    listen: ListenAt = Field(description='the address to listen on, like "127.0.0.1:9400"')


class AccountSection(Section):
    """A Twilio account or subaccount."""

    sid: AccountSid = Field(description='the account\'s SID, "AC" and 32 hex digits')
    auth_token: SecretText = Field(description='the account\'s auth token, like "${TWILIO_AUTH_TOKEN}"')
    api_key_sid: ApiKeySid | None = Field(None, description="the SID of an API key to send with, instead of the token")
    api_key_secret: SecretText | None = Field(None, description="the secret of that API key")
    max_concurrency: Count | None = Field(None, description="the most API requests in flight (80)")
    rate: RateText | None = Field(None, description="the most messages over this account (no limit)")
    retry_share: SomeShare | None = Field(
        None, description="the share of what this account can send that is for messages tried before (20%)"
    )
    parent: Text | None = Field(None, description="the account that this one is a subaccount of")
    countries: list[Text] | None = Field(
        None, min_length=1, description='all that it may send to, as ISO codes, like ["US", "CA"] (every country)'
    )
    daily_cap: Count | None = Field(None, description="messages a day, from midnight UTC on (no cap)")


class SenderSection(Section):
    """What to send from: a number, letters, or a Messaging Service."""

    number: Text | None = Field(
        None, description='the short code, E.164 number or letters, quoted: "72345", "+18885550100", "ACME"'
    )
    service: ServiceSid | None = Field(
        None, description="instead of a number: the SID of a Messaging Service, which chooses among its own senders"
    )
    kind: SenderKind | None = Field(
        None, description="short_code, toll_free, long_code or alphanumeric; a service needs none"
    )
    account: Text = Field(description="the account that owns it")
    rate: RateText | None = Field(
        None,
        description="segments over this sender (short_code 100/s, toll_free 3/s, long_code 1/s, alphanumeric 10/s; a "
        "service: needed, the sum of its senders')",
    )
    mms_rate: MmsRateText | None = Field(
        None,
        description='messages with media over this sender, beside its segments; "none" where it carries none '
        "(short_code 40/s, toll_free 25/s, long_code 1/s, a service: none). The toll-free numbers of an account family "
        "are held to 25/s together, its long codes to 50/s, or to the highest rate that is written here",
    )
    a2p_campaign: Text | None = Field(
        None, description="the 10DLC campaign of a US long code, or of a service; its rates hold then"
    )
    countries: list[Text] | None = Field(
        None,
        min_length=1,
        description="where it can send to, as ISO codes (short_code, toll_free: US, CA; long_code, service: all; "
        "alphanumeric: needed, none that begins with +1)",
    )


class CarrierRatesSection(Section):
    """Segments over all numbers of a 10DLC campaign, for each carrier."""

    att: RateText = Field(description='the rate to AT&T, like "75/s"')
    tmobile: RateText = Field(description='the rate to T-Mobile, like "75/s"')
    verizon: RateText = Field(description='the rate to Verizon, like "75/s"')
    other: RateText = Field(description='the rate to all other carriers, like "10/s"')


class A2PCampaignSection(Section):
    """A registered US 10DLC campaign."""

    brand: Text = Field(description="the brand behind the campaign")
    rates: CarrierRatesSection = Field(description="a rate for each of att, tmobile, verizon and other")
    mms_rates: CarrierRatesSection | None = Field(
        None, description="the same in messages with media (as many as segments, at most 50/s)"
    )


class BrandSection(Section):
    """Who is behind 10DLC campaigns."""

    tmobile_daily_cap: Count | None = Field(
        None,
        description="segments a day to T-Mobile, from midnight US Pacific on; of jobs without a carrier, too (no cap)",
    )


class RedeliverySection(Section):
    """What is done about messages that Twilio took and nobody got."""

    codes: list[TransientCode] | None = Field(
        None, min_length=1, description="after which of Twilio's codes a message is sent again ([30003, 30008])"
    )
    attempts: Count | None = Field(None, description="how often, at the most (1)")
    after: Duration | None = Field(None, description="how long after it was not delivered (1h)")


class PoolSection(Section):
    """Senders that may stand in for each other."""

    senders: list[Text] = Field(min_length=1, description='what to send from, quoted: ["72345"]; a service by its SID')
    spill_after: Wait | None = Field(None, description="how long a message waits for its own sender (10s)")
    in_doubt: Literal["resend", "unknown"] | None = Field(
        None, description="what to do with a message that may or may not have left (resend)"
    )
    validity: Validity | None = Field(None, description="how long Twilio may hold a message, 1s to 10h (Twilio's: 10h)")
    quiet_hours: Flag | None = Field(None, description="text recipients only at hours that suit them (false)")
    frequency: Flag | None = Field(None, description="text recipients only as often as `frequency` says (true)")
    retry_undelivered: RedeliverySection | None = Field(
        None, description="send what was not delivered again, as another message; `dispatcher track` does it (never)"
    )


class QuietHoursSection(Section):
    """When pools with quiet_hours may text, by the recipient's clock."""

    hours: dict[str, HoursText] | None = Field(
        None,
        description='hours by country or state: {US: "08:00-21:00", US-TX: "09:00-21:00, sun 12:00-21:00"}; what is '
        "not named keeps the built-in ones, `default` is for other countries, and a state narrows those of its country",
    )
    holidays: dict[str, list[Day]] | None = Field(
        None, description='days without messages, by country or state: {US: ["2026-12-25"]}'
    )
    spread: Wait | None = Field(None, description="over how long messages leave that waited for the morning (15min)")


class FrequencySection(Section):
    """How often recipients may be texted; every text counts, and pools may be exempt."""

    per_day: Count | None = Field(None, description="the most texts to a recipient within 24 hours (no limit)")
    per_campaign: Count | None = Field(None, description="the most texts of one campaign to a recipient (no limit)")
    at_least_between: Duration | None = Field(None, description="the time between any two texts to a recipient (none)")
    remembers: Duration | None = Field(
        None, description="for how long a campaign's texts are remembered, a day at least (1d)"
    )


class ContentSection(Section):
    """What a body must not hold."""

    rules: dict[str, Literal["refuse", "warn"]] | None = Field(
        None,
        description="what to do about each: links (of public shorteners), opt_out (missing on first contact), "
        "variables (without a value), sex, hate, alcohol, firearms, tobacco, or a category of `words`",
    )
    words: dict[str, list[Text]] | None = Field(
        None, description='more prohibited words, by category: {tobacco: ["snus"]}'
    )


class PrioritySection(Section):
    """A topic of jobs."""

    topic: TopicName = Field(description="the topic that jobs of this class come from")
    weight: Count = Field(description="its share against the other classes while both wait")


class TopicsSection(Section):
    """Other names for the topics; those of jobs are named in `priorities`."""

    results: TopicName | None = Field(None, description="one final result a message (dispatch.results)")
    dead_letters: TopicName | None = Field(None, description="what is no job, and why (dispatch.dead-letters)")
    journal: TopicName | None = Field(None, description="what is about to leave (dispatch.journal)")
    control: TopicName | None = Field(None, description="campaign states and the like (dispatch.control)")
    callbacks: TopicName | None = Field(None, description="what Twilio calls back with (twilio.callbacks)")
    deliveries: TopicName | None = Field(
        None, description="one record a change of delivery status (dispatch.deliveries)"
    )
    senders: TopicName | None = Field(None, description="what is known of each sender (dispatch.senders)")
    caps: TopicName | None = Field(None, description="how workers share out day caps (dispatch.caps)")
    parked: TopicName | None = Field(
        None, description="how the names of the topics begin in which messages wait (dispatch.parked)"
    )
    suppressions: TopicName | None = Field(None, description="who must not be texted (dispatch.suppressions)")
    alerts: TopicName | None = Field(None, description="alerts raised and cleared (dispatch.alerts)")


class LatencySection(Section):
    """How long the simulator's API takes to answer."""

    low: Wait | None = Field(None, description="the quickest answer (80ms)")
    high: Wait | None = Field(None, description="the slowest answer but for the tail (150ms)")
    tail: Wait | None = Field(None, description="the slowest answer of all (800ms)")
    tail_share: Share | None = Field(None, description='the share of answers above "high" (1%)')


class FaultsSection(Section):
    """Which shares of requests go wrong."""

    refuse_429: Share | None = Field(None, description="answered 429, not processed")
    refuse_500: Share | None = Field(None, description="answered 500, not processed")
    accept_then_500: Share | None = Field(None, description="accepted, then answered 500")
    accept_then_drop: Share | None = Field(None, description="accepted, then cut off")
    accept_then_hang: Share | None = Field(None, description="accepted, then silent for 26 s")


class CallbackFaultsSection(Section):
    """Which shares of callbacks go wrong."""

    duplicate: Share | None = Field(None, description="sent twice")
    reorder: Share | None = Field(None, description="sent out of order")
    loss: Share | None = Field(None, description="never sent")
    early: Share | None = Field(None, description="sent before the request that they speak of is answered")
    forged: Share | None = Field(None, description="followed by one that somebody else signed")


class SimulatorSection(Section):
    """How Twilio's stand-in behaves; senders and accounts are those of this file."""

    seed: WholeNumber | None = Field(None, description="the same seed draws the same faults (1)")
    latency: LatencySection = Field(LatencySection(), description="how long an answer takes")
    concurrency: Count | None = Field(None, description="requests in flight over an account before 429 (100)")
    callbacks: Flag | None = Field(None, description="send status callbacks (true)")
    undelivered: Share | None = Field(None, description="the share of messages that never arrive (2%)")
    filtered: dict[str, Share] | None = Field(
        None, description='the share that carriers filter (30007) of what has a text in its body: {"SALE": 8%}'
    )
    faults: FaultsSection = Field(FaultsSection(), description="which shares of requests go wrong")
    callback_faults: CallbackFaultsSection = Field(
        CallbackFaultsSection(), description="which shares of callbacks go wrong"
    )
    tmobile_caps: dict[str, Count] | None = Field(
        None, description="the segments a day that T-Mobile really takes of a brand, then 30023 (those of `brands`)"
    )
    rate_factors: dict[str, Factor] | None = Field(
        None, description='what a sender really drains at, as a factor of its rate: {"72345": 0.5}'
    )
    service_senders: WholeNumber | None = Field(None, description="numbers in each Messaging Service (3)")


class Config(Section):
    """The dispatcher's config file."""

    kafka: KafkaSection = Field(description="how to reach Kafka")
    twilio: TwilioSection = Field(TwilioSection(), description="how to reach Twilio")
    webhooks: WebhooksSection | None = Field(None, description="where Twilio calls us")
    accounts: dict[str, AccountSection] = Field(min_length=1, description="Twilio accounts by name")
    senders: list[SenderSection] = Field(min_length=1, description="what to send from")
    a2p_campaigns: dict[str, A2PCampaignSection] = Field({}, description="US 10DLC campaigns by name")
    brands: dict[str, BrandSection] = Field({}, description="the brands behind 10DLC campaigns by name")
    pools: dict[str, PoolSection] = Field(min_length=1, description="senders that stand in for each other, by name")
    priorities: dict[str, PrioritySection] | None = Field(
        None, min_length=1, description="topics of jobs by priority class (urgent and bulk, 9 to 1)"
    )
    topics: TopicsSection = Field(TopicsSection(), description="other names for the topics")
    opt_outs: OptOutsSection = Field(OptOutsSection(), description="what STOP, START and HELP do")
    quiet_hours: QuietHoursSection = Field(
        QuietHoursSection(), description="when pools with quiet_hours may text, by the recipient's clock"
    )
    content: ContentSection = Field(ContentSection(), description="what a body must not hold")
    frequency: FrequencySection = Field(FrequencySection(), description="how often recipients may be texted")
    alerts: AlertsSection = Field(AlertsSection(), description="what alerts are raised at, and whom to tell")
    feedback: FeedbackSection = Field(FeedbackSection(), description="how deliveries act on dispatch")
    metrics: MetricsSection | None = Field(None, description="where Prometheus reads us")
    tracking: TrackingSection = Field(TrackingSection(), description="how deliveries are followed")
    simulator: SimulatorSection = Field(SimulatorSection(), description="how Twilio's stand-in behaves")
