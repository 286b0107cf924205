"""Everything that a request to the stand-in may ask for: Twilio's API, what was seen, and how it is to behave."""

import resource
from dataclasses import asdict, fields
from typing import Any, Final

import msgspec
import orjson

from dispatcher.domain.fleet import Fleet
from dispatcher.domain.settings import SimulatorSettings
from dispatcher.simulator.answer import Answer, Request, http_response, refusal
from dispatcher.simulator.api import ACCOUNTS_PATH, SERVICES_PATH, Api
from dispatcher.simulator.carrier import Carriers
from dispatcher.simulator.form import Form, number, parse_form
from dispatcher.simulator.report import CallbackCounts, Desk, build_report, log_entry
from dispatcher.simulator.weather import Weather

_LOG_PAGE: Final = 1000
# More would keep every other request waiting for longer than 5 ms.
_MAX_LOG_PAGE: Final = 2000


class FrontDesk:
    """Answers any request.

    Besides Twilio's paths: `GET /healthz`; `GET /_simulator/report`, what was seen; `GET
    /_simulator/messages?after=SEQ&limit=N`, the log of accepted messages, at most 2,000 at a time; `POST
    /_simulator/knobs`, a JSON object of `SimulatorSettings` to change, answered with all of them.
    """

    def __init__(
        self, fleet: Fleet, carriers: Carriers, weather: Weather, callbacks: CallbackCounts, *, started: float
    ) -> None:
        self._carriers = carriers
        self._weather = weather
        self._callbacks = callbacks
        self._started = started
        self._desks = {account.name: Desk(account.sid) for account in fleet.accounts.values()}
        self._api = Api(fleet, carriers, weather, self._desks, started=started)

    def answer(self, request: Request, now: float) -> Answer:  # noqa: PLR0911 - a return a path
        """Do what *request* asks, as of *now*, and return the answer to it."""
        path, _, query = request.target.decode("latin-1").partition("?")
        if path.startswith(ACCOUNTS_PATH):
            return self._api.answer(request, path, query, now)
        if path.startswith(SERVICES_PATH):
            return self._api.about_service(request, path)
        match request.method, path:
            case b"GET", "/healthz":
                return Answer(http_response(200, b'{"status":"ok"}'))
            case b"GET", "/_simulator/report":
                return Answer(http_response(200, orjson.dumps(self.report(now))))
            case b"GET", "/_simulator/messages":
                return Answer(self._log(parse_form(query)))
            case b"POST", "/_simulator/knobs":
                return Answer(self._turn_knobs(request.body, now))
            case _:
                return Answer(refusal(20404))

    def date(self, now: float) -> bytes:
        """Return the header of an answer that is given at *now*, as a line."""
        return b"Date: %b\r\n" % self._carriers.almanac.http_date(now)

    def report(self, now: float) -> dict[str, Any]:
        """Return what was seen up to *now*, ready for JSON, and what it cost: one core is all that there is."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        seen = build_report(self._carriers, self._desks, self._callbacks, started=self._started, now=now)
        return seen | {"cpu_seconds": used.ru_utime + used.ru_stime}

    def _log(self, query: Form) -> bytes:
        after, limit = number(query, "after", 0), min(number(query, "limit", _LOG_PAGE), _MAX_LOG_PAGE)
        messages = self._carriers.messages[after : after + limit]
        entries = [log_entry(message, self._carriers.sid(message)) for message in messages]
        return http_response(200, orjson.dumps({"messages": entries}))

    def _turn_knobs(self, body: bytes, now: float) -> bytes:
        """Replace the settings that *body* names; all others stay."""
        try:
            wanted = msgspec.json.decode(body, type=dict[str, Any])
            settings = msgspec.convert(asdict(self._weather.settings) | wanted, SimulatorSettings)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            return http_response(400, orjson.dumps({"message": f"These are no settings of the simulator: {error}"}))
        wrong = wanted.keys() - {field.name for field in fields(SimulatorSettings)}
        wrong |= {name for name in settings.rate_factors if not self._carriers.queues_of(name)}
        shares = {name: value for name, value in asdict(settings).items() if name.endswith("_share")}
        wrong |= {name for name, value in (shares | dict(settings.filtered)).items() if not 0 <= value <= 1}
        if wrong:
            message = f"Unknown, or a share that is not between 0 and 1: {', '.join(sorted(wrong))}"
            return http_response(400, orjson.dumps({"message": message}))
        self._weather.settings = settings
        self._carriers.undelivered_share = settings.undelivered_share
        self._carriers.filtered = settings.filtered
        self._carriers.service_senders = settings.service_senders
        self._carriers.cap(settings.tmobile_caps)
        self._carriers.slow_to(settings.rate_factors, now)
        return http_response(200, orjson.dumps(asdict(settings)))
