"""A stand-in for Twilio that is no bottleneck: it says 201 to whatever is posted, and counts.

`dispatcher simulate` is a model of Twilio and costs more a message than the fastest of the clients that are compared.
This one reads a request's length, answers with a SID that nobody had before, and knows nothing else. A GET is answered
with how many were posted so far. It speaks HTTP/1.1 over TCP or TLS, and answers *latency* seconds late if asked to.
"""

import argparse
import asyncio
import ssl
from itertools import count
from typing import Final, cast

import orjson
import uvloop

_ANSWERED_SO_FAR: Final = b"GET "
_HEAD_END: Final = b"\r\n\r\n"
_SID: Final = "{SID}"
# As long, and made of the same fields, as what Twilio answers.
_MESSAGE: Final = {
    "account_sid": "AC" + "1" * 32,
    "api_version": "2010-04-01",
    "body": "Hello from the stage",
    "date_created": "Tue, 24 Nov 2026 12:00:00 +0000",
    "date_sent": None,
    "date_updated": "Tue, 24 Nov 2026 12:00:00 +0000",
    "direction": "outbound-api",
    "error_code": None,
    "error_message": None,
    "from": "72345",
    "messaging_service_sid": None,
    "num_media": "0",
    "num_segments": "1",
    "price": None,
    "price_unit": "USD",
    "sid": _SID,
    "status": "queued",
    "subresource_uris": {"media": f"/2010-04-01/Accounts/AC{'1' * 32}/Messages/SM{'1' * 32}/Media.json"},
    "to": "+12065550142",
    "uri": f"/2010-04-01/Accounts/AC{'1' * 32}/Messages/SM{'1' * 32}.json",
}


def _response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nTwilio-Concurrent-Requests: 1\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head.encode(), len(body), body)


_BEFORE_SID, _AFTER_SID = _response(
    "201 CREATED", orjson.dumps(_MESSAGE).replace(_SID.encode(), b"SM" + b"0" * 32)
).split(b"SM" + b"0" * 32)
_posted = count(1)
_last = 0


class _Connection(asyncio.Protocol):
    """One client's connection; requests may come in pieces, and one after the other."""

    __slots__ = ("_latency", "_loop", "_received", "_transport")

    _transport: asyncio.Transport

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (length := _length(self._received)) and length <= len(self._received):
            is_question = self._received.startswith(_ANSWERED_SO_FAR)
            self._received = self._received[length:]
            if is_question:
                self._transport.write(_response("200 OK", b"%d" % _last))
            elif self._latency:
                self._loop.call_later(self._latency, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        global _last  # noqa: PLW0603 - one number for all connections
        _last = next(_posted)
        self._transport.write(b"%bSM%032x%b" % (_BEFORE_SID, _last, _AFTER_SID))


def _length(received: bytes) -> int:
    """Return the length of the request that *received* begins with; 0 while its head is not complete."""
    end = received.find(_HEAD_END)
    if end < 0:
        return 0
    head = received[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    body = int(head[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else 0
    return end + len(_HEAD_END) + body


async def main() -> None:
    """Listen until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--certificate", help="a file with the certificate and its key: listen with TLS")
    wanted = parser.parse_args()
    context = None
    if wanted.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(wanted.certificate)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(wanted.latency), "127.0.0.1", wanted.port, ssl=context, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
