"""Twilio's resources as the API shows them: messages, pages of them, accounts and numbers."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import orjson

from dispatcher.domain.fleet import Account, Sender, SenderKind
from dispatcher.simulator.almanac import Almanac
from dispatcher.simulator.carrier import Carriers
from dispatcher.simulator.form import Form, first, number
from dispatcher.simulator.line import numbers_of_service
from dispatcher.simulator.message import Message

API_VERSION = "2010-04-01"
_PAGE_SIZE = 50
_MAX_PAGE_SIZE = 1000
_PARTS_OF_SERVICE = {"PhoneNumbers": "phone_numbers", "ShortCodes": "short_codes", "AlphaSenders": "alpha_senders"}


def created_message(message: Message, sid: str, almanac: Almanac, *, is_pinned: bool) -> bytes:
    """Return the 201 body for *message*; *is_pinned* says that the request named the sender."""
    # By hand: this is what a benchmark of the dispatcher spends most of the stand-in's time on.
    through_service = message.service is not None
    status = "accepted" if through_service else "queued"
    sender = orjson.dumps(message.sender).decode() if is_pinned else "null"
    segments = "0" if through_service else str(message.segments)
    service = f'"{message.service}"' if through_service else "null"
    body = orjson.dumps(message.body).decode()
    date, uri = almanac.rfc2822(message.at), f"/{API_VERSION}/Accounts/{message.account}/Messages/{sid}"
    return (
        f'{{"account_sid":"{message.account}","api_version":"{API_VERSION}","body":{body},"date_created":"{date}",'
        f'"date_sent":null,"date_updated":"{date}","direction":"outbound-api","error_code":null,"error_message":null,'
        f'"from":{sender},"messaging_service_sid":{service},"num_media":"{message.media}","num_segments":"{segments}",'
        f'"price":null,"price_unit":"USD","sid":"{sid}","status":"{status}",'
        f'"subresource_uris":{{"media":"{uri}/Media.json"}},"to":"{message.to}","uri":"{uri}.json"}}'
    ).encode()


def shown_message(message: Message, sid: str, almanac: Almanac) -> dict[str, Any]:
    """Return *message* as a fetch or a list shows it."""
    shown: dict[str, Any] = orjson.loads(created_message(message, sid, almanac, is_pinned=True))
    sent = almanac.rfc2822(message.sent_at) if message.sent_at is not None else None
    return shown | {
        "date_sent": sent,
        "date_updated": sent or shown["date_created"],
        "error_code": message.code,
        "error_message": f"Error {message.code}" if message.code is not None else None,
        "num_segments": str(message.segments),
        "status": message.status,
    }


def message_page(carriers: Carriers, account: str, query: Form) -> dict[str, Any]:
    """Return the page of *account*'s messages that *query* asks for, newest first."""
    size = min(max(number(query, "PageSize", _PAGE_SIZE), 1), _MAX_PAGE_SIZE)
    before = carriers.find((first(query, "PageToken") or "").removeprefix("PA"))
    found: list[Message] = []
    for message in _newest_first(carriers, first(query, "To"), before):
        if _matches(message, account, query, carriers.almanac):
            found.append(message)
            if len(found) > size:
                break
    records = [shown_message(message, carriers.sid(message), carriers.almanac) for message in found[:size]]
    next_token = "PA" + carriers.sid(found[size - 1]) if len(found) > size else None
    return _page(f"/{API_VERSION}/Accounts/{account}/Messages.json", "messages", records, query, size, next_token)


def account_resource(account: Account, owner_sid: str) -> dict[str, Any]:
    """Return *account*, which belongs to the account with *owner_sid*."""
    return {
        "sid": account.sid,
        "friendly_name": account.name,
        "owner_account_sid": owner_sid,
        "status": "active",
        "type": "Full",
        "uri": f"/{API_VERSION}/Accounts/{account.sid}.json",
    }


