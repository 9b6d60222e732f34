"""Who sends when: open load (arrivals) and closed load (users that wait and think).

A load is asked by the engine in three places: `next_due_s` bounds its sleep, `due` is called when that
moment has come, `free` whenever a connection can take a request. It answers by calling `send`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from random import Random
from typing import Protocol

from .connection import Connection
from .ledger import Ledger, Second

Send = Callable[[Connection, float, Second], None]  # connection, intended time, the second it is booked in


class LoadProcess(Protocol):
    """What the engine asks of a load."""

    next_due_s: float

    def due(self, now_s: float) -> None:
        """Send what is due."""

    def free(self, connection: Connection, now_s: float, /) -> None:
        """Take a connection that can carry a request."""

    def release(self) -> Connection | None:
        """Give a connection back that has nothing to do at the moment, if there is one."""

    def waiting(self) -> int:
        """Return how many arrivals are due and still without a connection."""

    def booked_until_s(self, now_s: float) -> float:
        """Return the time before which no further request can be booked."""

    def give_up(self) -> None:
        """Book what still waits as unsent."""


class Hold:
    """Before the load clock starts: connections gather."""

    next_due_s = math.inf

    def __init__(self) -> None:
        self.gathered: list[Connection] = []

    def due(self, now_s: float) -> None:
        """Nothing is ever due."""

    def free(self, connection: Connection, _now_s: float) -> None:
        """Keep the connection for the load to come."""
        self.gathered.append(connection)

    def release(self) -> Connection | None:
        """Give the last one back."""
        while self.gathered:
            connection = self.gathered.pop()
            if not connection.gone:
                return connection
        return None

    def waiting(self) -> int:
        """Nothing waits."""
        return 0

    def booked_until_s(self, now_s: float) -> float:
        """Nothing is booked."""
        return now_s

    def give_up(self) -> None:
        """Nothing waits."""


class OpenLoad:
    """Arrivals at their own times, whether or not the server keeps up; they queue when no connection is free.

    The queue is what makes coordinated omission visible: an arrival keeps the time it was meant for.
    """

    def __init__(
        self, send: Send, ledger: Ledger, arrivals: Iterator[float], start_s: float, end_s: float
    ) -> None:
        self._send, self._ledger = send, ledger
        self._arrivals, self._start_s, self._end_s = arrivals, start_s, end_s
        self._idle: deque[Connection] = deque()  # first in, first out: every connection has its turn
        self._queue: deque[tuple[float, Second]] = deque()
        self._second = ledger.at(start_s)
        self.next_due_s = 0.0
        self._advance()

    def due(self, now_s: float) -> None:
        """Send every arrival that is due, or queue it."""
        while (intended_s := self.next_due_s) <= now_s:
            second = self._second
            if intended_s >= second.ends_s:
                second = self._second = self._ledger.at(intended_s)
            second.intended += 1
            connection = self._take_idle()
            if connection is None:
                self._queue.append((intended_s, second))
            else:
                self._send(connection, intended_s, second)
            self._advance()

    def free(self, connection: Connection, _now_s: float) -> None:
        """Give the connection the oldest arrival that waits, if any."""
        if self._queue:
            intended_s, second = self._queue.popleft()
            self._send(connection, intended_s, second)
        else:
            self._idle.append(connection)

    def release(self) -> Connection | None:
        """Give one back whose turn would come next."""
        return self._take_idle()

    def waiting(self) -> int:
        """Return how many arrivals are due and still without a connection."""
        return len(self._queue)

    def booked_until_s(self, now_s: float) -> float:
        """Arrivals come in order, maybe late."""
        return min(now_s, self.next_due_s)

    def give_up(self) -> None:
        """Book what still waits as unsent."""
        for _, second in self._queue:
            second.unsent += 1
        self._queue.clear()

    def _advance(self) -> None:
        due_s = self._start_s + next(self._arrivals, math.inf)
        self.next_due_s = due_s if due_s < self._end_s else math.inf

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.popleft()
            if not connection.gone:
                return connection
        return None


class ClosedLoad:
    """Users that send, wait for the answer, think, and send again.

    The first requests are spread over one think time, so that users do not march in step. A closed load
    slows down with the server: its response times leave out the requests that a slow server kept from being
    sent.
    """

    def __init__(
        self,
        send: Send,
        ledger: Ledger,
        think_s: Callable[[], float] | None,
        start_s: float,
        end_s: float,
        random: Random,
    ) -> None:
        self._send, self._ledger, self._think_s = send, ledger, think_s
        self._start_s, self._end_s = start_s, end_s
        self._random = random
        self._thinking: list[tuple[float, int, Connection]] = []
        self._second = ledger.at(start_s)
        self._order = 0
        self.next_due_s = math.inf

    def due(self, now_s: float) -> None:
        """Send for every user whose think time is over."""
        while self._thinking and self._thinking[0][0] <= now_s < self._end_s:
            due_s, _, connection = heappop(self._thinking)
            if not connection.gone:
                self._begin(connection, due_s, now_s)
        over = not self._thinking or self._thinking[0][0] >= self._end_s or now_s >= self._end_s
        self.next_due_s = math.inf if over else self._thinking[0][0]

    def free(self, connection: Connection, now_s: float) -> None:
        """Let the user think, then send; without a think time, send at once."""
        think_s = self._think_s() if self._think_s is not None else 0.0
        if not connection.answered:
            due_s = max(now_s, self._start_s) + self._random.random() * think_s
        elif not think_s and now_s < self._end_s:
            self._begin(connection, now_s, now_s)
            return
        else:
            due_s = now_s + think_s
        heappush(self._thinking, (due_s, self._order, connection))
        self._order += 1
        if due_s < min(self.next_due_s, self._end_s):
            self.next_due_s = due_s

    def release(self) -> Connection | None:
        """Give the user back whose think time would end next."""
        while self._thinking:
            _, _, connection = heappop(self._thinking)
            if not connection.gone:
                return connection
        return None

    def _begin(self, connection: Connection, due_s: float, now_s: float) -> None:
        second = self._second
        if now_s >= second.ends_s:
            second = self._second = self._ledger.at(now_s)
        second.intended += 1
        self._send(connection, due_s, second)

    def waiting(self) -> int:
        """Closed loads queue nothing."""
        return 0

    def booked_until_s(self, now_s: float) -> float:
        """Requests are booked when they are sent."""
        return now_s

    def give_up(self) -> None:
        """Closed loads queue nothing."""
