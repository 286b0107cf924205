"""The names of the Kafka topics, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """What each topic is called; the defaults are a contract with whoever reads them."""

    results: str = "dispatch.results"
    dead_letters: str = "dispatch.dead-letters"
    control: str = "dispatch.control"
    journal: str = "dispatch.journal"
    callbacks: str = "twilio.callbacks"
    deliveries: str = "dispatch.deliveries"
    senders: str = "dispatch.senders"
    suppressions: str = "dispatch.suppressions"
    # The tiers' topics have this name and how long a record stays.
    parked: str = "dispatch.parked"
    alerts: str = "dispatch.alerts"
    # How workers share out day caps.
    caps: str = "dispatch.caps"
