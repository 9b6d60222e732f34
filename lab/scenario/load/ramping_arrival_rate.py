"""ramping-arrival-rate: a linear ramp from the start rate to the rate of each stage in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lab.scenario.load.executor import OpenLoad, register
from lab.scenario.load.fields import LoadFields
from lab.scenario.load.settings import LoadSettings


@register
class RampingArrivalRate(OpenLoad):
    """An open load whose rate changes within the window; the rate of the last stage stays."""

    name = "ramping-arrival-rate"
    required: ClassVar[Mapping[str, str]] = {
        "start-rate": "100/s",
        "stages": "[{duration: 5s, target: 900/s}]",
    }
    optional = ("arrivals",)
    ramping = True

    def rates(self, load: LoadFields) -> tuple[float, ...]:
        """Return the start rate, and the rate at the end of each stage."""
        return (load.start_rate or 0.0, *(float(stage.target) for stage in load.stages))

    def settings(self, load: LoadFields) -> LoadSettings:
        """Return `load` of LAB_SWARM."""
        return {
            "executor": self.name,
            "start_rate_per_s": load.start_rate,
            **self.arrivals_settings(load),
            "stages": [{"duration_s": s.duration, "target_per_s": float(s.target)} for s in load.stages],
        }
