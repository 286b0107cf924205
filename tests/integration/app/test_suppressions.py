"""`dispatcher suppressions` against a real Kafka: what goes in comes out, and a worker's reader knows it."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dispatcher.app.suppressions import format_scope, parse_scope
from dispatcher.cli.root import app
from dispatcher.clock import SystemClock
from dispatcher.compliance.suppression import SuppressionList
from dispatcher.domain.settings import KafkaSettings
from dispatcher.domain.suppression import SuppressionScope
from dispatcher.intake.suppressions import SuppressionReader
from dispatcher.transport.kafka import TopicSpec, ensure_topics, make_admin, make_consumer, make_producer, running

PARTITIONS = 3


@pytest.fixture
def config(tmp_path: Path, kafka: str, unique: Callable[[str], str]) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
kafka: {{bootstrap_servers: "{kafka}", partitions: {PARTITIONS}}}
topics: {{suppressions: "{unique("suppressions")}", dead_letters: "{unique("letters")}"}}
accounts: {{main: {{sid: AC00000000000000000000000000000001, auth_token: x}}}}
senders: [{{number: "72345", kind: short_code, account: main}}]
pools: {{all: {{senders: ["72345"]}}}}
""",
        encoding="utf-8",
    )
    return path


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None, result.exception
    return result.stdout


@pytest.mark.kafka
def test_what_is_imported_is_exported_checked_and_told_to_workers(config: Path, tmp_path: Path) -> None:
    rows = [f"+1206555{row:04}" for row in range(3000)]
    numbers = tmp_path / "optouts.csv"
    lines = ["number,scope,reason", *(f"{number},," for number in rows), "+12065550001,pool/all,blocked"]
    numbers.write_text("\n".join([*lines, "12065550001,,", "+12065550002,team/x,", "+12065550003,,bored", "+1206,"]))
    said = run("suppressions", "import", "-c", config, numbers)
    assert "Suppressed: 3,001" in said
    assert "Rejected: 4" in said
    with (tmp_path / "optouts.rejects.csv").open() as file:
        rejected = list(csv.DictReader(file))
    assert [row["line"] for row in rejected] == ["3003", "3004", "3005", "3006"]
    problems = ("no number in E.164", "no scope", "none of opt_out", "2 columns")
    assert all(problem in row["problem"] for row, problem in zip(rejected, problems, strict=True))

    exported = tmp_path / "out.csv"
    assert "Written: 3,001" in run("suppressions", "export", "-c", config, exported)
    with exported.open() as file:
        found = {(row["number"], row["scope"], row["reason"]) for row in csv.DictReader(file)}
    assert found == {(number, "global", "opt_out") for number in rows} | {("+12065550001", "pool/all", "blocked")}

    # What was exported can be imported; nothing changes by that, nor is anything rejected.
    said = run("suppressions", "import", "-c", config, exported)
    assert said == "Suppressed: 3,001\n"
    assert not (tmp_path / "out.rejects.csv").exists()

    checked = run("suppressions", "check", "-c", config, "+12065550001", "+12129999999")
    assert "+12065550001: suppressed everywhere" in checked
    assert "+12065550001: suppressed for pool/all" in checked
    assert "+12129999999: not suppressed" in checked


@pytest.mark.kafka
async def test_a_worker_knows_the_list_before_it_starts_and_what_comes_later(
    kafka: str, unique: Callable[[str], str]
) -> None:
    settings, topic = KafkaSettings(bootstrap_servers=kafka, partitions=1), unique("suppressions")
    async with running(make_admin(settings), settings) as admin:
        await ensure_topics(admin, settings, [TopicSpec(name=topic, partitions=1)])
    async with (
        running(make_producer(settings), settings) as producer,
        running(make_consumer(settings, group=False), settings) as consumer,
    ):
        for key, value in ((b"+12065550001", b"{}"), (b"+12065550002", b"no JSON"), (b"stranger", b"{}")):
            await producer.send_and_wait(topic, value, key=key, partition=0)
        await producer.send_and_wait(topic, b"{}", key=b"+12065550003/pool/all", partition=0)
        await producer.send_and_wait(topic, None, key=b"+12065550001", partition=0)
        known = SuppressionList()
        reader = SuppressionReader(consumer, topic, 1, SystemClock(), suppress=known.suppress, lift=known.lift)
        await reader.catch_up()
        assert known.covering("+12065550001", "all") is None
        assert known.covering("+12065550002", "all") is not None  # not understood is no leave to text
        assert known.covering("+12065550003", "all") == SuppressionScope("pool", "all")
        assert known.covering("+12065550003", "other") is None
        await producer.send_and_wait(topic, b"{}", key=b"+12065550001", partition=0)
        await reader._read()
        assert known.covering("+12065550001", "all") is not None


@pytest.mark.parametrize("text", ["global", "pool/marketing", "sender/72345", "pool/a/b"])
def test_scopes_print_as_they_are_read(text: str) -> None:
    assert format_scope(parse_scope(text)) == text


@pytest.mark.parametrize("text", ["", "pool", "pool/", "globally", "global/x", "team/x"])
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no scope"):
        parse_scope(text)
