"""A socket between the loop and a connection: as much of asyncio's transport as that needs, and no more."""

# ruff: noqa: D102 - asyncio says what the methods of a transport mean

import asyncio
import socket
from typing import Any

_PIECE = 16384


class SocketTransport:
    """Reads and writes *sock*, which it closes, for *protocol*, which hears what asyncio would tell it.

    A message takes one call of the socket's to write, and one to read.
    """

    __slots__ = ("_is_open", "_loop", "_number", "_protocol", "_sock", "_unsent")

    def __init__(self, sock: socket.socket, protocol: Any) -> None:
        self._sock = sock
        self._number = sock.fileno()
        self._protocol = protocol
        self._unsent = b""
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._number, self._read)
        protocol.connection_made(self)

    def write(self, data: bytes) -> None:
        if not self._is_open:
            return
        if self._unsent:
            self._unsent += data
            return
        self._unsent = data
        self._send()
        if self._unsent and self._is_open:
            self._loop.add_writer(self._number, self._go_on)

    def abort(self) -> None:
        self._lose(None)

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    @staticmethod
    def get_extra_info(_name: str, default: Any = None) -> Any:
        return default

    def _read(self) -> None:
        try:
            data = self._sock.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._close()
            self._tell(error)
            return
        if data:
            self._protocol.data_received(data)
            return
        self._protocol.eof_received()
        if self._is_open:
            self._close()
            self._tell(None)

    def _go_on(self) -> None:
        self._send()
        if not self._unsent and self._is_open:
            self._loop.remove_writer(self._number)

    def _send(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        self._unsent = self._unsent[sent:]

    def _lose(self, error: OSError | None) -> None:
        """Close, and tell so later: whoever writes or aborts is not done with the connection yet."""
        if self._is_open:
            self._close()
            self._loop.call_soon(self._tell, error)

    def _tell(self, error: OSError | None) -> None:
        protocol, self._protocol = self._protocol, None  # each knows the other: only a collection would free the two
        protocol.connection_lost(error)

    def _close(self) -> None:
        self._is_open = False
        self._loop.remove_reader(self._number)
        self._loop.remove_writer(self._number)
        self._sock.close()