def number_page(account: str, senders: Iterable[Sender], query: Form) -> dict[str, Any]:
    """Return the phone numbers among *senders*, which belong to *account*."""
    records = [
        {
            "sid": _sid("PN", sender.number),
            "account_sid": account,
            "phone_number": sender.number,
            "friendly_name": sender.number,
            "capabilities": {"voice": False, "sms": True, "mms": True, "fax": False},
            "origin": "twilio",
            "status": "in-use",
        }
        for sender in senders
        if sender.kind in {SenderKind.LONG_CODE, SenderKind.TOLL_FREE}
        and first(query, "PhoneNumber") in {None, sender.number}
    ]
    uri = f"/{API_VERSION}/Accounts/{account}/IncomingPhoneNumbers.json"
    return _page(uri, "incoming_phone_numbers", records, query, _MAX_PAGE_SIZE, None)


def short_code_page(account: str, senders: Iterable[Sender], query: Form) -> dict[str, Any]:
    """Return the short codes among *senders*, which belong to *account*."""
    records = [
        {
            "sid": _sid("SC", sender.number),
            "account_sid": account,
            "short_code": sender.number,
            "friendly_name": sender.number,
        }
        for sender in senders
        if sender.kind is SenderKind.SHORT_CODE and first(query, "ShortCode") in {None, sender.number}
    ]
    uri = f"/{API_VERSION}/Accounts/{account}/SMS/ShortCodes.json"
    return _page(uri, "short_codes", records, query, _MAX_PAGE_SIZE, None)


def service_resource(sid: str, account: str, part: str, numbers: int) -> dict[str, Any] | None:
    """Return the Messaging Service with *sid* of *account*, or a page of what *part* says is in it; None for neither.

    https://www.twilio.com/docs/messaging/api/service-resource
    """
    uri = f"/v1/Services/{sid}"
    if not part:
        return {"sid": sid, "account_sid": account, "friendly_name": sid, "url": uri}
    key = _PARTS_OF_SERVICE.get(part)
    if key is None:
        return None
    records = [
        {
            "sid": _sid("PN", number),
            "account_sid": account,
            "service_sid": sid,
            "phone_number": number,
            "country_code": "US",
            "capabilities": ["SMS", "MMS"],
        }
        for number in numbers_of_service(sid, numbers if part == "PhoneNumbers" else 0)
    ]
    pages = {"first_page_url": f"{uri}/{part}", "previous_page_url": None, "next_page_url": None}
    return {key: records, "meta": {"key": key, "page": 0, "page_size": len(records), "url": f"{uri}/{part}"} | pages}


def _newest_first(carriers: Carriers, to: str | None, before: Message | None) -> Iterable[Message]:
    if to is None:
        for seq in range(before.seq - 1 if before else len(carriers.messages), 0, -1):
            yield carriers.messages[seq - 1]
        return
    message = carriers.latest_to(to)
    while message is not None:
        if before is None or message.seq < before.seq:
            yield message
        message = carriers.messages[message.older - 1] if message.older else None


def _matches(message: Message, account: str, query: Form, almanac: Almanac) -> bool:
    if message.account != account or first(query, "From") not in {None, message.sender}:
        return False
    for name in ("DateSent", "DateSent<", "DateSent>"):
        asked = first(query, name)
        if asked is None:
            continue
        moment = _moment(asked)
        if message.sent_at is None or moment is None:
            return False
        sent = almanac.wall(message.sent_at)
        if name == "DateSent" and sent.date() != moment.date():
            return False
        if (name == "DateSent<" and sent > moment) or (name == "DateSent>" and sent < moment):
            return False
    return True


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _page(
    uri: str, key: str, records: Sequence[dict[str, Any]], query: Form, size: int, next_token: str | None
) -> dict[str, Any]:
    page = number(query, "Page", 0)
    kept = [(name, value) for name, values in query.items() for value in values if name not in {"Page", "PageToken"}]
    if "PageSize" not in query:
        kept.append(("PageSize", str(size)))

    def page_uri(which: int, *token: tuple[str, str]) -> str:
        return f"{uri}?{urlencode([*kept, ('Page', which), *token])}"

    return {
        key: records,
        "page": page,
        "page_size": size,
        "start": page * size,
        "end": page * size + max(len(records) - 1, 0),
        "uri": page_uri(page),
        "first_page_uri": page_uri(0),
        "previous_page_uri": None,
        "next_page_uri": page_uri(page + 1, ("PageToken", next_token)) if next_token else None,
    }


def _sid(prefix: str, of: str) -> str:
    return prefix + sha256(of.encode()).hexdigest()[:32]
