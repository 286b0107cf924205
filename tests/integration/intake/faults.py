"""Ways in which aiokafka's consumer has been seen to get stuck, done to a real one."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaError

from dispatcher.intake.watchdog import Mechanism


def _fetching_ends(consumer: Any) -> None:
    """Its task swallows the cancellation and is done, without an error (aio-libs/aiokafka#983)."""
    consumer._fetcher._fetch_task.cancel()


def _fetching_dies(consumer: Any) -> None:
    """Its task dies of an error, which nobody is told; `stop` raises it and leaves the rest running."""

    def fail(*_: Any) -> Any:
        raise ValueError("a bug in the fetcher")

    consumer._fetcher._get_actions_per_node = fail


def _fetches_hang(consumer: Any) -> None:
    """A request is never answered, and none is sent to that broker while one is under way."""

    async def hang(*_: Any) -> bool:
        await asyncio.Event().wait()
        return False

    consumer._fetcher._proc_fetch_request = hang


def _coordination_is_cancelled(consumer: Any) -> None:
    """`getmany` raises what its task ended with: the cancellation of another task."""
    consumer._coordinator._coordination_task.cancel()


def _heartbeat_dies(consumer: Any) -> None:
    """Of an answer that it does not expect, such as that the coordinator is loading; every `getmany` raises it."""

    async def fail() -> bool:
        raise KafkaError("Unexpected exception in heartbeat task: GroupLoadInProgressError()")

    consumer._coordinator._do_heartbeat = fail


def _rebalance_hangs(consumer: Any) -> None:
    """It began and never ends; `getmany` waits for the assignment (aio-libs/aiokafka#1154)."""
    consumer._subscription.begin_reassignment()


def _commits_hang(consumer: Any) -> None:
    """One that never ends holds the lock."""
    consumer._coordinator._commit_lock._locked = True


FAULTS: dict[str, tuple[Callable[[Any], None], Mechanism]] = {
    "fetching ends": (_fetching_ends, Mechanism.FETCHING),
    "fetching dies": (_fetching_dies, Mechanism.FETCHING),
    "fetches hang": (_fetches_hang, Mechanism.FETCHING),
    "coordination is cancelled": (_coordination_is_cancelled, Mechanism.BREAKING),
    "heartbeat dies": (_heartbeat_dies, Mechanism.BREAKING),
    "rebalance hangs": (_rebalance_hangs, Mechanism.GROUP),
    "commits hang": (_commits_hang, Mechanism.COMMITS),
}
