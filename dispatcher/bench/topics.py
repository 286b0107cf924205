"""Topics and a group of the rehearsal's own: the staging's are not touched, and nothing stays behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace

import structlog

from dispatcher.domain.fleet import PriorityClass
from dispatcher.domain.settings import ContentSettings, Settings
from dispatcher.domain.topics import Topics
from dispatcher.transport.kafka import KafkaError, delete_group, ensure_topics, make_admin, running
from dispatcher.transport.topics import topics_of_worker

log = structlog.get_logger()


def apart(settings: Settings, name: str) -> Settings:
    """Return *settings* with a group called *name*, topics that begin with it, and two classes of jobs.

    Callbacks are not asked for: the staging's receiver would write them where the staging's own are. Metrics are shown
    nowhere, since the address may be a worker's. Nobody reads what is sent, so nothing waits for the morning.
    """
    topics = Topics(**{field.name: f"{name}.{field.name.replace('_', '-')}" for field in fields(Topics)})
    pools = {key: replace(pool, quiet_hours=False) for key, pool in settings.fleet.pools.items()}
    return replace(
        settings,
        fleet=replace(settings.fleet, pools=pools),
        content=ContentSettings(),
        kafka=replace(settings.kafka, group_id=name, create_topics=True),
        topics=topics,
        priorities=(
            PriorityClass(name="urgent", topic=f"{name}.jobs.urgent", weight=9),
            PriorityClass(name="bulk", topic=f"{name}.jobs", weight=1),
        ),
        webhooks=None,
        metrics=None,
    )


@asynccontextmanager
async def made(settings: Settings) -> AsyncIterator[None]:
    """Make the topics of *settings*, and remove them and the group at the end, whatever happened meanwhile."""
    names = [spec.name for spec in topics_of_worker(settings)]
    async with running(make_admin(settings.kafka), settings.kafka) as admin:
        await ensure_topics(admin, settings.kafka, topics_of_worker(settings))
        try:
            yield
        finally:
            try:
                await admin.delete_topics(names)
                await delete_group(admin, settings.kafka.group_id)
            except KafkaError as error:
                log.error(  # noqa: TRY400 - what there is to do is in the sentence
                    "topics of the rehearsal stay behind; delete them", topics=names, error=repr(error)
                )
