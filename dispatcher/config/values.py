"""The values a config holds: how each is written, and what to say where it is written otherwise."""

import re
from datetime import date
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import PlainValidator, WithJsonSchema

from dispatcher.domain.duration import parse_duration
from dispatcher.domain.feedback import Deed
from dispatcher.domain.fleet import TRANSIENT_CODES, Secret
from dispatcher.domain.hours import Hours
from dispatcher.domain.phone import SERVICE_SID_PATTERN
from dispatcher.domain.rate import Rate
from dispatcher.domain.settings import Listen

_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\],]+):([0-9]{1,5})", re.ASCII)
_LAST_PORT = 65535
_SIZES = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE = re.compile(r"(\d+)\s*(KiB|MiB|GiB)", re.ASCII)
_SMALLEST_SIZE = 1024**2
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


class UnquotedError(ValueError):
    """Text was needed, and YAML made it a number; whoever catches it knows how it is written in the file."""


def _text(value: object) -> str:
    if _is_number(value):
        raise UnquotedError
    if not isinstance(value, str):
        raise ValueError(f"text is needed here, not {_kind(value)}")  # noqa: TRY004 - pydantic collects ValueErrors
    if not value.strip():
        raise ValueError("this is empty; write a value")
    return value


def _with_unit(value: object) -> str:
    """Return what stands where a number with a unit belongs: a bare number, too, so that the unit can be missed."""
    return str(value) if _is_number(value) else _text(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case float():
            return "a fraction"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _rate(value: object) -> Rate:
    return Rate.parse(_with_unit(value))


def _wait(value: object) -> float:
    return parse_duration(_with_unit(value))


def _duration(value: object) -> float:
    seconds = _wait(value)
    if not seconds:
        raise ValueError(f'"{value}" is no time at all; write a duration above zero')
    return seconds


def _validity(value: object) -> float:
    seconds = _wait(value)
    if not 1 <= seconds <= 36000:  # noqa: PLR2004 - https://www.twilio.com/docs/messaging/api/message-resource
        raise ValueError(f'"{value}" is no validity that Twilio takes; write "1s" to "10h"')
    return seconds


def _share(value: object) -> float:
    text = _with_unit(value)
    match = _SHARE.fullmatch(text.strip())
    if match is None or float(match[1]) > 100:  # noqa: PLR2004 - percent
        raise ValueError(f'"{text}" is no share; write "0%" to "100%"')
    return float(match[1]) / 100


def _some_share(value: object) -> float:
    share = _share(value)
    if not share:
        raise ValueError('"0%" is too little; write more, up to "100%"')
    return share


def _above(value: object) -> float:
    return _share(_with_unit(value).removeprefix(">").strip())


def _span(value: object) -> int:
    seconds = _duration(value)
    if seconds != int(seconds) or not seconds <= 3600:  # noqa: PLR2004 - an hour of seconds is kept for each rule
        raise ValueError(f'"{value}" cannot be counted over; write whole seconds up to "1h"')
    return int(seconds)


def _deed(value: object) -> Deed:
    return Deed.parse(_text(value))


def _size(value: object) -> int:
    text = _with_unit(value)
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text}" is no size; write a whole number and KiB, MiB or GiB, like "256MiB"')
    size = int(match[1]) * _SIZES[match[2]]
    if size < _SMALLEST_SIZE:
        raise ValueError(f'"{text}" is too small; write "1MiB" or more')
    return size


def _hours(value: object) -> Hours:
    return Hours.parse(_text(value))


def _day(value: object) -> date:
    text = _with_unit(value)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f'"{text}" is no day; write one like "2026-12-25"') from None


def _path(value: object) -> Path:
    return Path(_text(value))


def _whole_number(value: object, lowest: int = 0) -> int:
    # What comes from a variable is text.
    number = int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value) else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"a whole number is needed here, not {_kind(number)}")  # noqa: TRY004 - as above
    if number < lowest:
        raise ValueError(f'"{number}" is too small; write {lowest} or more')
    return number


def _transient_code(value: object) -> int:
    code = _whole_number(value)
    if code not in TRANSIENT_CODES:
        known = ", ".join(map(str, sorted(TRANSIENT_CODES)))
        raise ValueError(f"{code} does not pass by waiting, so nothing is sent again for it; there are {known}")
    return code


def _count(value: object) -> int:
    return _whole_number(value, lowest=1)


def _factor(value: object) -> float:
    try:
        factor = float(str(value))
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise ValueError("a number above zero is needed here, like 0.5")
    return factor


def _flag(value: object) -> bool:
    match value:
        case True | "true":
            return True
        case False | "false":
            return False
        case _:
            raise ValueError("true or false is needed here, without quotes")


def _listen(value: object) -> Listen:
    text = _with_unit(value)
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or int(match[2]) > _LAST_PORT:
        raise ValueError(f'"{text}" is no address to listen on; write host and port, like "127.0.0.1:9400"')
    return Listen(host=match[1].strip("[]"), port=int(match[2]))


def _servers(value: object) -> str:
    servers = [] if isinstance(value, list) else [server.strip() for server in _with_unit(value).split(",")]
    for match in map(_HOST_AND_PORT.fullmatch, servers or [""]):
        if match is None or not 0 < int(match[2]) <= _LAST_PORT:
            raise ValueError('hosts with ports are needed here, like "kafka-1:9092,kafka-2:9092"')
    return ",".join(servers)


def _url(value: object) -> str:
    """Return the URL without its last slash. What is wrong is not shown: it may hold a password."""
    text = _text(value).strip()
    try:
        parts = urlsplit(text)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or re.search(r"\s", text):
        raise ValueError('this is no URL; write one like "https://hooks.example.com"')
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("the URL may have a host, a port and a path; leave out user, query and fragment")
    return text.rstrip("/")


