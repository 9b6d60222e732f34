"""Counters and histograms for every second of the load clock.

The load clock starts with the warm-up. A `Second` covers [k, k+1) of that clock, cut where a phase ends
inside it. A request counts in the second of its intended send (open load) or of its send (closed load),
however late its answer; connections, bytes, CPU, lag and `completed` count in the second in which they
happen: an answer that comes late is `answered` in the second of its request, `completed` in its own.
`BEFORE_START` (k = -1, phase `spawn`) holds what happens before the clock starts, the last second (phase
`drain`) all that comes after the load.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from .histogram import Counts, pack

BEFORE_START = -1
COUNTERS = (
    "intended",
    "sent",
    "answered",
    "completed",
    "failed",
    "unsent",
    "connects",
    "bytes_in",
    "bytes_out",
)
TENTHS = ("backlog_tenths", "connected_tenths")
HISTOGRAMS = (
    "response", "service", "response_censored", "service_censored", "lateness", "lateness_generator",
    "connect", "loop_lag",
)  # fmt: skip


class Second:
    """Counters and histograms of one second; times are CLOCK_MONOTONIC seconds."""

    __slots__ = (
        "answered",
        "backlog_tenths",
        "bytes_in",
        "bytes_out",
        "completed",
        "connect",
        "connected",
        "connected_tenths",
        "connects",
        "cpu_s",
        "ends_s",
        "errors",
        "failed",
        "in_flight",
        "in_flight_area_s",
        "intended",
        "k",
        "lateness",
        "lateness_generator",
        "loop_lag",
        "lost_s",
        "parts",
        "phase",
        "queued",
        "reported",
        "response",
        "response_censored",
        "sent",
        "service",
        "service_censored",
        "starts_s",
        "unsent",
    )

    def __init__(self, k: int, phase: str, starts_s: float, ends_s: float) -> None:
        self.k, self.phase, self.starts_s, self.ends_s = k, phase, starts_s, ends_s
        self.intended = self.sent = self.answered = self.failed = self.unsent = 0
        self.completed = self.connects = self.bytes_in = self.bytes_out = 0
        self.response: Counts = defaultdict(int)
        self.parts: dict[str, Counts] = {}  # service time by the path of a page's resource
        self.service: Counts = defaultdict(int)
        # How long requests without an answer had waited: right-censored response and service times.
        self.response_censored: Counts = {}
        self.service_censored: Counts = {}
        self.lateness: Counts = defaultdict(int)  # actual − intended send
        self.lateness_generator: Counts = defaultdict(int)  # less the time without a free connection
        self.connect: Counts = {}
        self.loop_lag: Counts = {}
        self.errors: dict[str, int] = {}
        self.connected = 0
        # At its end: requests sent and without an outcome; arrivals without a free connection. None: unknown.
        self.in_flight: int | None = None
        self.queued: int | None = None
        self.in_flight_area_s: float | None = None  # the integral of the number in flight over this second
        self.lost_s = 0.0  # within stalls of the loop
        # At the end of each tenth of it, by number: requests in flight or without a connection; connections.
        self.backlog_tenths: dict[int, int] = {}
        self.connected_tenths: dict[int, int] = {}
        self.cpu_s = 0.0
        self.reported: tuple[int, ...] = ()  # its fingerprint when it was last reported

    def sample(self, now_s: float, backlog: int, connected: int) -> None:
        """Take both gauges; the last sample of each tenth of the second stands."""
        if self.length_s():
            tenth = int((now_s - self.starts_s) * 10)
            self.backlog_tenths[tenth], self.connected_tenths[tenth] = backlog, connected

    def _tenths(self, samples: dict[int, int]) -> list[int | None]:
        """Return the samples in order; None for a tenth without one, and nothing where none was taken."""
        return (
            [samples.get(tenth) for tenth in range(math.ceil(self.length_s() * 10 - 1e-6))] if samples else []
        )

    def fingerprint(self) -> tuple[int, ...]:
        """Return counters of which one changes whenever this second has to be reported again."""
        return (
            self.intended,
            self.answered,
            self.completed,
            self.failed,
            self.unsent,
            self.connects,
            sum(self.errors.values()),
            int(self.lost_s * 1e6),
        )

    def is_settled(self) -> bool:
        """Whether every request of this second has its outcome."""
        return self.intended == self.answered + self.failed + self.unsent

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form: counters, gauges, errors and packed histograms."""
        record: dict[str, Any] = {"k": self.k, "phase": self.phase}
        record |= {name: getattr(self, name) for name in COUNTERS}
        record |= {name: pack(getattr(self, name)) for name in HISTOGRAMS}
        record["parts"] = {name: pack(counts) for name, counts in self.parts.items()}
        record |= {"connected": self.connected, "errors": self.errors}
        record |= {"in_flight": self.in_flight, "queued": self.queued}
        record |= {name: self._tenths(getattr(self, name)) for name in TENTHS}
        record |= {"in_flight_area_s": self.in_flight_area_s, "lost_s": round(self.lost_s, 6)}
        return record | {"cpu_s": round(self.cpu_s, 6), "length_s": self.length_s()}

    def length_s(self) -> float:
        """Return its length; 0 for the first and the last, which have none."""
        length = self.ends_s - self.starts_s
        return length if math.isfinite(length) else 0.0


