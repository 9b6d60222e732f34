"""The connections of an engine: as many as users are asked for, opened at a steady pace, replaced when they
end.

A user is a slot. Its connection is being opened (`connecting`), open, or waits to be tried again: at once
if it has served, else after a pause that doubles, so that a server that refuses is not stormed. Where each
exchange has a connection of its own (`once`), a slot rests without one and the connect belongs to the
request.
"""

from __future__ import annotations

import os
import select
from heapq import heappop, heappush
from time import monotonic
from typing import Protocol

from .connection import Connection, Dialler, finish_connecting
from .faults import error_kind

FIRST_RETRY_S, RETRY_S, RETRY_MOST_S = 0.25, 10.0, 60.0
# A step's share of the engine's tick: a connect may take the kernel 0.1 ms; a loop that only dials is deaf.
DIAL_S = 0.005
LINGER_S = 1.0  # for the peer's end of stream, so that TIME_WAIT is the peer's


def retry_s(failures: int) -> float:
    """How long a user stays away that was turned away once more: soon the first time, then ever longer."""
    return FIRST_RETRY_S if failures == 0 else min(RETRY_S * 2 ** (failures - 1), RETRY_MOST_S)


class Owner(Protocol):
    """What the pool tells the engine, and asks of it."""

    def connected(self, connection: Connection) -> None:
        """Take a connection that is open now."""

    def usable(self, connection: Connection) -> None:
        """Take a connection that can carry a request; it may still have to be dialled."""

    def fail(self, connection: Connection, kind: str, says: str) -> None:
        """Take a connection that went wrong."""

    def release(self) -> Connection | None:
        """Give a connection back that has nothing to do at the moment, if there is one."""


class Pool:
    """Opens, replaces and closes."""

    def __init__(
        self,
        owner: Owner,
        dialler: Dialler,
        epoll: select.epoll,
        *,
        rate_per_s: float,
        deadline_s: float,
        once: bool,
        idle_share: float = 0.0,
    ) -> None:
        self._owner, self._dialler, self._epoll = owner, dialler, epoll
        self._rate_per_s, self._deadline_s, self.once = rate_per_s, deadline_s, once
        self._idle_share = idle_share
        self.users = 0  # asked for
        self._slots = 0  # taken up
        self._credit, self._stepped_s = 0.0, monotonic()
        self.by_fd: dict[int, Connection] = {}
        self._connecting: dict[Connection, None] = {}  # in the order of their beginning
        self._ending: dict[Connection, None] = {}
        self._retries: list[tuple[float, int, bool]] = []  # when, failures so far, whether it only holds
        self.open = self.open_peak = 0
        self._over = False
        self.keeps = not once  # whether a connection that has served goes on serving

    def ready(self) -> int:
        """Return how many users could send a request now."""
        return self._slots - len(self._retries) if self.once else self.open

    def surplus(self) -> bool:
        """Whether there are more slots than users."""
        return self._slots > self.users

    def step(self, now_s: float) -> None:
        """Open what is due (the rest in the next step, where it is much), let go what is too many, end what
        has waited too long.
        """
        if self._over:
            return
        self._credit += self._rate_per_s * (now_s - self._stepped_s)
        self._credit = max(0.0, min(self._credit, self.users - self._slots))
        self._stepped_s = now_s
        until_s = monotonic() + DIAL_S
        while self._credit >= 1.0 and monotonic() < until_s:
            self._credit -= 1.0
            self._take_up(Connection(holds=self._next_holds()))
            self._slots += 1
        while self._retries and self._retries[0][0] <= now_s and monotonic() < until_s:
            _, failures, holds = heappop(self._retries)
            self._take_up(Connection(failures, holds=holds))
        self._shrink()
        self.keeps = not (self.once or self.surplus())
        self._expire(now_s)

    def _next_holds(self) -> bool:
        """Spread the idle ones evenly over the slots."""
        return int((self._slots + 1) * self._idle_share) > int(self._slots * self._idle_share)

    def _take_up(self, connection: Connection) -> None:
        if self.once:
            self._owner.usable(connection)
            return
        connection.sent_s = monotonic()
        self._connecting[connection] = None
        self.dial(connection)

    def _shrink(self) -> None:
        while self.surplus():
            if self._retries:
                heappop(self._retries)
            elif (connection := self._owner.release()) is not None:
                self.close(connection)
            else:
                return  # all are busy: the engine lets them go as their answers come
            self._slots -= 1

    def let_go(self, connection: Connection) -> None:
        """Close a connection whose user has left."""
        self._slots -= 1
        self.close(connection)

    def dial(self, connection: Connection) -> None:
        """Begin to connect."""
        try:
            connection.socket = self._dialler.dial()
        except OSError as error:
            self._owner.fail(connection, error_kind(error, connecting=True), str(error))
            return
        connection.fd = connection.socket.fileno()
        self.by_fd[connection.fd] = connection
        self._epoll.register(connection.fd, select.EPOLLOUT)

    def finish(self, connection: Connection) -> None:
        """Take note that a connecting socket became writable."""
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

    def end(self, connection: Connection, now_s: float, *, linger: bool) -> None:
        """Retire a connection that has served, and replace it."""
        if linger:
            connection.ending = True
            connection.sent_s = now_s
            self._ending[connection] = None
        else:
            self.close(connection)
        if self.once:
            self._owner.usable(Connection(answered=True))
        else:
            heappush(self._retries, (now_s, 0, False))

    def lose(self, connection: Connection, now_s: float) -> None:
        """Close a connection that went wrong; its user tries again."""
        self.close(connection)
        if not connection.ending:
            pause_s = 0.0 if connection.answered else retry_s(connection.failures)
            heappush(self._retries, (now_s + pause_s, connection.failures + 1, connection.holds))

    def close(self, connection: Connection) -> None:
        """Close the descriptor, if there is one; close(2) takes it out of the epoll set, too."""
        connection.gone = True
        self._connecting.pop(connection, None)
        self._ending.pop(connection, None)
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

    def shut(self) -> None:
        """The load is over: close every connection, open none any more."""
        self._over = True
        self._retries.clear()
        for connection in list(self.by_fd.values()):
            self.close(connection)

    def _expire(self, now_s: float) -> None:
        for connection in overdue(self._connecting, now_s - self._deadline_s):
            self._owner.fail(connection, "connect_timeout", f"not connected within {self._deadline_s:g} s")
        for connection in overdue(self._ending, now_s - LINGER_S):
            self.close(connection)


def overdue(waiting: dict[Connection, None], before_s: float) -> list[Connection]:
    """Return the connections that were sent on their way before `before_s`; the dict is in that order."""
    late = []
    for connection in waiting:
        if connection.sent_s > before_s:
            break
        late.append(connection)
    return late
