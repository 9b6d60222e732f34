"""What happened, second by second, on the load clock.

The load clock starts with the warm-up. A `Second` is what the contract calls one: [k, k+1) of that clock,
cut where a phase ends inside it. Requests are booked in the second they were meant for (open load) or sent
in (closed load), however late their answer; connections, bytes, CPU and lag in the second they happen in.
`BEFORE` (k = -1, phase `spawn`) takes what happens before the clock starts, the last one (phase `drain`)
all that comes after the window.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from .histogram import Counts, pack

BEFORE = -1
COUNTERS = ("intended", "sent", "answered", "failed", "unsent", "connects", "bytes_in", "bytes_out")
HISTOGRAMS = ("response", "service", "lateness", "connect", "loop_lag")


class Second:
    """Counters and histograms of one second; times are CLOCK_MONOTONIC seconds."""

    __slots__ = (
        "answered",
        "booked",
        "bytes_in",
        "bytes_out",
        "connect",
        "connected",
        "connects",
        "cpu_s",
        "ends_s",
        "errors",
        "failed",
        "in_flight",
        "intended",
        "k",
        "lateness",
        "loop_lag",
        "parts",
        "phase",
        "response",
        "sent",
        "service",
        "starts_s",
        "under_way_s",
        "unsent",
    )

    def __init__(self, k: int, phase: str, starts_s: float, ends_s: float) -> None:
        self.k, self.phase, self.starts_s, self.ends_s = k, phase, starts_s, ends_s
        self.intended = self.sent = self.answered = self.failed = self.unsent = 0
        self.connects = self.bytes_in = self.bytes_out = 0
        self.under_way_s = 0.0  # request-seconds: the area under the number of requests under way
        self.response: Counts = defaultdict(int)
        self.parts: dict[str, Counts] = {}  # service time by the name of a page's resource
        self.service: Counts = defaultdict(int)
        self.lateness: Counts = defaultdict(int)
        self.connect: Counts = {}
        self.loop_lag: Counts = {}
        self.errors: dict[str, int] = {}
        self.connected = self.in_flight = 0
        self.cpu_s = 0.0
        self.booked: tuple[int, ...] = ()

    def state(self) -> tuple[int, ...]:
        """Return what changes whenever this second has news to tell."""
        return (
            self.intended,
            self.answered,
            self.failed,
            self.unsent,
            self.connects,
            sum(self.errors.values()),
        )

    def is_settled(self) -> bool:
        """Whether every request meant for this second has had its outcome."""
        return self.intended == self.answered + self.failed + self.unsent

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form: counters, gauges, errors and packed histograms."""
        record: dict[str, Any] = {"k": self.k, "phase": self.phase}
        record |= {name: getattr(self, name) for name in COUNTERS}
        record |= {name: pack(getattr(self, name)) for name in HISTOGRAMS}
        record["parts"] = {name: pack(counts) for name, counts in self.parts.items()}
        record |= {"connected": self.connected, "in_flight": self.in_flight, "errors": self.errors}
        record["under_way_s"] = self.under_way_s
        return record | {"cpu_s": round(self.cpu_s, 6), "length_s": self.length_s()}

    def length_s(self) -> float:
        """Return its length; 0 for the two open-ended ones."""
        length = self.ends_s - self.starts_s
        return length if math.isfinite(length) else 0.0


class Ledger:
    """The seconds of one load, found by time; they are made as the clock reaches them."""

    def __init__(self, *, forget: bool = True) -> None:
        self._forget = forget  # settled seconds; not where a request may still be booked in one long past
        self._seconds = [Second(BEFORE, "spawn", -math.inf, math.inf)]
        self._ahead: Iterator[Second] = iter(())
        self._current = self._seconds[0]
        self._forgotten = dict.fromkeys(COUNTERS, 0)

    def start(self, start_s: float, warmup_s: float, measure_s: float) -> None:
        """Lay out a load that begins at `start_s`."""
        self._seconds[0].ends_s = start_s
        self._ahead = (
            Second(k, phase, start_s + begins_s, start_s + ends_s)
            for k, phase, begins_s, ends_s in layout(warmup_s, measure_s)
        )

    def at(self, time_s: float) -> Second:
        """Return the second that holds this moment. Raises `LookupError` for one that is forgotten."""
        current = self._current
        if current.starts_s <= time_s < current.ends_s:
            return current
        return self._seek(time_s)

    def _seek(self, time_s: float) -> Second:
        while self._seconds[-1].ends_s <= time_s:
            self._seconds.append(next(self._ahead))
        for second in reversed(self._seconds):
            if second.starts_s <= time_s < second.ends_s:
                self._current = second
                return second
        raise LookupError(f"no second holds {time_s}; the ledger begins at {self._seconds[0].starts_s}")

    def news(self, until_s: float) -> Iterator[Second]:
        """Yield the seconds that ended by `until_s` and have changed since they were last yielded.

        Those that are settled as well are forgotten, so that a long soak takes no more memory than a short
        one.
        """
        for second in [s for s in self._seconds if s.ends_s <= until_s]:
            state = second.state()
            if state != second.booked:
                second.booked = state
                yield second
            if self._forget and second.is_settled() and second is not self._current:
                self._seconds.remove(second)
                for name in COUNTERS:
                    self._forgotten[name] += getattr(second, name)

    def totals(self) -> dict[str, int]:
        """Return the sums of all counters so far."""
        return {n: self._forgotten[n] + sum(getattr(s, n) for s in self._seconds) for n in COUNTERS}


def layout(warmup_s: float, measure_s: float) -> Iterator[tuple[int, str, float, float]]:
    """Yield (k, phase, begin, end) of every second, in seconds after the start; the drain has no end."""
    end_s = warmup_s + measure_s
    edges = sorted({*map(float, range(math.ceil(end_s))), warmup_s, end_s})
    for begins_s, ends_s in pairwise(edges):
        yield int(begins_s), "warmup" if begins_s < warmup_s else "measure", begins_s, ends_s
    yield math.ceil(end_s), "drain", end_s, math.inf
