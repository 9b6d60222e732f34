"""Arrival processes of the open executors.

The expected number of arrivals so far is the integral of the rate over time. Arrivals happen where this
rising line reaches certain counts: every whole number for `constant` arrivals; sums of exponential gaps
with mean 1 for `poisson` arrivals (a unit-rate process with its time axis changed).

An engine sends one of `of` equal shares. Of constant arrivals it takes every `of`-th count, shifted by its
position: the shares together are the whole process to the microsecond, whatever their number. Independent
Poisson processes add up to one (superposition), so each engine draws its own gaps, `of` times as wide, from
its own seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, count, repeat
from random import Random

from .base import Start

ARRIVALS = ("constant", "poisson")


def arrival_counts(arrivals: str, start: Start) -> Iterator[float]:
    """Yield, ascending, the expected numbers of arrivals at which one of this engine's arrivals happens."""
    if arrivals == "poisson":
        random = Random(f"{start.seed}/{start.position}/{start.of}")
        return accumulate(random.expovariate(1.0) * step for step in repeat(start.of))
    return count(start.position, start.of)