class Seconds:
    """The seconds of one load, found by time; each is created when the clock reaches it.

    Settled seconds are dropped after their report (`drop_settled`), so that a long soak takes no more
    memory than a short load. Keep them where a request may still count in a second long past.
    """

    def __init__(self, *, drop_settled: bool = True) -> None:
        self._drop_settled = drop_settled
        self._seconds = [Second(BEFORE_START, "spawn", -math.inf, math.inf)]
        self._upcoming: Iterator[Second] = iter(())
        self._current = self._seconds[0]
        self._dropped = dict.fromkeys(COUNTERS, 0)
        self.opens_s = self.closes_s = math.inf  # the measured window

    def start(self, start_s: float, warmup_s: float, measure_s: float, cooldown_s: float = 0.0) -> None:
        """Lay out the seconds of a load that starts at `start_s`."""
        self._seconds[0].ends_s = start_s
        self.opens_s, self.closes_s = start_s + warmup_s, start_s + (warmup_s + measure_s)
        self._upcoming = (
            Second(k, phase, start_s + begins_s, start_s + ends_s)
            for k, phase, begins_s, ends_s in layout(warmup_s, measure_s, cooldown_s)
        )

    def at(self, time_s: float) -> Second:
        """Return the second that holds this time.

        Raises:
            LookupError: That second has been dropped.
        """
        current = self._current
        if current.starts_s <= time_s < current.ends_s:
            return current
        return self._seek(time_s)

    def _seek(self, time_s: float) -> Second:
        while self._seconds[-1].ends_s <= time_s:
            self._seconds.append(next(self._upcoming))
        for second in reversed(self._seconds):
            if second.starts_s <= time_s < second.ends_s:
                self._current = second
                return second
        raise LookupError(
            f"no second holds {time_s}: the first one left begins at {self._seconds[0].starts_s}"
        )

    def lose(self, from_s: float, until_s: float) -> None:
        """Count a stall of the loop as lost time, in each second that it touches."""
        while from_s < until_s:
            second = self.at(from_s)
            part_ends_s = min(until_s, second.ends_s)
            second.lost_s += part_ends_s - from_s
            from_s = part_ends_s

    def changed(self, until_s: float) -> Iterator[Second]:
        """Yield the seconds that ended by `until_s` and have changed since their last report."""
        for second in [s for s in self._seconds if s.ends_s <= until_s]:
            fingerprint = second.fingerprint()
            if fingerprint != second.reported:
                second.reported = fingerprint
                yield second
            if self._drop_settled and second.is_settled() and second is not self._current:
                self._seconds.remove(second)
                for name in COUNTERS:
                    self._dropped[name] += getattr(second, name)

    def answered(self) -> int:
        """Return the number of answers so far."""
        return self._dropped["answered"] + sum(second.answered for second in self._seconds)

    def totals(self) -> dict[str, int]:
        """Return the sums of all counters so far."""
        return {n: self._dropped[n] + sum(getattr(s, n) for s in self._seconds) for n in COUNTERS}


def layout(
    warmup_s: float, measure_s: float, cooldown_s: float = 0.0
) -> Iterator[tuple[int, str, float, float]]:
    """Yield (k, phase, begin, end) of every second, in seconds after the start; the drain has no end."""
    measured_s = warmup_s + measure_s
    end_s = measured_s + cooldown_s
    edges = sorted({*map(float, range(math.ceil(end_s))), warmup_s, measured_s, end_s})
    for begins_s, ends_s in pairwise(edges):
        after = "measure" if begins_s < measured_s else "cooldown"
        yield int(begins_s), "warmup" if begins_s < warmup_s else after, begins_s, ends_s
    yield math.ceil(end_s), "drain", end_s, math.inf
