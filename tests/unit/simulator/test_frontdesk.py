from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.fleet import Fleet
from dispatcher.domain.settings import SimulatorSettings
from dispatcher.simulator.almanac import Almanac
from dispatcher.simulator.answer import Answer, Request
from dispatcher.simulator.carrier import Carriers
from dispatcher.simulator.frontdesk import FrontDesk
from dispatcher.simulator.report import CallbackCounts
from dispatcher.simulator.weather import Weather

MAIN, PROMO = "AC" + "1" * 32, "AC" + "2" * 32
TOKENS = {MAIN: "main-token", PROMO: "promo-token"}


class Client:
    """Speaks to a front desk as MAIN, and takes its answers apart. An answer stays in flight until `leave`."""

    def __init__(self, fleet: Fleet, carriers: Carriers, **settings: Any) -> None:
        weather = Weather(SimulatorSettings(latency_low=0.1, latency_high=0.1, tail_share=0.0, **settings))
        self._desk = FrontDesk(fleet, carriers, weather, CallbackCounts(), started=0.0)
        self.last = Answer(b"")

    def ask(
        self,
        target: str,
        body: dict[str, Any] | bytes | None = None,
        *,
        user: tuple[str, str] = (MAIN, "main-token"),
        now: float = 0.0,
    ) -> tuple[int, dict[str, str], Any]:
        authorization = b"Basic " + b64encode(":".join(user).encode())
        form = urlencode(body, doseq=True).encode() if isinstance(body, dict) else body
        request = Request(b"GET" if form is None else b"POST", target.encode(), authorization, form or b"")
        self.last = self._desk.answer(request, now)
        if self.last.payload is None:
            return 0, {}, None
        head, _, content = self.last.payload.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        assert int(headers["Content-Length"]) == len(content)
        return int(status.split()[1]), headers, orjson.loads(content)

    def leave(self) -> None:
        assert self.last.desk is not None
        self.last.desk.leave()

    def send(self, *, account: str = MAIN, now: float = 0.0, **changes: Any) -> tuple[int, dict[str, str], Any]:
        fields = {"To": "+12065550142", "From": "72345", "Body": "Hi"} | changes
        target = f"/2010-04-01/Accounts/{account}/Messages.json"
        return self.ask(target, fields, user=(account, TOKENS[account]), now=now)


@pytest.fixture
def client(fleet: Fleet, carriers: Carriers) -> Client:
    return Client(fleet, carriers)


@pytest.mark.parametrize(
    ("user", "account", "is_allowed"),
    [
        ((MAIN, "main-token"), MAIN, True),
        ((MAIN, "main-token"), PROMO, True),
        ((PROMO, "promo-token"), PROMO, True),
        (("SK" + "3" * 32, "key-secret"), PROMO, True),
        ((PROMO, "promo-token"), MAIN, False),
        (("SK" + "3" * 32, "key-secret"), MAIN, False),
        ((MAIN, "wrong"), MAIN, False),
        ((MAIN, "main-token"), "AC" + "9" * 32, False),
    ],
)
def test_credentials_open_their_account_and_its_subaccounts(
    client: Client, user: tuple[str, str], account: str, *, is_allowed: bool
) -> None:
    status, _, body = client.ask(f"/2010-04-01/Accounts/{account}.json", user=user)
    if is_allowed:
        assert (status, body["sid"], body["owner_account_sid"]) == (200, account, MAIN)
    else:
        assert (status, body["code"]) == (401, 20003)


def test_the_201_has_every_field_of_twilios(client: Client) -> None:
    status, headers, body = client.send(Body='Hi "Ana" ✓')
    assert (status, headers["Twilio-Concurrent-Requests"]) == (201, "1")
    sid = body["sid"]
    uri = f"/2010-04-01/Accounts/{MAIN}/Messages/{sid}"
    assert body == {
        "account_sid": MAIN,
        "api_version": "2010-04-01",
        "body": 'Hi "Ana" ✓',
        "date_created": "Tue, 24 Nov 2026 07:59:00 +0000",
        "date_sent": None,
        "date_updated": "Tue, 24 Nov 2026 07:59:00 +0000",
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": "72345",
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "sid": sid,
        "status": "queued",
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": "+12065550142",
        "uri": f"{uri}.json",
    }


def test_the_answer_is_late_but_the_message_is_in_at_once(client: Client, carriers: Carriers) -> None:
    client.send(now=3.0)
    assert client.last.delay == 0.1
    assert carriers.messages[0].at == 3.0


