"""Sets up the log: lines for a person on a terminal, JSON elsewhere; recipients masked, bodies never.

Everything goes to stderr. What the libraries log through `logging` joins it from WARNING on.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from dispatcher.domain.phone import mask

_RECIPIENT_KEYS: Final = ("to", "recipient")
_SHARED: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure(json: bool | None = None) -> None:  # noqa: FBT001 - `configure(json=True)` is how it reads
    """Set the log up for this process; *json* None decides by whether stderr is a terminal. NO_COLOR is honoured."""
    if json is None:
        json = not sys.stderr.isatty()
    structlog.configure(
        processors=[*_SHARED, protect_recipients, *(_as_json() if json else _for_a_person())],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_to_stderr(as_bytes=json),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)


def protect_recipients(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask whom a message goes to and drop what it says."""
    event.pop("body", None)
    for key in _RECIPIENT_KEYS:
        if key in event:
            event[key] = mask(str(event[key]))
    return event


def _as_json() -> list[Processor]:
    # Plain tracebacks in both forms: those with local variables would print secrets and recipients.
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_dumps),
    ]


def _for_a_person() -> list[Processor]:
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def _dumps(event: Any, **_options: Any) -> bytes:
    return orjson.dumps(event, default=str)


def _to_stderr(*, as_bytes: bool) -> Callable[..., WrappedLogger]:
    if as_bytes:
        return structlog.BytesLoggerFactory(sys.stderr.buffer)
    return structlog.PrintLoggerFactory(sys.stderr)


class _ToStructlog(logging.Handler):
    """Hands a record of `logging` on, so that there is one form and one stream."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
