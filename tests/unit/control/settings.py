"""The settings of a small fleet."""

from dispatcher.domain.fleet import Fleet
from dispatcher.domain.settings import KafkaSettings, Settings, SimulatorSettings, TwilioSettings
from dispatcher.domain.topics import Topics
from tests.unit.engine.stage import PRIORITIES
from tests.unit.pacing.making import make_fleet, make_sender


def settings_of(fleet: Fleet | None = None) -> Settings:
    return Settings(
        kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"),
        twilio=TwilioSettings(),
        webhooks=None,
        fleet=fleet or make_fleet([make_sender("72345", 100)]),
        topics=Topics(),
        priorities=PRIORITIES,
        metrics=None,
        simulator=SimulatorSettings(),
    )
