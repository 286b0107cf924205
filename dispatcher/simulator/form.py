"""Reads what arrives form-encoded: request bodies and query strings."""

import re
from typing import TypeVar
from urllib.parse import unquote

Form = dict[str, list[str]]
Default = TypeVar("Default")

_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_ASCII = {escape: chr(code) for code in range(128) for escape in {f"{code:02X}", f"{code:02x}"}}


def parse_form(raw: str) -> Form:
    """Return the fields of *raw* by name, in order.

    `urllib.parse.parse_qs` does the same, but would take longer than all else that is done with a message.
    """
    fields: Form = {}
    for pair in raw.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if "+" in value:
            value = value.replace("+", " ")
        if "%" in value:
            value = _unquote(value)
        if not name.isalnum():
            name = _unquote(name.replace("+", " "))
        fields.setdefault(name, []).append(value)
    return fields


def first(form: Form, name: str) -> str | None:
    """Return the first value of *name*; None where it is absent or empty."""
    values = form.get(name)
    return (values[0] or None) if values else None


def number(form: Form, name: str, default: Default) -> int | Default:
    """Return the whole number that *name* has; *default* for none, or for one of more than nine digits."""
    text = first(form, name)
    return default if text is None or _NUMBER.fullmatch(text) is None else int(text)


def _unquote(text: str) -> str:
    start, *escaped = text.split("%")
    try:
        return start + "".join([_ASCII[part[:2]] + part[2:] for part in escaped])
    except KeyError:  # beyond ASCII, or no escape at all
        return unquote(text)
