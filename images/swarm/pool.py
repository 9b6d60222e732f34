"""The connections of an engine: one per user, opened at a steady rate, replaced when they end.

A user has a slot. Its connection is connecting, open, or waits to be tried again. A user that was served
tries again at once, then after pauses that double from 10 ms on: when all are back tells how long the server
was away, not how long the pause was. A user that the server turned away (it took the connection and ended it
unused) waits for longer: a server at its limit is not flooded. With a connection per request a slot has none
between requests: the connect is part of the request.
"""

from __future__ import annotations

import os
import select
from heapq import heappop, heappush
from random import Random
from time import monotonic
from typing import Protocol

from .connection import Connection, Dialler, finish_connecting
from .faults import error_kind

FIRST_REDIAL_S = 0.01  # after a failed connect; doubles
FIRST_RETRY_S, RETRY_S, MAX_RETRY_S = 0.25, 10.0, 60.0  # after being turned away
SERVED_S = 1.0  # a connection that was open for so long without a request was not turned away
# Longest time for new connects in a tick: one may take 0.1 ms, and the loop reads no answer meanwhile.
MAX_DIAL_S = 0.005
LINGER_S = 1.0  # wait for the peer to close first, so that the peer has the TIME_WAIT (tcp(7))


def redial_s(failures: int) -> float:
    """Return the pause after a failed connect; `failures` is how many connections failed in a row before."""
    return min(FIRST_REDIAL_S * 2.0 ** min(max(0, failures - 1), 16), MAX_RETRY_S)


def retry_s(failures: int) -> float:
    """Return the pause after the server has turned a user away, after `failures` in a row before."""
    return FIRST_RETRY_S if failures == 0 else min(RETRY_S * 2.0 ** min(failures - 1, 16), MAX_RETRY_S)


class PoolOwner(Protocol):
    """What the pool asks of the engine."""

    def connected(self, connection: Connection) -> None:
        """Take a connection that has just opened."""

    def slot_ready(self, connection: Connection) -> None:
        """Take an unconnected user that can carry a request; the request opens its connection."""

    def fail(self, connection: Connection, kind: str, message: str) -> None:
        """Take a connection that failed; the engine calls `drop`."""

    def take_idle(self) -> Connection | None:
        """Return an idle connection, if there is one."""


