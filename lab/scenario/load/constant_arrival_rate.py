"""constant-arrival-rate: a fixed number of requests per second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lab.scenario.load.executor import OpenLoad, register
from lab.scenario.load.fields import LoadFields
from lab.scenario.load.settings import LoadSettings


@register
class ConstantArrivalRate(OpenLoad):
    """An open load at one rate."""

    name = "constant-arrival-rate"
    required: ClassVar[Mapping[str, str]] = {"rate": "2000/s"}
    optional = ("arrivals",)

    def rates(self, load: LoadFields) -> tuple[float, ...]:
        """Return the one rate."""
        return (load.rate or 0.0,)

    def settings(self, load: LoadFields) -> LoadSettings:
        """Return `load` of LAB_SWARM."""
        return {"executor": self.name, "rate_per_s": load.rate, **self.arrivals_settings(load)}
