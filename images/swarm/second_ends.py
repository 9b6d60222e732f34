"""What is noted as each second of the load clock ends: answers that came in it, what is and was under way.

The engine asks before it handles a batch of events, and at each tick. So all answers that were reported
before the second's end have been counted, and none that was reported after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import takewhile

from .connection import Connection
from .load import LoadProcess
from .seconds import Second, Seconds
from .under_way import InFlightArea


class SecondEnds:
    """Closes each second of an engine once."""

    def __init__(self, seconds: Seconds) -> None:
        self._seconds = seconds
        self.area = InFlightArea()
        self._answered = 0  # of all seconds, when the current one began
        self.current = seconds.at(float("-inf"))

    def pass_to(self, now_s: float, in_flight: dict[Connection, None], load: LoadProcess) -> None:
        """Close every second that has ended by now."""
        while now_s >= (ends_s := self.current.ends_s):
            self.close(in_flight, load)
            connected = self.current.connected
            self.current = self._seconds.at(ends_s)
            self.current.connected = connected  # until the next tick tells

    def close(self, in_flight: dict[Connection, None], load: LoadProcess) -> None:
        """Close the current second: note its completions, and what is under way at its end."""
        answered, second = self._seconds.answered(), self.current
        second.completed, self._answered = answered - self._answered, answered
        second.in_flight = len(in_flight) - sum(1 for _ in _sent_for_later(reversed(in_flight), second))
        second.queued = load.queued_before(second.ends_s)
        if math.isfinite(second.ends_s):
            second.in_flight_area_s = self.area.take(second.ends_s, in_flight)


def _sent_for_later(latest_first: Iterable[Connection], ended: Second) -> Iterable[Connection]:
    """Yield the connections whose request, sent just before the end was noticed, is of a later second."""
    return takewhile(lambda c: c.second is not None and c.second.starts_s >= ended.ends_s, latest_first)