class Pool:
    """Opens, replaces and closes connections.

    `users` is how many there should be; the engine sets it.
    """

    def __init__(
        self,
        owner: PoolOwner,
        dialler: Dialler,
        epoll: select.epoll,
        *,
        rate_per_s: float,
        deadline_s: float,
        connection_per_request: bool,
        idle_share: float = 0.0,
    ) -> None:
        self._owner, self._dialler, self._epoll = owner, dialler, epoll
        self._rate_per_s, self._deadline_s = rate_per_s, deadline_s
        self.connection_per_request, self._idle_share = connection_per_request, idle_share
        self.users = 0
        self._slots = 0
        self._credit, self._ticked_s = 0.0, monotonic()  # a token bucket of connects
        self.by_fd: dict[int, Connection] = {}
        self._connecting: dict[Connection, None] = {}  # in the order of their connect
        self._closing: dict[Connection, None] = {}
        self._retries: list[tuple[float, int, bool, bool]] = []  # when, failures in a row, stays idle, served
        self._random = Random()  # pauses differ, so that users who failed together do not come together
        self.open = self.open_peak = 0
        self._closed = False
        self.reuses = not connection_per_request  # whether a connection may carry another request

    def ready(self) -> int:
        """Return how many users could send a request now."""
        return self._slots - len(self._retries) if self.connection_per_request else self.open

    def has_surplus(self) -> bool:
        """Whether there are more slots than users."""
        return self._slots > self.users

    def tick(self, now_s: float) -> None:
        """Open the connections that are due, close those of users that have left, end those that are overdue.

        Connects that do not fit into MAX_DIAL_S wait for the next tick.
        """
        if self._closed:
            return
        self._credit += self._rate_per_s * (now_s - self._ticked_s)
        self._credit = max(0.0, min(self._credit, self.users - self._slots))
        self._ticked_s = now_s
        until_s = monotonic() + MAX_DIAL_S
        while self._credit >= 1.0 and monotonic() < until_s:
            self._credit -= 1.0
            self._open_slot(Connection(stays_idle=self._next_stays_idle()))
            self._slots += 1
        while self._retries and self._retries[0][0] <= now_s and monotonic() < until_s:
            _, failures, stays_idle, served = heappop(self._retries)
            self._open_slot(Connection(failures, served=served, stays_idle=stays_idle))
        self._shrink()
        self.reuses = not (self.connection_per_request or self.has_surplus())
        self._expire(now_s)

    def _next_stays_idle(self) -> bool:
        """Spread the idle clients evenly over the slots."""
        return int((self._slots + 1) * self._idle_share) > int(self._slots * self._idle_share)

    def _open_slot(self, connection: Connection) -> None:
        if self.connection_per_request:
            self._owner.slot_ready(connection)
            return
        connection.sent_s = monotonic()
        self._connecting[connection] = None
        self.dial(connection)

    def _shrink(self) -> None:
        while self.has_surplus():
            if self._retries:
                heappop(self._retries)
            elif (connection := self._owner.take_idle()) is not None:
                self.close(connection)
            else:
                return  # all are in flight: the engine closes them after their answers
            self._slots -= 1

    def close_surplus(self, connection: Connection) -> None:
        """Close the connection of a user that has left."""
        self._slots -= 1
        self.close(connection)

    def dial(self, connection: Connection) -> None:
        """Start a non-blocking connect."""
        try:
            connection.socket = self._dialler.dial()
        except OSError as error:
            self._owner.fail(connection, error_kind(error, connecting=True), str(error))
            return
        connection.fd = connection.socket.fileno()
        self.by_fd[connection.fd] = connection
        self._epoll.register(connection.fd, select.EPOLLOUT)

    def finish_connect(self, connection: Connection) -> None:
        """Take a connecting socket that became writable."""
        assert connection.socket is not None
        try:
            connection.fd = finish_connecting(connection.socket)
        except OSError as error:
            self._owner.fail(connection, error_kind(error, connecting=True), str(error))
            return
        connection.socket = None
        self._connecting.pop(connection, None)
        self._epoll.modify(connection.fd, select.EPOLLIN)
        self.open += 1
        self.open_peak = max(self.open_peak, self.open)
        self._owner.connected(connection)

    def retire(self, connection: Connection, now_s: float, *, linger: bool) -> None:
        """Close a connection after its last request and replace it; `linger`: let the peer close first."""
        if linger:
            connection.closing = True
            connection.sent_s = now_s
            self._closing[connection] = None
        else:
            self.close(connection)
        if self.connection_per_request:
            self._owner.slot_ready(Connection(answered=True))
        else:
            heappush(self._retries, (now_s, 0, False, True))

    def drop(self, connection: Connection, now_s: float, *, unused: bool) -> None:
        """Close a connection that failed; its user tries again. `unused`: no request was in flight."""
        opened = connection.fd >= 0 and connection.socket is None
        self.close(connection)
        if connection.closing:
            return
        if opened and unused and now_s - connection.sent_s >= SERVED_S:
            connection.served, connection.failures = True, 0
        pause_s = self._pause_s(connection, opened)
        served = connection.answered or connection.served
        heappush(self._retries, (now_s + pause_s, connection.failures + 1, connection.stays_idle, served))

    def _pause_s(self, connection: Connection, opened: bool) -> float:
        if connection.answered:
            return 0.0
        if opened and not connection.served:
            return retry_s(connection.failures)
        return redial_s(connection.failures) * self._random.uniform(0.5, 1.0)

    def close(self, connection: Connection) -> None:
        """Close the descriptor, if any; this also removes it from the epoll set (epoll(7))."""
        connection.closed = True
        self._connecting.pop(connection, None)
        self._closing.pop(connection, None)
        if connection.fd < 0:
            return
        del self.by_fd[connection.fd]
        if connection.socket is not None:
            connection.socket.close()
            connection.socket = None
        else:
            os.close(connection.fd)
            self.open -= 1
        connection.fd = -1

    def close_all(self) -> None:
        """Close every connection and open no more."""
        self._closed = True
        self._retries.clear()
        for connection in list(self.by_fd.values()):
            self.close(connection)

    def _expire(self, now_s: float) -> None:
        for connection in overdue(self._connecting, now_s - self._deadline_s):
            self._owner.fail(connection, "connect_timeout", f"not connected within {self._deadline_s:g} s")
        for connection in overdue(self._closing, now_s - LINGER_S):
            self.close(connection)


def overdue(pending: dict[Connection, None], before_s: float) -> list[Connection]:
    """Return the connections with `sent_s` up to `before_s`; `pending` is in that order."""
    late = []
    for connection in pending:
        if connection.sent_s > before_s:
            break
        late.append(connection)
    return late
