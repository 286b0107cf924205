import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from dispatcher.transport.exchange import Head, Reply


class Read:
    """What an HTTP parser reads of a request."""

    def __init__(self, request: bytes) -> None:
        self.target = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_whole = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(request)
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True


@given(st.binary(max_size=300))
def test_a_request_is_read_as_it_was_meant(body: bytes) -> None:
    head = Head("POST", URL("https://api.twilio.com/2010/M.json?To=%2B1"), {"Authorization": "Basic eA=="})
    read = Read(head.with_body(body))
    assert read.is_whole
    assert (read.method, read.target, read.body) == (b"POST", b"/2010/M.json?To=%2B1", body)
    assert read.headers == [
        (b"Host", b"api.twilio.com"),
        (b"Authorization", b"Basic eA=="),
        (b"Content-Length", b"%d" % len(body)),
    ]


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("https://api.twilio.com", b"api.twilio.com", ("api.twilio.com", 443, True)),
        ("http://127.0.0.1:8080/", b"127.0.0.1:8080", ("127.0.0.1", 8080, False)),
        ("http://[::1]:8080/", b"[::1]:8080", ("::1", 8080, False)),
        ("http://bücher.example/", b"xn--bcher-kva.example", ("xn--bcher-kva.example", 80, False)),
    ],
)
def test_a_request_goes_where_its_url_says(url: str, host: bytes, origin: tuple[str, int, bool]) -> None:
    head = Head("GET", URL(url), {})
    assert head.origin == origin
    assert Read(head.with_body(b"")).headers == [(b"Host", host)]


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("POST", "http://a", {"A": "b\r\nC: d"}),
        ("POST", "http://a", {"A\n": "b"}),
        ("POST /x HTTP/1.1\r\nA:", "http://a", {}),
        ("HEAD", "http://a", {}),
        ("CONNECT", "http://a", {}),
        ("POST", "ftp://a", {}),
        ("POST", "/a", {}),
    ],
)
def test_what_would_be_another_request_is_none(method: str, url: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"request|header"):
        Head(method, URL(url), headers)


def test_a_header_is_found_whatever_its_case() -> None:
    reply = Reply(429, [(b"Retry-After", b"5"), (b"retry-after", b"6")], b"")
    assert reply.header(b"retry-after") == b"5"
    assert reply.header(b"location") is None
