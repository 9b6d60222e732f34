"""Slow clients write their request, or read their answer, a few bytes a second (slowloris, slow read).

They load the server and are not part of the measured load. Each keeps its own connection busy and is polled
at its own pace, not by the engine's epoll set: a level-triggered set would report a socket with unread
bytes at every wait. Their outcomes are counted apart: `slow_answered`, and `slow_ended` for connections
that the server ended. They pause when the load ends, so that these counts are final.
"""

from __future__ import annotations

import socket
from time import monotonic

from .answers import WrongAnswerError
from .connection import Dialler
from .exchange import KEEP, Exchange, ProtocolError, Reader

REDIAL_S = 1.0
STEP_BYTES = 1
SMALL_BUFFER_BYTES = 1024  # SO_RCVBUF of a slow reader: unread bytes must fill the server's send buffer


class SlowClient:
    """One slow client."""

    def __init__(self, group: SlowClients) -> None:
        self._group = group
        self._socket: socket.socket | None = None
        self._unsent = b""
        self._reader: Reader | None = None
        self.next_s = 0.0

    def step(self, now_s: float) -> None:
        """Connect, or send or receive the next byte."""
        self.next_s = now_s + self._group.pause_s
        try:
            if self._socket is None:
                self._dial()
            elif self._unsent:
                self._write(self._socket)
            else:
                self._read(self._socket)
        except BlockingIOError:
            return  # still connecting, or no data
        except (OSError, ProtocolError, WrongAnswerError):
            self._count_end(now_s)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _dial(self) -> None:
        self._socket = self._group.dialler.dial()
        if self._group.reads:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        self._start_request()

    def _start_request(self) -> None:
        self._unsent, self._reader = self._group.exchange.request, self._group.exchange.reader()

    def _write(self, connection: socket.socket) -> None:
        size = len(self._unsent) if self._group.reads else STEP_BYTES
        self._unsent = self._unsent[connection.send(self._unsent[:size]) :]

    def _read(self, connection: socket.socket) -> None:
        assert self._reader is not None
        data = connection.recv(STEP_BYTES if self._group.reads else 65536)
        if not data:
            raise ConnectionResetError("the server ended the connection")
        outcome = self._reader.feed(data)
        if outcome is None:
            return
        self._group.answered += 1
        if outcome == KEEP:
            self._start_request()
        else:
            self.close()

    def _count_end(self, now_s: float) -> None:
        self.close()
        self._group.ended += 1
        self.next_s = now_s + REDIAL_S


class SlowClients:
    """All slow clients of an engine; `side` is `write` or `read`."""

    def __init__(self, exchange: Exchange, dialler: Dialler, *, side: str, bytes_per_s: float) -> None:
        self.exchange, self.dialler = exchange, dialler
        self.reads, self.pause_s = side == "read", STEP_BYTES / bytes_per_s
        self.answered = self.ended = 0
        self._clients: list[SlowClient] = []
        self._paused = False

    def set_count(self, count: int) -> None:
        """Add or close clients until there are `count`."""
        while len(self._clients) > count:
            self._clients.pop().close()
        while len(self._clients) < count:
            client = SlowClient(self)
            client.next_s = monotonic() + self.pause_s * (len(self._clients) % 100) / 100  # not all in step
            self._clients.append(client)

    def pause(self) -> None:
        """Send and receive nothing more; connections stay open."""
        self._paused = True

    def tick(self, now_s: float) -> None:
        """Let every client whose time has come send or receive its next byte."""
        for client in () if self._paused else self._clients:
            if client.next_s <= now_s:
                client.step(now_s)

    def __len__(self) -> int:
        return len(self._clients)
