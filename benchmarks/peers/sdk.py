"""What one writes first: aiokafka and the `twilio` package's asynchronous client, with a bound on what is in flight.

The package's session has 100 connections; it has no setting for that.
"""

import asyncio

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from benchmarks.peers.part import Part, read_part


async def main(part: Part) -> None:
    """Dispatch until killed."""
    consumer = AIOKafkaConsumer(
        part.jobs, bootstrap_servers=part.kafka, group_id=part.group, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=part.kafka)
    async with consumer, producer, AsyncTwilioHttpClient() as http, asyncio.TaskGroup() as tasks:
        twilio = Client(part.sid, part.token, http_client=http)
        twilio.api.base_url = part.url
        for number in range(part.connections):
            tasks.create_task(dispatch(consumer, producer, twilio, part.results), name=f"dispatch-{number}")


async def dispatch(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, twilio: Client, results: str) -> None:
    """Send what *consumer* brings, one after the other."""
    async for record in consumer:
        job = orjson.loads(record.value)
        try:
            message = await twilio.messages.create_async(to=job["to"], from_="72345", body=job["body"])
        except TwilioRestException as error:
            result = {"id": job["id"], "to": job["to"], "status": "refused", "code": error.code}
        else:
            result = {"id": job["id"], "to": job["to"], "status": "accepted", "sid": message.sid}
        await producer.send(results, orjson.dumps(result), key=job["id"].encode())


if __name__ == "__main__":
    uvloop.run(main(read_part()))
