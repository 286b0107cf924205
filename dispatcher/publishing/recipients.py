"""Reads a campaign's recipients row by row, and makes each row a job or says why it is none."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from io import TextIOWrapper
from typing import BinaryIO
from zoneinfo import ZoneInfo

from dispatcher.compliance.content import ContentRules
from dispatcher.domain.campaign import Campaign
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import CARRIERS, Carrier
from dispatcher.domain.instant import parse_instant
from dispatcher.domain.job import MAX_BODY_CHARACTERS, Job
from dispatcher.domain.phone import is_e164
from dispatcher.domain.templates import Template

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NOT_UTF8 = "\ufffd"  # what bytes that are no UTF-8 come out as when they are rendered
_CARRIERS: dict[str, Carrier | None] = {"": None} | {carrier: carrier for carrier in CARRIERS}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that is no job. It begins in *line* of the file; *fields* are as they were read."""

    line: int
    reason: str
    fields: list[str]


def job_id(campaign: str, row: int) -> str:
    """Return the id of the job that is made of a row: the same each time, so that nobody is texted twice."""
    return f"{campaign}-{row:06d}"


@contextmanager
def open_recipients(campaign: Campaign, content: ContentRules | None = None) -> Iterator["Recipients"]:
    """Open the CSV file of *campaign*, whose bodies are held against *content*.

    `DispatcherError` when it cannot be read or its columns do not fit.
    """
    path = campaign.recipients
    try:
        file = path.open("rb")
    except OSError as error:
        raise DispatcherError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    with file:
        if file.peek(2)[:2] in _UTF16_MARKS:
            raise DispatcherError(f"{path} is UTF-16; save it as CSV in UTF-8")
        yield Recipients(campaign, file, path.stat().st_size, content)


class Recipients:
    """The rows of a CSV file whose columns fit the campaign: once, from the first to the last.

    The columns `to`, `carrier`, `timezone` and `send_at` go into the job as they are; any column can be a variable
    of the template.
    """

    def __init__(self, campaign: Campaign, file: BinaryIO, size: int, content: ContentRules | None) -> None:
        self.size = size
        self._content = content
        self._file = file
        self._campaign = campaign
        # Bytes that are no UTF-8 are carried along, so that the rejects file can give them back.
        self._reader = csv.reader(TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline=""))
        try:
            self.columns = [name.strip() for name in next(self._reader, [])]
        except csv.Error:
            raise DispatcherError(f"{campaign.recipients} is no CSV file; its first line names the columns") from None
        _check_columns(campaign, self.columns)
        at = {name: index for index, name in enumerate(self.columns)}
        self._to = at["to"]
        self._carrier, self._timezone, self._send_at = (at.get(name) for name in ("carrier", "timezone", "send_at"))
        self._variables = [(name, at[name]) for name in campaign.template.variables] if campaign.template else []

    @property
    def position(self) -> int:
        """How many of the file's *size* bytes have been read."""
        return self._file.tell()

    def __iter__(self) -> Iterator[tuple[int, Job | Rejected]]:
        """Yield each row with its number among the rows, from 1. Empty lines are no rows."""
        row = 0
        while True:
            line = self._reader.line_num + 1
            fields: list[str] = []
            try:
                fields = next(self._reader)
                if not fields:
                    continue
                row += 1
                yield row, self._job(row, fields)
            except StopIteration:
                return
            except csv.Error:
                row += 1
                yield row, Rejected(line, "a field has no end; is there a quotation mark too few?", fields)
            except ValueError as error:
                yield row, Rejected(line, str(error), fields)

    def _job(self, row: int, fields: list[str]) -> Job:
        """Return the job in *fields*; the `ValueError` says why there is none."""
        campaign = self._campaign
        if len(fields) != len(self.columns):
            raise ValueError(f"the row has {len(fields)} columns and the first line {len(self.columns)}")
        to = fields[self._to].strip()
        if not is_e164(to):
            raise ValueError("to is no number in E.164, like +12065550142")
        send_at = campaign.not_before if self._send_at is None else self._moment(fields[self._send_at])
        job = Job(
            id=job_id(campaign.name, row),
            campaign=campaign.name,
            to=to,
            pool=campaign.pool,
            body=campaign.body if campaign.template is None else self._body(campaign.template, fields),
            media_urls=campaign.media_urls,
            send_at=send_at,
            expires_at=_expires_at(campaign, send_at),
            timezone=None if self._timezone is None else _zone(fields[self._timezone].strip()),
            carrier=None if self._carrier is None else _carrier(fields[self._carrier]),
            tags=campaign.tags or None,
        )
        if self._content is not None and (finding := self._content.finding(job)) is not None:
            raise ValueError(finding)
        return job

    def _body(self, template: Template, fields: list[str]) -> str:
        body = template.render({name: fields[index] for name, index in self._variables})
        if not body or body.isspace():
            raise ValueError("the body is empty")
        if len(body) > MAX_BODY_CHARACTERS:
            raise ValueError(f"the body has {len(body)} characters; Twilio takes up to {MAX_BODY_CHARACTERS}")
        if _NOT_UTF8 in body:
            raise ValueError("the row is no UTF-8 text")
        return body

    def _moment(self, text: str) -> datetime | None:
        if not text.strip():
            return self._campaign.not_before
        moment = parse_instant(text)
        if self._campaign.expires_at and moment >= self._campaign.expires_at:
            raise ValueError("send_at is not before the end of the campaign's window")
        begins = self._campaign.not_before
        return moment if begins is None else max(moment, begins)


def _expires_at(campaign: Campaign, send_at: datetime | None) -> datetime | None:
    """Return until when a message that is to leave at *send_at* may: at the window's end, or when it is stale."""
    if send_at is None or campaign.stale_after is None:
        return campaign.expires_at
    stale_at = send_at + timedelta(seconds=campaign.stale_after)
    return stale_at if campaign.expires_at is None else min(stale_at, campaign.expires_at)


def _carrier(text: str) -> Carrier | None:
    try:
        return _CARRIERS[text.strip().lower()]
    except KeyError:
        raise ValueError(f"the carrier is none of {', '.join(CARRIERS)}") from None


@cache
def _zone(name: str) -> str | None:
    if not name:
        return None
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise ValueError("timezone is no time zone, like America/Denver") from None
    return name


def _check_columns(campaign: Campaign, columns: list[str]) -> None:
    """Raise the `DispatcherError` that says what is wrong with the first line."""
    path = campaign.recipients
    if not columns:
        raise DispatcherError(f'{path} is empty; its first line names the columns, of which one is "to"')
    twice = {name for name in columns if name and columns.count(name) > 1}
    if twice:
        raise DispatcherError(f'{path} has the column "{min(twice)}" twice; keep one of them')
    if "to" not in columns:
        if len(columns) == 1 and any(separator in columns[0] for separator in ";\t|"):
            raise DispatcherError(f"the columns of {path} are not separated by commas; save it as CSV with commas")
        raise DispatcherError(f'{path} has no column "to" in its first line; it has {_listed(columns)}')
    missing = campaign.template.variables.difference(columns) if campaign.template else ()
    if missing:
        raise DispatcherError(
            f"the template of {campaign.file} asks for {_listed(sorted(missing))}, and {path} has no such column; "
            f"it has {_listed(columns)}"
        )


def _listed(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
