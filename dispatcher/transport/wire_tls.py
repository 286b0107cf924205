"""TLS between a connection and its socket: nothing but OpenSSL's own steps, of which an answer takes one."""

# ruff: noqa: D102 - asyncio says what the methods mean that it calls

import asyncio
import ssl
from typing import Any, cast

from dispatcher.transport.wire import Connection


class TlsTransport(asyncio.Protocol):
    """What a connection writes to and hears from, over *transport*, by the rules of *context*, to *host*.

    `shaken` is done when the server has proved to be *host*, and `ssl.SSLError` in it when it has not. The loop's own
    TLS asks OpenSSL for more after each answer, and an exception tells it that there is none: here that is looked up.
    """

    __slots__ = ("_connection", "_incoming", "_outgoing", "_tls", "_transport", "shaken")

    def __init__(self, connection: Connection, context: ssl.SSLContext, host: str) -> None:
        self._connection = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # ------------------------------------------------------------------ the connection's side

    def write(self, data: bytes) -> None:
        self._tls.write(data)
        self._transport.write(self._outgoing.read())

    def abort(self) -> None:
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls if name == "ssl_object" else self._transport.get_extra_info(name, default)

    # ------------------------------------------------------------------ the socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        if not self.shaken.done():
            self._shake_hands()
        if self._connection.is_open:
            self._read()

    def eof_received(self) -> None:
        if self._connection.is_open:
            self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.shaken.done():
            self.shaken.set_exception(exc or ConnectionResetError())
        else:
            self._connection.connection_lost(exc)

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.shaken.set_exception(error)
        else:
            self.shaken.set_result(None)
            self._connection.connection_made(cast(asyncio.Transport, self))
        self._flush()  # with what the server is to know: our part of it, or what we object to

    def _read(self) -> None:
        try:
            while self._incoming.pending or self._tls.pending():
                data = self._tls.read(self._incoming.pending or self._tls.pending())
                if not data:
                    self._connection.eof_received()
                    self.abort()  # nothing follows, whether the server closes the socket or not
                    return
                self._connection.data_received(data)
        except ssl.SSLWantReadError:
            pass  # a part of a record
        except ssl.SSLError:
            self._connection.fail("what came is not TLS")
            return
        self._flush()  # the server may have asked for new keys

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())
