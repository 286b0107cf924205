"""Twilio's REST API without the wire: a request in, the bytes of an answer out, at once.

A request is taken in when it arrives; only its answer is late.
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import orjson

from dispatcher.domain.fleet import Fleet
from dispatcher.simulator.answer import Answer, Request, http_response, refusal
from dispatcher.simulator.carrier import Carriers
from dispatcher.simulator.form import Form, parse_form
from dispatcher.simulator.refusals import INTERNAL_ERROR, MAGIC_FROM_GOOD, TOO_MANY_REQUESTS
from dispatcher.simulator.report import Desk
from dispatcher.simulator.resources import (
    account_resource,
    created_message,
    message_page,
    number_page,
    service_resource,
    short_code_page,
    shown_message,
)
from dispatcher.simulator.submission import read_submission
from dispatcher.simulator.weather import Fault, Weather

ACCOUNTS_PATH: Final = "/2010-04-01/Accounts/"
# At Twilio on a host of their own.
SERVICES_PATH: Final = "/v1/Services/"
# Twilio gives a request up after about this long; whoever waited hears 503 and knows nothing.
HANG_SECONDS: Final = 26.0
_TIMED_OUT: Final = 20503
_SID_LENGTH: Final = 34


class Api:
    """Answers as Twilio's API does for the accounts and senders of *fleet*, each request at its account's *desk*."""

    def __init__(
        self, fleet: Fleet, carriers: Carriers, weather: Weather, desks: Mapping[str, Desk], *, started: float
    ) -> None:
        self._fleet = fleet
        self._carriers = carriers
        self._weather = weather
        self._started = started
        self._accounts = {account.sid: account for account in fleet.accounts.values()}
        self._desks = {desk.sid: desk for desk in desks.values()}
        # Whom each Authorization header speaks for: an account, and its subaccounts with it.
        self._allowed: dict[bytes, frozenset[str]] = {}
        self._names: dict[bytes, str] = {}
        for account in fleet.accounts.values():
            sids = frozenset(
                other.sid for other in fleet.accounts.values() if account.name in {other.name, other.parent}
            )
            for user, password in {(account.sid, account.auth_token.reveal()), account.credentials}:
                authorization = b"Basic " + b64encode(f"{user}:{password}".encode())
                self._allowed[authorization] = sids
                self._names[authorization] = account.name

    def answer(self, request: Request, path: str, query: str, now: float) -> Answer:
        """Do what *request* asks, as of *now*, and return the answer to it; *path* lies below `ACCOUNTS_PATH`."""
        sid, resource = path[len(ACCOUNTS_PATH) :][:_SID_LENGTH], path[len(ACCOUNTS_PATH) + _SID_LENGTH :]
        if sid not in self._allowed.get(request.authorization, ()):
            return Answer(refusal(20003))
        desk = self._desks[sid]
        desk.requests += 1
        limit = self._weather.settings.concurrency
        if desk.in_flight >= limit:
            return Answer(self._refuse(desk, TOO_MANY_REQUESTS, limit, now))
        concurrent = desk.enter()
        fault = self._weather.fault()
        if fault is Fault.REFUSED_429:
            return Answer(self._refuse(desk, TOO_MANY_REQUESTS, concurrent, now), self._weather.latency(), desk)
        if fault is Fault.REFUSED_500:
            return Answer(self._refuse(desk, INTERNAL_ERROR, concurrent, now), self._weather.latency(), desk)
        if request.method == b"POST" and resource == "/Messages.json":
            payload = self._send(desk, request.body, concurrent, now)
            return self._spoil(payload, fault, concurrent, desk)
        return Answer(
            self._show(request.method, sid, resource, parse_form(query), concurrent), self._weather.latency(), desk
        )

    def about_service(self, request: Request, path: str) -> Answer:
        """Answer what *request* asks about a Messaging Service of its account; *path* lies below `SERVICES_PATH`."""
        name = self._names.get(request.authorization)
        if name is None:
            return Answer(refusal(20003))
        sid, _, part = path[len(SERVICES_PATH) :].partition("/")
        sender = self._fleet.senders.get(sid)
        shown = None
        if sender is not None and sender.account == name and request.method == b"GET":
            shown = service_resource(sid, self._fleet.accounts[name].sid, part, self._carriers.service_senders)
        payload = refusal(20404) if shown is None else http_response(200, orjson.dumps(shown))
        return Answer(payload, self._weather.latency())

    def _send(self, desk: Desk, body: bytes, concurrent: int, now: float) -> bytes:
        """Take in the message that *body* asks for."""
        carriers = self._carriers
        submission = read_submission(parse_form(body.decode("utf-8", "replace")), desk.sid)
        if isinstance(submission, int):
            return self._refuse(desk, submission, concurrent, now)
        if submission.sender == MAGIC_FROM_GOOD:
            message: Any = carriers.pretend(submission, now)
        else:
            message = carriers.accept(submission, now)
        if isinstance(message, int):
            return self._refuse(desk, message, concurrent, now)
        is_pinned = submission.sender is not None
        created = created_message(message, carriers.sid(message), carriers.almanac, is_pinned=is_pinned)
        return http_response(201, created, concurrent)

    def _spoil(self, payload: bytes, fault: Fault | None, concurrent: int, desk: Desk) -> Answer:
        """Return the answer with *payload*, or what *fault* leaves of it: the request has been processed."""
        if fault is Fault.ACCEPTED_THEN_HUNG:
            return Answer(refusal(_TIMED_OUT, concurrent), HANG_SECONDS, desk)
        if fault is Fault.ACCEPTED_THEN_500:
            return Answer(refusal(INTERNAL_ERROR, concurrent), self._weather.latency(), desk)
        latency = self._weather.latency() + self._weather.lateness()
        return Answer(None if fault is Fault.ACCEPTED_THEN_DROPPED else payload, latency, desk)

    def _show(self, method: bytes, sid: str, resource: str, query: Form, concurrent: int) -> bytes:
        if method != b"GET":
            return refusal(20004, concurrent)
        shown = self._resource(sid, resource, query)
        return refusal(20404, concurrent) if shown is None else http_response(200, orjson.dumps(shown), concurrent)

    def _resource(self, sid: str, resource: str, query: Form) -> dict[str, Any] | None:
        """Return *resource* of the account with *sid*; None where there is none."""
        account = self._accounts[sid]
        senders = (sender for sender in self._fleet.senders.values() if sender.account == account.name)
        match resource:
            case ".json":
                return account_resource(account, self._fleet.accounts[account.family].sid)
            case "/IncomingPhoneNumbers.json":
                return number_page(sid, senders, query)
            case "/SMS/ShortCodes.json":
                return short_code_page(sid, senders, query)
            case "/Messages.json":
                return message_page(self._carriers, sid, query)
            case _:
                message = self._carriers.find(resource.removeprefix("/Messages/").removesuffix(".json"))
        if message is None or message.account != sid:
            return None
        return shown_message(message, self._carriers.sid(message), self._carriers.almanac)

    def _refuse(self, desk: Desk, code: int, concurrent: int, now: float) -> bytes:
        desk.refuse(code, int(now - self._started))
        return refusal(code, concurrent)