def test_too_many_requests_in_flight_are_refused_at_once_and_cost_nothing(fleet: Fleet, carriers: Carriers) -> None:
    client = Client(fleet, carriers, concurrency=2)
    for expected in ("1", "2"):
        assert client.send()[1]["Twilio-Concurrent-Requests"] == expected
    in_flight = client.last
    status, headers, body = client.send(now=4.2)
    assert (status, body["code"], headers["Twilio-Concurrent-Requests"]) == (429, 20429, "2")
    assert (client.last.delay, client.last.desk) == (0.0, None)
    assert client.send(account=PROMO, From="+12065550100")[0] == 201  # each account has its own limit
    assert in_flight.desk is not None
    in_flight.desk.leave()
    assert client.send()[0] == 201
    seen = client.ask("/_simulator/report")[2]["accounts"]["main"]
    assert (seen["requests"], seen["concurrency_peak"]) == (4, 2)
    assert seen["refusals"] == {"20429": 1}
    assert seen["refusals_by_second"] == {"4": {"20429": 1}}
    assert len(carriers.messages) == 4


@pytest.mark.parametrize(
    ("fault", "status", "code", "delay", "is_accepted"),
    [
        ("refuse_429_share", 429, 20429, 0.1, False),
        ("refuse_500_share", 500, 20500, 0.1, False),
        ("accept_then_500_share", 500, 20500, 0.1, True),
        ("accept_then_drop_share", 0, None, 0.1, True),
        ("accept_then_hang_share", 503, 20503, 26.0, True),
    ],
)
def test_a_fault_spoils_the_answer_before_or_after_the_message_is_in(
    fleet: Fleet, carriers: Carriers, fault: str, status: int, code: int | None, delay: float, *, is_accepted: bool
) -> None:
    client = Client(fleet, carriers, **{fault: 1.0})
    seen_status, _, body = client.send()
    assert (seen_status, body and body["code"]) == (status, code)
    assert client.last.delay == delay
    assert len(carriers.messages) == is_accepted


def test_a_magic_sender_takes_all_and_keeps_nothing(client: Client, carriers: Carriers) -> None:
    status, _, body = client.send(From="+15005550006")
    assert (status, body["status"], body["from"]) == (201, "queued", "+15005550006")
    assert client.ask(body["uri"])[0] == 404
    assert carriers.messages == []


@pytest.mark.parametrize(
    ("method", "path", "status"), [(b"DELETE", "/Messages.json", 405), (b"GET", "/Calls.json", 404)]
)
def test_what_the_stand_in_has_not_got_is_refused(
    fleet: Fleet, carriers: Carriers, method: bytes, path: str, status: int
) -> None:
    desk = FrontDesk(fleet, carriers, Weather(SimulatorSettings()), CallbackCounts(), started=0.0)
    authorization = b"Basic " + b64encode(f"{MAIN}:main-token".encode())
    answer = desk.answer(Request(method, f"/2010-04-01/Accounts/{MAIN}{path}".encode(), authorization, b""), 0.0)
    assert answer.payload is not None
    assert int(answer.payload.split()[1]) == status


def test_only_a_page_that_is_followed_by_another_says_so(client: Client) -> None:
    for _ in range(3):
        client.send()
    path = f"/2010-04-01/Accounts/{MAIN}/Messages.json"
    assert client.ask(f"{path}?PageSize=3")[2]["next_page_uri"] is None
    page = client.ask(f"{path}?PageSize=2&To=%2B12065550142")[2]
    assert (page["page"], page["page_size"], page["start"], page["end"], len(page["messages"])) == (0, 2, 0, 1, 2)
    page = client.ask(page["next_page_uri"])[2]
    assert (page["page"], page["start"], page["end"], len(page["messages"])) == (1, 2, 2, 1)
    assert page["next_page_uri"] is None


def test_the_log_pages_through_what_was_accepted_in_order(client: Client) -> None:
    for number in range(5):
        client.send(now=number / 4, StatusCallback=f"http://127.0.0.1/s?mid=m{number}&a=1", Body="x" * 161)
        client.leave()
    first, second, third = (
        client.ask(f"/_simulator/messages?after={after}&limit=2")[2]["messages"] for after in (0, 2, 4)
    )
    assert [entry["seq"] for entry in first + second + third] == [1, 2, 3, 4, 5]
    assert client.ask("/_simulator/messages?after=5")[2] == {"messages": []}
    assert third[0] | {"sid": ""} == {
        "seq": 5,
        "at": 1.0,
        "sid": "",
        "to": "+12065550142",
        "from": "72345",
        "service": None,
        "media": 0,
        "account": MAIN,
        "segments": 2,
        "mid": "m4",
        "attempt": 1,
        "receiver": "http://127.0.0.1/s",
        "status": "queued",
        "code": None,
    }


