"""From a campaign file to a `Campaign`, or every mistake in it at once."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dispatcher.config.document import Document, Loc
from dispatcher.config.nearest import nearest, suggestion
from dispatcher.domain.campaign import Campaign
from dispatcher.domain.duration import parse_duration
from dispatcher.domain.errors import ConfigError, DispatcherError, Mistake
from dispatcher.domain.instant import parse_instant
from dispatcher.domain.job import MAX_BODY_CHARACTERS, MAX_MEDIA_URLS, objection_to_media_url
from dispatcher.domain.rate import Rate
from dispatcher.domain.settings import Settings
from dispatcher.domain.templates import Template

Value = TypeVar("Value")

_KEYS = {
    "campaign": "a name for it, with which the ids of its messages begin",
    "pool": "the pool of the config that sends it",
    "template": "the text, with {{ columns }} of the recipients",
    "body": "the text, the same for everybody",
    "media_urls": "where pictures and the like are",
    "recipients": 'a CSV file with a column "to"',
    "priority": "a priority class of the config",
    "rate": "the most segments a second, over all senders",
    "window": "when it may go out",
    "tags": "names and values to find its messages by",
}
_WINDOW = ("not_before", "expires_at", "stale_after")
# The id of a message is this name and a row number, and may have 128 characters.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def load_campaign(
    file: Path, settings: Settings, environ: Mapping[str, str], *, recipients: Path | None = None
) -> Campaign:
    """Return what *file* says, its variables taken from *environ*; *recipients* goes before the CSV file it names.

    `ConfigError` carries all its mistakes; `DispatcherError` says why it cannot be read.
    """
    sheet = _Sheet(Document(str(file), _text(file), environ))
    priorities = {priority.name: priority for priority in settings.priorities}

    def recipients_file(text: str) -> Path:
        if not (file.parent / text).is_file():
            raise ValueError(f'there is no file "{file.parent / text}"; write the path as seen from this file')
        return file.parent / text

    name = sheet.needed(_name, "campaign")
    pool = sheet.needed(lambda text: _known("pool", text, settings.fleet.pools), "pool")
    csv = recipients or sheet.needed(recipients_file, "recipients")
    priority = sheet.read(lambda text: priorities[_known("priority class", text, priorities)], "priority")
    body, template = sheet.read(_body, "body"), sheet.read(_template, "template")
    media_urls, tags = sheet.read_list(_url, "media_urls", most=MAX_MEDIA_URLS), sheet.read_mapping("tags")
    if media_urls and pool is not None and not _carries_media(settings, pool):
        sheet.wrong(("media_urls",), f'no sender of the pool "{pool}" carries media', at_key=True)
    rate = sheet.read(Rate.parse, "rate")
    not_before, expires_at = (sheet.read(parse_instant, "window", key) for key in _WINDOW[:2])
    stale_after = sheet.read(_stale_after, "window", "stale_after")
    if not_before and expires_at and expires_at <= not_before:
        sheet.wrong(("window", "expires_at"), "the window ends before it begins; write a later time")
    sheet.refuse_unknown_keys()
    sheet.need_one_content()
    if sheet.mistakes or name is None or pool is None or csv is None:
        raise ConfigError(tuple(sorted(sheet.mistakes, key=lambda mistake: (mistake.line, mistake.column))))
    return Campaign(
        name=name,
        file=file,
        recipients=csv,
        pool=pool,
        priority=priority or min(settings.priorities, key=lambda priority: priority.weight),
        body=body,
        template=template,
        media_urls=media_urls,
        rate=rate,
        not_before=not_before,
        expires_at=expires_at,
        stale_after=stale_after,
        tags=tags,
    )


def _carries_media(settings: Settings, pool: str) -> bool:
    fleet = settings.fleet
    return any(fleet.media_rates(fleet.senders[number]) for number in fleet.pools[pool].senders)


class _Sheet:
    """A document read key by key; *mistakes* are those found so far."""

    def __init__(self, document: Document) -> None:
        if not isinstance(document.values, dict):
            what = f'this is no campaign; write "campaign: NAME", and the other keys: {", ".join(_KEYS)}'
            raise ConfigError((document.mistake((), what),))
        self._document = document
        self._values: dict[str, Any] = document.values
        self.mistakes: list[Mistake] = list(document.mistakes)

    def wrong(self, loc: Loc, what: str, *, at_key: bool = False) -> None:
        """Remember a mistake at *loc*."""
        self.mistakes.append(self._document.mistake(loc, what, at_key=at_key))

    def needed(self, parse: Callable[[str], Value], key: str) -> Value | None:
        """As `read`; a key that is not there is a mistake."""
        keys = self._document.keys()
        # A key that is missing because it is misspelt is one mistake, not two.
        if key not in keys and not any(nearest(other, _KEYS) == key for other in keys if other not in _KEYS):
            self.wrong((), f'"{key}" is missing: {_KEYS[key]}')
        return self.read(parse, key)

    def read(self, parse: Callable[[str], Value], *loc: str | int) -> Value | None:
        """Return what *parse* makes of the text at *loc*; None where it is missing or wrong."""
        text = self._document.text(*loc)
        if text is None:
            if loc[-1] in self._document.keys(*loc[:-1]):
                self.wrong(loc, "text is needed here" if self._document.has(*loc) else "this is empty; write a value")
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.wrong(loc, str(error))
            return None

    def read_list(self, parse: Callable[[str], Value], key: str, *, most: int) -> tuple[Value, ...]:
        """Return what *parse* makes of the texts in the list at *key*."""
        if self._document.has(key) and not isinstance(self._values[key], list):
            self.wrong((key,), 'a list is needed here; begin each line with "- "')
            return ()
        indices = self._document.keys(key)
        if len(indices) > most:
            self.wrong((key, most), f"this is one too many; there can be {most}")
        found = [self.read(parse, key, index) for index in indices]
        return tuple(value for value in found if value is not None)

    def read_mapping(self, key: str) -> dict[str, str]:
        """Return the texts in the mapping at *key*."""
        self._need_mapping(key)
        found = {name: self.read(str, key, name) for name in self._names(key)}
        return {name: text for name, text in found.items() if text is not None}

    def refuse_unknown_keys(self) -> None:
        """Name the right key for each that is none."""
        self._need_mapping("window")
        for loc, known in (
            *(((key,), tuple(_KEYS)) for key in self._names()),
            *((("window", key), _WINDOW) for key in self._names("window")),
        ):
            if loc[-1] not in known:
                self.wrong(loc, f'unknown key "{loc[-1]}"; {suggestion(loc[-1], known)}', at_key=True)

    def need_one_content(self) -> None:
        """Say so where there is nothing to send, or two texts."""
        keys = self._names()
        if "template" in keys and "body" in keys:
            self.wrong(("body",), 'there is a "template" already; keep one of them', at_key=True)
        elif not {"template", "body", "media_urls"}.intersection(keys):
            self.wrong((), 'there is nothing to send; write "template", "body" or "media_urls"')

    def _names(self, *loc: str) -> tuple[str, ...]:
        return tuple(key for key in self._document.keys(*loc) if isinstance(key, str))

    def _need_mapping(self, key: str) -> None:
        if self._document.has(key) and not isinstance(self._values[key], dict):
            self.wrong((key,), "names and values are needed here, like NAME: VALUE")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DispatcherError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise DispatcherError(f"{file} is no UTF-8 text; save it as UTF-8") from error


def _known(what: str, name: str, known: Mapping[str, object]) -> str:
    if name not in known:
        raise ValueError(f'there is no {what} "{name}"; {suggestion(name, known)}')
    return name


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f'"{text}" is no name for a campaign; write up to 100 letters, digits, ".", "_" and "-"')
    return text


def _body(text: str) -> str:
    body = text.removesuffix("\n")  # YAML's block style leaves one
    if not body.strip():
        raise ValueError("the body is empty; write a text")
    if len(body) > MAX_BODY_CHARACTERS:
        raise ValueError(f"the body has {len(body)} characters; Twilio takes up to {MAX_BODY_CHARACTERS}")
    return body


def _stale_after(text: str) -> float:
    seconds = parse_duration(text)
    if not seconds:
        raise ValueError(f'"{text}" is too short; write for how long a message may be late, like "2h"')
    return seconds


def _template(text: str) -> Template:
    try:
        return Template(text.removesuffix("\n"))
    except ValueError as error:
        raise ValueError(f"this is no template: {error} of it") from None


def _url(text: str) -> str:
    if (objection := objection_to_media_url(text)) is not None:
        raise ValueError(f"this is no URL for media: {objection}")
    return text
