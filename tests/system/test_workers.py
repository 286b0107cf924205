"""Several workers under one supervisor: killed, stopped, left alone, and never faster together than one."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import psutil
import pytest

from benchmarks.stage import Process, Stage, free_port, job, open_stage, until
from dispatcher.simulator.judgement import overruns

pytestmark = [pytest.mark.kafka, pytest.mark.system]

IN_DOUBT_SOON = {"request_timeout": "5s", "in_doubt_hold_off": "5s"}


@asynccontextmanager
async def supervised(stage: Stage, workers: int) -> AsyncIterator[Process]:
    """Start so many workers under a supervisor; everybody is ready."""
    supervisor = await stage.start("run", "-c", str(stage.config_file), "--workers", str(workers), name="supervisor")
    await stage._answers(supervisor, f"http://{stage.config['metrics']['listen']}/readyz")
    yield supervisor


def workers_of(supervisor: Process) -> list[psutil.Process]:
    return psutil.Process(supervisor.pid).children()


async def until_gone(processes: list[psutil.Process]) -> None:
    async def are_gone() -> bool:
        return not any(process.is_running() for process in processes)

    await until(are_gone, within=30, what="the end of every worker")


async def test_a_killed_worker_comes_back_and_nothing_is_lost_or_doubled(kafka: str, tmp_path: Path) -> None:
    count = 3000
    async with open_stage(tmp_path, kafka, twilio=IN_DOUBT_SOON) as stage:
        await stage.publish(job("spring", row, "marketing") for row in range(count))
        await stage.start_simulator()
        async with supervised(stage, 3) as supervisor:
            workers = workers_of(supervisor)
            os.kill(workers[1].pid, signal.SIGKILL)

            async def three_own_partitions_again() -> bool:
                restarts = sum((await stage.metric("dispatcher_worker_restarts_total")).values())
                shares = await stage.metric("dispatcher_assigned_partitions")
                return restarts == 1 and len(shares) == 3 and set(shares.values()) == {4}

            await until(three_own_partitions_again, within=60, what="the restart")
            assert await stage.metric("dispatcher_workers_running") == {"": 3}
            results = await stage.wait_for_results(count, within=90)
            assert await supervisor.stop() == 0
        assert Counter(result["status"] for result in results) == {"accepted": count}
        assert len({result["id"] for result in results}) == count
        report = await stage.report()
        assert (report["messages"], report["texted_twice"]["texts"]) == (count, 0)
        assert overruns(report) == []
        lines = [orjson.loads(line) for line in supervisor.log.read_bytes().splitlines()]
        assert {line["worker"] for line in lines if line["event"] == "dispatching"} == {1, 2, 3}
        assert [line["worker"] for line in lines if line["event"].startswith("a worker ended")] == [2]


@pytest.mark.parametrize("to_all", [False, True], ids=["to the supervisor", "to every process, as systemd does"])
async def test_sigterm_lets_every_worker_drain(kafka: str, tmp_path: Path, to_all: bool) -> None:  # noqa: FBT001 - a table
    async with open_stage(tmp_path, kafka) as stage:
        await stage.publish(job("spring", row, "marketing") for row in range(3000))
        await stage.start_simulator()
        async with supervised(stage, 3) as supervisor:
            workers = workers_of(supervisor)
            for worker in workers if to_all else ():
                os.kill(worker.pid, signal.SIGTERM)
            assert await supervisor.stop() == 0
        assert not any(worker.is_running() for worker in workers)
        # What was in flight came back: every message that the stand-in accepted has its result.
        report = await stage.report()
        assert Counter(result["status"] for result in await stage.results()) == {"accepted": report["messages"]}


async def test_a_second_signal_ends_all_at_once(kafka: str, tmp_path: Path) -> None:
    async with open_stage(
        tmp_path, kafka, simulator={"latency": {"low": "15s", "high": "15s", "tail": "15s"}}
    ) as stage:
        await stage.publish(job("spring", row, "marketing") for row in range(3000))
        await stage.start_simulator()
        async with supervised(stage, 2) as supervisor:
            workers = workers_of(supervisor)

            async def requests_are_in_flight() -> bool:
                return min((await stage.metric("dispatcher_requests_in_flight")).values()) > 0

            await until(requests_are_in_flight, within=30, what="requests in flight")
            supervisor.process.send_signal(signal.SIGINT)

            async def stopping() -> bool:
                return b"stopping" in supervisor.log.read_bytes()

            await until(stopping, within=30, what="the first signal's effect")
            assert all(worker.is_running() for worker in workers)
            assert await supervisor.stop() == 130
        await until_gone(workers)


async def test_workers_end_when_their_supervisor_is_killed(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka) as stage:
        await stage.publish(job("spring", row, "marketing") for row in range(3000))
        await stage.start_simulator()
        async with supervised(stage, 4) as supervisor:
            workers = workers_of(supervisor)
            await supervisor.kill()
            await until_gone(workers)
        # They drained, so nothing is in doubt.
        report = await stage.report()
        assert Counter(result["status"] for result in await stage.results()) == {"accepted": report["messages"]}


async def test_what_an_operator_has_to_mend_is_said_once(kafka: str, tmp_path: Path) -> None:
    async with open_stage(tmp_path, kafka) as stage:
        stage.config["kafka"]["bootstrap_servers"] = f"127.0.0.1:{free_port()}"
        stage.write_config()
        supervisor = await stage.start("run", "-c", str(stage.config_file), "--workers", "3", name="supervisor")
        async with asyncio.timeout(60):
            assert await supervisor.process.wait() == 2
        said = supervisor.log.read_text(encoding="utf-8")
        assert said.count("Kafka does not answer") == 1
        assert said.splitlines()[-1].startswith("dispatcher: Kafka does not answer")
        assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("rate", [50, 200])
async def test_a_limited_campaign_runs_at_one_rate_with_any_number_of_workers(
    kafka: str, tmp_path: Path, rate: int
) -> None:
    window = 20
    achieved: dict[int, float] = {}
    for workers in (1, 2, 4):
        folder = tmp_path / str(workers)
        folder.mkdir()
        async with open_stage(folder, kafka, senders=one_sender(rate)) as stage:
            achieved[workers] = await run_backlogged(stage, workers, rate=rate, window=window) / window
    assert min(achieved.values()) >= 0.97 * rate, achieved
    assert max(achieved.values()) <= 1.02 * min(achieved.values()), achieved


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1, 3])
async def test_four_workers_share_a_slow_sender(kafka: str, tmp_path: Path, rate: int) -> None:
    async with open_stage(tmp_path, kafka, senders=one_sender(rate)) as stage:
        sent = await run_backlogged(stage, 4, rate=rate, window=40)
        # One may fall on the other side of the window's end.
        assert sent >= 0.97 * rate * 40 - 1


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1, 3, 50])
async def test_four_workers_that_were_idle_do_not_begin_together(kafka: str, tmp_path: Path, rate: int) -> None:
    async with open_stage(tmp_path, kafka, senders=one_sender(rate)) as stage:
        await stage.start_simulator()
        async with supervised(stage, 4) as supervisor:
            for batch in (1, 2, 3):
                # Each worker gets some, and is idle for long enough to have all its tokens.
                await stage.publish(job(f"spring-{batch}", 1000 * batch + row, "marketing") for row in range(20 * rate))
                await stage.wait_for_results(20 * rate * batch, within=120)
                await asyncio.sleep(10)
            assert await supervisor.stop() == 0
        assert overruns(await stage.report()) == []


def one_sender(rate: int) -> list[dict[str, str]]:
    return [{"number": "72345", "kind": "short_code", "account": "main", "rate": f"{rate}/s"}]


async def run_backlogged(stage: Stage, workers: int, *, rate: int, window: float) -> int:
    """Let *workers* send what they can for *window* seconds, once all are ready; return how much that was."""
    # Enough that none of them runs dry within the window, however unevenly the recipients' hashes fall.
    await stage.publish(job("spring", row, "marketing") for row in range(int(3 * rate * window)))
    await stage.start_simulator()
    async with supervised(stage, workers) as supervisor:
        begin = await now_at(stage)

        async def window_is_over() -> bool:
            return await now_at(stage) > begin + window

        await until(window_is_over, within=2 * window, what="the end of the window")
        assert await supervisor.stop() == 0
    assert overruns(await stage.report()) == []
    return sum(begin <= one["at"] < begin + window for one in await stage.accepted())


async def now_at(stage: Stage) -> float:
    """Return the time on the stand-in's clock, by which its log goes."""
    report = await stage.report()
    return float(report["started_at"] + report["seconds"])
