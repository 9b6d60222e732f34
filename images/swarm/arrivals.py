"""When the requests of an open load are meant to be sent.

Arrivals are the points where a rising line, the number of requests due so far, passes certain heights. The
rate is how steep the line is: a `Profile` of straight pieces of rate. The heights are what makes the
process regular (every whole number) or Poisson (gaps drawn from an exponential distribution with mean 1).

An engine is one of `of` equal sharers. Of a constant process it takes every `of`-th height, shifted by its
position, so that the sharers together are the whole process to the microsecond, whatever their number.
Independent Poisson processes add up to one (superposition), so there each draws its own gaps, `of` times as
wide, from its own seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, repeat
from random import Random

from .workload import Load, Stage


@dataclass(frozen=True)
class Piece:
    """From `at_s` on, when `height` requests were due: `rate_per_s`, growing by `slope` every second."""

    at_s: float
    height: float
    rate_per_s: float
    slope: float


def profile(start_rate_per_s: float, hold_s: float, stages: Sequence[Stage] = ()) -> list[Piece]:
    """Return the pieces of a rate that holds for `hold_s`, follows the stages, and then stays as it is."""
    pieces: list[Piece] = []
    at_s, height, rate = 0.0, 0.0, start_rate_per_s
    for stage in (Stage(hold_s, rate), *stages):
        if stage.duration_s > 0:
            pieces.append(Piece(at_s, height, rate, (stage.target - rate) / stage.duration_s))
            at_s += stage.duration_s
            height += (rate + stage.target) / 2 * stage.duration_s
        rate = stage.target
    return [*pieces, Piece(at_s, height, rate, 0.0)]


def times(pieces: Sequence[Piece], heights: Iterable[float]) -> Iterator[float]:
    """Yield, for ascending heights, the moments at which the line passes them; end where it never does."""
    number = 0
    for height in heights:
        while number + 1 < len(pieces) and pieces[number + 1].height <= height:
            number += 1
        piece = pieces[number]
        above = height - piece.height
        root = piece.rate_per_s**2 + 2 * piece.slope * above
        steepness = piece.rate_per_s + math.sqrt(max(0.0, root))
        if above > 0 and steepness <= 0:
            return
        yield piece.at_s + (2 * above / steepness if above > 0 else 0.0)


def of_load(load: Load, warmup_s: float, seed: int, position: int = 0, of: int = 1) -> Iterator[float]:
    """Yield the offsets in seconds, ascending, of this sharer's arrivals."""
    heights: Iterator[float]
    if load.arrivals == "poisson":
        random = Random(f"{seed}/{position}/{of}")
        heights = accumulate(random.expovariate(1.0) * step for step in repeat(of))
    else:
        heights = count(position, of)
    if not load.stages:  # the common case, without a rounding error on the way
        return (height / load.rate_per_s for height in heights)
    return times(profile(load.rate_per_s, warmup_s, load.stages), heights)
