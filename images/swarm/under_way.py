"""Little's law in two books: the area under the number of requests in flight, and their parts of the window.

The area is booked at each change of the number, by the clock alone: a request that is sent at t and one
that ends at u change it by −t and +u, and at any time T the area is their sum + (number in flight) × T. The
parts are summed request by request, as each ends: the overlap of [sent, answered or failed] with the measured
window. Both are the same (Little 1961) unless a request was lost, kept or timed wrongly. Failures and
backlogs change nothing.
"""

from __future__ import annotations

import math
from itertools import takewhile

from .connection import Connection


class InFlightArea:
    """Both books of one engine, in request-seconds; times are CLOCK_MONOTONIC seconds.

    `changes_s` is the area's; the engine subtracts the time of each send.
    """

    __slots__ = ("_closes_s", "_opens_s", "changes_s", "parts_s")

    def __init__(self) -> None:
        self.changes_s = 0.0
        self.parts_s = 0.0
        self._opens_s, self._closes_s = math.inf, -math.inf  # no window yet

    def open_window(self, opens_s: float, closes_s: float) -> None:
        """Sum the requests' parts of this window."""
        self._opens_s, self._closes_s = opens_s, closes_s

    def ended(self, sent_s: float, at_s: float) -> None:
        """Book the end of a request, answered or failed."""
        self.changes_s += at_s
        if self._opens_s <= sent_s and at_s <= self._closes_s:
            self.parts_s += at_s - sent_s
        else:
            self.parts_s += max(0.0, min(at_s, self._closes_s) - max(sent_s, self._opens_s))

    def take(self, until_s: float, in_flight: dict[Connection, None]) -> float:
        """Return the area since the last call up to `until_s`, which no end of a request has passed.

        `in_flight` is in the order of sending: those sent after `until_s` are its last.
        """
        later = [c.sent_s for c in takewhile(lambda c: c.sent_s > until_s, reversed(in_flight))]
        number, later_s = len(in_flight) - len(later), sum(later)
        area_s = number * until_s + self.changes_s + later_s
        self.changes_s = -number * until_s - later_s
        return area_s
