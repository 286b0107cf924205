"""Twilio is asked what nobody called about, and what it says goes the way of a callback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import pytest

from dispatcher.delivery.control_plane import Fetched
from dispatcher.domain.callback import Callback
from dispatcher.domain.errors import DispatcherError
from dispatcher.tracking.follower import ViewThread
from dispatcher.tracking.lifecycle import Conclusion
from dispatcher.tracking.poller import LOOK_EVERY, Poller
from dispatcher.tracking.records import read_callback
from dispatcher.tracking.view import View
from dispatcher.tracking.writing import Entry
from tests.clock import FakeClock

POLL_AFTER = 60.0


class Desk:
    """A poller over a view with messages that are overdue, and a Twilio that says what *answers* says."""

    def __init__(self, view: View, thread: ViewThread, clock: FakeClock) -> None:
        self.view = view
        self.clock = clock
        self.answers: dict[str, Fetched | DispatcherError | None] = {}
        self.asked: list[str] = []
        self.posted: list[Entry] = []
        self.is_current = True
        self._thread = thread
        self.poller = Poller(
            view, thread, clock, fetch=self._fetch, post=self.posted.append, is_current=lambda: self.is_current
        )

    async def _fetch(self, account: str, sid: str) -> Fetched | None:
        assert account == "main"
        self.asked.append(sid)
        answer = self.answers[sid]
        if isinstance(answer, DispatcherError):
            raise answer
        return answer

    async def accept(self, *mids: str, campaign: str = "spring") -> None:
        """Let Twilio have accepted messages long ago."""
        at = self.clock.epoch() - 2 * POLL_AFTER
        results = [
            Conclusion(mid, campaign, "+1", "72345", "main", None, f"SM{mid}", "accepted", None, 1, 1, at)
            for mid in mids
        ]
        await self._thread.do(self.view.apply, results)
        await self._thread.do(self.view.commit, {})

    async def look(self) -> None:
        """Let the poller look once."""
        self.clock.advance(LOOK_EVERY)
        # Its calls go through the view's thread: after as many of ours nothing of it is left.
        for _ in range(20):
            await self._thread.do(lambda: None)

    async def overdue(self) -> list[str]:
        found = await self._thread.do(self.view.overdue, self.clock.epoch(), 100)
        return [one.mid for one in found]


@asynccontextmanager
async def polling(path: Path, clock: FakeClock) -> AsyncIterator[Desk]:
    thread = ViewThread()
    with closing(thread):
        view = await thread.do(View, path / "tracking.sqlite", poll_after=POLL_AFTER)
        desk = Desk(view, thread, clock)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(desk.poller.run())
            await asyncio.sleep(0)
            yield desk
            running.cancel()
        await thread.do(view.close)


async def test_what_twilio_says_goes_the_way_of_a_callback(tmp_path: Path, clock: FakeClock) -> None:
    async with polling(tmp_path, clock) as desk:
        await desk.accept("a")
        desk.answers["SMa"] = Fetched("undelivered", 30003, "72345", "+12065550142")
        await desk.look()
        (entry,) = desk.posted
        assert entry.key == b"a"
        callback = msgspec.json.decode(entry.value, type=Callback)
        assert (callback.kind, callback.token, callback.parameters) == (
            "polled",
            None,
            {"From": "72345", "To": "+12065550142"},
        )
        news = read_callback(entry.value)
        assert news is not None
        assert (news.mid, news.sid, news.status, news.code, news.by) == ("a", "SMa", "undelivered", 30003, "poll")
        assert await desk.overdue() == []


@pytest.mark.parametrize("answer", [None, Fetched("accepted", None, "72345", "+1")])
async def test_what_says_nothing_new_is_not_told_and_asked_again_later(
    tmp_path: Path, clock: FakeClock, answer: Fetched | None
) -> None:
    async with polling(tmp_path, clock) as desk:
        await desk.accept("a")
        desk.answers["SMa"] = answer
        await desk.look()
        await desk.look()
        assert (desk.asked, desk.posted) == (["SMa"], [])
        clock.advance(POLL_AFTER)
        assert await desk.overdue() == ["a"]


async def test_nothing_is_asked_while_callbacks_are_yet_to_be_read(tmp_path: Path, clock: FakeClock) -> None:
    async with polling(tmp_path, clock) as desk:
        await desk.accept("a")
        desk.is_current = False
        await desk.look()
        assert desk.asked == []


async def test_the_newest_campaign_is_asked_about_first(tmp_path: Path, clock: FakeClock) -> None:
    async with polling(tmp_path, clock) as desk:
        await desk.accept("a", "b")
        await desk.accept("c", campaign="autumn")
        desk.answers = dict.fromkeys(["SMa", "SMb", "SMc"])
        await desk.look()
        assert desk.asked == ["SMc", "SMa", "SMb"]


@pytest.mark.parametrize(("others_answer", "left"), [(False, ["a", "b"]), (True, [])])
async def test_while_twilio_answers_about_nothing_nothing_counts_as_asked(
    tmp_path: Path, clock: FakeClock, *, others_answer: bool, left: list[str]
) -> None:
    async with polling(tmp_path, clock) as desk:
        await desk.accept("a", "b")
        down: Callable[[], DispatcherError] = lambda: DispatcherError("Twilio cannot be asked")  # noqa: E731
        desk.answers = {"SMa": down(), "SMb": None if others_answer else down()}
        await desk.look()
        assert sorted(desk.asked) == ["SMa", "SMb"]
        assert sorted(await desk.overdue()) == left
