"""When the requests of an open load are meant to be sent.

Arrivals are the points where a rising line, the number of requests due so far, passes one more whole
number. That makes the processes one thing: `rate` says how steep the line is, the step says how regular the
points are.

An engine takes part as one of `of` equal sharers: it takes every `of`-th point of a constant process,
shifted by its `position`, so that the sharers together are the whole process to the microsecond, whatever
their number.
"""

from __future__ import annotations

from collections.abc import Iterator


def constant(rate_per_s: float, position: int = 0, of: int = 1) -> Iterator[float]:
    """Yield offsets in seconds, ascending, of this sharer's arrivals."""
    number = position
    while True:
        yield number / rate_per_s
        number += of
