"""How much memory does a worker need while a million jobs wait in the topic?"""

import asyncio
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.stage import job, open_stage, until
from dispatcher.broker.local_kafka import LocalKafka

JOBS = 1_000_000
# A sender that takes hours for them, so that all of the look-ahead is in use.
SENDERS = [{"number": "72345", "kind": "short_code", "account": "main", "rate": "100/s"}]
BODY = "Hi Anna, spring is here: 20% off all shoes in our Portland store until Sunday. Reply STOP to opt out."


async def main() -> None:
    """Run the benchmark."""
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as folder:
        async with open_stage(Path(folder), kafka.address, senders=SENDERS) as stage:
            await stage.publish(job("backlog", row, "marketing", BODY) for row in range(JOBS))
            await stage.start_simulator()
            worker = await stage.start_worker()
            at_start = worker.memory()
            in_hand = 0.0

            async def the_look_ahead_is_full() -> bool:
                nonlocal in_hand
                before, in_hand = in_hand, sum((await stage.metric("dispatcher_jobs_in_hand")).values())
                return bool(before and in_hand <= before)

            await until(the_look_ahead_is_full, within=120, what="a full look-ahead")
            await stage.wait_for_results(1000, within=60)
            report.write(
                "memory",
                {
                    "jobs that wait in the topic": JOBS,
                    "jobs in hand": int(in_hand),
                    "MB at the start": round(at_start / 1e6),
                    "MB with the look-ahead full": round(worker.memory() / 1e6),
                },
            )


if __name__ == "__main__":
    asyncio.run(main())
