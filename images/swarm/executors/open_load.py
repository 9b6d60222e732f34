"""The run of an open load: requests arrive by the clock, whether or not the server keeps up."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from itertools import takewhile

from swarm.connection import Connection
from swarm.histogram import record
from swarm.seconds import Second

from .base import Start


class OpenLoad:
    """Sends each arrival at its time, or queues it until a connection is idle.

    A queued arrival keeps its intended time: this is what makes coordinated omission visible. It is held
    from when it was due, or from when the last free connection was taken if that was later: until then the
    loop was late, and had one.
    """

    def __init__(self, start: Start, arrivals: Iterator[float]) -> None:
        self._send, self._seconds = start.send, start.seconds
        self._arrivals, self._start_s, self._end_s = arrivals, start.start_s, start.end_s
        self._idle: deque[Connection] = deque()  # first in, first out: every connection is used in turn
        self._queue: deque[tuple[float, Second, float]] = deque()
        self._taken_s = -math.inf  # when a free connection was taken last
        self._second = start.seconds.at(start.start_s)
        self.next_due_s = 0.0
        self._advance()

    def send_due(self, now_s: float) -> None:
        """Send every arrival that is due, or queue it."""
        while (intended_s := self.next_due_s) <= now_s:
            second = self._second
            if intended_s >= second.ends_s:
                second = self._second = self._seconds.at(intended_s)
            second.intended += 1
            connection = self.take_idle()
            if connection is None:
                self._queue.append((intended_s, second, max(intended_s, self._taken_s)))
            else:
                self._taken_s = now_s
                self._send(connection, intended_s, second)
            self._advance()

    def add_idle(self, connection: Connection, now_s: float) -> None:
        """Give the connection the oldest queued arrival, if any."""
        if self._queue:
            intended_s, second, held_s = self._queue.popleft()
            self._taken_s = now_s
            self._send(connection, intended_s, second, held_s)
        else:
            self._idle.append(connection)

    def take_idle(self) -> Connection | None:
        """Return the connection that has been idle longest, if there is one."""
        while self._idle:
            connection = self._idle.popleft()
            if not connection.closed:
                return connection
        return None

    def queued(self) -> int:
        """Return how many arrivals are due and have no connection yet."""
        return len(self._queue)

    def queued_before(self, time_s: float) -> int:
        """Return how many of them were due before this time: the queue is in the order of arrival."""
        later = takewhile(lambda arrival: arrival[0] >= time_s, reversed(self._queue))
        return len(self._queue) - sum(1 for _ in later)

    def counted_until_s(self, now_s: float) -> float:
        """Return the time of the next arrival if it is overdue: arrivals are counted in order, maybe late."""
        return min(now_s, self.next_due_s)

    def drop_queue(self, now_s: float) -> None:
        """Count the queued arrivals as unsent, with the time that they have waited."""
        for intended_s, second, _ in self._queue:
            second.unsent += 1
            record(second.response_censored, now_s - intended_s)
        self._queue.clear()

    def _advance(self) -> None:
        due_s = self._start_s + next(self._arrivals, math.inf)
        self.next_due_s = due_s if due_s < self._end_s else math.inf
