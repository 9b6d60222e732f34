"""The wall clock and the boot clock against CLOCK_MONOTONIC (clock_gettime(2)).

CLOCK_REALTIME leaves CLOCK_MONOTONIC where somebody sets it; CLOCK_BOOTTIME where the machine was suspended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from lab.common.clock import mono_ms
from lab.results.record import Sample

CLOCKS = {"realtime_ms": time.CLOCK_REALTIME, "boottime_ms": time.CLOCK_BOOTTIME}
TRIES = 5


class Clocks:
    """Samples under the node name `host`. `read` returns a clock's time in ns."""

    source = "clocks"

    def __init__(self, read: Callable[[int], int] = time.clock_gettime_ns) -> None:
        self._read = read

    def sample(self) -> Iterable[Sample]:
        """realtime_ms, boottime_ms: how far each clock is ahead of CLOCK_MONOTONIC."""
        now = mono_ms()
        for metric, clock in CLOCKS.items():
            yield Sample(now, "host", self.source, metric, self._ahead_ns(clock) / 1e6)

    def _ahead_ns(self, clock: int) -> int:
        """Return the difference, read between two reads of the other clock: of the closest of a few tries."""
        tries = []
        for _ in range(TRIES):
            before, there, after = map(self._read, (time.CLOCK_MONOTONIC, clock, time.CLOCK_MONOTONIC))
            tries.append((after - before, there - (before + after) // 2))
        return min(tries)[1]
