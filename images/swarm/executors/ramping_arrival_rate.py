"""`ramping-arrival-rate`: open, the rate follows stages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from swarm import fields
from swarm.fields import JsonObject
from swarm.load import LoadProcess

from .arrivals import ARRIVALS, arrival_counts
from .base import Executor, Start
from .open_load import OpenLoad
from .stages import Stage, parse_stages


@dataclass(frozen=True)
class RampingArrivalRate(Executor):
    """`start_rate_per_s` in the warm-up, then a straight line to each stage's target; the last one stays."""

    kind = "ramping-arrival-rate"
    start_rate_per_s: float
    stages: tuple[Stage, ...]
    arrivals: str = "constant"

    @classmethod
    def parse(cls, raw: JsonObject) -> RampingArrivalRate:
        """Check the `load` setting; see `Executor`."""
        fields.refuse_unknown(raw, "load", ("executor", "start_rate_per_s", "arrivals", "stages"))
        return cls(
            start_rate_per_s=fields.non_negative(raw, "start_rate_per_s", 0.0),
            stages=parse_stages(raw, "target_per_s"),
            arrivals=fields.one_of(raw, "arrivals", ARRIVALS, "constant"),
        )

    @property
    def peak_rate_per_s(self) -> float:
        """The highest of the start rate and the targets."""
        return max(self.start_rate_per_s, *(stage.target for stage in self.stages), 0.0)

    def run(self, start: Start) -> LoadProcess:
        """Return the process that sends this engine's share of the load."""
        return OpenLoad(start, self.times(start))

    def times(self, start: Start) -> Iterator[float]:
        """Yield this engine's arrivals, in seconds after the start of the load, ascending."""
        pieces = profile(self.start_rate_per_s, start.warmup_s, self.stages)
        return times_at(pieces, arrival_counts(self.arrivals, start))


@dataclass(frozen=True)
class Piece:
    """A straight piece of the rate: from `at_s` on, when `count` arrivals are expected.

    The rate begins at `rate_per_s` and grows by `slope` (per second, every second).
    """

    at_s: float
    count: float
    rate_per_s: float
    slope: float


def profile(start_rate_per_s: float, hold_s: float, stages: Sequence[Stage]) -> list[Piece]:
    """Return the pieces of a rate: constant for `hold_s`, then the stages, then the last rate for ever."""
    pieces: list[Piece] = []
    at_s, count, rate = 0.0, 0.0, start_rate_per_s
    for stage in (Stage(hold_s, rate), *stages):
        if stage.duration_s > 0:
            pieces.append(Piece(at_s, count, rate, (stage.target - rate) / stage.duration_s))
            at_s += stage.duration_s
            count += (rate + stage.target) / 2 * stage.duration_s
        rate = stage.target
    return [*pieces, Piece(at_s, count, rate, 0.0)]


def times_at(pieces: Sequence[Piece], counts: Iterable[float]) -> Iterator[float]:
    """Yield the times at which the expected number of arrivals reaches each of the ascending counts.

    Ends at the first count that is never reached. Solves count = rate t + slope t² / 2 for t, in the form
    that does not subtract nearly equal numbers.
    """
    number = 0
    for count in counts:
        while number + 1 < len(pieces) and pieces[number + 1].count <= count:
            number += 1
        piece = pieces[number]
        above = count - piece.count
        root = piece.rate_per_s**2 + 2 * piece.slope * above
        divisor = piece.rate_per_s + math.sqrt(max(0.0, root))
        if above > 0 and divisor <= 0:
            return
        yield piece.at_s + (2 * above / divisor if above > 0 else 0.0)
