"""The only caller of Twilio's Messages API: `send` a request, and be called with what came of it."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from aiohttp import encode_basic_auth
from yarl import URL

from dispatcher.delivery.judge import judge
from dispatcher.delivery.request import Request
from dispatcher.delivery.verdict import InDoubt, Unreached, Verdict
from dispatcher.domain.fleet import Account
from dispatcher.transport.exchange import Head, NoReplyError, Outcome, Reply, Send

# Kept as a number: to ask an enum for its member is a call in Python 3.11.
_TOO_MANY_REQUESTS = int(HTTPStatus.TOO_MANY_REQUESTS)

Answered = Callable[[Request, Verdict], None]


class TwilioApi:
    """Sends requests by *http*, which does not bound how many are in flight: the caller does.

    *answered* is called once for each request, from the event loop and never from within `send`; it may send the next.
    """

    def __init__(self, http: Send, accounts: Mapping[str, Account], *, base_url: str, answered: Answered) -> None:
        self._http = http
        self._base_url = base_url
        self._answered = answered
        self.adopt(accounts)

    def adopt(self, accounts: Mapping[str, Account]) -> None:
        """Send for *accounts* from now on."""
        self._heads = {name: _head(self._base_url, account) for name, account in accounts.items()}

    def send(self, request: Request) -> None:
        """Send *request* at once."""
        self._http(self._heads[request.account], request.form, request, self._done)

    def _done(self, request: Request, outcome: Outcome) -> None:
        self._answered(request, _verdict(outcome))


def _head(base_url: str, account: Account) -> Head:
    headers = {
        "Authorization": encode_basic_auth(*account.credentials),
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "campaign-dispatcher",
    }
    return Head("POST", URL(f"{base_url.rstrip('/')}/2010-04-01/Accounts/{account.sid}/Messages.json"), headers)


def _verdict(outcome: Outcome) -> Verdict:
    if isinstance(outcome, Reply):
        if outcome.status == _TOO_MANY_REQUESTS:
            return judge(outcome.status, outcome.body, _seconds(outcome.header(b"retry-after")))
        return judge(outcome.status, outcome.body)
    if isinstance(outcome, NoReplyError):
        return InDoubt(f"Twilio's answer did not come: {outcome}")
    return Unreached(f"the request was not written: {outcome}")


def _seconds(retry_after: bytes | None) -> float | None:
    """Read the header `Retry-After` in its seconds form; Twilio documents none, so a date is not looked for."""
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None
