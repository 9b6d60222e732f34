"""`constant-arrival-rate`: open, the same rate from the warm-up to the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swarm import fields
from swarm.fields import JsonObject
from swarm.load import LoadProcess

from .arrivals import ARRIVALS, arrival_counts
from .base import Executor, Start
from .open_load import OpenLoad


@dataclass(frozen=True)
class ConstantArrivalRate(Executor):
    """`rate_per_s` requests a second."""

    kind = "constant-arrival-rate"
    rate_per_s: float
    arrivals: str = "constant"

    @classmethod
    def parse(cls, raw: JsonObject) -> ConstantArrivalRate:
        """Check the `load` setting; see `Executor`."""
        fields.refuse_unknown(raw, "load", ("executor", "rate_per_s", "arrivals"))
        return cls(
            rate_per_s=fields.positive(raw, "rate_per_s"),
            arrivals=fields.one_of(raw, "arrivals", ARRIVALS, "constant"),
        )

    @property
    def peak_rate_per_s(self) -> float:
        """The rate."""
        return self.rate_per_s

    def run(self, start: Start) -> LoadProcess:
        """Return the process that sends this engine's share of the load."""
        return OpenLoad(start, self.times(start))

    def times(self, start: Start) -> Iterator[float]:
        """Yield this engine's arrivals, in seconds after the start of the load, ascending."""
        return (count / self.rate_per_s for count in arrival_counts(self.arrivals, start))
