"""aiokafka and aiohttp with every saving: records in batches, forms as bytes, few time-outs, results in batches."""

import asyncio
from collections import defaultdict, deque
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import orjson
import uvloop
from aiohttp import encode_basic_auth
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from yarl import URL

from benchmarks.peers.part import Part, read_part

BATCH = 500
TICK = 0.010
CREATED = 201
# A third of the time of `quote_plus`.
QUOTED = {code: quote_plus(chr(code)) for code in range(128)}


async def main(part: Part) -> None:
    """Dispatch until killed."""
    consumer = AIOKafkaConsumer(
        part.jobs,
        bootstrap_servers=part.kafka,
        group_id=part.group,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=262144,
    )
    producer = AIOKafkaProducer(bootstrap_servers=part.kafka, max_batch_size=262144)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=20),
        headers={
            "Authorization": encode_basic_auth(part.sid, part.token),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        },
        auto_decompress=False,
    )
    async with consumer, producer, session, asyncio.TaskGroup() as tasks:
        pipeline = Pipeline(part, consumer, producer, session)
        tasks.create_task(pipeline.write_results(), name="results")
        for number in range(part.connections):
            tasks.create_task(pipeline.dispatch(), name=f"dispatch-{number}")


class Pipeline:
    """From a record to its result; as many requests in flight as tasks run `dispatch`."""

    def __init__(self, part: Part, consumer: Any, producer: Any, session: aiohttp.ClientSession) -> None:
        self._consumer = consumer
        self._producer = producer
        self._session = session
        self._topic = part.results
        self._url = URL(f"{part.url}/2010-04-01/Accounts/{part.sid}/Messages.json", encoded=True)
        self._records: deque[Any] = deque()
        self._fetching = asyncio.Lock()
        self._results: defaultdict[int, list[tuple[bytes, bytes]]] = defaultdict(list)

    async def dispatch(self) -> None:
        """Send one job after the other."""
        while True:
            while not self._records:
                await self._fetch()
            record = self._records.popleft()
            job = orjson.loads(record.value)
            form = f"From=72345&To=%2B{job['to'][1:]}&Body={job['body'].translate(QUOTED)}"
            async with self._session.post(self._url, data=form.encode(), allow_redirects=False) as response:
                answer = orjson.loads(await response.read())
            if response.status == CREATED:
                result = {"id": job["id"], "to": job["to"], "status": "accepted", "sid": answer["sid"]}
            else:
                result = {"id": job["id"], "to": job["to"], "status": "refused", "code": answer["code"]}
            self._results[record.partition].append((job["id"].encode(), orjson.dumps(result)))

    async def write_results(self) -> None:
        """Write what has come every tick, a batch a partition."""
        while True:
            await asyncio.sleep(TICK)
            come, self._results = self._results, defaultdict(list)
            for partition, results in come.items():
                batch = self._producer.create_batch()
                for key, value in results:
                    batch.append(timestamp=None, key=key, value=value)
                await self._producer.send_batch(batch, self._topic, partition=partition)

    async def _fetch(self) -> None:
        async with self._fetching:
            if not self._records:
                for records in (await self._consumer.getmany(timeout_ms=200, max_records=BATCH)).values():
                    self._records.extend(records)


if __name__ == "__main__":
    uvloop.run(main(read_part()))
