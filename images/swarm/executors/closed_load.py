"""The run of a closed load: users send, wait for the answer, think, and send again."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from random import Random

from swarm.connection import Connection
from swarm.load import NoQueue

from .base import Start
from .think_time import ThinkTime


class ClosedLoad(NoQueue):
    """Sends for each user when its think time is over.

    The first requests are spread over one think time, so that users do not send in step. A closed load
    slows down with the server: its response times leave out the requests that a slow server kept from being
    sent.
    """

    def __init__(self, start: Start, think_time: ThinkTime) -> None:
        self._send, self._seconds = start.send, start.seconds
        self._start_s, self._end_s = start.start_s, start.end_s
        self._random = Random(f"{start.seed}/{start.engine}")
        self._think_s = think_time.sampler(self._random)
        self._thinking: list[tuple[float, int, Connection]] = []  # a heap: due time, order of arrival
        self._second = start.seconds.at(start.start_s)
        self._order = 0
        self.next_due_s = math.inf

    def send_due(self, now_s: float) -> None:
        """Send for every user whose think time is over."""
        while self._thinking and self._thinking[0][0] <= now_s < self._end_s:
            due_s, _, connection = heappop(self._thinking)
            if not connection.closed:
                self._send_for(connection, due_s, now_s)
        over = not self._thinking or self._thinking[0][0] >= self._end_s or now_s >= self._end_s
        self.next_due_s = math.inf if over else self._thinking[0][0]

    def add_idle(self, connection: Connection, now_s: float) -> None:
        """Let the user think, then send; without a think time, send at once."""
        think_s = self._think_s() if self._think_s is not None else 0.0
        if not connection.answered:
            due_s = max(now_s, self._start_s) + self._random.random() * think_s
        elif not think_s and now_s < self._end_s:
            self._send_for(connection, now_s, now_s)
            return
        else:
            due_s = now_s + think_s
        heappush(self._thinking, (due_s, self._order, connection))
        self._order += 1
        if due_s < min(self.next_due_s, self._end_s):
            self.next_due_s = due_s

    def take_idle(self) -> Connection | None:
        """Return the connection of the user whose think time ends next, if there is one."""
        while self._thinking:
            _, _, connection = heappop(self._thinking)
            if not connection.closed:
                return connection
        return None

    def _send_for(self, connection: Connection, due_s: float, now_s: float) -> None:
        second = self._second
        if now_s >= second.ends_s:
            second = self._second = self._seconds.at(now_s)
        second.intended += 1
        self._send(connection, due_s, second)
