"""What `dispatcher suppressions` does: takes lists of numbers into the suppressions topic, writes them out, asks it."""

import asyncio
import csv
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TextIO, get_args

import msgspec

from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.phone import is_e164
from dispatcher.domain.settings import Settings
from dispatcher.domain.suppression import (
    Suppression,
    SuppressionReason,
    SuppressionScope,
    decode,
    encode,
    read_suppression_key,
    suppression_key,
)
from dispatcher.transport.reading import read_through
from dispatcher.transport.topics import open_topic

COLUMNS = ("number", "scope", "reason", "since", "source")
_REASONS: tuple[SuppressionReason, ...] = get_args(SuppressionReason)
_MOST_UNACKNOWLEDGED = 2000
# A value that cannot be read suppresses all the same.
_UNREADABLE = Suppression(scope="global", reason="blocked", since="", source="a record that cannot be read")


@dataclass(frozen=True, slots=True)
class Entry:
    """A number that must not be texted within *scope*, and why."""

    number: str
    scope: SuppressionScope
    why: Suppression


@dataclass(slots=True)
class Imported:
    """How many rows of a file were taken, and how many went to *rejects* because they name no number."""

    rejects: Path
    taken: int = 0
    rejected: int = 0


async def import_numbers(
    settings: Settings, clock: Clock, path: Path, scope: SuppressionScope, reason: SuppressionReason
) -> Imported:
    """Suppress every number in the CSV file at *path*: within *scope* and for *reason*, where a row says nothing else.

    Doing it again changes nothing. `DispatcherError` when the file has no column of numbers.
    """
    done = Imported(path.with_suffix(".rejects.csv"))
    since, source = clock.now().isoformat(timespec="seconds"), f"import of {path.name}"
    pending: set[asyncio.Future[Any]] = set()
    with _rows(path) as rows, _Rejects(done, rows.columns) as rejects:
        async with open_topic(settings, settings.topics.suppressions) as (_, producer, _):
            for line, fields in rows:
                try:
                    key, value = rows.entry(fields, scope, reason, since, source)
                except ValueError as error:
                    rejects.add(line, str(error), fields)
                    continue
                pending.add(await producer.send(settings.topics.suppressions, value, key=key))
                done.taken += 1
                if len(pending) >= _MOST_UNACKNOWLEDGED:
                    await _acknowledged(pending)
            await _acknowledged(pending)
    return done


async def entries(
    settings: Settings, numbers: Collection[str] | None = None, progress: Callable[[int], None] = lambda _: None
) -> AsyncIterator[Entry]:
    """Yield who is suppressed now: all, or those of *numbers*. Holds no more than one partition's entries."""
    topic, partitions = settings.topics.suppressions, settings.kafka.partitions
    async with open_topic(settings, settings.topics.suppressions) as (_, _, consumer):
        for number in range(partitions):
            found: dict[bytes, bytes] = {}
            async for record in read_through(consumer, topic, number + 1, first=number):
                if numbers is not None and _number_in(record.key) not in numbers:
                    continue
                if record.value is None:
                    found.pop(record.key, None)
                elif record.key is not None:
                    found[record.key] = record.value
            progress(number + 1)
            for key, value in found.items():
                if (read := read_suppression_key(key)) is not None:
                    yield Entry(*read, _why(value))


def _number_in(key: bytes | None) -> str:
    read = read_suppression_key(key or b"")
    return "" if read is None else read[0]


def _why(value: bytes) -> Suppression:
    try:
        return decode(value)
    except msgspec.MsgspecError:
        return _UNREADABLE


async def _acknowledged(pending: set["asyncio.Future[Any]"]) -> None:
    if pending:
        await asyncio.wait(pending)
        for sent in pending:
            sent.result()
        pending.clear()


class _Rows:
    """The rows of a CSV file of numbers."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file = file
        self._reader = csv.reader(file)
        self.columns = [name.strip().lower() for name in next(self._reader, [])]
        wanted = [name for name in ("number", "to", "phone") if name in self.columns]
        if not wanted:
            raise DispatcherError(f'{path} has no column "number" in its first line, which names the columns')
        self._number = self.columns.index(wanted[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row with the line in which it begins."""
        while True:
            line = self._reader.line_num + 1
            try:
                fields = next(self._reader)
            except StopIteration:
                return
            except csv.Error:
                fields = []
                yield line, fields
                continue
            if fields:
                yield line, fields

    def entry(
        self, fields: list[str], scope: SuppressionScope, reason: SuppressionReason, since: str, source: str
    ) -> tuple[bytes, bytes]:
        """Return the record in *fields*; the `ValueError` says why there is none."""
        if len(fields) != len(self.columns):
            raise ValueError(f"the row has {len(fields)} columns and the first line {len(self.columns)}")
        given = dict(zip(self.columns, map(str.strip, fields), strict=True))
        number = fields[self._number].strip()
        if not is_e164(number):
            raise ValueError("this is no number in E.164, like +12065550142")
        if text := given.get("scope"):
            scope = parse_scope(text)
        why = given.get("reason") or reason
        if why not in _REASONS:
            raise ValueError(f"the reason is none of {', '.join(_REASONS)}")
        value = Suppression(
            scope=scope.reach,
            name=scope.name,
            reason=why,
            since=given.get("since") or since,
            source=given.get("source") or source,
        )
        return suppression_key(number, scope), encode(value)


def parse_scope(text: str) -> SuppressionScope:
    """Return the scope that *text* stands for: `global`, `pool/marketing`, `sender/72345`; `ValueError` otherwise."""
    reach, _, name = text.partition("/")
    if reach == "global" and not name:
        return SuppressionScope("global")
    if reach == "pool" and name:
        return SuppressionScope("pool", name)
    if reach == "sender" and name:
        return SuppressionScope("sender", name)
    raise ValueError(f'"{text}" is no scope; write "global", "pool/marketing" or "sender/72345"')


def format_scope(scope: SuppressionScope) -> str:
    """Return *scope* as `parse_scope` reads it."""
    return "global" if scope.reach == "global" else f"{scope.reach}/{scope.name}"


def _rows(path: Path) -> _Rows:
    try:
        return _Rows(path.open(encoding="utf-8-sig", errors="replace", newline=""), path)
    except OSError as error:
        raise DispatcherError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


class _Rejects:
    """The file of rows that were not taken: there when there are some, gone when there are none."""

    def __init__(self, done: Imported, columns: list[str]) -> None:
        self._done = done
        self._columns = columns
        self._file: TextIO | None = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def add(self, line: int, reason: str, fields: list[str]) -> None:
        """Write a row, its line and what is wrong with it."""
        if self._file is None:
            self._file = self._done.rejects.open("w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(["line", "problem", *self._columns])
        self._writer.writerow([line, reason, *fields])
        self._done.rejected += 1

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        else:
            self._done.rejects.unlink(missing_ok=True)
