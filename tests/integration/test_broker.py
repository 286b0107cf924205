import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dispatcher.broker import jars
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.domain.settings import KafkaSettings
from dispatcher.transport import kafka as transport

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("kafka")]  # the fixture skips where there is no Java or Maven


async def write(address: str, topic: str, value: bytes) -> None:
    settings = KafkaSettings(bootstrap_servers=address)
    async with transport.running(transport.make_admin(settings), settings) as admin:
        await transport.ensure_topics(admin, settings, [transport.TopicSpec(name=topic, partitions=1)])
    async with transport.running(transport.make_producer(settings), settings) as producer:
        await producer.send_and_wait(topic, value)


async def read(address: str, topic: str) -> list[bytes]:
    settings = KafkaSettings(bootstrap_servers=address)
    consumer = transport.make_consumer(settings, group=False)
    async with transport.running(consumer, settings):
        partition = transport.TopicPartition(topic, 0)
        consumer.assign([partition])
        wanted = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        while len(values) < wanted:
            for records in (await consumer.getmany(timeout_ms=5000)).values():
                values.extend(record.value for record in records)
        return values


async def test_what_was_acknowledged_survives_a_crash(tmp_path: Path) -> None:
    with LocalKafka(data_dir=tmp_path) as kafka:
        await write(kafka.address, "kept", b"before the crash")
        address, crashed = kafka.address, kafka.pid
        kafka.kill()
        assert kafka.pid is None
        kafka.start()
        assert kafka.address == address
        assert kafka.pid != crashed
        await write(kafka.address, "kept", b"after it")
        assert await read(kafka.address, "kept") == [b"before the crash", b"after it"]


async def test_data_in_a_folder_are_there_next_time_and_temporary_ones_are_not(tmp_path: Path) -> None:
    with LocalKafka(data_dir=tmp_path) as kafka:
        await write(kafka.address, "kept", b"yesterday")
    with LocalKafka(data_dir=tmp_path) as kafka:
        assert await read(kafka.address, "kept") == [b"yesterday"]


async def test_a_kafka_that_never_had_a_group_says_that_nobody_is_in_one(tmp_path: Path) -> None:
    """It makes the topic of all groups when it is first asked, and says meanwhile that there is no coordinator."""
    with LocalKafka(data_dir=tmp_path) as fresh:
        settings = KafkaSettings(bootstrap_servers=fresh.address)
        async with transport.running(transport.make_admin(settings), settings) as admin:
            assert await transport.group_members(admin, "nobody") == set()


async def test_a_topic_with_a_slip_in_its_name_does_not_come_to_be(kafka: str, unique: Callable[[str], str]) -> None:
    topic = unique("campaing.jobs")
    settings = KafkaSettings(bootstrap_servers=kafka)
    async with transport.running(transport.make_producer(settings), settings) as producer:
        with pytest.raises(transport.KafkaError):
            await producer.send_and_wait(topic, b"lost")


def test_the_command_says_when_it_is_ready_and_ends_with_its_kafka(tmp_path: Path) -> None:
    port = free_port()
    with started(tmp_path, port) as command:
        assert command.stdout is not None
        ready = command.stdout.readline()
        assert ready == f"Kafka {jars.VERSION} answers at 127.0.0.1:{port}; Ctrl-C ends it.\n"
        kafka = kafka_of(command)
        folder = Path(kafka.cmdline()[-1]).parent
        assert folder.parent == tmp_path
        command.send_signal(signal.SIGTERM)
        _, errors = command.communicate(timeout=30)
        assert (command.returncode, errors) == (0, "Stopping Kafka ...\n")
        assert not kafka.is_running()
        assert list(tmp_path.iterdir()) == []


def test_a_signal_that_comes_with_the_word_that_it_is_ready_stops_it_too(tmp_path: Path) -> None:
    script = """
import os, signal, typer
from dispatcher import __main__ as program
say = typer.echo
def say_and_signal(words, err=False):
    say(words, err=err)
    if "answers" in words:
        os.kill(os.getpid(), signal.SIGTERM)
typer.echo = say_and_signal
program.main()
"""
    with started(tmp_path, free_port(), "-c", script) as command:
        output, errors = command.communicate(timeout=60)
        assert (command.returncode, errors) == (0, "Stopping Kafka ...\n")
        assert output.endswith("; Ctrl-C ends it.\n")
        assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_a_port_where_a_kafka_is(tmp_path: Path, kafka: str) -> None:
    with started(tmp_path, int(kafka.split(":")[1])) as command:
        output, errors = command.communicate(timeout=30)
        assert (command.returncode, output) == (2, "")
        assert re.fullmatch(rf"dispatcher: Kafka cannot listen at {re.escape(kafka)} .*\n", errors)


def test_the_command_says_so_when_its_kafka_dies(tmp_path: Path) -> None:
    with started(tmp_path, free_port()) as command:
        assert command.stdout is not None
        command.stdout.readline()
        kafka_of(command).kill()
        _, errors = command.communicate(timeout=30)
        assert command.returncode == 2
        assert errors.startswith("dispatcher: Kafka ended by itself with exit code -9; the end of its log:\n")


def test_a_command_that_is_killed_takes_its_kafka_with_it(tmp_path: Path) -> None:
    with started(tmp_path, free_port()) as command:
        assert command.stdout is not None
        command.stdout.readline()
        kafka = kafka_of(command)
        command.kill()
        kafka.wait(timeout=30)


def kafka_of(command: subprocess.Popen[str]) -> psutil.Process:
    children = psutil.Process(command.pid).children()
    return next(child for child in children if "kafka.Kafka" in child.cmdline())


def started(temporary: Path, port: int, *program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *(program or ("-m", "dispatcher")), "broker", "--port", str(port)],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
