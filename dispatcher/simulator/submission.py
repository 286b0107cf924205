"""Decides whether the form of a POST to Messages.json can be sent at all."""

import re
from sys import intern

from dispatcher.domain.job import MAX_BODY_CHARACTERS, MAX_MEDIA_URLS
from dispatcher.domain.phone import is_alphanumeric, is_e164, is_short_code
from dispatcher.domain.segments import count_segments
from dispatcher.simulator.fifo import MAX_VALIDITY
from dispatcher.simulator.form import Form, first, number, parse_form
from dispatcher.simulator.message import Submission
from dispatcher.simulator.refusals import MAGIC_FROM, MAGIC_FROM_GOOD, MAGIC_TO

_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::(\d{1,5}))?(?:[/?#]\S*)?", re.ASCII)
_MAX_PORT = 65_535
_SERVICE_SID = re.compile(r"MG[0-9a-f]{32}", re.ASCII)


def read_submission(form: Form, account: str) -> Submission | int:  # noqa: PLR0911 - a return a rule
    """Return what *form* asks to send for *account* (a SID), or the code that Twilio refuses it with."""
    to, sender, service = first(form, "To"), first(form, "From"), first(form, "MessagingServiceSid")
    if to is None:
        return 21604
    if (code := _objection_to_numbers(to, sender, service)) is not None:
        return code
    body, media = first(form, "Body") or "", form.get("MediaUrl", [])
    if (code := _objection_to_content(form, body, media, service)) is not None:
        return code
    validity = number(form, "ValidityPeriod", 0) if "ValidityPeriod" in form else MAX_VALIDITY
    if not 1 <= validity <= MAX_VALIDITY:
        return 21624
    callback = first(form, "StatusCallback")
    if callback is not None and not _is_url(callback):
        return 21609
    if "ScheduleType" in form or "SendAt" in form:
        return 20001
    mid, attempt, receiver = _own_id(callback)
    return Submission(
        account=account,
        to=to,
        sender=sender,
        service=service,
        body=body,
        # With media it is one message, however long the text.
        segments=1 if media else count_segments(body),
        media=len(media),
        validity=validity,
        callback=callback,
        mid=mid,
        attempt=attempt,
        receiver=receiver,
    )


def _objection_to_numbers(to: str, sender: str | None, service: str | None) -> int | None:
    if sender is None and service is None:
        return 21603
    if service is not None and _SERVICE_SID.fullmatch(service) is None:
        return 21705
    if sender is not None:
        if sender in MAGIC_FROM:
            return MAGIC_FROM[sender]
        if sender != MAGIC_FROM_GOOD and not _is_sender(sender):
            return 21212
    if to in MAGIC_TO:
        return MAGIC_TO[to]
    return None if is_e164(to) else 21211


def _is_sender(text: str) -> bool:
    return is_e164(text) or is_short_code(text) or is_alphanumeric(text)


def _objection_to_content(form: Form, body: str, media: list[str], service: str | None) -> int | None:
    if not body and not media and first(form, "ContentSid") is None:
        return 21602 if service is None else 21619
    if len(body) > MAX_BODY_CHARACTERS:
        return 21617
    if len(media) > MAX_MEDIA_URLS:
        return 21623
    return None if all(map(_is_url, media)) else 21620


def _is_url(text: str) -> bool:
    match = _URL.fullmatch(text)
    return match is not None and int(match[1] or 0) <= _MAX_PORT


def _own_id(callback: str | None) -> tuple[str | None, int | None, str | None]:
    """Return the dispatcher's message id and attempt out of the query of its callback URL, and what comes before."""
    if callback is None:
        return None, None, None
    receiver, _, asked = callback.partition("#")[0].partition("?")
    query = parse_form(asked)
    # A million messages share it.
    return first(query, "mid"), number(query, "a", None), intern(receiver)
