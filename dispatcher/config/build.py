"""Turns a config that is right into the domain's frozen values."""

from typing import Any

from dispatcher.config.sections import (
    A2PCampaignSection,
    AccountSection,
    AlertsSection,
    Config,
    FeedbackSection,
    KafkaSection,
    OptOutsSection,
    PoolSection,
    QuietHoursSection,
    Section,
    SenderSection,
    SimulatorSection,
)
from dispatcher.domain.feedback import FeedbackSettings, Rule
from dispatcher.domain.fleet import (
    DEFAULT_MMS_RATES,
    DEFAULT_RATES,
    A2PCampaign,
    Account,
    Brand,
    Fleet,
    Pool,
    PriorityClass,
    Redelivery,
    Sender,
    SenderKind,
)
from dispatcher.domain.frequency import FrequencySettings
from dispatcher.domain.places import main_country
from dispatcher.domain.quiet_hours import DEFAULT_HOURS, QuietHoursSettings
from dispatcher.domain.settings import (
    AlertSettings,
    AlertWebhook,
    ContentSettings,
    KafkaSettings,
    Listen,
    OptOutSettings,
    Settings,
    SimulatorSettings,
    TrackingSettings,
    TwilioSettings,
    WebhookSettings,
)
from dispatcher.domain.topics import Topics

# aiokafka's own names, handed on as they are.
_SECURITY = tuple(key for key in KafkaSection.model_fields if key.startswith(("security_", "sasl_", "ssl_")))
_ANSWER_ON_ITS_WAY = 5.0
# The United States and Canada, and Australia; a long code sends media at home alone.
_MMS_PREFIXES = ("+1", "+61")
_WEBHOOKS_LISTEN = Listen(host="0.0.0.0", port=8080)  # noqa: S104 - Twilio calls from outside
DEFAULT_PRIORITIES = (
    PriorityClass(name="urgent", topic="campaign.jobs.urgent", weight=9),
    PriorityClass(name="bulk", topic="campaign.jobs", weight=1),
)


def settings_of(config: Config) -> Settings:
    """Return what *config* says, with the domain's default for whatever it leaves out."""
    twilio = _given(config.twilio)
    if "request_timeout" in twilio:
        twilio.setdefault("in_doubt_hold_off", twilio["request_timeout"] + _ANSWER_ON_ITS_WAY)
    family_rate = {"family_rate": twilio.pop("family_rate")} if "family_rate" in twilio else {}
    return Settings(
        kafka=_kafka(config.kafka),
        twilio=TwilioSettings(**twilio),
        webhooks=WebhookSettings(**{"listen": _WEBHOOKS_LISTEN} | _given(config.webhooks)) if config.webhooks else None,
        fleet=Fleet(
            accounts={name: _account(name, account) for name, account in config.accounts.items()},
            senders={sender.number: sender for sender in map(_sender, config.senders)},
            a2p_campaigns={name: _a2p_campaign(name, campaign) for name, campaign in config.a2p_campaigns.items()},
            brands={name: Brand(name=name, **_given(brand)) for name, brand in config.brands.items()},
            pools={name: _pool(name, pool) for name, pool in config.pools.items()},
            **family_rate,
        ),
        topics=Topics(**_given(config.topics)),
        priorities=_priorities(config),
        metrics=config.metrics.listen if config.metrics else None,
        simulator=_simulator(config.simulator),
        opt_outs=_opt_outs(config.opt_outs),
        quiet_hours=_quiet_hours(config.quiet_hours),
        feedback=_feedback(config.feedback),
        content=ContentSettings(
            rules=config.content.rules or {},
            words={category: tuple(words) for category, words in (config.content.words or {}).items()},
        ),
        frequency=FrequencySettings(**_given(config.frequency)),
        tracking=TrackingSettings(**_given(config.tracking)),
        alerts=_alerts(config.alerts),
    )


def _given(section: Section) -> dict[str, Any]:
    """Return the keys that *section* was given, so that the domain's defaults hold for the others."""
    return {key: value for key, value in section if value is not None}


def _feedback(section: FeedbackSection) -> FeedbackSettings:
    given = _given(section)
    rules = tuple(Rule(**_given(rule.when), deed=rule.do) for rule in given.pop("rules", ()))
    return FeedbackSettings(**given, rules=rules)


def _kafka(section: KafkaSection) -> KafkaSettings:
    given = _given(section)
    security = {key: given.pop(key) for key in _SECURITY if key in given}
    return KafkaSettings(**given, security=security)


