"""What the engine asks of a load, what a load without a queue answers, and the load before the start: none.

`next_due_s` bounds the engine's wait, `send_due` is called when that time has come, `add_idle` whenever a
connection can take a request. The load sends by calling the engine's `send`.
"""

from __future__ import annotations

import math
from typing import Protocol

from .connection import Connection
from .seconds import Second


class Send(Protocol):
    """Sends one request: connection, intended time, the second that counts it.

    `held_s`: since when it has waited for a connection; none was free until this one was.
    """

    def __call__(
        self, connection: Connection, intended_s: float, second: Second, held_s: float = math.inf, /
    ) -> None:
        """Send it."""


class LoadProcess(Protocol):
    """Decides which connection sends when."""

    next_due_s: float

    def send_due(self, now_s: float) -> None:
        """Send what is due."""

    def add_idle(self, connection: Connection, now_s: float, /) -> None:
        """Take a connection that can carry a request."""

    def take_idle(self) -> Connection | None:
        """Give up an idle connection, if there is one."""

    def queued(self) -> int:
        """Return how many arrivals are due and have no connection yet."""

    def queued_before(self, time_s: float) -> int:
        """Return how many of them were due before this time."""

    def counted_until_s(self, now_s: float) -> float:
        """Return the time before which no further request will be counted as intended."""

    def drop_queue(self, now_s: float, /) -> None:
        """Count what is still queued as unsent, with the time that it has waited."""


class NoQueue:
    """The part of a load that queues nothing: a request is counted as intended when it is sent."""

    def queued(self) -> int:
        """Return 0: nothing is queued."""
        return 0

    def queued_before(self, _time_s: float) -> int:
        """Return 0: nothing is queued."""
        return 0

    def counted_until_s(self, now_s: float) -> float:
        """Return now: requests are counted when they are sent."""
        return now_s

    def drop_queue(self, _now_s: float, /) -> None:
        """Do nothing: nothing is queued."""


class NoLoad(NoQueue):
    """Before the load clock starts: connections gather and nothing is sent."""

    next_due_s = math.inf

    def __init__(self) -> None:
        self.gathered: list[Connection] = []

    def send_due(self, now_s: float) -> None:
        """Do nothing: nothing is ever due."""

    def add_idle(self, connection: Connection, _now_s: float) -> None:
        """Keep the connection for the load to come."""
        self.gathered.append(connection)

    def take_idle(self) -> Connection | None:
        """Return the connection that came last."""
        while self.gathered:
            connection = self.gathered.pop()
            if not connection.closed:
                return connection
        return None
