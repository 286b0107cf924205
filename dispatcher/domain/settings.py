"""The settings of each part, as frozen values; `dispatcher.config` makes them from the file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dispatcher.domain.callback import Language, Word
from dispatcher.domain.feedback import FeedbackSettings
from dispatcher.domain.fleet import Fleet, PriorityClass, Secret
from dispatcher.domain.frequency import FrequencySettings
from dispatcher.domain.quiet_hours import QuietHoursSettings
from dispatcher.domain.rate import Rate
from dispatcher.domain.suppression import SuppressionReach
from dispatcher.domain.topics import Topics

# What is answered to each word, by language.
Replies = Mapping[Language, Mapping[Word, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """An address to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """How to reach Kafka. *security* goes to aiokafka under its own names.

    A job whose id was published before within *dedup_horizon* seconds is not sent again.
    """

    bootstrap_servers: str
    group_id: str = "dispatcher"
    partitions: int = 12
    replication_factor: int | None = None
    create_topics: bool = True
    dedup_horizon: float = 600.0
    security: Mapping[str, str | Secret] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioSettings:
    """How to reach Twilio, and by which of our HTTP clients. Times are seconds."""

    base_url: str = "https://api.twilio.com"
    request_timeout: float = 20.0
    transport: Literal["wire", "aiohttp"] = "wire"
    in_doubt_hold_off: float = 25.0
    # The depth that a sender's modelled queue at Twilio is kept under, in seconds of its rate.
    queue_target: float = 1.0
    # What everything is sent from, whoever its sender is: Twilio's test credentials know no other number.
    only_number: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Where Twilio calls us (*public_url*, which it signs) and where we listen.

    *spool* is the folder for callbacks that Kafka does not take in time, of at most *spool_size* bytes.
    """

    public_url: str
    listen: Listen
    metrics_listen: Listen | None = None
    spool: Path = Path("callback-spool")
    spool_size: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutSettings:
    """How far a STOP reaches, and what is answered to recipients' words, by sender, where Twilio does not answer."""

    reach: SuppressionReach = "global"
    replies: Mapping[str, Replies] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentSettings:
    """What a body must not hold, by rule (see `compliance.content`), and what is done then.

    *words* are more prohibited words, by category.
    """

    rules: Mapping[str, Literal["refuse", "warn"]] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingSettings:
    """How deliveries are followed: the file *database*, and when and how fast to ask Twilio what nobody called about.

    *poll_after* is in seconds from a message's acceptance, *poll_rate* in requests over each account.
    """

    database: Path = Path("tracking.sqlite")
    poll_after: float = 300.0
    poll_rate: Rate = Rate(20, "s")
    metrics_listen: Listen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertWebhook:
    """Whom to tell of alerts, and in which form. Whoever knows the URL can tell the same people anything."""

    url: Secret
    format: Literal["json", "slack"] = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """What alerts are raised at. Times are whole seconds; shares lie between 0 and 1.

    Of the messages that ended *within* so long, if they are *of_at_least* so many: fewer than *delivery_below* arrived,
    or an error code ended more than *code_share*. A sender's messages wait at Twilio for *slow_delivery* (one in twenty
    of them), or so many that they take *queue_depth* at its rate. Nobody called back about so many messages. Jobs wait
    and none came to Twilio for *stalled_after*, or *lag* of them wait.
    """

    delivery_below: float = 0.9
    code_share: float = 0.05
    of_at_least: int = 200
    within: int = 300
    slow_delivery: int = 60
    queue_depth: int = 120
    callbacks_missing: int = 100
    stalled_after: int = 120
    lag: int = 100_000
    webhooks: tuple[AlertWebhook, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """How Twilio's stand-in behaves. Times are seconds, shares lie between 0 and 1.

    Latency is drawn between *latency_low* and *latency_high*; a share of *tail_share* of the answers takes up to
    *tail_high* instead. A share of requests meets each fault: answered 429 or 500 without processing, accepted and
    then answered 500, accepted and then cut off, or accepted and then hanging for 26 s. A share of accepted messages is
    answered so late that callbacks come first; beside a share of callbacks comes one that somebody else signed.
    """

    seed: int = 1
    latency_low: float = 0.080
    latency_high: float = 0.150
    tail_share: float = 0.01
    tail_high: float = 0.800
    concurrency: int = 100
    callbacks: bool = True
    undelivered_share: float = 0.02
    refuse_429_share: float = 0.0
    refuse_500_share: float = 0.0
    accept_then_500_share: float = 0.0
    accept_then_drop_share: float = 0.0
    accept_then_hang_share: float = 0.0
    callback_duplicate_share: float = 0.0
    callback_reorder_share: float = 0.0
    callback_loss_share: float = 0.0
    callback_early_share: float = 0.0
    callback_forged_share: float = 0.0
    # The share that carriers filter (30007) of the messages whose body has a text in it: a campaign's, say.
    filtered: Mapping[str, float] = field(default_factory=dict)
    # The segments a day that T-Mobile really takes of a brand, where those are not the config's.
    tmobile_caps: Mapping[str, int] = field(default_factory=dict)
    # What a sender's queue really drains at, as a factor of its configured rate; absent means 1.
    rate_factors: Mapping[str, float] = field(default_factory=dict)
    # How many numbers are in each Messaging Service; in none it refuses what is sent through it.
    service_senders: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole config file."""

    kafka: KafkaSettings
    twilio: TwilioSettings
    webhooks: WebhookSettings | None
    fleet: Fleet
    topics: Topics
    priorities: tuple[PriorityClass, ...]
    metrics: Listen | None
    simulator: SimulatorSettings
    opt_outs: OptOutSettings = field(default_factory=OptOutSettings)
    quiet_hours: QuietHoursSettings = field(default_factory=QuietHoursSettings)
    content: ContentSettings = field(default_factory=ContentSettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)
    frequency: FrequencySettings = field(default_factory=FrequencySettings)
