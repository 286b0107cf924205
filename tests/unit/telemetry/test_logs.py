import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from dispatcher.telemetry import logs

RECIPIENT = "+12065550142"


class Stream(io.TextIOWrapper):
    """A stderr to look into."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def stderr(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> Stream:
    stream = Stream(terminal=terminal)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("key", ["to", "recipient"])
def test_a_recipient_is_masked_and_a_body_never_shown(
    monkeypatch: pytest.MonkeyPatch, key: str, *, terminal: bool
) -> None:
    stream = stderr(monkeypatch, terminal=terminal)
    logs.configure()
    structlog.get_logger().info("sent", **{key: RECIPIENT, "body": "your code is 4711", "id": "spring-1"})
    assert "+1206*****42" in stream.text
    assert RECIPIENT not in stream.text
    assert "4711" not in stream.text
    assert "spring-1" in stream.text


def test_where_no_terminal_is_a_line_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stderr(monkeypatch, terminal=False)
    logs.configure()
    structlog.get_logger().warning("quarantined", sender="72345", seconds=30.0)
    (event,) = stream.events
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "quarantined", "level": "warning", "sender": "72345", "seconds": 30.0}


def test_what_json_cannot_hold_is_written_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stderr(monkeypatch, terminal=False)
    logs.configure()
    structlog.get_logger().info("odd", value={1, 2})
    assert stream.events[0]["value"] == "{1, 2}"


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_a_terminal_gets_colors_unless_no_color_is_set(
    monkeypatch: pytest.MonkeyPatch, no_color: str, *, colored: bool
) -> None:
    stream = stderr(monkeypatch, terminal=True)
    monkeypatch.setenv("NO_COLOR", no_color)
    logs.configure()
    structlog.get_logger().info("sent")
    assert ("\x1b[" in stream.text) is colored


def test_json_can_be_asked_for_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stderr(monkeypatch, terminal=True)
    logs.configure(json=True)
    structlog.get_logger().info("sent")
    assert stream.events[0]["event"] == "sent"


def test_what_libraries_log_joins_from_warning_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stderr(monkeypatch, terminal=False)
    logs.configure()
    logging.getLogger("aiokafka.client").info("connected to %s", "node 1")
    logging.getLogger("aiokafka.client").warning("lost %s", "node 1")
    (event,) = stream.events
    assert (event["event"], event["level"], event["logger"]) == ("lost node 1", "warning", "aiokafka.client")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_traceback_shows_no_values(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    stream = stderr(monkeypatch, terminal=terminal)
    logs.configure()
    token = bytes.fromhex("733363726574").decode()
    try:
        int("", base=len(token))
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError: invalid literal" in stream.text
    assert token not in stream.text


def test_configured_again_a_line_appears_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stderr(monkeypatch, terminal=False)
    logs.configure()
    logs.configure()
    logging.getLogger("aiohttp").error("oh")
    assert len(stream.events) == 1
