"""Reads what Twilio posts, and makes the record that is kept of it."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from dispatcher.domain.callback import Callback, Word
from dispatcher.domain.fleet import Account

# Twilio sends about ten parameters, and forty with an inbound message; the bound keeps a hostile form cheap.
_MOST_PARAMETERS = 500
# What a message says: it is signed like all else, and goes no further than to be looked at for a word.
BODY = "Body"
_NUMBER = re.compile(r"[0-9]{1,9}")

encode = msgspec.json.Encoder().encode


class Form:
    """The parameters of a form or a query; one may come more than once, and the last one counts.

    `ValueError` when there are too many.
    """

    __slots__ = ("_values",)

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS):
            self._values.setdefault(name, []).append(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def getall(self, name: str) -> list[str]:
        """Return every value of *name*; the validator of signatures asks for them by this method."""
        return self._values[name]

    def get(self, name: str) -> str | None:
        """Return the value of *name*; None when it is missing or empty."""
        values = self._values.get(name)
        return values[-1] or None if values else None


def read_callback(
    kind: Literal["status", "inbound"],
    query: Form,
    form: Form,
    *,
    account: Account,
    token: str,
    at: datetime,
    word: Word | None = None,
) -> Callback:
    """Return what came, with what the URL's *query* says of it.

    *token* is the header I-Twilio-Idempotency-Token; *word* is what an inbound message asks for.
    """
    is_status = kind == "status"
    return Callback(
        kind=kind,
        mid=query.get("mid") if is_status else None,
        attempt=_number(query.get("a")) if is_status else None,
        account=account.name,
        sid=form.get("MessageSid") or form.get("SmsSid") or "",
        status=form.get("MessageStatus") or form.get("SmsStatus") or "",
        error_code=_number(form.get("ErrorCode")),
        token=token if token and token.isascii() else None,
        parameters={name: form.getall(name)[-1] for name in form if name != BODY},
        received_at=at.isoformat(timespec="milliseconds"),
        word=word,
    )


def key_of(callback: Callback) -> bytes:
    """Return what all callbacks about one message have in common, or all messages of one person."""
    key = callback.mid if callback.kind == "status" else callback.parameters.get("From")
    return (key or callback.sid).encode()


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None