def _secret_url(value: object) -> Secret:
    """Return a URL whose path or query is a secret. What is wrong is not shown."""
    text = _secret(value).reveal().strip()
    try:
        parts = urlsplit(text)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or re.search(r"\s", text):
        raise ValueError('this is no URL; write the one that you were given, like "${SLACK_WEBHOOK_URL}"')
    return Secret(text)


def _whole_seconds(value: object) -> int:
    return ceil(_duration(value))


def _account_sid(value: object) -> str:
    return _sid(value, "AC", "account SID")


def _service_sid(value: object) -> str:
    return _sid(value, "MG", "Messaging Service's SID")


def _mms_rate(value: object) -> Rate | Literal["none"]:
    if value == "none":
        return "none"
    try:
        return _rate(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "none"') from error


def _api_key_sid(value: object) -> str:
    return _sid(value, "SK", "API key SID")


def _sid(value: object, prefix: str, what: str) -> str:
    # What is wrong is not shown: a token may have slipped in here.
    if not isinstance(value, str) or not re.fullmatch(prefix + "[0-9a-fA-F]{32}", value):
        raise ValueError(f'this is no {what}; it is "{prefix}" and 32 hex digits')
    return value


def _secret(value: object) -> Secret:
    if _is_number(value):
        raise ValueError("YAML reads this as a number; quote it")
    return Secret(_text(value))


def _topic(value: object) -> str:
    text = _text(value)
    if not _TOPIC.fullmatch(text) or text in {".", ".."}:
        raise ValueError(f'"{text}" is no name for a topic; write up to 249 letters, digits, ".", "_" and "-"')
    return text


def _pattern(pattern: str) -> WithJsonSchema:
    """Tell editors how the text looks. They cannot know what a variable holds, so they let it pass."""
    return WithJsonSchema({"type": "string", "pattern": rf"^(?:{pattern})$|\$\{{"})


def _or_variable(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [schema, {"type": "string", "pattern": r"\$\{"}]})


_RATE_PATTERN = r"\d+(\.\d+)?\s*/\s*(s|min|h|day)(\s+burst\s+\d+)?"
_DURATION_PATTERN = r"\d+(\.\d+)?\s*(ms|s|min|m|h|d)"

Text = Annotated[str, PlainValidator(_text), WithJsonSchema({"type": "string", "minLength": 1})]
SecretText = Annotated[Secret, PlainValidator(_secret), WithJsonSchema({"type": "string", "minLength": 1})]
RateText = Annotated[Rate, PlainValidator(_rate), _pattern(_RATE_PATTERN)]
Wait = Annotated[float, PlainValidator(_wait), _pattern(_DURATION_PATTERN)]
Duration = Annotated[float, PlainValidator(_duration), _pattern(_DURATION_PATTERN)]
WholeSeconds = Annotated[int, PlainValidator(_whole_seconds), _pattern(_DURATION_PATTERN)]
Validity = Annotated[float, PlainValidator(_validity), _pattern(_DURATION_PATTERN)]
Size = Annotated[int, PlainValidator(_size), _pattern(r"\d+\s*(KiB|MiB|GiB)")]
Share = Annotated[float, PlainValidator(_share), _pattern(r"\d+(\.\d+)?\s*%")]
SomeShare = Annotated[float, PlainValidator(_some_share), _pattern(r"\d+(\.\d+)?\s*%")]
Above = Annotated[float, PlainValidator(_above), _pattern(r">?\s*\d+(\.\d+)?\s*%")]
Span = Annotated[int, PlainValidator(_span), _pattern(_DURATION_PATTERN)]
DeedText = Annotated[
    Deed,
    PlainValidator(_deed),
    _pattern(r"suspend_sender\s+\S+|rate\s+x\s*0?\.\d+(\s+\S+)?|pause_campaign|alert"),
]
WholeNumber = Annotated[int, PlainValidator(_whole_number), _or_variable(type="integer", minimum=0)]
Count = Annotated[int, PlainValidator(_count), _or_variable(type="integer", minimum=1)]
TransientCode = Annotated[int, PlainValidator(_transient_code), _or_variable(enum=sorted(TRANSIENT_CODES))]
Factor = Annotated[float, PlainValidator(_factor), _or_variable(type="number", exclusiveMinimum=0)]
Flag = Annotated[bool, PlainValidator(_flag), _or_variable(type="boolean")]
HoursText = Annotated[Hours, PlainValidator(_hours), WithJsonSchema({"type": "string", "minLength": 1})]
Day = Annotated[date, PlainValidator(_day), _pattern(r"\d{4}-\d{2}-\d{2}")]
PathText = Annotated[Path, PlainValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]
ListenAt = Annotated[Listen, PlainValidator(_listen), _pattern(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\],]+):\d{1,5}")]
Servers = Annotated[str, PlainValidator(_servers), WithJsonSchema({"type": "string", "minLength": 1})]
Url = Annotated[str, PlainValidator(_url), _pattern(r"https?://\S+")]
SecretUrl = Annotated[Secret, PlainValidator(_secret_url), WithJsonSchema({"type": "string", "minLength": 1})]
AccountSid = Annotated[str, PlainValidator(_account_sid), _pattern("AC[0-9a-fA-F]{32}")]
ServiceSid = Annotated[str, PlainValidator(_service_sid), _pattern(SERVICE_SID_PATTERN)]
MmsRateText = Annotated[Rate | Literal["none"], PlainValidator(_mms_rate), _pattern(rf"{_RATE_PATTERN}|none")]
ApiKeySid = Annotated[str, PlainValidator(_api_key_sid), _pattern("SK[0-9a-fA-F]{32}")]
TopicName = Annotated[str, PlainValidator(_topic), _pattern(_TOPIC.pattern)]
