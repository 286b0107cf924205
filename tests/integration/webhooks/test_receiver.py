"""The whole receiver in this process, with a real Kafka and the stand-in that calls it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from twilio.request_validator import RequestValidator

from benchmarks.stage import MAIN, PROMO, free_port, until
from dispatcher.app import receiver
from dispatcher.clock import SystemClock
from dispatcher.config.load import load
from dispatcher.domain.settings import Listen, Settings
from dispatcher.simulator.server import Simulator, open_simulator

pytestmark = pytest.mark.kafka

PARTITIONS = 4
ANYWHERE = Listen(host="127.0.0.1", port=0)


@pytest.fixture
def config(kafka: str, tmp_path: Path, unique: Callable[[str], str]) -> Settings:
    address = f"127.0.0.1:{free_port()}"
    file = tmp_path / "dispatcher.yaml"
    sections = {
        "kafka": {"bootstrap_servers": kafka, "partitions": PARTITIONS},
        "topics": {"callbacks": unique("callbacks")},
        "webhooks": {
            "public_url": f"http://{address}",
            "listen": address,
            "metrics_listen": f"127.0.0.1:{free_port()}",
            "spool": str(tmp_path / "spool"),
        },
        "accounts": {"main": MAIN, "promo": PROMO},
        "senders": [
            {"number": "72345", "kind": "short_code", "account": "main", "rate": "1000/s"},
            {"number": "72346", "kind": "short_code", "account": "promo", "rate": "1000/s"},
        ],
        "pools": {"marketing": {"senders": ["72345", "72346"]}},
        "simulator": {
            "latency": {"low": "0ms", "high": "0ms", "tail": "0ms", "tail_share": "0%"},
            "callback_faults": {"duplicate": "20%", "reorder": "20%"},
        },
    }
    file.write_text(json.dumps(sections), encoding="utf-8")
    return load(file, {})


@asynccontextmanager
async def receiving(config: Settings) -> AsyncIterator[str]:
    """Run a receiver, and yield its public URL; at the end it stops as after SIGTERM."""
    stop = asyncio.Event()
    assert config.webhooks is not None
    url = f"http://{config.webhooks.metrics_listen}/readyz"
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as http:
        tasks.create_task(receiver.run_receiver(config, SystemClock(), stop))

        async def is_ready() -> bool:
            try:
                async with http.get(url) as response:
                    return response.ok
            except aiohttp.ClientError:
                return False

        await until(is_ready, within=20, what="the receiver")
        try:
            yield config.webhooks.public_url
        finally:
            stop.set()


async def records(config: Settings) -> list[Any]:
    """Return every record of the callbacks topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=config.kafka.bootstrap_servers)
    await consumer.start()
    try:
        partitions = [TopicPartition(config.topics.callbacks, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        wanted = sum((await consumer.end_offsets(partitions)).values())
        found: list[Any] = []
        while len(found) < wanted:
            for part in (await consumer.getmany(timeout_ms=1000)).values():
                found += part
        return found
    finally:
        await consumer.stop()


async def send(http: aiohttp.ClientSession, simulator: Simulator, account: dict[str, str], **form: str) -> str:
    """Send a message by the stand-in; return its SID."""
    url = f"{simulator.url}/2010-04-01/Accounts/{account['sid']}/Messages.json"
    headers = {"Authorization": aiohttp.encode_basic_auth(account["sid"], account["auth_token"])}
    async with http.post(url, data=form, headers=headers) as response:
        assert response.status == 201
        return str((await response.json())["sid"])


async def test_every_callback_of_the_stand_in_reaches_the_topic(config: Settings) -> None:
    sids: dict[str, str] = {}
    async with (
        receiving(config) as public_url,
        open_simulator(config.fleet, config.simulator, listen=ANYWHERE, clock=SystemClock()) as simulator,
        aiohttp.ClientSession() as http,
    ):
        for number in range(100):
            account, sender = ((MAIN, "72345"), (PROMO, "72346"))[number % 2]
            mid = f"spring/{number} ü"
            callback = f"{public_url}/twilio/status?mid={quote(mid, safe='')}&a=3#rc=5&rp=all"
            to = f"+1206555{number:04d}"
            sids[mid] = await send(http, simulator, account, From=sender, To=to, Body="Hi", StatusCallback=callback)

        async def all_came() -> bool:
            counts = simulator.report()["callbacks"]
            return bool(counts["sent"] == 200 + counts["duplicated"] and not counts["waiting"])

        await until(all_came, within=30, what="the callbacks")
        counts = simulator.report()["callbacks"]
    assert (counts["failed"], counts["retried"]) == (0, 0)
    found = await records(config)
    values = [orjson.loads(record.value) for record in found]
    assert len(values) == counts["sent"]
    assert {value["mid"]: value["sid"] for value in values} == sids
    assert {(value["kind"], value["attempt"]) for value in values} == {("status", 3)}
    # Each account signs for itself.
    assert {value["account"] for value in values} == {"main", "promo"}
    # What is repeated has the token that it had.
    assert (
        len({(value["sid"], value["status"]) for value in values}) == len({value["token"] for value in values}) == 200
    )
    assert counts["duplicated"] > 0
    # All callbacks about a message are in one partition, found by its id.
    assert [record.key.decode() for record in found] == [value["mid"] for value in values]
    assert len({(record.partition, record.key) for record in found}) == 100


@pytest.mark.parametrize("trouble", ["Kafka is not there", "the topic has other partitions"])
async def test_whatever_is_wrong_with_kafka_twilio_is_answered(
    config: Settings, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(receiver, "DRAIN_TIMEOUT", 0.1)
    if trouble == "Kafka is not there":
        wrong = replace(config.kafka, bootstrap_servers=f"127.0.0.1:{free_port()}")
    else:
        async with receiving(config):
            pass
        wrong = replace(config.kafka, partitions=PARTITIONS + 1)
    fields = {"AccountSid": MAIN["sid"], "MessageSid": "SM1", "MessageStatus": "sent"}
    async with receiving(replace(config, kafka=wrong)) as public_url, aiohttp.ClientSession() as http:
        for number in range(10):
            url = f"{public_url}/twilio/status?mid=spring-{number}&a=1"
            signature = RequestValidator(MAIN["auth_token"]).compute_signature(url, fields)
            async with http.post(url, data=fields, headers={"X-Twilio-Signature": signature}) as response:
                assert response.status == 204
    # What is on disk is brought to Kafka by the next receiver that can.
    monkeypatch.setattr(receiver, "DRAIN_TIMEOUT", 20)
    async with receiving(config):
        pass
    assert sorted(record.key for record in await records(config)) == [f"spring-{n}".encode() for n in range(10)]
