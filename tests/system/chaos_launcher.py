"""Runs `dispatcher` so that it dies or freezes at a step of the protocol, or reaches Kafka by a link that can be cut.

    python -m tests.system.chaos_launcher '{"edge": "answered", "call": 200}' run -c FILE

The first argument is a JSON object: at the call with the number *call* of the *edge*'s method the process sends itself
*signal* (SIGKILL); with *reroute* ([from, to]) connections to Kafka at one port go to the other.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
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
    "committing": ("dispatcher.intake.consumer", "Intake", "_commit_now", "before"),
    "committed": ("dispatcher.intake.consumer", "Intake", "_commit_now", "after"),
    "revoked": ("dispatcher.app.worker", "Worker", "drain", "before"),
    "drained": ("dispatcher.app.worker", "Worker", "drain", "after"),
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


def main() -> None:
    """Set the traps and run the program."""
    wanted = json.loads(sys.argv.pop(1))
    if "edge" in wanted:
        set_trap(wanted["edge"], wanted["call"], wanted.get("signal", "SIGKILL"))
    if "reroute" in wanted:
        reroute(*wanted["reroute"])
    from dispatcher.__main__ import main  # noqa: PLC0415 - once all is set

    main()


if __name__ == "__main__":
    main()
