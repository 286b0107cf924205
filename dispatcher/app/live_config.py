"""Follows the config file while a worker runs by it: takes up what is right, and refuses what is not."""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from dispatcher.clock import Clock
from dispatcher.config.changes import differences
from dispatcher.config.edition import read_edition
from dispatcher.domain.errors import ConfigError, DispatcherError
from dispatcher.domain.settings import Settings
from dispatcher.telemetry import metrics

log = structlog.get_logger()

# The file is looked at so often, in seconds. Who writes it may be in the middle of that: it has to stand still from one
# look to the next.
LOOK_EVERY = 0.1
# A change holds so many seconds after it was written. By then every worker of this machine has read it, so all change
# in the same moment, and their turns of a sender never mix.
HOLDS_AFTER = 0.5
# So many reasons, and changes, are told.
MOST_TOLD = 20


class _Look(NamedTuple):
    """What tells one state of the file from another, whoever writes it and however; all zero while there is none.

    *changed_at* is in seconds of the epoch.
    """

    changed_at: float = 0.0
    modified: int = 0
    size: int = 0
    inode: int = 0


class LiveConfig:
    """The config file at *path*: what it says at first, and from then on *environ* fills in its variables, too.

    Raises what `load` raises.
    """

    def __init__(self, path: Path, environ: Mapping[str, str], clock: Clock) -> None:
        self._path = path
        self._environ = environ
        self._clock = clock
        self._edition = read_edition(path, environ)
        # As the file looked when it was last seen, and when it was last read.
        self._seen: _Look | None = None
        self._read: _Look | None = None

    @property
    def settings(self) -> Settings:
        """What holds now."""
        return self._edition.settings

    async def follow(self, adopt: Callable[[Settings], None]) -> None:
        """Call *adopt* with what the file says, for ever, whenever that changed and is right."""
        self._tell_metrics()
        while True:
            look = _look(self._path)
            if look != self._read and look == self._seen:
                self._read = look
                await self._take_up(look, adopt)
            self._seen = look
            await self._clock.sleep(LOOK_EVERY)

    async def _take_up(self, look: _Look, adopt: Callable[[Settings], None]) -> None:
        try:
            # Thousands of senders take seconds.
            edition = await asyncio.to_thread(read_edition, self._path, self._environ, self._edition)
        except ConfigError as error:
            self._refuse(map(str, error.mistakes))
            return
        except DispatcherError as error:
            self._refuse([str(error)])
            return
        metrics.CONFIG_IS_REFUSED.set(0)
        if edition.version == self._edition.version:
            return
        await self._clock.sleep(min(HOLDS_AFTER, max(0.0, look.changed_at + HOLDS_AFTER - self._clock.epoch())))
        changed = differences(self._edition.settings, edition.settings)
        self._edition = edition
        adopt(edition.settings)
        self._tell_metrics()
        log.info("config taken up", version=edition.version, changed=_some(changed))

    def _refuse(self, reasons: Iterable[str]) -> None:
        metrics.CONFIG_REFUSED.inc()
        metrics.CONFIG_IS_REFUSED.set(1)
        for reason in _some([*reasons]):
            log.error("config refused; the one before stays", reason=reason, version=self._edition.version)

    def _tell_metrics(self) -> None:
        metrics.CONFIG_INFO.clear()
        metrics.CONFIG_INFO.labels(self._edition.version).set(1)
        metrics.CONFIG_TAKEN_UP.set(self._clock.epoch())


def _look(path: Path) -> _Look:
    """Look at the file at *path*, or at what it is a link to."""
    try:
        found = os.stat(path)  # noqa: PTH116 - it is called ten times a second
    except OSError:
        return _Look()
    return _Look(found.st_ctime, found.st_mtime_ns, found.st_size, found.st_ino)


def _some(told: list[str]) -> list[str]:
    return told if len(told) <= MOST_TOLD else [*told[:MOST_TOLD], f"and {len(told) - MOST_TOLD} more"]
