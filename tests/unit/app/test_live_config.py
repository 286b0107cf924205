import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dispatcher.app.live_config import HOLDS_AFTER, LOOK_EVERY, LiveConfig
from dispatcher.domain.settings import Settings
from dispatcher.telemetry import metrics
from tests.clock import FakeClock
from tests.unit.config.test_load import SMALLEST

SLOWER = SMALLEST.replace("account: main}", "account: main, rate: 50/s}", 1)
WRONG = SMALLEST.replace("account: main}", "acount: main}", 1)
OTHER_KAFKA = SMALLEST.replace("127.0.0.1:9092", "127.0.0.1:9093")


class Follower:
    """A worker that follows a config file; its time passes while it waits for something."""

    def __init__(self, file: Path, *, at: float | None = None) -> None:
        self.file = file
        self.clock = FakeClock() if at is None else FakeClock(datetime.fromtimestamp(at, UTC))
        self.live = LiveConfig(file, {}, self.clock)
        self.adopted: list[Settings] = []

    @asynccontextmanager
    async def following(self, *, rested: bool = True) -> AsyncIterator["Follower"]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.live.follow(self.adopted.append))
            if rested:
                await self.rest()
            yield self
            task.cancel()

    async def look(self, step: float = LOOK_EVERY) -> None:
        """Let so many seconds pass, and all happen that happens in them."""
        self.clock.advance(step)
        for _ in range(5):
            await asyncio.sleep(0)

    async def rest(self) -> None:
        """Let everything happen that comes of what is there."""
        for _ in range(20):
            await self.look()

    async def until(self, condition: Callable[[], bool], step: float = LOOK_EVERY) -> None:
        """Let time pass until *condition* holds."""
        for _ in range(2000):
            if condition():
                return
            await self.look(step)
        raise AssertionError("it never comes to that")

    async def until_adopted(self, count: int = 1, step: float = LOOK_EVERY) -> None:
        await self.until(lambda: len(self.adopted) == count, step)

    def rate(self) -> str:
        return str(self.adopted[-1].fleet.senders["72345"].rate)


@pytest.fixture(autouse=True)
def _read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the file without a thread, whose time is not the test's."""

    async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


def value(name: str) -> float | None:
    return metrics.registry.get_sample_value(name)


def versions() -> list[str]:
    (info,) = metrics.CONFIG_INFO.collect()
    return [sample.labels["version"] for sample in info.samples]


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    file = tmp_path / "dispatcher.yaml"
    file.write_text(SMALLEST, encoding="utf-8")
    return Follower(file)


def overwrite(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.rename(file)


@pytest.mark.parametrize("save", [overwrite, replace])
async def test_what_is_saved_holds_whichever_way_an_editor_saves(
    follower: Follower, save: Callable[[Path, str], None]
) -> None:
    async with follower.following():
        save(follower.file, SLOWER)
        await follower.until_adopted()
        assert follower.rate() == "50/s"
        save(follower.file, SMALLEST)
        await follower.until_adopted(2)
        assert follower.rate() == "100/s"


async def test_a_mounted_config_map_is_followed_through_its_links(tmp_path: Path) -> None:
    """Kubernetes swaps `..data`, to which the file's own link leads."""
    for version, text in (("..1", SMALLEST), ("..2", SLOWER)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "dispatcher.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "dispatcher.yaml").symlink_to("..data/dispatcher.yaml")
    follower = Follower(tmp_path / "dispatcher.yaml")
    async with follower.following():
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await follower.until_adopted()
        assert follower.rate() == "50/s"


async def test_a_file_that_changed_while_the_worker_started_is_noticed(follower: Follower) -> None:
    overwrite(follower.file, SLOWER)
    async with follower.following():
        await follower.until_adopted()
        assert follower.rate() == "50/s"


async def test_a_file_that_is_being_written_is_left_alone(follower: Follower) -> None:
    refused = value("dispatcher_config_refused_total")
    async with follower.following():
        for end in range(0, len(SLOWER), 7):
            overwrite(follower.file, SLOWER[:end])
            await follower.look()
        overwrite(follower.file, SLOWER)
        await follower.until_adopted()
        assert follower.rate() == "50/s"
    assert value("dispatcher_config_refused_total") == refused


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [(WRONG, 4, 'unknown key "acount"; did you mean "account"?'), (OTHER_KAFKA, 1, "needs a restart"), ("", 1, "")],
)
async def test_a_bad_edit_is_refused_with_its_place_and_what_held_stays(
    follower: Follower, text: str, line: int, reason: str
) -> None:
    refused = value("dispatcher_config_refused_total") or 0.0
    with capture_logs() as logs:
        async with follower.following():
            overwrite(follower.file, text)
            await follower.until(lambda: value("dispatcher_config_refused_total") == refused + 1)
            assert value("dispatcher_config_is_refused") == 1
            before = versions()
            await follower.rest()
            assert versions() == before
            overwrite(follower.file, SLOWER)
            await follower.until_adopted()
            assert value("dispatcher_config_is_refused") == 0
            assert versions() != before
    assert value("dispatcher_config_refused_total") == refused + 1  # said once, not at every look
    said = [entry for entry in logs if entry["log_level"] == "error"]
    assert any(f"{follower.file}:{line}:" in entry["reason"] and reason in entry["reason"] for entry in said)
    assert follower.rate() == "50/s"


async def test_a_file_that_is_gone_is_said_once_and_one_that_comes_back_is_no_change(follower: Follower) -> None:
    refused = value("dispatcher_config_refused_total") or 0.0
    async with follower.following():
        follower.file.unlink()
        await follower.until(lambda: value("dispatcher_config_refused_total") == refused + 1)
        overwrite(follower.file, SMALLEST)
        await follower.until(lambda: value("dispatcher_config_is_refused") == 0)
        await follower.rest()
    assert follower.adopted == []


async def test_all_who_see_a_change_in_time_take_it_up_in_the_same_moment(follower: Follower) -> None:
    """The file says when that is: their looks are not at the same time."""
    others = [Follower(follower.file, at=0.0) for _ in range(3)]
    overwrite(follower.file, SLOWER)
    written = follower.file.stat().st_ctime
    for other, begins in zip(others, (0.0, 0.03, 0.08), strict=True):
        other.clock.advance(written + begins)
        async with other.following(rested=False):
            await other.until_adopted(step=0.001)
            assert other.clock.epoch() - written == pytest.approx(HOLDS_AFTER, abs=0.002)


@pytest.mark.parametrize("away", [-3600, 3600])
async def test_who_sees_it_late_or_has_another_clock_does_not_wait_for_long(follower: Follower, away: float) -> None:
    other = Follower(follower.file, at=follower.file.stat().st_ctime + away)
    overwrite(follower.file, SLOWER)
    begun = other.clock.monotonic()
    async with other.following(rested=False):
        await other.until_adopted()
        assert other.clock.monotonic() - begun <= 3 * LOOK_EVERY + HOLDS_AFTER