def _account(name: str, section: AccountSection) -> Account:
    given = _given(section)
    if section.countries:
        given["countries"] = frozenset(map(main_country, section.countries))
    return Account(name=name, **given)


def _pool(name: str, section: PoolSection) -> Pool:
    given = _given(section) | {"senders": tuple(section.senders)}
    if section.retry_undelivered is not None:
        again = _given(section.retry_undelivered)
        if "codes" in again:
            again["codes"] = tuple(again["codes"])
        given["retry_undelivered"] = Redelivery(**again)
    return Pool(name=name, **given)


def _quiet_hours(section: QuietHoursSection) -> QuietHoursSettings:
    given = _given(section)
    if section.hours:
        given["hours"] = {**DEFAULT_HOURS, **section.hours}
    if section.holidays:
        given["holidays"] = {place: frozenset(days) for place, days in section.holidays.items()}
    return QuietHoursSettings(**given)


def _a2p_campaign(name: str, section: A2PCampaignSection) -> A2PCampaign:
    given = _given(section) | {"rates": _given(section.rates)}
    if section.mms_rates is not None:
        given["mms_rates"] = _given(section.mms_rates)
    return A2PCampaign(name=name, **given)


def _sender(section: SenderSection) -> Sender:
    given = _given(section)
    given["number"] = section.number or given.pop("service")
    given["kind"] = kind = section.kind or SenderKind.MESSAGING_SERVICE
    prefixes: tuple[str, ...] = ("+",)
    if section.countries:
        prefixes = _prefixes(given.pop("countries"))
    # Short codes and toll-free numbers of the US and Canada reach nobody else.
    elif kind in {SenderKind.SHORT_CODE, SenderKind.TOLL_FREE}:
        prefixes = ("+1",)
    given["prefixes"] = prefixes
    if not section.a2p_campaign:
        given.setdefault("rate", DEFAULT_RATES.get(kind))
        given.setdefault("mms_rate", DEFAULT_MMS_RATES.get(kind))
        if given["mms_rate"] in {None, "none"}:
            given["mms_rate"] = None
            return Sender(**given)
    # Elsewhere Twilio makes a text with a link of it, which costs segments.
    # https://help.twilio.com/articles/223179808
    given["media_prefixes"] = tuple(
        reached
        for reached in _MMS_PREFIXES
        if reached.startswith(prefixes) and (kind is not SenderKind.LONG_CODE or given["number"].startswith(reached))
    )
    return Sender(**given)


def _prefixes(countries: list[str]) -> tuple[str, ...]:
    # Loads for 0.1 s, and most configs have no countries.
    import phonenumbers  # noqa: PLC0415

    return tuple(dict.fromkeys(f"+{phonenumbers.country_code_for_region(country)}" for country in countries))


def _priorities(config: Config) -> tuple[PriorityClass, ...]:
    if not config.priorities:
        return DEFAULT_PRIORITIES
    classes = (PriorityClass(name=name, **_given(section)) for name, section in config.priorities.items())
    return tuple(sorted(classes, key=lambda priority: -priority.weight))


def _alerts(section: AlertsSection) -> AlertSettings:
    webhooks = tuple(AlertWebhook(**_given(webhook)) for webhook in section.webhooks or ())
    return AlertSettings(**_given(section) | {"webhooks": webhooks})


def _opt_outs(section: OptOutsSection) -> OptOutSettings:
    replies = {
        number: {language: _given(given) for language, given in languages}
        for number, languages in (section.replies or {}).items()
    }
    return OptOutSettings(**_given(section) | {"replies": replies})


def _simulator(section: SimulatorSection) -> SimulatorSettings:
    latency, faults, callbacks = map(_given, (section.latency, section.faults, section.callback_faults))
    renamed: dict[str, Any] = {
        "latency_low": latency.get("low"),
        "latency_high": latency.get("high"),
        "tail_high": latency.get("tail"),
        "tail_share": latency.get("tail_share"),
        "seed": section.seed,
        "concurrency": section.concurrency,
        "callbacks": section.callbacks,
        "undelivered_share": section.undelivered,
        "rate_factors": section.rate_factors,
        "service_senders": section.service_senders,
        "filtered": section.filtered,
        "tmobile_caps": section.tmobile_caps,
        **{f"{fault}_share": share for fault, share in faults.items()},
        **{f"callback_{fault}_share": share for fault, share in callbacks.items()},
    }
    return SimulatorSettings(**{key: value for key, value in renamed.items() if value is not None})
