from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.delivery.request import STATUS_PATH, RequestMaker
from dispatcher.domain.fleet import Pool, Sender, SenderKind
from dispatcher.domain.job import Job
from dispatcher.domain.message import Message
from dispatcher.domain.rate import Rate
from tests.unit.pacing.making import Desk, make_sender

# Whatever JSON can hold: no lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
SENDER = make_sender("72345", 100)


def make(
    *, body: str | None = "Hi", media: tuple[str, ...] = (), name: str = "spring-1", to: str = "+12065550142",
    attempts: int = 1, number: str = "72345", validity: float | None = None, public_url: str | None = None,
) -> bytes:  # fmt: skip
    job = Job(id=name, campaign="spring", to=to, pool="all", body=body, media_urls=media)
    message = Message(job=job, origin=Desk(), offset=0, priority=0, cost=1, appended_at=0.0, attempts=attempts)
    sender = make_sender(number, 100, account="promo")
    request = RequestMaker({"all": Pool(name="all", senders=(number,), validity=validity)}, public_url).make(
        message, sender
    )
    assert request.account == "promo"
    assert request.message is message
    return request.form


@given(body=st.none() | texts, media=st.lists(texts, max_size=10), name=ids, attempts=st.integers(1, 99))
def test_what_twilio_reads_is_what_was_meant(
    body: str | None,
    media: list[str],
    name: str,
    attempts: int,
) -> None:
    form = make(
        body=body, media=tuple(media), name=name, attempts=attempts, public_url="https://hooks.example.com/base/"
    )
    assert form.isascii()
    expected = [("From", "72345"), ("To", "+12065550142")]
    expected += [("Body", body)] if body else []
    expected += [("MediaUrl", url) for url in media]
    read = parse_qsl(form.decode(), keep_blank_values=True, strict_parsing=True)
    assert read[:-1] == expected
    callback = urlsplit(read[-1][1])
    assert read[-1][0] == "StatusCallback"
    assert (callback.scheme, callback.netloc, callback.path) == ("https", "hooks.example.com", "/base" + STATUS_PATH)
    assert parse_qsl(callback.query, strict_parsing=True) == [("mid", name), ("a", str(attempts))]
    assert callback.fragment == "rc=5&rp=all", "Twilio retries nothing that it was not asked to"


@pytest.mark.parametrize("number", ["+18885550100", "72345"])
@pytest.mark.parametrize("to", ["+447911123456", "+12065550142"])
def test_numbers_arrive_with_their_plus(number: str, to: str) -> None:
    form = parse_qs(make(number=number, to=to).decode())
    assert form["From"] == [number]
    assert form["To"] == [to]


SERVICE = "MG" + "5" * 32


@pytest.mark.parametrize(
    ("number", "kind", "only_number", "sent"),
    [
        (SERVICE, SenderKind.MESSAGING_SERVICE, None, [("MessagingServiceSid", SERVICE)]),
        (SERVICE, SenderKind.MESSAGING_SERVICE, "+15005550006", [("From", "+15005550006")]),
        ("Acme & Co", SenderKind.ALPHANUMERIC, None, [("From", "Acme & Co")]),
    ],
)
def test_a_service_is_named_in_place_of_a_number_and_letters_as_they_are(
    number: str, kind: SenderKind, only_number: str | None, sent: list[tuple[str, str]]
) -> None:
    sender = Sender(number=number, kind=kind, account="main", rate=Rate(1, "s"))
    job = Job(id="spring-1", campaign="spring", to="+447911123456", pool="all", body="Hi")
    message = Message(job=job, origin=Desk(), offset=0, priority=0, cost=1, appended_at=0.0)
    maker = RequestMaker({"all": Pool(name="all", senders=(number,))}, None, only_number)
    expected = [*sent, ("To", "+447911123456"), ("Body", "Hi")]
    assert parse_qsl(maker.make(message, sender).form.decode(), strict_parsing=True) == expected


def test_without_a_public_address_nothing_is_called_back() -> None:
    assert "StatusCallback" not in parse_qs(make().decode())


@pytest.mark.parametrize(("validity", "sent"), [(None, None), (300.0, ["300"]), (0.2, ["1"]), (36000.0, ["36000"])])
def test_the_pools_validity_goes_along_in_whole_seconds(validity: float | None, sent: list[str] | None) -> None:
    assert parse_qs(make(validity=validity).decode()).get("ValidityPeriod") == sent


def test_an_empty_body_beside_media_is_left_out() -> None:
    form = parse_qs(make(body="", media=("https://example.com/a.png",)).decode(), keep_blank_values=True)
    assert "Body" not in form


def test_each_pool_and_sender_has_its_own_head() -> None:
    """The part of the form that stays the same is prepared once, for each of them."""
    pools = {"a": Pool(name="a", senders=("72345", "72346"), validity=60.0), "b": Pool(name="b", senders=("72345",))}
    maker = RequestMaker(pools, None)
    for pool, number, validity in (("a", "72345", ["60"]), ("b", "72345", None), ("a", "72346", ["60"])) * 2:
        job = Job(id="x", campaign="c", to="+12065550142", pool=pool, body="Hi")
        message = Message(job=job, origin=Desk(), offset=0, priority=0, cost=1, appended_at=0.0)
        form = parse_qs(maker.make(message, make_sender(number, 1)).form.decode())
        assert (form["From"], form.get("ValidityPeriod")) == ([number], validity)


def test_with_only_one_number_everything_leaves_by_it() -> None:
    maker = RequestMaker({"all": Pool(name="all", senders=("72345", "72346"))}, None, "+15005550006")
    job = Job(id="spring-1", campaign="spring", to="+12065550142", pool="all", body="Hi")
    for number in ("72345", "72346"):
        message = Message(job=job, origin=Desk(), offset=0, priority=0, cost=1, appended_at=0.0, attempts=1)
        form = maker.make(message, make_sender(number, 100)).form.decode()
        assert parse_qs(form)["From"] == ["+15005550006"]
