"""The sockets of all connections, looked at together: the loop wakes up for a handful of answers, not for each."""

# ruff: noqa: D102 - asyncio says what the methods of a transport mean

import asyncio
import select
import socket
from typing import Any

_MOST = 256
_PIECE = 16384
_COMES = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR


class Sockets:
    """Asks the kernel which sockets have something to read, and has it read.

    uvloop's own transports would do, but for what they cost: a callback of the loop's for each answer, which the loop
    mostly wakes up for.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._transports: dict[int, SocketTransport] = {}
        self._loop.add_reader(self._epoll.fileno(), self._look)

    def open(self, sock: socket.socket, protocol: Any) -> None:
        """Read *sock* for *protocol*, which is told of its transport now, and then of all that asyncio would tell."""
        transport = SocketTransport(self, sock, protocol)
        self._transports[sock.fileno()] = transport
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        protocol.connection_made(transport)

    def watch(self, sock: socket.socket, *, for_room: bool) -> None:
        """Look whether *sock* has something to read and, *for_room*, whether it takes more to send."""
        self._epoll.modify(sock.fileno(), select.EPOLLIN | select.EPOLLOUT if for_room else select.EPOLLIN)

    def forget(self, sock: socket.socket) -> None:
        """Look at *sock* no more."""
        self._epoll.unregister(sock.fileno())
        del self._transports[sock.fileno()]

    def close(self) -> None:
        """Look at none any more."""
        for transport in list(self._transports.values()):
            transport.abort()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _look(self) -> None:
        for number, events in self._epoll.poll(0, _MOST):
            transport = self._transports.get(number)
            if transport is not None:  # it may have been closed by what came before
                transport.ready(events)


class SocketTransport:
    """As much of asyncio's transport as a connection needs, for *sock*, which it closes."""

    __slots__ = ("_is_open", "_protocol", "_sock", "_sockets", "_unsent")

    def __init__(self, sockets: Sockets, sock: socket.socket, protocol: Any) -> None:
        self._sockets = sockets
        self._sock = sock
        self._protocol = protocol
        self._unsent = b""
        self._is_open = True

    def write(self, data: bytes) -> None:
        if not self._is_open:
            return
        if self._unsent:
            self._unsent += data
            return
        self._unsent = data
        self._send()
        if self._unsent and self._is_open:
            self._sockets.watch(self._sock, for_room=True)

    def abort(self) -> None:
        self._lose(None)

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    @staticmethod
    def get_extra_info(_name: str, default: Any = None) -> Any:
        return default

    def ready(self, events: int) -> None:
        """Do what the kernel is *ready* for."""
        if events & select.EPOLLOUT:
            self._send()
            if not self._unsent and self._is_open:
                self._sockets.watch(self._sock, for_room=False)
        if events & _COMES and self._is_open:
            self._read()

    def _read(self) -> None:
        try:
            data = self._sock.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._close()
            self._protocol.connection_lost(error)
            return
        if data:
            self._protocol.data_received(data)
            return
        self._protocol.eof_received()
        if self._is_open:
            self._close()
            self._protocol.connection_lost(None)

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
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

    def _close(self) -> None:
        self._is_open = False
        self._sockets.forget(self._sock)
        self._sock.close()
