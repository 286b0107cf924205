"""Runs `dispatcher` so that it dies, freezes or stumbles when told, or reaches Kafka by a link that can be cut.

    python -m tests.system.chaos_launcher '{"diary": "FILE", "edge": "answered", "call": 200}' run -c FILE

The first argument is a JSON object. Into the file *diary* goes which partitions come when. At the call with the number
*call* of the *edge*'s method the process sends itself *signal* (SIGKILL). On SIGUSR1 the event loop is blocked for
*blocks* seconds, or the wall clock jumps by the next of *steps* (seconds). With *reroute* ([from, to]) connections to
Kafka at one port go to the other.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

# The edges of the protocol: a class, its method, and whether death comes before the call, after it, or this many
# seconds after it.
EDGES: dict[str, tuple[str, str, str, str | float]] = {
    "announced": ("dispatcher.app.worker", "Worker", "_intended", "before"),
    "posting": ("dispatcher.delivery.twilio", "TwilioApi", "send", 0.05),
    "answered": ("dispatcher.app.worker", "Worker", "_answered", "before"),
    "noted": ("dispatcher.delivery.ledger", "Ledger", "_write", "after"),
    "concluded": ("dispatcher.outcomes.publisher", "Publisher", "add", "after"),
    "writing": ("dispatcher.outcomes.publisher", "Publisher", "_send", "after"),
    "written": ("dispatcher.outcomes.publisher", "Publisher", "_written", "before"),
    "committing": ("dispatcher.intake.commits", "Commits", "_commit_now", "before"),
    "committed": ("dispatcher.intake.commits", "Commits", "_commit_now", "after"),
    "revoked": ("dispatcher.app.worker", "Worker", "drain", "before"),
    "drained": ("dispatcher.app.worker", "Worker", "drain", "after"),
    "assigned": ("dispatcher.intake.consumer", "Intake", "_assigned", "before"),
    "recovered": ("dispatcher.app.worker", "Worker", "resume", "before"),
    "resumed": ("dispatcher.app.worker", "Worker", "resume", "after"),
}


def set_trap(edge: str, call: int, name_of_signal: str) -> None:
    """Let the process end or freeze at the *call*-th call of *edge*'s method."""

    def die() -> None:
        os.kill(os.getpid(), signal.Signals[name_of_signal])

    module, name, method, moment = EDGES[edge]
    owner = getattr(import_module(module), name)
    original: Callable[..., Any] = getattr(owner, method)
    calls = 0

    def is_the_one(when: str) -> bool:
        nonlocal calls
        calls += when == "before"
        return calls == call and moment == when

    def called(*arguments: Any, **named: Any) -> Any:
        if is_the_one("before"):
            die()
        answer = original(*arguments, **named)
        if calls == call and isinstance(moment, float):
            asyncio.get_running_loop().call_later(moment, die)
        if is_the_one("after"):
            die()
        return answer

    async def awaited(*arguments: Any, **named: Any) -> Any:
        if is_the_one("before"):
            die()
        answer = await original(*arguments, **named)
        if is_the_one("after"):
            die()
        return answer

    setattr(owner, method, awaited if asyncio.iscoroutinefunction(original) else called)


def reroute(port: int, other: int) -> None:
    """Let connections to Kafka at *port* go to *other*: what brokers advertise is not followed."""
    from aiokafka.conn import AIOKafkaConnection  # noqa: PLC0415 - only for those who are rerouted

    connection: Any = AIOKafkaConnection
    original = connection.__init__

    def connect(self: Any, host: str, at: int, **named: Any) -> None:
        original(self, host, other if at == port else at, **named)

    connection.__init__ = connect


def keep_diary(file: str) -> None:
    """Write into *file* when partitions come: the time, the generation of the group, the indices."""
    from dispatcher.clock import SystemClock  # noqa: PLC0415 - after the traps, as everything of the program's
    from dispatcher.intake.consumer import Intake  # noqa: PLC0415 - same

    intake: Any = Intake
    diary = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    original = intake._assigned

    async def assigned(self: Any, partitions: set[Any]) -> None:
        generation, indices = self._consumer._coordinator.generation, sorted({one.partition for one in partitions})
        os.write(diary, json.dumps([SystemClock.monotonic(), generation, indices]).encode() + b"\n")
        await original(self, partitions)

    intake._assigned = assigned


def block_when_told(seconds: float) -> None:
    """Let SIGUSR1 block the event loop."""
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(seconds))


def step_when_told(steps: Iterable[float]) -> None:
    """Let SIGUSR1 move the wall clock by the next of *steps*; the monotonic clock goes on."""
    from dispatcher.clock import SystemClock  # noqa: PLC0415 - after the traps, as everything of the program's

    real_time, real_now = time.time, SystemClock.now  # noqa: TID251 - it is what jumps
    waiting, offset = iter(steps), 0.0

    def step(*_: object) -> None:
        nonlocal offset
        offset += next(waiting)

    def stepped_now() -> datetime:
        return real_now() + timedelta(seconds=offset)

    signal.signal(signal.SIGUSR1, step)
    SystemClock.now = staticmethod(stepped_now)  # type: ignore[method-assign]
    # Libraries: aiokafka stamps records with it.
    time.time = lambda: real_time() + offset  # noqa: TID251 - same


def main() -> None:
    """Set the traps and run the program."""
    wanted = json.loads(sys.argv.pop(1))
    if "edge" in wanted:  # compiled methods call each other past any trap: this one runs interpreted
        sys.path[:] = [folder for folder in sys.path if not folder.endswith(".cache/compiled")]
    keep_diary(wanted["diary"])
    if "edge" in wanted:
        set_trap(wanted["edge"], wanted["call"], wanted.get("signal", "SIGKILL"))
    if "reroute" in wanted:
        reroute(*wanted["reroute"])
    if "blocks" in wanted:
        block_when_told(wanted["blocks"])
    if "steps" in wanted:
        step_when_told(wanted["steps"])
    from dispatcher.__main__ import main  # noqa: PLC0415 - once all is set

    main()


if __name__ == "__main__":
    main()
