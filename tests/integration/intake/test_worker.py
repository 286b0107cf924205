"""How a worker ends when its intake cannot go on: with a sentence, without a traceback."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stage import Process, Stage, job, open_stage, until
from dispatcher.domain.settings import KafkaSettings
from dispatcher.intake.watchdog import Mechanism
from dispatcher.transport.kafka import make_consumer, running

pytestmark = [pytest.mark.kafka, pytest.mark.system]


def with_trouble(**wanted: Any) -> tuple[str, ...]:
    return "-m", "tests.integration.intake.stuck_launcher", json.dumps(wanted)


async def until_said(process: Process, words: str, within: float = 60) -> None:
    async def is_said() -> bool:
        return words in process.log.read_text(encoding="utf-8")

    await until(is_said, within=within, what=words)


async def last_words(process: Process, within: float = 60) -> str:
    """Return the sentence with which *process* ends."""
    async with asyncio.timeout(within):
        code = await process.process.wait()
    said = process.log.read_text(encoding="utf-8")
    assert (code, "Traceback" in said) == (2, False), said[-3000:]
    return said.splitlines()[-1]


async def publish_for_ever(stage: Stage) -> None:
    for row in range(100_000):
        await stage.publish([job("spring", row, "marketing")])
        await asyncio.sleep(0.1)


async def test_a_group_that_hands_out_unlike_partitions_ends_the_worker_with_a_sentence(
    kafka: str, tmp_path: Path
) -> None:
    async with open_stage(tmp_path, kafka) as stage:
        await stage.start_simulator()
        worker = await stage.start_worker()
        settings = KafkaSettings(bootstrap_servers=kafka, group_id=stage.config["kafka"]["group_id"])
        async with running(make_consumer(settings), settings) as stranger:
            stranger.subscribe([stage.topic("bulk")])
            said = await last_words(worker)
    assert said.startswith("dispatcher: the group ")
    assert said.endswith("assigned unlike partitions of the jobs topics; let no other program join the group")


async def test_a_worker_that_is_stopped_while_it_is_assigned_partitions_leaves_in_silence(
    kafka: str, tmp_path: Path
) -> None:
    async with open_stage(tmp_path, kafka) as stage:
        worker = await stage.start_worker(ready=False, program=with_trouble(past=True))
        await until_said(worker, "reading the past")
        assert await worker.stop(within=20) == 0
        said = worker.log.read_text(encoding="utf-8")
        assert "Traceback" not in said
        assert "everything in flight has come back" in said


async def test_a_worker_whose_consumers_get_stuck_says_what_stands_still(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka) as stage:
        await stage.start_simulator()
        worker = await stage.start_worker(program=with_trouble(fault="fetching ends", look_every=0.4))
        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(publish_for_ever(stage))
            said = await last_words(worker)
            publishing.cancel()
        assert said.startswith(f"dispatcher: {Mechanism.FETCHING}, though Kafka answers")
        # What the two consumers brought was sent, and each has its result.
        report = await stage.report()
        assert len(await stage.results()) == report["messages"] > 0
