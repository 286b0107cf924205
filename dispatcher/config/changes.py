"""What of a config can change while a worker runs by it, and in words what did."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from dispatcher.config.document import Document, Loc
from dispatcher.domain.caps import CapRules
from dispatcher.domain.errors import Mistake
from dispatcher.domain.fleet import Fleet, PriorityClass
from dispatcher.domain.settings import KafkaSettings, Settings

# Settings that hold from the moment of the change, and those of other programs. All others need a restart.
LIVE = frozenset({"fleet", "twilio", "priorities", "quiet_hours", "content", "feedback"})
NOT_A_WORKERS = frozenset({"simulator", "opt_outs", "tracking", "alerts"})
_LIVE_OF_TWILIO = frozenset({"queue_target", "in_doubt_hold_off"})
_PARTS_OF_FLEET = ("accounts", "senders", "a2p_campaigns", "brands", "pools")


def needing_restart(document: Document, before: Settings, after: Settings) -> Iterator[Mistake]:
    """Yield what makes *after*, which *document* says, no config for a worker that runs by *before*."""
    for loc in _fixed(before, after):
        what = f'"{".".join(map(str, loc))}" needs a restart of all workers; take this back, and the rest holds at once'
        yield document.mistake(loc, what, at_key=True)


def differences(before: Settings, after: Settings) -> list[str]:
    """Return what is other in *after* than in *before*, a few words for each, and no values: some are secret."""
    found: list[str] = []
    for part in _PARTS_OF_FLEET:
        found += _named(part, getattr(before.fleet, part), getattr(after.fleet, part))
    if before.fleet.family_rate != after.fleet.family_rate:
        found.append("twilio.family_rate changed")
    for section in fields(Settings):
        if section.name != "fleet" and getattr(before, section.name) != getattr(after, section.name):
            found.append(f"{section.name} changed")
    return found


def _named(part: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name, value in after.items():
        if name not in before:
            yield f"{part}.{name} added"
        elif value != before[name]:
            yield f"{part}.{name} changed"
    yield from (f"{part}.{name} removed" for name in before if name not in after)


def _fixed(before: Settings, after: Settings) -> Iterator[Loc]:
    """Yield the place of every setting that is other in *after* and cannot be."""
    yield from _of_kafka(before.kafka, after.kafka)
    yield from (("twilio", key) for key in _other(before.twilio, after.twilio) if key not in _LIVE_OF_TWILIO)
    for name, account in before.fleet.accounts.items():
        if name in after.fleet.accounts and after.fleet.accounts[name].sid != account.sid:
            yield "accounts", name, "sid"
    if not CapRules(before.fleet):
        yield from _first_caps(after.fleet)
    if _classes(before.priorities) != _classes(after.priorities):
        yield ("priorities",)
    if before.metrics != after.metrics:
        yield "metrics", "listen"
    for section in {each.name for each in fields(Settings)} - LIVE - NOT_A_WORKERS - {"kafka", "metrics"}:
        yield from _of_section(section, getattr(before, section), getattr(after, section))


def _of_section(section: str, before: Any, after: Any) -> Iterator[Loc]:
    if type(before) is type(after) and before is not None:
        yield from ((section, key) for key in _other(before, after))
    elif before != after:
        yield (section,)


def _first_caps(fleet: Fleet) -> Iterator[Loc]:
    """Yield the caps of a day: a worker that began without any counts nothing."""
    yield from (
        ("brands", name, "tmobile_daily_cap")
        for name, brand in fleet.brands.items()
        if brand.tmobile_daily_cap is not None
    )
    yield from (("accounts", name, "daily_cap") for name, one in fleet.accounts.items() if one.daily_cap is not None)


def _of_kafka(before: KafkaSettings, after: KafkaSettings) -> Iterator[Loc]:
    for key in _other(before, after):
        if key != "security":
            yield "kafka", key
    for key in before.security.keys() | after.security.keys():
        if before.security.get(key) != after.security.get(key):
            yield "kafka", key


def _other(before: Any, after: Any) -> Iterator[str]:
    """Yield the names of the settings that are others in *after*."""
    for setting in fields(before):
        if getattr(before, setting.name) != getattr(after, setting.name):
            yield setting.name


def _classes(priorities: Iterable[PriorityClass]) -> list[tuple[str, str]]:
    """Return what of *priorities* cannot change: messages in hand know their class by its place among them."""
    return [(priority.name, priority.topic) for priority in priorities]
