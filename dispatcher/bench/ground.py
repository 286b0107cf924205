"""What answers at `twilio.base_url`: the stand-in, Twilio with test credentials, or Twilio that texts people."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson

from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import Account, Fleet
from dispatcher.domain.settings import TwilioSettings

# "Resource not accessible with Test Account Credentials": all that they may do is send, call and buy numbers.
# https://www.twilio.com/docs/iam/test-credentials, https://www.twilio.com/docs/errors/20008
TEST_CREDENTIALS: Final = 20008
# The only number that test credentials may send from; Twilio accepts such a message, and sends it to nobody.
TEST_NUMBER: Final = "+15005550006"
PATIENCE: Final = aiohttp.ClientTimeout(total=10.0)


class Ground(StrEnum):
    """Where the load goes."""

    STAND_IN = "Twilio's stand-in"
    TEST_CREDENTIALS = "Twilio, with test credentials"
    LIVE = "Twilio, for real"


async def look_at(http: aiohttp.ClientSession, twilio: TwilioSettings, fleet: Fleet) -> Ground | None:
    """Return what answers at `twilio.base_url`; None when nobody does.

    Not the URL decides, behind which a proxy may lead to Twilio: only what calls itself the stand-in is one, and
    credentials are test credentials when Twilio says so, in answer to a request that changes nothing.
    """
    try:
        report = await stand_in_report(http, twilio.base_url)
        if report is not None:
            _check_fleet(report, twilio.base_url, fleet)
            return Ground.STAND_IN
        are_test = {name: await _are_test(http, twilio, account) for name, account in fleet.accounts.items()}
    except aiohttp.ClientConnectorError:
        return None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DispatcherError(
            f"twilio.base_url {twilio.base_url} gives no whole answer ({type(error).__name__}); "
            "is it Twilio, or its stand-in?"
        ) from error
    return Ground.TEST_CREDENTIALS if all(are_test.values()) else Ground.LIVE


async def stand_in_report(http: aiohttp.ClientSession, base_url: str) -> dict[str, Any] | None:
    """Return what the stand-in at *base_url* saw; None when something else answers there."""
    async with http.get(f"{base_url}/_simulator/report", timeout=PATIENCE, allow_redirects=False) as response:
        if response.status != HTTPStatus.OK:
            return None
        try:
            report = orjson.loads(await response.read())
        except orjson.JSONDecodeError:
            return None
        return report if isinstance(report, dict) and {"senders", "accounts", "messages"} <= report.keys() else None


def _check_fleet(report: Mapping[str, Any], base_url: str, fleet: Fleet) -> None:
    unknown = sorted(fleet.senders.keys() - report["senders"].keys())
    if unknown:
        raise DispatcherError(
            f"the stand-in at {base_url} runs with another config, which has no sender {unknown[0]}; "
            "start it again with this one"
        )


async def _are_test(http: aiohttp.ClientSession, twilio: TwilioSettings, account: Account) -> bool:
    """Ask for the account itself, which Twilio keeps from test credentials; anything else counts as live."""
    url = f"{twilio.base_url}/2010-04-01/Accounts/{account.sid}.json"
    headers = {"Authorization": aiohttp.encode_basic_auth(*account.credentials)}
    async with http.get(url, headers=headers, timeout=PATIENCE, allow_redirects=False) as response:
        if response.status == HTTPStatus.UNAUTHORIZED:
            raise DispatcherError(f"Twilio does not know account {account.name}; check its sid and credentials")
        try:
            answer = orjson.loads(await response.read())
        except orjson.JSONDecodeError:
            return False
        return (
            response.status == HTTPStatus.FORBIDDEN
            and isinstance(answer, dict)
            and answer.get("code") == TEST_CREDENTIALS
        )
