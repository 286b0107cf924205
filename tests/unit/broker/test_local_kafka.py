import socket
from pathlib import Path

import pytest

from dispatcher.broker import jars
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.domain.errors import DispatcherError


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Java that does what the test writes into it; no jars have to be fetched."""
    monkeypatch.setattr(jars, "fetch", lambda: tmp_path / "jars")
    monkeypatch.setattr(jars, "find_java", lambda: tmp_path / "java")
    (tmp_path / "java").touch(0o755)
    return tmp_path / "java"


def test_a_taken_port_is_named_and_nothing_is_started(java: Path, tmp_path: Path) -> None:
    java.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as other:
        kafka = LocalKafka(port=other.getsockname()[1], data_dir=tmp_path / "data")
        with pytest.raises(DispatcherError, match=f"{kafka.address}.*another port"):
            kafka.start()
    assert kafka.pid is None


def test_the_end_of_the_log_is_shown_when_the_data_cannot_be_prepared(java: Path, tmp_path: Path) -> None:
    java.write_text("#!/bin/sh\nfor n in $(seq 40); do echo line $n; done; exit 1\n", encoding="utf-8")
    with pytest.raises(DispatcherError) as failure:
        LocalKafka(data_dir=tmp_path / "data").start()
    first, *tail = str(failure.value).splitlines()
    assert first == "Kafka could not prepare its data; the end of its log:"
    assert tail == [f"  line {n}" for n in range(26, 41)]


def test_the_end_of_the_log_is_shown_when_the_broker_ends_early(java: Path, tmp_path: Path) -> None:
    java.write_text('#!/bin/sh\ncase "$*" in *format*) exit 0;; esac\necho no room; exit 1\n', encoding="utf-8")
    kafka = LocalKafka(data_dir=tmp_path / "data")
    with pytest.raises(DispatcherError, match="did not start; the end of its log:\n  no room"):
        kafka.start()
    assert kafka.pid is None


def test_a_java_that_is_too_old_is_said_to_be(java: Path, tmp_path: Path) -> None:
    java.write_text("#!/bin/sh\necho java.lang.UnsupportedClassVersionError: 61.0 >&2; exit 1\n", encoding="utf-8")
    with pytest.raises(DispatcherError, match=r"needs Java 17 or newer; point JAVA_HOME to one$"):
        LocalKafka(data_dir=tmp_path / "data").start()


def test_data_that_cannot_be_kept_are_a_sentence(java: Path) -> None:
    with pytest.raises(DispatcherError, match=r"cannot keep its data in .*/java/data"):
        LocalKafka(data_dir=java / "data").start()


def test_a_failed_start_leaves_no_temporary_data(java: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with pytest.raises(DispatcherError), LocalKafka():
        pass
    assert list((tmp_path / "temporary").iterdir()) == []
