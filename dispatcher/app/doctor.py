"""Examines the world that a config speaks of: is Kafka there, are the accounts active, are the senders theirs?"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from dispatcher.clock import Clock
from dispatcher.delivery.control_plane import ControlPlane
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.settings import Settings
from dispatcher.transport.http import open_http
from dispatcher.transport.kafka import make_admin, running, topics_to_make
from dispatcher.transport.topics import topics_of_tracker, topics_of_worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: *trouble* is empty when it is as it should be."""

    subject: str
    trouble: str = ""


async def examine_world(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """Yield a finding for Kafka, each account and each sender, as they are looked at."""
    yield await _kafka(settings)
    twilio = settings.twilio
    async with open_http(
        twilio.transport, twilio.base_url, request_timeout=twilio.request_timeout, clock=clock
    ) as http:
        for account in settings.fleet.accounts.values():
            plane = ControlPlane(http, account, twilio.base_url)
            subject = f"account {account.name}"
            try:
                status = await plane.status()
            except DispatcherError as error:
                yield Finding(subject=subject, trouble=str(error))
                continue
            yield Finding(subject=subject, trouble="" if status == "active" else f"Twilio calls it {status}")
            for sender in settings.fleet.senders.values():
                if sender.account == account.name:
                    yield Finding(subject=f"sender {sender.number}", trouble=await plane.trouble_with(sender))


async def _kafka(settings: Settings) -> Finding:
    subject = f"Kafka at {settings.kafka.bootstrap_servers}"
    try:
        async with running(make_admin(settings.kafka), settings.kafka) as admin:
            topics = {spec.name: spec for spec in (*topics_of_worker(settings), *topics_of_tracker(settings))}
            missing = await topics_to_make(admin, topics.values())
    except DispatcherError as error:
        return Finding(subject=subject, trouble=str(error))
    if missing and not settings.kafka.create_topics:
        names = ", ".join(sorted(spec.name for spec in missing))
        return Finding(subject=subject, trouble=f"topics are missing and create_topics is false: {names}")
    return Finding(subject=subject)
