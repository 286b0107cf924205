from dataclasses import fields
from pathlib import Path

from dispatcher.bench.topics import apart
from dispatcher.config.load import load
from dispatcher.transport.topics import topics_of_worker

STAGING = Path(__file__).parents[3] / "configs" / "staging.yaml"


def test_nothing_of_the_stagings_own_is_touched() -> None:
    settings = load(STAGING, {})
    own = apart(settings, "dispatcher-bench-1")
    names = [spec.name for spec in topics_of_worker(own)]
    assert len(set(names)) == len(names) == len(topics_of_worker(settings))
    assert all(name.startswith("dispatcher-bench-1.") for name in (*names, *map(str, _topics(own.topics))))
    assert own.kafka.group_id == "dispatcher-bench-1"
    assert own.webhooks is None  # a receiver of the staging would write what is called back
    assert own.metrics is None  # a worker of the staging may have the address


def test_all_else_is_as_configured() -> None:
    settings = load(STAGING, {})
    own = apart(settings, "dispatcher-bench-1")
    assert (own.fleet, own.twilio, own.simulator) == (settings.fleet, settings.twilio, settings.simulator)
    assert own.kafka.partitions == settings.kafka.partitions


def _topics(topics: object) -> list[str]:
    return [getattr(topics, field.name) for field in fields(topics)]  # type: ignore[arg-type]
