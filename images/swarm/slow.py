"""Slow clients: they write their request, or read their answer, a few bytes a second (slowloris, slow
read).

They are a burden on the server, not part of the measured load: each keeps a connection of its own busy,
polled at its own slow pace and not by the engine's epoll set, where a reader that leaves bytes behind would
be reported for ever. Their outcomes are counted apart: `slow_answered`, and `slow_ended` when the server
had enough of one. With the load they rest: what is counted then is final.
"""

from __future__ import annotations

import socket
from time import monotonic

from .answers import WrongAnswerError
from .connection import Dialler
from .exchange import KEEP, Exchange, ProtocolError, Reader

REDIAL_S = 1.0
STEP_BYTES = 1
SMALL_BUFFER_BYTES = 1024  # of a slow reader: what it does not read must fill the server's buffer, not ours


class SlowClient:
    """One of them."""

    def __init__(self, burden: Burden) -> None:
        self._burden = burden
        self._socket: socket.socket | None = None
        self._unsent = b""
        self._reader: Reader | None = None
        self.next_s = 0.0

    def step(self, now_s: float) -> None:
        """Do the next byte's work."""
        self.next_s = now_s + self._burden.pause_s
        try:
            if self._socket is None:
                self._dial()
            elif self._unsent:
                self._write(self._socket)
            else:
                self._read(self._socket)
        except BlockingIOError:
            return  # still connecting, or nothing there
        except (OSError, ProtocolError, WrongAnswerError):
            self._ended(now_s)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _dial(self) -> None:
        self._socket = self._burden.dialler.dial()
        if self._burden.reads:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        self._ask()

    def _ask(self) -> None:
        self._unsent, self._reader = self._burden.exchange.request, self._burden.exchange.reader()

    def _write(self, connection: socket.socket) -> None:
        size = len(self._unsent) if self._burden.reads else STEP_BYTES
        self._unsent = self._unsent[connection.send(self._unsent[:size]) :]

    def _read(self, connection: socket.socket) -> None:
        assert self._reader is not None
        data = connection.recv(STEP_BYTES if self._burden.reads else 65536)
        if not data:
            raise ConnectionResetError("the server ended it")
        outcome = self._reader.feed(data)
        if outcome is None:
            return
        self._burden.answered += 1
        if outcome == KEEP:
            self._ask()
        else:
            self.close()

    def _ended(self, now_s: float) -> None:
        self.close()
        self._burden.ended += 1
        self.next_s = now_s + REDIAL_S


class Burden:
    """All slow clients of an engine."""

    def __init__(self, exchange: Exchange, dialler: Dialler, *, side: str, bytes_per_s: float) -> None:
        self.exchange, self.dialler = exchange, dialler
        self.reads, self.pause_s = side == "read", STEP_BYTES / bytes_per_s
        self.answered = self.ended = 0
        self._clients: list[SlowClient] = []
        self._resting = False

    def hold(self, number: int) -> None:
        """Have so many of them."""
        while len(self._clients) > number:
            self._clients.pop().close()
        while len(self._clients) < number:
            client = SlowClient(self)
            client.next_s = monotonic() + self.pause_s * (len(self._clients) % 100) / 100  # not all in step
            self._clients.append(client)

    def rest(self) -> None:
        """Do nothing any more; connections stay open."""
        self._resting = True

    def step(self, now_s: float) -> None:
        """Let those whose time has come do their next byte."""
        for client in () if self._resting else self._clients:
            if client.next_s <= now_s:
                client.step(now_s)

    def __len__(self) -> int:
        return len(self._clients)