def test_the_report_says_what_was_sent_through_whom(client: Client, carriers: Carriers) -> None:
    for now in (1.0, 1.05, 1.5, 2.5):
        client.send(now=now, Body="x" * 161, StatusCallback="http://127.0.0.1/s?mid=same")
        client.leave()
    client.send(account=PROMO, From="+12065550100", now=2.5)
    client.leave()
    client.send(From="+18885550100", Body="x" * 1600, now=2.5)
    client.send(From="+18885550100", To="+15005550004", now=2.5)
    carriers.advance(3.5)
    status, _, report = client.ask("/_simulator/report", now=3.5)
    assert (status, report["seconds"], report["messages"]) == (200, 3.5, 6)
    assert report["texted_twice"] == {"texts": 3, "mids": ["same"]}
    assert report["senders"]["72345"] == {
        "rate": 10.0,
        "achieved_rate": 4.0,
        "messages": 4,
        "segments": 8,
        "first_at": 1.0,
        "last_at": 2.5,
        "peak_1s": 6,
        "peak_100ms": 4,
        "largest": 2,
        "deepest_seconds": pytest.approx(0.35),
        "deepest_segments": pytest.approx(3.5),
        "failures": {},
    }
    number = report["senders"]["+12065550100"]
    assert (number["messages"], number["rate"], number["deepest_seconds"]) == (1, None, None)
    assert list(report["campaigns"]) == ["promo-10dlc"]
    campaign = report["campaigns"]["promo-10dlc"]
    assert {carrier: flow["messages"] for carrier, flow in campaign.items()} == {
        "att": 1,
        "tmobile": 0,
        "verizon": 0,
        "other": 0,
    }
    assert campaign["att"]["rate"] == 4.0
    assert report["accounts"]["main"]["refusals"] == {"21610": 1}
    assert report["families"] == {"main": {"rate": 100.0, "peak_messages_1s": 3, "peak_media_1s": {}}}
    assert report["callbacks"]["sent"] == 0
    assert report["reached"]["sent"] == 5


def test_knobs_change_what_happens_from_then_on(client: Client, carriers: Carriers) -> None:
    status, _, settings = client.ask(
        "/_simulator/knobs", orjson.dumps({"refuse_500_share": 1.0, "rate_factors": {"72345": 0.5}})
    )
    assert (status, settings["refuse_500_share"], settings["concurrency"]) == (200, 1.0, 100)
    assert client.send()[0] == 500
    client.ask("/_simulator/knobs", orjson.dumps({"refuse_500_share": 0.0}))
    client.send(Body="x" * 1600)
    assert [change.at for change in carriers.advance(2.2)] == [2.2]  # 11 segments at 5 a second
    client.ask("/_simulator/knobs", orjson.dumps({"filtered": {"x": 1.0}, "rate_factors": {}}))
    client.send(Body="x")
    assert [change.code for change in carriers.advance(100.0) if change.status == "undelivered"] == [30007, 30007]


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        (b"{", "truncated"),
        (b"[]", "object"),
        (b'{"latency": 1}', "latency"),
        (b'{"concurrency": "many"}', "concurrency"),
        (b'{"refuse_500_share": 2}', "refuse_500_share"),
        (b'{"rate_factors": {"99999": 0.5}}', "99999"),
        (b'{"filtered": {"SALE": 1.5}}', "SALE"),
    ],
)
def test_a_knob_that_is_none_is_named_and_nothing_changes(client: Client, knobs: bytes, named: str) -> None:
    status, _, body = client.ask("/_simulator/knobs", knobs)
    assert status == 400
    assert named.lower() in body["message"].lower()
    assert client.send()[0] == 201


values = st.one_of(
    st.text(),
    st.sampled_from(["+12065550142", "72345", "+1", "9" * 5000, "-1", "2026-11-24", "2026-99-99", "http://[::1", "\0"]),
    st.sampled_from(["http://127.0.0.1:1/?mid=%zz&a=" + "9" * 5000, "http://127.0.0.1:99999/#rc=" + "9" * 5000]),
)
names = st.sampled_from(
    ["To", "From", "Body", "MediaUrl", "MessagingServiceSid", "StatusCallback", "ValidityPeriod", "ContentSid"]
)
queries = st.sampled_from(
    ["To", "From", "PageSize", "Page", "PageToken", "DateSent", "DateSent<", "DateSent>", "after", "limit"]
)
paths = st.sampled_from([f"/2010-04-01/Accounts/{MAIN}/Messages.json", "/_simulator/messages", "/2010-04-01/Accounts/"])


@given(paths, st.one_of(st.binary(), st.dictionaries(names, values), st.none()), st.dictionaries(queries, values))
def test_whatever_is_asked_is_answered(
    fleet: Fleet, path: str, form: dict[str, str] | bytes | None, query: dict[str, str]
) -> None:
    almanac = Almanac(monotonic=0.0, wall=datetime(2026, 11, 24, tzinfo=UTC))
    carriers = Carriers(fleet, seed=1, undelivered_share=0.0, factors={}, almanac=almanac)
    client = Client(fleet, carriers)
    client.send()
    carriers.advance(10.0)
    assert client.ask(f"{path}?{urlencode(query)}", form)[0] in {200, 201, 400, 401, 404}


def test_it_is_healthy(client: Client) -> None:
    assert client.ask("/healthz")[2] == {"status": "ok"}
    assert client.ask("/elsewhere")[0] == 404
