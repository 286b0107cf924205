"""The post of a worker among others: what its supervisor tells it, and how it leaves when the supervisor has gone."""

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec
import structlog

from dispatcher.app.process import LEFT_AT_ONCE

VARIABLE = "DISPATCHER_POST"
# A worker whose supervisor was killed has so many seconds to let what is in flight come back.
ORPHAN_DRAIN = 5.0


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor tells a worker: its number, the socket for its metrics, and the form of its log.

    It travels in the environment, as *VARIABLE*; the command stays the one that an operator would type.
    """

    worker: int
    page: str
    json_logs: bool

    @classmethod
    def taken(cls, environ: Mapping[str, str]) -> Self | None:
        """Return this process's post, taken up; None when nobody supervises it.

        From then on each line of the log names the worker, and the process ends when its supervisor has.
        """
        if VARIABLE not in environ:
            return None
        post = msgspec.json.decode(environ[VARIABLE], type=cls)
        structlog.contextvars.bind_contextvars(worker=post.worker)
        threading.Thread(target=_leave_when_orphaned, name="lifeline", daemon=True).start()
        return post

    def environment(self) -> dict[str, str]:
        """Return what hands the post over."""
        return {VARIABLE: msgspec.json.encode(self).decode()}

    @property
    def socket(self) -> Path:
        """Where the worker shows its metrics."""
        return Path(self.page)


def _leave_when_orphaned() -> None:
    """Wait for the end of stdin, whose other end only the supervisor holds; then stop as after a SIGTERM, or leave.

    The kernel closes that end however the supervisor ended. Linux's PR_SET_PDEATHSIG would do too, but on Linux alone,
    and its SIGKILL would leave every message in flight in doubt. A thread notices even when the loop hangs.
    """
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(ORPHAN_DRAIN)
    os._exit(LEFT_AT_ONCE)
