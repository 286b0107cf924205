"""The only caller of Twilio's Messages API: `send` a request, and be called with what came of it."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

import aiohttp
from aiohttp import encode_basic_auth
from multidict import CIMultiDict
from yarl import URL

from dispatcher.delivery.request import Request
from dispatcher.delivery.verdict import Answer, NoAnswer, NotSent
from dispatcher.domain.fleet import Account
from dispatcher.transport.http import FenceClosedError

Answered = Callable[[Request, Answer | NotSent | NoAnswer], None]


class TwilioApi:
    """Sends requests over *session*, each in a slot: a long-lived task, so that a message needs no task of its own.

    There are never more slots than requests were in flight at once; the caller bounds those. *answered* is called
    once for each request, from the event loop, and may send the next one.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        accounts: Mapping[str, Account],
        *,
        base_url: str,
        tasks: asyncio.TaskGroup,
        answered: Answered,
    ) -> None:
        self._session = session
        self._tasks = tasks
        self._answered = answered
        self._waiting: deque[Request] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._slots: list[asyncio.Task[None]] = []
        self._open = 0
        self._targets = {name: _target(base_url, account) for name, account in accounts.items()}

    def send(self, request: Request) -> None:
        """Send *request* as soon as a slot takes it, which is at once."""
        self._waiting.append(request)
        self._open += 1
        if self._open > len(self._slots):
            name = f"twilio-slot-{len(self._slots)}"
            self._slots.append(self._tasks.create_task(self._run_slot(), name=name))
        elif self._idle:
            self._idle.popleft().set_result(None)

    def close(self) -> None:
        """End the slots; a request that still has no answer is given up."""
        for slot in self._slots:
            slot.cancel()

    async def _run_slot(self) -> None:
        while True:
            while self._waiting:
                request = self._waiting.popleft()
                answer = await self._post(request)
                self._open -= 1
                self._answered(request, answer)
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle

    async def _post(self, request: Request) -> Answer | NotSent | NoAnswer:
        url, headers = self._targets[request.account]
        try:
            async with self._session.post(url, data=request.form, headers=headers, allow_redirects=False) as response:
                body = await response.read()
        except FenceClosedError:
            return NotSent("this worker may no longer send")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return NotSent(f"no connection to Twilio ({type(error).__name__})")
        except TimeoutError:
            return NoAnswer("Twilio did not answer in time")
        except (aiohttp.ClientError, OSError) as error:
            # It broke after the connection stood: some of the request may have arrived.
            return NoAnswer(f"the connection to Twilio broke ({type(error).__name__})")
        return Answer(response.status, body, _seconds(response.headers.get("Retry-After")))


def _target(base_url: str, account: Account) -> tuple[URL, CIMultiDict[str]]:
    url = URL(f"{base_url.rstrip('/')}/2010-04-01/Accounts/{account.sid}/Messages.json")
    headers = CIMultiDict(
        {
            "Authorization": encode_basic_auth(*account.credentials),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "campaign-dispatcher",
        }
    )
    return url, headers


def _seconds(retry_after: str | None) -> float | None:
    """Read the header `Retry-After` in its seconds form; Twilio documents none, so a date is not looked for."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
